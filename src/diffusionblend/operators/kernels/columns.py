"""Compiled kernels for panels whose rows run along z: all rays of a detector column together.

They lie in one upright plane, cross it line by line at the same places, and differ in height alone.
So a line's two neighbouring columns of voxels are blended once for all of them, and the rays read
the blend. Volumes are (y, x, z), so that a column of voxels is contiguous. The weights are those of
the rays one by one, see kernels_cpu. Places are float64, sums have the precision of the data.
"""

from __future__ import annotations

import math

import numpy as np

from diffusionblend.operators.kernels.cpu import compiled, lines_met

Z, Y = 0, 1
ONE = np.uint32(1)
SPARE = 1
"""One more, for places that rounding puts on the far edge."""
PAD = 1
"""Empty voxels at either end of a column, since a ray may pass up to a voxel outside."""


@compiled
def trace_column(
    views: np.ndarray,
    view: int,
    b: int,
    n_rows: int,
    n_columns: int,
    parallel: bool,
    size: np.ndarray,
    spacing_mm: np.ndarray,
) -> tuple[int, float, float, int, int, float, float, float, float, float]:
    """The rays of column b of a view, of n_columns, as `kernels_cpu.trace` tabulates them,
    together.

    The axis that they advance along; start and slope across; first and last plane, the last left
    out; the height of row r in plane k as (h0 + h1 r) + (s0 + s1 r) k; the square of a step's
    length in mm, but for its part along z, which is (s0 + s1 r) voxels.
    """
    middle = (n_columns - 1) / 2
    z = views[view, 3] + (b - middle) * views[view, 6] - (n_rows - 1) / 2 * views[view, 9]
    y = views[view, 4] + (b - middle) * views[view, 7]
    x = views[view, 5] + (b - middle) * views[view, 8]
    a_row = views[view, 9]
    if parallel:
        from_y, from_x, ahead_y, ahead_x = y, x, views[view, 1], views[view, 2]
    else:
        from_y, from_x = views[view, 1], views[view, 2]
        ahead_y, ahead_x = y - from_y, x - from_x
    axis = 1 if abs(ahead_y) >= abs(ahead_x) else 2
    origin, ahead, n_across = (
        (from_y, ahead_y, size[2]) if axis == Y else (from_x, ahead_x, size[1])
    )
    slope = (ahead_x if axis == Y else ahead_y) / ahead
    start = (from_x if axis == Y else from_y) - slope * origin
    low, high = 0.0, size[axis] - 1.0
    if parallel:
        s0, s1 = views[view, Z] / ahead, 0.0
        h0, h1 = z - s0 * origin, a_row
    else:
        s0, s1 = (z - views[view, Z]) / ahead, a_row / ahead
        h0, h1 = views[view, Z] - s0 * origin, -s1 * origin
        if ahead > 0:
            low = max(low, origin)
        else:
            high = min(high, origin)
    ends = lines_met(start, slope, n_across)
    low, high = max(low, ends[0]), min(high, ends[1])
    first = int(math.floor(low)) if low <= high else 0
    last = int(min(math.ceil(high) + 1.0, size[axis])) if low <= high else 0
    square = (spacing_mm[1] * ahead_y) ** 2 + (spacing_mm[2] * ahead_x) ** 2
    return axis, start, slope, first, last, h0, h1, s0, s1, square / ahead**2


@compiled
def rows_met(height: float, step: float, n_z: int, n_rows: int) -> tuple[int, int]:
    """The rows r, last left out, whose height + step r lies between -1 and n_z."""
    low, high = lines_met(height, step, n_z)
    low, high = max(low, 0.0), min(high, n_rows - 1.0)
    if low > high:
        return 0, 0
    first, last = int(math.floor(low)), int(min(math.ceil(high) + 1.0, n_rows))
    while first < last and not -1.0 < height + step * first < n_z:
        first += 1
    while first < last and not -1.0 < height + step * (last - 1) < n_z:
        last -= 1
    return first, last


@compiled
def neighbours(
    across: float, n_across: int, by_line: int, by_place: int, line: int
) -> tuple[int, float, int, float]:
    """Where the two columns of voxels about a crossing begin, and their weights, 0 outside."""
    at = int(math.floor(across))
    far = across - at
    here, there = max(at, 0), min(at + 1, n_across - 1)
    near = 1.0 - far if at >= 0 else 0.0
    far = far if at + 1 < n_across else 0.0
    return line * by_line + here * by_place, near, line * by_line + there * by_place, far


