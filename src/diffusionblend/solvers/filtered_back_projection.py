"""Filtered back-projection of parallel beams."""

from __future__ import annotations

import math

import numpy as np
import torch

from diffusionblend.errors import InputError
from diffusionblend.geometry import ParallelBeam
from diffusionblend.operators.sparse import csr_matrix
from diffusionblend.volume import Grid

WINDOWS = ("ram-lak", "hann")
MISSING_ARC_GAPS = 3.0
"""A gap between neighbouring angles above this many median gaps counts as arc not measured."""
SAME_ANGLE_RAD = 1e-9
"""Angles closer than this, modulo pi, are one direction."""


def filtered_back_projection(
    y: torch.Tensor, geometry: ParallelBeam, grid: Grid, *, window: str = "ram-lak"
) -> torch.Tensor:
    """Attenuation in 1/mm (z, y, x) from line integrals (view, row, bin) (Kak, Slaney 1988, 3.3).

    The back-projection reads each filtered view by linear interpolation at the pixel's own place.
    A disc of value 1 comes back as 1. Raises InputError on an unknown window.
    """
    filtered = ramp_filter(y, geometry.bin_mm, window)
    weights = torch.as_tensor(angular_weights(geometry.angles_rad)).to(filtered)
    filtered = filtered * weights[:, None, None]
    views, slices, bins = filtered.shape
    lines = filtered.transpose(1, 2).reshape(views * bins, slices).contiguous()
    image = interpolation_matrix(geometry, grid).to(filtered) @ lines
    return image.T.reshape(grid.shape).contiguous()


def ramp_filter(y: torch.Tensor, bin_mm: float, window: str) -> torch.Tensor:
    """Ramp-filtered projections (view, row, bin), by the band-limited kernel in real space."""
    if window not in WINDOWS:
        raise InputError(f"The filter window is {window!r}.", f"one of {', '.join(WINDOWS)}")
    n = y.shape[-1]
    length = 2 ** math.ceil(math.log2(2 * n))
    offsets = np.fft.fftfreq(length, 1 / length)
    kernel = np.zeros(length)
    kernel[0] = 1 / (4 * bin_mm**2)
    odd = offsets % 2 != 0
    kernel[odd] = -1 / (np.pi * offsets[odd] * bin_mm) ** 2
    response = np.fft.rfft(kernel).real * bin_mm
    if window == "hann":
        response *= 0.5 * (1 + np.cos(2 * np.pi * np.fft.rfftfreq(length)))
    spectrum = torch.fft.rfft(y, n=length) * torch.as_tensor(response).to(y)
    return torch.fft.irfft(spectrum, n=length)[..., :n]


def angular_weights(angles_rad: tuple[float, ...]) -> np.ndarray:
    """The arc in radians that each view stands for, (view,): pi / n for n equal steps over pi.

    Half of the gap to each neighbour, angles taken modulo pi; a gap that is plainly an arc not
    measured counts as the median gap. Views of the same angle share its arc.
    """
    directions = np.mod(np.asarray(angles_rad, dtype=float), np.pi)
    whole = round(np.pi / SAME_ANGLE_RAD)
    steps = np.round(directions / np.pi * whole).astype(np.int64) % whole
    distinct, view, copies = np.unique(steps, return_inverse=True, return_counts=True)
    gaps = np.diff(distinct, append=distinct[0] + whole) * (np.pi / whole)
    median = np.median(gaps)
    gaps = np.where(gaps > MISSING_ARC_GAPS * median, median, gaps)
    return ((gaps + np.roll(gaps, 1)) / 2 / copies)[view]


def interpolation_matrix(geometry: ParallelBeam, grid: Grid) -> torch.Tensor:
    """CSR (y * x, views * bins) that reads every view at each pixel's detector position."""
    _, spacing_y, spacing_x = grid.spacing_mm
    n_y, n_x = grid.in_plane_shape
    x_mm = (np.arange(n_x) - (n_x - 1) / 2) * spacing_x
    y_mm = ((np.arange(n_y) - (n_y - 1) / 2) * spacing_y)[:, None]
    pixels = np.arange(n_y * n_x)
    entries = []
    for view, angle in enumerate(geometry.angles_rad):
        p = (x_mm * math.cos(angle) + y_mm * math.sin(angle)).ravel()
        position = p / geometry.bin_mm + (geometry.n_bins - 1) / 2
        low = np.floor(position).astype(np.int64)
        for bins, weight in ((low, low + 1 - position), (low + 1, position - low)):
            inside = (bins >= 0) & (bins < geometry.n_bins)
            entries.append((pixels[inside], view * geometry.n_bins + bins[inside], weight[inside]))
    rows, columns, values = (np.concatenate(part) for part in zip(*entries, strict=True))
    shape = (n_y * n_x, geometry.n_views * geometry.n_bins)
    return csr_matrix(rows, columns, values, shape, dtype=torch.float32, device="cpu")
