"""Filtered back-projection, slice by slice: parallel and fan beams."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from diffusionblend.errors import InputError
from diffusionblend.geometry import (
    ConeBeam,
    FanBeam,
    Geometry,
    Helix,
    ParallelBeam,
    VectorGeometry,
)
from diffusionblend.geometry.checks import check_sources, is_one_sided
from diffusionblend.geometry.circles import cone_of
from diffusionblend.geometry.grid import Grid
from diffusionblend.operators.kernels.threads import in_parts
from diffusionblend.operators.sparse import csr_matrix
from diffusionblend.solvers.filters import (
    angular_weights,
    ramp_filter,
    turn_weights,
    with_opposite_columns,
)

MATRIX_READINGS = 1 << 20
"""Pixels times views up to which the back-projection is a sparse matrix, made in 0.1 s and 150 MB.
Beyond, compiled kernels read the views as they go: faster and leaner, once they are loaded."""


def has_filtered_back_projection(geometry: Geometry) -> bool:
    """Whether there is one of a geometry; of a helix if its views and detector allow it."""
    if type(geometry) is Helix:
        from diffusionblend.solvers.helical import check_helix

        try:
            check_helix(geometry)
        except InputError:
            return False
    return type(geometry) in _BY_GEOMETRY


def filtered_back_projection(
    y: torch.Tensor, geometry: Geometry, grid: Grid, *, window: str = "ram-lak"
) -> torch.Tensor:
    """Attenuation in 1/mm (z, y, x) from line integrals (view, row, column) (Kak, Slaney 1988,
    3.3-4).

    The back-projection reads each filtered view by linear interpolation at the pixel's own place.
    A disc of value 1 comes back as 1, from a 180° scan of a parallel beam, and from 180° and the
    fan on of a fan beam. A cone beam goes to `feldkamp_davis_kress`, a helix to
    `weighted_filtered_back_projection`. Raises InputError on an
    unknown window, where a source lies inside the volume, and for every geometry of another class,
    subclasses too, since their rays may be others.
    """
    reconstruct = _BY_GEOMETRY.get(type(geometry))
    if reconstruct is None:
        known = ", ".join(cls.__name__ for cls in _BY_GEOMETRY)
        circle = cone_of(geometry) if isinstance(geometry, VectorGeometry) else None
        raise InputError(
            f"There is no filtered back-projection of a {type(geometry).__name__}"
            f"{', though this one is a circle about z' if circle else ''}.",
            f"one of {known}",
            "the ConeBeam of the same rays, by diffusionblend.geometry.circles.cone_of, or an "
            "iterative method, such as --method admm-tv"
            if circle
            else "an iterative method, such as --method admm-tv",
        )
    check_sources(geometry, grid)
    return reconstruct(y, geometry, grid, window)


def _from_parallel(
    y: torch.Tensor, geometry: ParallelBeam, grid: Grid, window: str
) -> torch.Tensor:
    place = geometry.column_positions_mm
    if geometry.with_opposite_rays() is not geometry or _is_one_sided_arc(geometry):
        weights = turn_weights(geometry.angles_rad, np.zeros(len(place)), place)
    else:
        weights = angular_weights(geometry.angles_rad)[:, None]
    weighted = y * torch.as_tensor(weights).to(y)[:, None]
    weighted, geometry = with_opposite_columns(weighted, geometry)
    filtered = ramp_filter(weighted, geometry.column_mm, window)
    return back_projection(filtered, parallel_planes(geometry, grid), grid)


def _is_one_sided_arc(geometry: ParallelBeam) -> bool:
    """Whether opposite views of more than half a turn complete each other."""
    arc = angular_weights(geometry.angles_rad, 2 * np.pi)
    return is_one_sided(geometry) and arc.sum() > np.pi + arc.max()


def _from_fan(y: torch.Tensor, geometry: FanBeam, grid: Grid, window: str) -> torch.Tensor:
    weighted, geometry = with_opposite_columns(weighted_fan(y, geometry), geometry)
    distance = geometry.source_to_detector_mm
    if geometry.curved:
        column_rad = geometry.column_mm / distance
        filtered = ramp_filter(weighted, geometry.column_mm, window, column_rad=column_rad)
    else:
        filtered = ramp_filter(weighted, geometry.column_mm, window) * distance
    return back_projection(filtered, fan_planes(geometry, grid), grid)


def _from_cone(y: torch.Tensor, geometry: ConeBeam, grid: Grid, window: str) -> torch.Tensor:
    from diffusionblend.solvers.fdk import feldkamp_davis_kress

    return feldkamp_davis_kress(y, geometry, grid, window=window)


def _from_helix(y: torch.Tensor, geometry: Helix, grid: Grid, window: str) -> torch.Tensor:
    from diffusionblend.solvers.helical import weighted_filtered_back_projection

    return weighted_filtered_back_projection(y, geometry, grid, window=window)


_BY_GEOMETRY: dict[type, Callable[..., torch.Tensor]] = {
    ParallelBeam: _from_parallel,
    FanBeam: _from_fan,
    ConeBeam: _from_cone,
    Helix: _from_helix,
}
"""By exact class."""


def weighted_fan(y: torch.Tensor, geometry: FanBeam) -> torch.Tensor:
    """Views of a fan beam (view, row, column) as they are filtered, with their weights.

    Every ray counts with the length along it from the source to the foot of the axis, which is
    source_to_axis cos(fan angle) where the axis is not shifted, and with its share of its line.
    """
    fan_rad = geometry.fan_angles_rad
    along = np.cos(fan_rad) * geometry.source_to_axis_mm + np.sin(fan_rad) * geometry.axis_shift_mm
    to_axis = np.arctan2(geometry.axis_shift_mm, geometry.source_to_axis_mm)
    weights = turn_weights(geometry.angles_rad, fan_rad - to_axis) * along
    return y * torch.as_tensor(weights).to(y)[:, None]


@dataclass(frozen=True, eq=False)
class DetectorPlanes:
    """How far pixels lie aside of and ahead of each view's source, in mm, and what they meet there.

    aside, ahead: planes over the slice, (view, 3), the value at pixel [0, 0] and the steps to the
    next column and row; a parallel beam is 1 ahead everywhere. distance_mm: the detector's.
    n_columns, column_mm, first_mm: its columns, their width, and where the first lies. curved: as
    of a fan.
    """

    aside: np.ndarray
    ahead: np.ndarray
    distance_mm: float
    n_columns: int
    column_mm: float
    first_mm: float
    curved: bool = False


def parallel_planes(geometry: ParallelBeam, grid: Grid) -> DetectorPlanes:
    """The planes of a parallel beam over a slice of `grid`."""
    corner, steps = _corner_and_steps(grid)
    u = geometry.axes()[0][:, :2]
    aside = np.column_stack([(corner * u).sum(1), u * steps])
    ahead = np.tile((1.0, 0.0, 0.0), (geometry.n_views, 1))
    return DetectorPlanes(
        aside,
        ahead,
        1.0,
        geometry.n_columns,
        geometry.column_mm,
        float(geometry.column_positions_mm[0]),
    )


def fan_planes(geometry: FanBeam, grid: Grid) -> DetectorPlanes:
    """The planes of a fan beam over a slice of `grid`."""
    corner, steps = _corner_and_steps(grid)
    u, n = (axis[:, :2] for axis in geometry.axes())
    from_source = corner - geometry.circle_mm()[:, :2]
    aside = np.column_stack([(from_source * u).sum(1), u * steps])
    ahead = np.column_stack([(from_source * n).sum(1), n * steps])
    return DetectorPlanes(
        aside,
        ahead,
        geometry.source_to_detector_mm,
        geometry.n_columns,
        geometry.column_mm,
        float(geometry.column_positions_mm[0]),
        geometry.curved,
    )


def _corner_and_steps(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Pixel [0, 0] and the pixel's width and height, each (x, y) in mm."""
    n_y, n_x = grid.in_plane_shape
    _, spacing_y, spacing_x = grid.spacing_mm
    corner = np.array((-(n_x - 1) / 2 * spacing_x, -(n_y - 1) / 2 * spacing_y))
    return corner, np.array((spacing_x, spacing_y))