@compiled
def project_columns(
    first_column: int,
    last_column: int,
    volume: np.ndarray,
    views: np.ndarray,
    parallel: bool,
    spacing_mm: np.ndarray,
    scale: float,
    lines: np.ndarray,
) -> None:
    """lines (view, row, column) = A volume (y, x, z), of some columns: column by column, view after
    view.
    """
    n_y, n_x, n_z = volume.shape
    _, n_rows, n_columns = lines.shape
    size = np.array((n_z, n_y, n_x))
    blend = np.zeros(n_z + 2 * PAD + SPARE, volume.dtype)
    low, part = np.empty(n_rows, np.uint32), np.empty(n_rows, volume.dtype)
    sums = np.empty(n_rows, volume.dtype)
    kind, voxels = volume.dtype.type, volume.reshape(-1)
    whole_weight = kind(1.0)
    for column in range(first_column, last_column):
        view, b = column // n_columns, column % n_columns
        axis, start, slope, first, last, h0, h1, s0, s1, square = trace_column(
            views, view, b, n_rows, n_columns, parallel, size, spacing_mm
        )
        n_across = n_x if axis == Y else n_y
        by_line, by_place = (n_x * n_z, n_z) if axis == Y else (n_z, n_x * n_z)
        sums[:] = 0.0
        for k in range(first, last):
            height, step = h0 + s0 * k, h1 + s1 * k
            r0, r1 = rows_met(height, step, n_z, n_rows)
            across = start + slope * k
            if r0 == r1 or not -1.0 < across < n_across:
                continue
            n_met, lowest = r1 - r0, height + step * r0 + PAD
            for i in range(n_met):
                place = lowest + step * i
                whole = np.uint32(place)
                low[i], part[i] = whole, place - whole
            bottom, top = min(low[0], low[n_met - 1]), max(low[0], low[n_met - 1]) + 1
            bottom, top = max(bottom, PAD), min(top, n_z + PAD - 1)
            here, near, there, far = neighbours(across, n_across, by_line, by_place, k)
            near, far = kind(near), kind(far)
            n, into = top + 1 - bottom, blend[bottom:]
            one, other = voxels[here + bottom - PAD :], voxels[there + bottom - PAD :]
            for i in range(n):
                into[i] = near * one[i] + far * other[i]
            met = sums[r0:r1]
            for i in range(n_met):
                # weighed as by the adjoint: value + part (next - value) loses a grazing ray
                met[i] += (whole_weight - part[i]) * blend[low[i]] + part[i] * blend[low[i] + ONE]
        for r in range(n_rows):
            along_z = (s0 + s1 * r) * spacing_mm[Z]
            lines[view, r, b] = sums[r] * (scale * math.sqrt(square + along_z * along_z))


@compiled
def back_project_columns(
    first_line: int,
    last_line: int,
    along: int,
    lines: np.ndarray,
    views: np.ndarray,
    parallel: bool,
    spacing_mm: np.ndarray,
    scale: float,
    volume: np.ndarray,
) -> None:
    """volume (y, x, z) += A* lines, in some rows (along 1) or columns (2), by rays along them."""
    n_y, n_x, n_z = volume.shape
    n_views, n_rows, n_columns = lines.shape
    size = np.array((n_z, n_y, n_x))
    blend = np.zeros(n_z + 2 * PAD + SPARE, volume.dtype)
    low = np.empty(n_rows, np.uint32)
    values, lower, upper = np.empty((3, n_rows), volume.dtype)
    kind, voxels = volume.dtype.type, volume.reshape(-1)
    whole_weight = kind(1.0)
    for column in range(n_views * n_columns):
        view, b = column // n_columns, column % n_columns
        axis, start, slope, first, last, h0, h1, s0, s1, square = trace_column(
            views, view, b, n_rows, n_columns, parallel, size, spacing_mm
        )
        first, last = max(first, first_line), min(last, last_line)
        if axis != along or first >= last:
            continue
        n_across = n_x if axis == Y else n_y
        by_line, by_place = (n_x * n_z, n_z) if axis == Y else (n_z, n_x * n_z)
        for r in range(n_rows):
            along_z = (s0 + s1 * r) * spacing_mm[Z]
            values[r] = lines[view, r, b] * (scale * math.sqrt(square + along_z * along_z))
        for k in range(first, last):
            height, step = h0 + s0 * k, h1 + s1 * k
            r0, r1 = rows_met(height, step, n_z, n_rows)
            across = start + slope * k
            if r0 == r1 or not -1.0 < across < n_across:
                continue
            n_met, lowest, met = r1 - r0, height + step * r0 + PAD, values[r0:r1]
            for i in range(n_met):
                place = lowest + step * i
                whole = np.uint32(place)
                part = kind(place - whole)
                low[i], upper[i], lower[i] = whole, part * met[i], (whole_weight - part) * met[i]
            bottom, top = min(low[0], low[n_met - 1]), max(low[0], low[n_met - 1]) + 1
            blend[bottom : top + 1] = 0.0
            for i in range(n_met):
                blend[low[i]] += lower[i]
                blend[low[i] + ONE] += upper[i]
            bottom, top = max(bottom, PAD), min(top, n_z + PAD - 1)
            here, near, there, far = neighbours(across, n_across, by_line, by_place, k)
            near, far = kind(near), kind(far)
            n, source = top + 1 - bottom, blend[bottom:]
            one, other = voxels[here + bottom - PAD :], voxels[there + bottom - PAD :]
            for i in range(n):
                one[i] += near * source[i]
            for i in range(n):
                other[i] += far * source[i]
