"""Filtered back-projection, slice by slice: parallel and fan beams."""

from __future__ import annotations

import numpy as np
import torch

from diffusionblend.errors import InputError
from diffusionblend.geometry import ConeBeam, FanBeam, Geometry, ParallelBeam
from diffusionblend.operators.sparse import csr_matrix
from diffusionblend.solvers.filters import angular_weights, ramp_filter, turn_weights
from diffusionblend.volume import Grid

READINGS_AT_ONCE = 1 << 24
"""Pixels times views whose interpolation matrix is held at a time: some 400 MB."""


def filtered_back_projection(
    y: torch.Tensor, geometry: Geometry, grid: Grid, *, window: str = "ram-lak"
) -> torch.Tensor:
    """Attenuation in 1/mm (z, y, x) from line integrals (view, row, bin) (Kak, Slaney 1988, 3.3-4).

    The back-projection reads each filtered view by linear interpolation at the pixel's own place.
    A disc of value 1 comes back as 1, from a half turn of a parallel beam, and from a half turn and
    the fan on of a fan beam. A cone beam goes to `feldkamp_davis_kress`. Raises InputError on an
    unknown window, and for general vectors.
    """
    if isinstance(geometry, ConeBeam):
        from diffusionblend.solvers.fdk import feldkamp_davis_kress

        return feldkamp_davis_kress(y, geometry, grid, window=window)
    if isinstance(geometry, FanBeam):
        filtered = filtered_fan(y, geometry, window)
    elif isinstance(geometry, ParallelBeam):
        filtered = ramp_filter(y, geometry.bin_mm, window)
        weights = torch.as_tensor(angular_weights(geometry.angles_rad)).to(filtered)
        filtered = filtered * weights[:, None, None]
    else:
        raise InputError(
            f"There is no filtered back-projection of a {type(geometry).__name__}.",
            "a parallel, fan or cone beam",
            "an iterative method, such as --method admm-tv",
        )
    views, slices, bins = filtered.shape
    lines = filtered.transpose(1, 2).contiguous()
    image = filtered.new_zeros(grid.shape[1] * grid.shape[2], slices)
    at_once = max(1, READINGS_AT_ONCE // len(image))
    for first in range(0, views, at_once):
        part = slice(first, min(first + at_once, views))
        matrix = interpolation_matrix(geometry, grid, part).to(filtered)
        image += matrix @ lines[part].reshape(-1, slices)
    return image.T.reshape(grid.shape).contiguous()


def filtered_fan(y: torch.Tensor, geometry: FanBeam, window: str) -> torch.Tensor:
    """Weighted and ramp-filtered views of a fan beam; back-projection divides by squared distance.

    Every ray counts with the length along it from the source to the foot of the axis, which is
    source_to_axis cos(fan angle) where the axis is not shifted, and with its share of its line.
    """
    fan_rad = geometry.fan_angles_rad
    along = np.cos(fan_rad) * geometry.source_to_axis_mm + np.sin(fan_rad) * geometry.axis_shift_mm
    to_axis = np.arctan2(geometry.axis_shift_mm, geometry.source_to_axis_mm)
    weights = turn_weights(geometry.angles_rad, fan_rad - to_axis) * along
    weighted = y * torch.as_tensor(weights).to(y)[:, None]
    distance = geometry.source_to_detector_mm
    if geometry.curved:
        return ramp_filter(weighted, geometry.bin_mm, window, bin_rad=geometry.bin_mm / distance)
    return ramp_filter(weighted, geometry.bin_mm, window) * distance


def interpolation_matrix(
    geometry: ParallelBeam | FanBeam, grid: Grid, views: slice
) -> torch.Tensor:
    """CSR (y * x, views * bins) that reads some views at each pixel's detector position.

    For a fan the readings are divided by the pixel's squared distance from the source: along the
    beam on a flat detector, along the ray on a curved one.
    """
    _, spacing_y, spacing_x = grid.spacing_mm
    n_y, n_x = grid.in_plane_shape
    x_mm = (np.arange(n_x) - (n_x - 1) / 2) * spacing_x
    y_mm = ((np.arange(n_y) - (n_y - 1) / 2) * spacing_y)[:, None]
    places = np.stack([(x_mm + 0 * y_mm).ravel(), (y_mm + 0 * x_mm).ravel()], axis=1)
    pixels = np.arange(n_y * n_x)
    entries = []
    for at, view in enumerate(range(views.start, views.stop)):
        p, share = detector_position(geometry, view, places)
        position = (p - geometry.bin_positions_mm[0]) / geometry.bin_mm
        low = np.floor(position).astype(np.int64)
        for bins, weight in ((low, low + 1 - position), (low + 1, position - low)):
            inside = (bins >= 0) & (bins < geometry.n_bins)
            column = at * geometry.n_bins + bins[inside]
            entries.append((pixels[inside], column, (weight * share)[inside]))
    rows, columns, values = (np.concatenate(part) for part in zip(*entries, strict=True))
    shape = (n_y * n_x, (views.stop - views.start) * geometry.n_bins)
    return csr_matrix(rows, columns, values, shape, dtype=torch.float32, device="cpu")


def detector_position(
    geometry: ParallelBeam | FanBeam, view: int, places_mm: np.ndarray
) -> tuple[np.ndarray, np.ndarray | float]:
    """Where a view sees places (place, 2), p in mm, and the weight 1 / distance^2 in 1/mm^2.

    The weight of a parallel beam is 1.
    """
    u, n = (axis[view, :2] for axis in geometry.axes())
    if isinstance(geometry, ParallelBeam):
        return places_mm @ u, 1.0
    from_source = places_mm - geometry.sources_mm()[view, :2]
    aside, ahead = from_source @ u, from_source @ n
    if geometry.curved:
        squared = aside**2 + ahead**2
        return np.arctan2(aside, ahead) * geometry.source_to_detector_mm, 1 / squared
    return aside / ahead * geometry.source_to_detector_mm, 1 / ahead**2