def back_projection(filtered: torch.Tensor, planes: DetectorPlanes, grid: Grid) -> torch.Tensor:
    """Filtered views (view, row, column) read at every pixel and added, (z, y, x)."""
    views, slices, columns = filtered.shape
    lines = filtered.transpose(1, 2).contiguous()
    if views * grid.shape[1] * grid.shape[2] <= MATRIX_READINGS:
        matrix = interpolation_matrix(planes, grid).to(filtered)
        image = matrix @ lines.reshape(views * columns, slices)
    else:
        image = _back_projection_by_kernel(lines, planes, grid)
    return image.T.reshape(grid.shape).contiguous()


def _back_projection_by_kernel(
    lines: torch.Tensor, planes: DetectorPlanes, grid: Grid
) -> torch.Tensor:
    """Filtered views (view, column, slice) read at every pixel, (pixel, slice), on the CPU."""
    from diffusionblend.operators.kernels import cpu as kernels_cpu

    n_y, n_x = grid.in_plane_shape
    views = lines.cpu().numpy()
    image = np.zeros((n_y * n_x, views.shape[2]), views.dtype)
    in_columns = planes.distance_mm / planes.column_mm, planes.first_mm / planes.column_mm
    arguments = (views, planes.aside, planes.ahead, *in_columns, planes.curved, n_x, image)
    in_parts(kernels_cpu.back_project_views, n_y, *arguments)
    return torch.from_numpy(image).to(lines.device)


def interpolation_matrix(planes: DetectorPlanes, grid: Grid) -> torch.Tensor:
    """CSR (y * x, views * columns) that reads every view at each pixel's detector position.

    For a fan the readings are divided by the pixel's squared distance from the source: along the
    beam on a flat detector, along the ray on a curved one.
    """
    y, x = np.indices(grid.in_plane_shape).reshape(2, -1)
    pixels = np.arange(len(x))
    n_views, n_columns = len(planes.aside), planes.n_columns
    entries = []
    for view in range(n_views):
        aside, ahead = (
            plane[view, 0] + plane[view, 1] * x + plane[view, 2] * y
            for plane in (planes.aside, planes.ahead)
        )
        if planes.curved:
            place, share = np.arctan2(aside, ahead), 1 / (aside**2 + ahead**2)
        else:
            place, share = aside / ahead, 1 / ahead**2
        position = (place * planes.distance_mm - planes.first_mm) / planes.column_mm
        low = np.floor(position).astype(np.int64)
        for columns, weight in ((low, low + 1 - position), (low + 1, position - low)):
            inside = (columns >= 0) & (columns < n_columns)
            ray = view * n_columns + columns[inside]
            entries.append((pixels[inside], ray, (weight * share)[inside]))
    rows, columns, values = (np.concatenate(part) for part in zip(*entries, strict=True))
    shape = (len(pixels), n_views * n_columns)
    return csr_matrix(rows, columns, values, shape, dtype=torch.float32, device="cpu")
