"""Slice-wise rays on the fly on the CPU: volumes and lines cut into chunks of slices.

As many chunks as there are threads, or more, are shared out whole, if there is room for them; else
all threads go through one after another together. The result does not depend on it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

import numpy as np
import torch

from diffusionblend.operators.kernels.threads import in_one, in_parts, on_threads

ROOMS_LIMIT_BYTES = 1 << 30
"""What the chunks under way may take together."""
KEPT_BYTES = 128 << 20
"""Of rooms that wait for the next call: fresh memory costs as much as copying slices into it."""

Room = tuple[np.ndarray, np.ndarray, np.ndarray]
"""A chunk by rows, by columns, and its rays' sums; what they hold at first means nothing."""

_kept: deque[Room] = deque()


def project(volume: np.ndarray, table: np.ndarray, n_views: int) -> np.ndarray:
    """Lines (view, slice, column) of a volume (z, y, x); table: PlaneRays.table of a slice."""
    from diffusionblend.operators.kernels import slices as kernels

    values = np.empty((n_views, len(volume), len(table) // n_views), volume.dtype)

    def chunk(first: int, room: Room, run: Callable[..., None]) -> None:
        by_rows, by_columns, lines = room
        run(kernels.image_in, len(by_rows), volume, first, by_rows, by_columns)
        run(kernels.project_lines, len(lines), table, by_rows, by_columns, lines)
        run(kernels.lines_out, n_views, lines, table, first, values)

    _in_chunks(chunk, volume.shape, len(table), volume.dtype)
    return values


def back_project(values: np.ndarray, table: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A* of lines (view, slice, column), (z, y, x); shape: of a slice. The adjoint of `project`."""
    from diffusionblend.operators.kernels import slices as kernels

    volume = np.empty((values.shape[1], *shape), values.dtype)

    def chunk(first: int, room: Room, run: Callable[..., None]) -> None:
        by_rows, by_columns, lines = room
        run(kernels.lines_in, len(values), values, first, table, lines)
        both = len(by_rows) + len(by_columns)
        run(kernels.back_project_lines, both, table, lines, by_rows, by_columns)
        run(kernels.image_out, len(by_rows), by_rows, by_columns, first, volume)

    _in_chunks(chunk, volume.shape, len(table), values.dtype)
    return volume


def _in_chunks(
    chunk: Callable[[int, Room, Callable[..., None]], None],
    shape: tuple[int, int, int],
    n_rays: int,
    dtype: np.dtype,
) -> None:
    """Call chunk(first slice, room, how to run a kernel) for every chunk of a volume's shape."""
    from diffusionblend.operators.kernels.slices import LANES, PAD

    n_slices, n_y, n_x = shape
    sizes = ((n_y, n_x + 2 * PAD), (n_x, n_y + 2 * PAD), (n_rays,))
    shapes = tuple((*size, LANES) for size in sizes)
    firsts, threads = range(0, n_slices, LANES), torch.get_num_threads()
    needed = threads * dtype.itemsize * sum(math.prod(size) for size in shapes)
    if threads == 1 or len(firsts) < threads or needed > ROOMS_LIMIT_BYTES:
        only = _room(shapes, dtype)
        for first in firsts:
            chunk(first, only, in_parts)
        _keep(only)
        return

    def whole(first: int) -> None:
        own = _room(shapes, dtype)
        chunk(first, own, in_one)
        _keep(own)

    on_threads(whole, firsts)


def _room(shapes: tuple[tuple[int, ...], ...], dtype: np.dtype) -> Room:
    """A kept room of these shapes, or a new one, from torch since it aligns it to the vectors."""
    while _kept:
        try:
            kept = _kept.pop()
        except IndexError:  # another thread was faster
            break
        if kept[0].dtype == dtype and tuple(part.shape for part in kept) == shapes:
            return kept
    kind = torch.from_numpy(np.empty(0, dtype)).dtype
    first, second, third = (torch.zeros(shape, dtype=kind).numpy() for shape in shapes)
    return first, second, third


def _keep(room: Room) -> None:
    """Keep a room for the next call, if there is place for it."""
    size = sum(part.nbytes for part in room)
    if (len(_kept) + 1) * size <= KEPT_BYTES:
        _kept.append(room)
