"""Filtered back-projection, slice by slice: parallel and fan beams."""

from __future__ import annotations

import numpy as np
import torch

from diffusionblend.errors import InputError
from diffusionblend.geometry import ConeBeam, FanBeam, Geometry, ParallelBeam
from diffusionblend.geometry.checks import check_sources
from diffusionblend.geometry.grid import Grid
from diffusionblend.operators.kernels.threads import in_parts
from diffusionblend.operators.sparse import csr_matrix
from diffusionblend.solvers.filters import angular_weights, ramp_filter, turn_weights

MATRIX_READINGS = 1 << 20
"""Pixels times views up to which the back-projection is a sparse matrix, made in 0.1 s and 150 MB.
Beyond, compiled kernels read the views as they go: faster and leaner, once they are loaded."""


def has_filtered_back_projection(geometry: Geometry) -> bool:
    """Whether there is one of a geometry."""
    return isinstance(geometry, ParallelBeam | FanBeam | ConeBeam)


def filtered_back_projection(
    y: torch.Tensor, geometry: Geometry, grid: Grid, *, window: str = "ram-lak"
) -> torch.Tensor:
    """Attenuation in 1/mm (z, y, x) from line integrals (view, row, bin) (Kak, Slaney 1988, 3.3-4).

    The back-projection reads each filtered view by linear interpolation at the pixel's own place.
    A disc of value 1 comes back as 1, from a half turn of a parallel beam, and from a half turn and
    the fan on of a fan beam. A cone beam goes to `feldkamp_davis_kress`. Raises InputError on an
    unknown window, for general vectors, and where a source lies inside the volume.
    """
    check_sources(geometry, grid)
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
    if views * grid.shape[1] * grid.shape[2] <= MATRIX_READINGS:
        matrix = interpolation_matrix(geometry, grid).to(filtered)
        image = matrix @ lines.reshape(views * bins, slices)
    else:
        image = _back_projection_by_kernel(lines, geometry, grid)
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


def _back_projection_by_kernel(
    lines: torch.Tensor, geometry: ParallelBeam | FanBeam, grid: Grid
) -> torch.Tensor:
    """Filtered views (view, bin, slice) read at every pixel, (pixel, slice), on the CPU."""
    from diffusionblend.operators.kernels import cpu as kernels_cpu

    n_y, n_x = grid.in_plane_shape
    views = lines.cpu().numpy()
    image = np.zeros((n_y * n_x, views.shape[2]), views.dtype)
    aside, ahead, distance = detector_planes(geometry, grid)
    curved = getattr(geometry, "curved", False)
    first_bin = geometry.bin_positions_mm[0] / geometry.bin_mm
    arguments = (views, aside, ahead, distance / geometry.bin_mm, first_bin, curved, n_x, image)
    in_parts(kernels_cpu.back_project_views, n_y, *arguments)
    return torch.from_numpy(image).to(lines.device)


def interpolation_matrix(geometry: ParallelBeam | FanBeam, grid: Grid) -> torch.Tensor:
    """CSR (y * x, views * bins) that reads every view at each pixel's detector position.

    For a fan the readings are divided by the pixel's squared distance from the source: along the
    beam on a flat detector, along the ray on a curved one.
    """
    y, x = np.indices(grid.in_plane_shape).reshape(2, -1)
    aside_planes, ahead_planes, distance = detector_planes(geometry, grid)
    pixels = np.arange(len(x))
    entries = []
    for view in range(geometry.n_views):
        aside, ahead = (
            plane[view, 0] + plane[view, 1] * x + plane[view, 2] * y
            for plane in (aside_planes, ahead_planes)
        )
        if getattr(geometry, "curved", False):
            place, share = np.arctan2(aside, ahead), 1 / (aside**2 + ahead**2)
        else:
            place, share = aside / ahead, 1 / ahead**2
        position = (place * distance - geometry.bin_positions_mm[0]) / geometry.bin_mm
        low = np.floor(position).astype(np.int64)
        for bins, weight in ((low, low + 1 - position), (low + 1, position - low)):
            inside = (bins >= 0) & (bins < geometry.n_bins)
            column = view * geometry.n_bins + bins[inside]
            entries.append((pixels[inside], column, (weight * share)[inside]))
    rows, columns, values = (np.concatenate(part) for part in zip(*entries, strict=True))
    shape = (len(pixels), geometry.n_views * geometry.n_bins)
    return csr_matrix(rows, columns, values, shape, dtype=torch.float32, device="cpu")


def detector_planes(
    geometry: ParallelBeam | FanBeam, grid: Grid
) -> tuple[np.ndarray, np.ndarray, float]:
    """How far pixels lie aside of and ahead of each view's source, in mm, and its detector's mm.

    Both are planes over the slice: (view, 3), the value at pixel [0, 0] and the steps to the next
    column and row. A parallel beam is as far ahead as its detector everywhere, 1.
    """
    n_y, n_x = grid.in_plane_shape
    _, spacing_y, spacing_x = grid.spacing_mm
    corner = np.array((-(n_x - 1) / 2 * spacing_x, -(n_y - 1) / 2 * spacing_y))
    steps = np.array((spacing_x, spacing_y))
    u, n = (axis[:, :2] for axis in geometry.axes())
    parallel = isinstance(geometry, ParallelBeam)
    from_source = corner - (0.0 if parallel else geometry.sources_mm()[:, :2])
    aside = np.column_stack([(from_source * u).sum(1), u * steps])
    if parallel:
        return aside, np.tile((1.0, 0.0, 0.0), (geometry.n_views, 1)), 1.0
    ahead = np.column_stack([(from_source * n).sum(1), n * steps])
    return aside, ahead, geometry.source_to_detector_mm
