"""Triton kernels of the X-ray transforms for a GPU; imported only when rays are computed there.

They have the weights of `kernels_cpu`: places and sums along a ray are float64. The adjoint adds
with atomics, in no fixed order, so that its last digit may differ from run to run.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import triton
import triton.language as tl

RAYS_PER_PROGRAM = 128
SLICEWISE_RAYS_PER_PROGRAM = 8
MOST_SLICES_PER_PROGRAM = 64
KEPT_TABLES = 64
"""Geometries whose views stay on the device."""
OPTIONS = {"enable_fp_fusion": True}
"""Of every launch; said, because Triton's default is to change."""


def project_volume(
    volume: torch.Tensor,
    *,
    panel: tuple[int, int],
    views: np.ndarray,
    spacing_mm: tuple[float, float, float],
    scale: float,
    parallel: bool,
) -> torch.Tensor:
    """A volume (z, y, x) as lines (view, row, column) on its device.

    panel: rows and columns. views: (view, 12) as `views_in_voxels` gives them. scale multiplies
    lengths.
    """
    lines = volume.new_empty((len(views), *panel))
    _launch(_project_volume, lines, volume.contiguous(), views, spacing_mm, scale, parallel)
    return lines


def back_project_volume(
    lines: torch.Tensor,
    *,
    shape: tuple[int, int, int],
    views: np.ndarray,
    spacing_mm: tuple[float, float, float],
    scale: float,
    parallel: bool,
) -> torch.Tensor:
    """A* lines (view, row, column) as a volume (z, y, x) of `shape`; the rest as
    `project_volume`.
    """
    volume = lines.new_zeros(shape)
    _launch(_back_project_volume, lines.contiguous(), volume, views, spacing_mm, scale, parallel)
    return volume


def project_slices(pixels: torch.Tensor, table: torch.Tensor, n_y: int, n_x: int) -> torch.Tensor:
    """A pixels (pixel, slice) as lines (ray, slice); table: PlaneRays.table on the same device."""
    lines = pixels.new_empty((len(table), pixels.shape[1]))
    _launch_slices(_project_slices, table, pixels, n_y, n_x, lines)
    return lines


def back_project_slices(
    lines: torch.Tensor, table: torch.Tensor, n_y: int, n_x: int
) -> torch.Tensor:
    """A* lines (ray, slice) as pixels (pixel, slice)."""
    pixels = lines.new_zeros((n_y * n_x, lines.shape[1]))
    _launch_slices(_back_project_slices, table, pixels, n_y, n_x, lines)
    return pixels


def _launch(
    kernel: triton.JITFunction,
    lines: torch.Tensor,
    volume: torch.Tensor,
    views: np.ndarray,
    spacing_mm: tuple[float, float, float],
    scale: float,
    parallel: bool,
) -> None:
    """Run a kernel over all rays of (view, row, column)."""
    _, n_rows, n_columns = lines.shape
    lengths = _on_device(np.array([*spacing_mm, scale], np.float64).tobytes(), lines.device)
    places = _on_device(np.ascontiguousarray(views, np.float64).tobytes(), lines.device)
    n_rays = lines.numel()
    grid = (triton.cdiv(n_rays, RAYS_PER_PROGRAM),)
    arguments = (lines, volume, places, lengths, n_rays, n_rows, n_columns, *volume.shape)
    with torch.cuda.device_of(lines):
        kernel[grid](*arguments, PARALLEL=parallel, RAYS=RAYS_PER_PROGRAM, **OPTIONS)


@lru_cache(maxsize=KEPT_TABLES)
def _on_device(doubles: bytes, device: torch.device) -> torch.Tensor:
    """Numbers on a device, sent once, since sending waits for what the device is at.

    As a tensor, since a kernel takes plain numbers in single precision.
    """
    return torch.frombuffer(bytearray(doubles), dtype=torch.float64).to(device)


