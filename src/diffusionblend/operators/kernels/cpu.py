"""Compiled kernels of the X-ray transforms for the CPU; imported only when rays are computed.

All take the range of work they own first. They release the GIL and write to places of their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numba
import numpy as np


def compiled(function: Callable) -> Callable:
    """A function compiled when first called, and kept on disk where there is a place for it."""
    options = {"nogil": True, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        return numba.njit(**options)(function)


@compiled
def lines_met(start: float, slope: float, n_across: int) -> tuple[float, float]:
    """The places k between which -1 < start + slope k < n_across."""
    if slope == 0.0:
        if -1.0 < start < n_across:
            return -math.inf, math.inf
        return math.inf, -math.inf
    one, other = (-1.0 - start) / slope, (n_across - start) / slope
    return min(one, other), max(one, other)


@compiled
def steepest_axis(z: float, y: float, x: float) -> int:
    """The axis along which a direction in voxels advances most; y before x before z if equal."""
    if abs(z) > abs(y) and abs(z) > abs(x):
        return 0
    return 1 if abs(y) >= abs(x) else 2


@compiled
def trace(
    first: int,
    last: int,
    first_line: int,
    views: np.ndarray,
    n_rows: int,
    n_columns: int,
    parallel: bool,
    size: np.ndarray,
    spacing_mm: np.ndarray,
    scale: float,
    table: np.ndarray,
) -> None:
    """Fill rows of the table of rays: those of some detector rows, counted from first_line.

    A ray of the table (8): the axis it advances along; start and slope across, on the first and
    the second of the other axes; length of a step; first and last plane, the last left out.
    """
    origin, ahead = np.empty(3), np.empty(3)
    for i in range(first, last):
        view, row = (first_line + i) // n_rows, (first_line + i) % n_rows
        for b in range(n_columns):
            length = 0.0
            for k in range(3):
                place = views[view, 3 + k] + (b - (n_columns - 1) / 2) * views[view, 6 + k]
                place += (row - (n_rows - 1) / 2) * views[view, 9 + k]
                origin[k] = place if parallel else views[view, k]
                ahead[k] = views[view, k] if parallel else place - views[view, k]
                length += (ahead[k] * spacing_mm[k]) ** 2
            axis = steepest_axis(ahead[0], ahead[1], ahead[2])
            low, high = 0.0, size[axis] - 1.0
            if not parallel:
                if ahead[axis] > 0:
                    low = max(low, origin[axis])
                else:
                    high = min(high, origin[axis])
            ray, column = i * n_columns + b, 1
            table[ray, 0] = axis
            for k in range(3):
                if k != axis:
                    slope = ahead[k] / ahead[axis]
                    start = origin[k] - slope * origin[axis]
                    table[ray, column], table[ray, column + 1] = start, slope
                    column += 2
                    ends = lines_met(start, slope, size[k])
                    low, high = max(low, ends[0]), min(high, ends[1])
            table[ray, 5] = math.sqrt(length) / abs(ahead[axis]) * scale
            table[ray, 6] = math.floor(low) if low <= high else 0.0
            table[ray, 7] = min(math.ceil(high) + 1.0, size[axis]) if low <= high else 0.0


@compiled
def strides(axis: int, n_z: int, n_y: int, n_x: int) -> tuple[int, int, int, int, int]:
    """Strides along the axis and the two others, and the sizes of the two others."""
    if axis == 0:
        return n_y * n_x, n_x, 1, n_y, n_x
    if axis == 1:
        return n_x, n_y * n_x, 1, n_z, n_x
    return 1, n_y * n_x, n_x, n_z, n_y


@compiled
def project_volume(
    first_ray: int,
    last_ray: int,
    table: np.ndarray,
    volume: np.ndarray,
    n_z: int,
    n_y: int,
    n_x: int,
    lines: np.ndarray,
) -> None:
    """lines (ray,) = A volume (voxel,) for some rays of a table as `trace` fills it."""
    for ray in range(first_ray, last_ray):
        by_plane, by_a, by_b, n_a, n_b = strides(int(table[ray, 0]), n_z, n_y, n_x)
        total = 0.0
        for k in range(int(table[ray, 6]), int(table[ray, 7])):
            a = table[ray, 1] + table[ray, 2] * k
            b = table[ray, 3] + table[ray, 4] * k
            low_a, low_b = math.floor(a), math.floor(b)
            part_a, part_b = a - low_a, b - low_b
            at = k * by_plane + low_a * by_a + low_b * by_b
            if 0 <= low_a < n_a - 1 and 0 <= low_b < n_b - 1:
                near = volume[at] * (1.0 - part_b) + volume[at + by_b] * part_b
                far = volume[at + by_a] * (1.0 - part_b) + volume[at + by_a + by_b] * part_b
                total += near * (1.0 - part_a) + far * part_a
                continue
            for i in range(2):
                for j in range(2):
                    if 0 <= low_a + i < n_a and 0 <= low_b + j < n_b:
                        weight_a = part_a if i else 1.0 - part_a
                        weight_b = part_b if j else 1.0 - part_b
                        total += weight_a * weight_b * volume[at + i * by_a + j * by_b]
        lines[ray] = total * table[ray, 5]


@compiled
def back_project_volume(
    first_plane: int,
    last_plane: int,
    table: np.ndarray,
    axis: int,
    lines: np.ndarray,
    n_z: int,
    n_y: int,
    n_x: int,
    volume: np.ndarray,
) -> None:
    """volume (voxel,) += A* lines (ray,) in some planes across the axis.

    Only rays that advance along it count; they write nowhere else.
    """
    by_plane, by_a, by_b, n_a, n_b = strides(axis, n_z, n_y, n_x)
    for ray in range(table.shape[0]):
        if int(table[ray, 0]) != axis:
            continue
        value = table[ray, 5] * lines[ray]
        for k in range(max(first_plane, int(table[ray, 6])), min(last_plane, int(table[ray, 7]))):
            a = table[ray, 1] + table[ray, 2] * k
            b = table[ray, 3] + table[ray, 4] * k
            low_a, low_b = math.floor(a), math.floor(b)
            part_a, part_b = a - low_a, b - low_b
            at = k * by_plane + low_a * by_a + low_b * by_b
            if 0 <= low_a < n_a - 1 and 0 <= low_b < n_b - 1:
                near, far = value * (1.0 - part_a), value * part_a
                volume[at] += near * (1.0 - part_b)
                volume[at + by_b] += near * part_b
                volume[at + by_a] += far * (1.0 - part_b)
                volume[at + by_a + by_b] += far * part_b
                continue
            for i in range(2):
                for j in range(2):
                    if 0 <= low_a + i < n_a and 0 <= low_b + j < n_b:
                        weight_a = part_a if i else 1.0 - part_a
                        weight_b = part_b if j else 1.0 - part_b
                        volume[at + i * by_a + j * by_b] += value * weight_a * weight_b


@compiled
def back_project_filtered(
    first_row: int,
    last_row: int,
    filtered: np.ndarray,
    views: np.ndarray,
    spacing_mm: np.ndarray,
    volume: np.ndarray,
) -> None:
    """volume (z, y, x) += filtered views (view, row, column) over squared depths, in some rows y.

    Views as views_in_voxels gives them, of a panel whose rows run along z and whose columns run
    across z. A voxel reads each view where its ray meets the panel; its depth is in mm along the
    beam.
    """
    n_views, n_rows, n_columns = filtered.shape
    for view in range(n_views):
        source, middle = views[view, 0:3], views[view, 3:6]
        u = views[view, 6:9] * spacing_mm
        column_mm = math.sqrt(u[1] ** 2 + u[2] ** 2)
        u_y, u_x = u[1] / column_mm, u[2] / column_mm
        row_mm = views[view, 9] * spacing_mm[0]
        middle_y = (middle[1] - source[1]) * spacing_mm[1]
        middle_x = (middle[2] - source[2]) * spacing_mm[2]
        # along the beam: across z and u, towards the panel
        detector_mm = u_x * middle_y - u_y * middle_x
        shift_mm = u_x * middle_x + u_y * middle_y
        lift_mm = (middle[0] - source[0]) * spacing_mm[0]
        for y in range(first_row, last_row):
            away_y = (y - source[1]) * spacing_mm[1]
            for x in range(volume.shape[2]):
                away_x = (x - source[2]) * spacing_mm[2]
                depth_mm = u_x * away_y - u_y * away_x
                magnified = detector_mm / depth_mm
                place = (u_x * away_x + u_y * away_y) * magnified - shift_mm
                b = place / column_mm + (n_columns - 1) / 2
                low_b = math.floor(b)
                if magnified <= 0 or low_b < -1 or low_b >= n_columns:
                    continue
                part_b, over = b - low_b, 1 / (depth_mm * depth_mm)
                for z in range(volume.shape[0]):
                    height = (z - source[0]) * spacing_mm[0] * magnified - lift_mm
                    r = height / row_mm + (n_rows - 1) / 2
                    low_r = math.floor(r)
                    part_r, total = r - low_r, 0.0
                    for i in range(2):
                        for j in range(2):
                            if 0 <= low_r + i < n_rows and 0 <= low_b + j < n_columns:
                                weight_r = part_r if i else 1.0 - part_r
                                weight_b = part_b if j else 1.0 - part_b
                                reading = filtered[view, low_r + i, low_b + j]
                                total += weight_r * weight_b * reading
                    volume[z, y, x] += total * over


@compiled
def back_project_views(
    first_row: int,
    last_row: int,
    lines: np.ndarray,
    aside: np.ndarray,
    ahead: np.ndarray,
    distance: float,
    first_column: float,
    curved: bool,
    n_x: int,
    pixels: np.ndarray,
) -> None:
    """pixels (pixel, slice) += filtered views (view, column, slice) over squared distances, some
    rows.

    aside, ahead: planes (view, 3) over the slice, in mm from the source. distance: the detector's,
    in columns. first_column: where its first column lies, in columns.
    """
    n_views, n_columns, n_slices = lines.shape
    for y in range(first_row, last_row):
        for view in range(n_views):
            for x in range(n_x):
                away = aside[view, 0] + aside[view, 1] * x + aside[view, 2] * y
                depth = ahead[view, 0] + ahead[view, 1] * x + ahead[view, 2] * y
                if curved:
                    place, share = math.atan2(away, depth), 1.0 / (away * away + depth * depth)
                else:
                    place, share = away / depth, 1.0 / (depth * depth)
                b = place * distance - first_column
                if not -1.0 < b < n_columns:
                    continue
                low = math.floor(b)
                for at in range(low, low + 2):
                    if 0 <= at < n_columns:
                        weight = share * (b - low if at > low else low + 1 - b)
                        for s in range(n_slices):
                            pixels[y * n_x + x, s] += weight * lines[view, at, s]