def _launch_slices(
    kernel: triton.JITFunction,
    table: torch.Tensor,
    pixels: torch.Tensor,
    n_y: int,
    n_x: int,
    lines: torch.Tensor,
) -> None:
    """Run a kernel over all rays and slices."""
    n_rays, n_slices = lines.shape
    slices = min(MOST_SLICES_PER_PROGRAM, triton.next_power_of_2(n_slices))
    grid = (triton.cdiv(n_rays, SLICEWISE_RAYS_PER_PROGRAM), triton.cdiv(n_slices, slices))
    arguments = (table, pixels, lines, n_rays, n_slices, n_y, n_x)
    with torch.cuda.device_of(lines):
        kernel[grid](*arguments, RAYS=SLICEWISE_RAYS_PER_PROGRAM, SLICES=slices, **OPTIONS)


@triton.jit
def _lines_met(start, slope, n_across):
    """The places k between which -1 < start + slope k < n_across."""
    level = slope == 0.0
    divisor = tl.where(level, 1.0, slope)
    one, other = (-1.0 - start) / divisor, (n_across - start) / divisor
    inside = (start > -1.0) & (start < n_across)
    endless = float("inf")
    low = tl.where(level, tl.where(inside, -endless, endless), tl.minimum(one, other))
    high = tl.where(level, tl.where(inside, endless, -endless), tl.maximum(one, other))
    return low, high


@triton.jit
def _by_axis(axis, z, y, x):
    """The component along the axis, and those along the first and the second other axis."""
    along = tl.where(axis == 0, z, tl.where(axis == 1, y, x))
    return along, tl.where(axis == 0, y, z), tl.where(axis == 2, y, x)


@triton.jit
def _component(views, view, row, column, mask, k: tl.constexpr, PARALLEL: tl.constexpr):
    """Component k of the rays' origin and direction in voxels."""
    place = tl.load(views + view * 12 + 3 + k, mask=mask, other=0.0)
    place += column * tl.load(views + view * 12 + 6 + k, mask=mask, other=0.0)
    place += row * tl.load(views + view * 12 + 9 + k, mask=mask, other=0.0)
    source = tl.load(views + view * 12 + k, mask=mask, other=1.0)
    if PARALLEL:
        origin, ahead = place, source
    else:
        origin, ahead = source, place - source
    return origin, ahead


@triton.jit
def _trace(ray, mask, views, lengths, n_rows, n_columns, n_z, n_y, n_x, PARALLEL: tl.constexpr):
    """Rays as `kernels_cpu.trace` tabulates them: axis, two starts and slopes, step, planes."""
    view = ray // (n_rows * n_columns)
    row = ((ray // n_columns) % n_rows).to(tl.float64) - (n_rows - 1) / 2
    column = (ray % n_columns).to(tl.float64) - (n_columns - 1) / 2
    from_z, ahead_z = _component(views, view, row, column, mask, 0, PARALLEL)
    from_y, ahead_y = _component(views, view, row, column, mask, 1, PARALLEL)
    from_x, ahead_x = _component(views, view, row, column, mask, 2, PARALLEL)
    by_z, by_y, by_x = tl.abs(ahead_z), tl.abs(ahead_y), tl.abs(ahead_x)
    axis = tl.where((by_z > by_y) & (by_z > by_x), 0, tl.where(by_y >= by_x, 1, 2))
    origin, from_a, from_b = _by_axis(axis, from_z, from_y, from_x)
    ahead, ahead_a, ahead_b = _by_axis(axis, ahead_z, ahead_y, ahead_x)
    n_planes, n_a, n_b = _by_axis(axis, n_z, n_y, n_x)
    ahead = tl.where(mask, ahead, 1.0)
    slope_a, slope_b = ahead_a / ahead, ahead_b / ahead
    start_a, start_b = from_a - slope_a * origin, from_b - slope_b * origin
    low, high = tl.zeros_like(ahead), n_planes - 1.0 + tl.zeros_like(ahead)
    if not PARALLEL:
        low = tl.where(ahead > 0, tl.maximum(low, origin), low)
        high = tl.where(ahead > 0, high, tl.minimum(high, origin))
    first_a, last_a = _lines_met(start_a, slope_a, n_a)
    first_b, last_b = _lines_met(start_b, slope_b, n_b)
    low = tl.maximum(tl.maximum(low, first_a), first_b)
    high = tl.minimum(tl.minimum(high, last_a), last_b)
    met = mask & (low <= high)
    first = tl.floor(tl.where(met, low, 0.0)).to(tl.int32)
    last = tl.minimum(tl.ceil(tl.where(met, high, -1.0)).to(tl.int32) + 1, n_planes)
    mm_z, mm_y, mm_x = tl.load(lengths), tl.load(lengths + 1), tl.load(lengths + 2)
    square = ahead_z * mm_z * ahead_z * mm_z + ahead_y * mm_y * ahead_y * mm_y
    square += ahead_x * mm_x * ahead_x * mm_x
    step = tl.sqrt(square) / tl.abs(ahead) * tl.load(lengths + 3)
    return axis, start_a, slope_a, start_b, slope_b, step, first, last


@triton.jit
def _project_volume(
    lines, volume, views, lengths, n_rays, n_rows, n_columns, n_z, n_y, n_x,
    PARALLEL: tl.constexpr, RAYS: tl.constexpr,
):  # fmt: skip
    """lines (ray,) = A volume (voxel,), RAYS rays a program."""
    ray = tl.program_id(0).to(tl.int64) * RAYS + tl.arange(0, RAYS)
    mask = ray < n_rays
    axis, start_a, slope_a, start_b, slope_b, step, first, last = _trace(
        ray, mask, views, lengths, n_rows, n_columns, n_z, n_y, n_x, PARALLEL
    )
    by_plane, by_a, by_b = _by_axis(axis, n_y * n_x, n_x, 1)
    n_planes, n_a, n_b = _by_axis(axis, n_z, n_y, n_x)
    total = tl.zeros((RAYS,), tl.float64)
    for k in range(tl.min(first), tl.max(last)):
        a, b = start_a + slope_a * k, start_b + slope_b * k
        low_a, low_b = tl.floor(a), tl.floor(b)
        part_a, part_b = a - low_a, b - low_b
        met = mask & (k >= first) & (k < last)
        for i in tl.static_range(2):
            at_a = tl.where(met, low_a, 0.0).to(tl.int64) + i
            weight_a = part_a if i == 1 else 1.0 - part_a
            for j in tl.static_range(2):
                at_b = tl.where(met, low_b, 0.0).to(tl.int64) + j
                weight = weight_a * (part_b if j == 1 else 1.0 - part_b)
                inside = met & (at_a >= 0) & (at_a < n_a) & (at_b >= 0) & (at_b < n_b)
                at = k * by_plane.to(tl.int64) + at_a * by_a + at_b * by_b
                value = tl.load(volume + at, mask=inside, other=0.0)
                total += tl.where(inside, weight * value, 0.0)
    tl.store(lines + ray, (total * step).to(lines.dtype.element_ty), mask=mask)


@triton.jit
def _back_project_volume(
    lines, volume, views, lengths, n_rays, n_rows, n_columns, n_z, n_y, n_x,
    PARALLEL: tl.constexpr, RAYS: tl.constexpr,
):  # fmt: skip
    """volume (voxel,) += A* lines (ray,), RAYS rays a program."""
    ray = tl.program_id(0).to(tl.int64) * RAYS + tl.arange(0, RAYS)
    mask = ray < n_rays
    axis, start_a, slope_a, start_b, slope_b, step, first, last = _trace(
        ray, mask, views, lengths, n_rows, n_columns, n_z, n_y, n_x, PARALLEL
    )
    by_plane, by_a, by_b = _by_axis(axis, n_y * n_x, n_x, 1)
    n_planes, n_a, n_b = _by_axis(axis, n_z, n_y, n_x)
    value = step * tl.load(lines + ray, mask=mask, other=0.0)
    for k in range(tl.min(first), tl.max(last)):
        a, b = start_a + slope_a * k, start_b + slope_b * k
        low_a, low_b = tl.floor(a), tl.floor(b)
        part_a, part_b = a - low_a, b - low_b
        met = mask & (k >= first) & (k < last)
        for i in tl.static_range(2):
            at_a = tl.where(met, low_a, 0.0).to(tl.int64) + i
            weight_a = part_a if i == 1 else 1.0 - part_a
            for j in tl.static_range(2):
                at_b = tl.where(met, low_b, 0.0).to(tl.int64) + j
                weight = weight_a * (part_b if j == 1 else 1.0 - part_b)
                inside = met & (at_a >= 0) & (at_a < n_a) & (at_b >= 0) & (at_b < n_b)
                at = k * by_plane.to(tl.int64) + at_a * by_a + at_b * by_b
                added = (weight * value).to(volume.dtype.element_ty)
                tl.atomic_add(volume + at, added, mask=inside, sem="relaxed")


@triton.jit
def _plane_rays(table, ray, mask):
    """Rays of PlaneRays.table: whether along rows, start, slope, step, first and last line."""
    along_rows = tl.load(table + ray * 6, mask=mask, other=1.0) > 0
    start = tl.load(table + ray * 6 + 1, mask=mask, other=0.0)
    slope = tl.load(table + ray * 6 + 2, mask=mask, other=0.0)
    step = tl.load(table + ray * 6 + 3, mask=mask, other=0.0)
    first = tl.load(table + ray * 6 + 4, mask=mask, other=0.0).to(tl.int32)
    last = tl.load(table + ray * 6 + 5, mask=mask, other=0.0).to(tl.int32)
    return along_rows, start, slope, step, first, last


@triton.jit
def _project_slices(
    table, pixels, lines, n_rays, n_slices, n_y, n_x, RAYS: tl.constexpr, SLICES: tl.constexpr
):
    """lines (ray, slice) = A pixels (pixel, slice), RAYS by SLICES of them a program."""
    ray = tl.program_id(0).to(tl.int64) * RAYS + tl.arange(0, RAYS)
    s = tl.program_id(1) * SLICES + tl.arange(0, SLICES)[None, :]
    mask = ray < n_rays
    along_rows, start, slope, step, first, last = _plane_rays(table, ray, mask)
    n_across = tl.where(along_rows, n_x, n_y)
    total = tl.zeros((RAYS, SLICES), tl.float64)
    for k in range(tl.min(first), tl.max(last)):
        across = start + slope * k
        low = tl.floor(across)
        part = across - low
        met = mask & (k >= first) & (k < last)
        for i in tl.static_range(2):
            at = tl.where(met, low, 0.0).to(tl.int64) + i
            inside = met & (at >= 0) & (at < n_across)
            pixel = tl.where(along_rows, k * n_x + at, at * n_x + k)
            wanted = inside[:, None] & (s < n_slices)
            value = tl.load(pixels + pixel[:, None] * n_slices + s, mask=wanted, other=0.0)
            weight = tl.where(inside, part if i == 1 else 1.0 - part, 0.0)
            total += weight[:, None] * value
    wanted = mask[:, None] & (s < n_slices)
    result = (total * step[:, None]).to(lines.dtype.element_ty)
    tl.store(lines + ray[:, None] * n_slices + s, result, mask=wanted)


@triton.jit
def _back_project_slices(
    table, pixels, lines, n_rays, n_slices, n_y, n_x, RAYS: tl.constexpr, SLICES: tl.constexpr
):
    """pixels (pixel, slice) += A* lines (ray, slice), RAYS by SLICES of them a program."""
    ray = tl.program_id(0).to(tl.int64) * RAYS + tl.arange(0, RAYS)
    s = tl.program_id(1) * SLICES + tl.arange(0, SLICES)[None, :]
    mask = ray < n_rays
    along_rows, start, slope, step, first, last = _plane_rays(table, ray, mask)
    n_across = tl.where(along_rows, n_x, n_y)
    wanted = mask[:, None] & (s < n_slices)
    value = tl.load(lines + ray[:, None] * n_slices + s, mask=wanted, other=0.0)
    value = value * step[:, None]
    for k in range(tl.min(first), tl.max(last)):
        across = start + slope * k
        low = tl.floor(across)
        part = across - low
        met = mask & (k >= first) & (k < last)
        for i in tl.static_range(2):
            at = tl.where(met, low, 0.0).to(tl.int64) + i
            inside = met & (at >= 0) & (at < n_across)
            pixel = tl.where(along_rows, k * n_x + at, at * n_x + k)
            weight = tl.where(inside, part if i == 1 else 1.0 - part, 0.0)
            added = (weight[:, None] * value).to(pixels.dtype.element_ty)
            place = pixels + pixel[:, None] * n_slices + s
            tl.atomic_add(place, added, mask=inside[:, None] & (s < n_slices), sem="relaxed")
