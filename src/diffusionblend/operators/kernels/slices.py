"""Compiled kernels of slice-wise rays for the CPU: 16 slices in a vector register.

A chunk of slices is held twice, row by row and column by column, so that every ray advances along
lines of contiguous pixels: (line, pixel, LANES) with an empty pixel at either end, since a ray may
cross a line up to a pixel outside. All rays go through a band of lines, which stays in the cache,
before the next. Places along a ray are float64, sums have the precision of the data.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from diffusionblend.operators.kernels.cpu import compiled

LANES = 16
"""Slices carried through each ray: one register of AVX-512 in float32, two of AVX2."""
PAD = 1
"""Empty pixels at either end of a line."""
BAND_BYTES = 3 << 17
"""Lines that are gone through together: a share of the second-level cache."""
CONTRACT = ("contract",)


def _vector_at(context, builder, kind, array, index) -> tuple[ir.Value, ir.Type]:
    """Pointer to the LANES elements of a flat array from an index on, and their type."""
    element = context.get_value_type(kind.dtype)
    pointer = builder.gep(context.make_array(kind)(context, builder, array).data, [index])
    return builder.bitcast(pointer, ir.VectorType(element, LANES).as_pointer()), element


def _read(builder, pointer, kind) -> ir.Value:
    """A vector, aligned as its elements are."""
    value = builder.load(pointer)
    value.align = kind.dtype.bitwidth // 8
    return value


def _write(builder, value, pointer, kind) -> None:
    builder.store(value, pointer).align = kind.dtype.bitwidth // 8


def _plus_product(builder, total, weight, vector) -> ir.Value:
    """total + weight vector, fused where the machine can."""
    undefined = ir.Constant(vector.type, ir.Undefined)
    lane = ir.IntType(32)
    first = builder.insert_element(undefined, weight, ir.Constant(lane, 0))
    everywhere = ir.Constant(ir.VectorType(lane, LANES), [0] * LANES)
    weights = builder.shuffle_vector(first, undefined, everywhere)
    product = builder.fmul(weights, vector, flags=CONTRACT)
    return builder.fadd(total, product, flags=CONTRACT)


def _crossings(builder, first, last, start, slope, stride, element) -> Callable:
    """A loop over lines `first` to `last`: yields where the ray crosses each, and two weights."""
    long, double = ir.IntType(64), ir.DoubleType()
    floor = builder.module.declare_intrinsic("llvm.floor", [double])

    def each(body: Callable[[ir.Value, ir.Value, ir.Value], None]) -> None:
        with cgutils.for_range_slice(builder, first, last, ir.Constant(long, 1)) as (line, _):
            across = builder.fadd(start, builder.fmul(slope, builder.sitofp(line, double)))
            low = builder.call(floor, [across])
            far = builder.fsub(across, low)
            if isinstance(element, ir.FloatType):
                far = builder.fptrunc(far, element)
            near = builder.fsub(ir.Constant(element, 1.0), far)
            pixel = builder.add(builder.fptosi(low, long), ir.Constant(long, PAD))
            at = builder.mul(pixel, ir.Constant(long, LANES))
            body(builder.add(builder.mul(line, stride), at), near, far)

    return each


@intrinsic
def gather_ray(typing, lines, at, source, stride, first, last, start, slope):
    """lines[at:] += what a ray reads of `source` on its lines first to last, last left out."""
    index, place = types.intp, types.float64
    signature = types.void(lines, index, source, index, index, index, place, place)

    def code(context, builder, signature, arguments):
        lines, at, source, stride, first, last, start, slope = arguments
        kind, source_kind = signature.args[0], signature.args[2]
        result, element = _vector_at(context, builder, kind, lines, at)
        zero = ir.Constant(result.type.pointee, [0.0] * LANES)
        near_sum, far_sum = (cgutils.alloca_once_value(builder, zero) for _ in range(2))

        def body(pixel, near, far):
            following = builder.add(pixel, ir.Constant(pixel.type, LANES))
            for where, weight, total in ((pixel, near, near_sum), (following, far, far_sum)):
                pointer, _ = _vector_at(context, builder, source_kind, source, where)
                vector = _read(builder, pointer, source_kind)
                builder.store(_plus_product(builder, builder.load(total), weight, vector), total)

        _crossings(builder, first, last, start, slope, stride, element)(body)
        both = builder.fadd(builder.load(near_sum), builder.load(far_sum))
        _write(builder, builder.fadd(_read(builder, result, kind), both), result, kind)
        return context.get_dummy_value()

    return signature, code


@intrinsic
def scatter_ray(typing, image, stride, lines, at, first, last, start, slope):
    """image += lines[at:] spread along a ray on its lines first to last: gather_ray's adjoint."""
    index, place = types.intp, types.float64
    signature = types.void(image, index, lines, index, index, index, place, place)

    def code(context, builder, signature, arguments):
        image, stride, lines, at, first, last, start, slope = arguments
        kind, lines_kind = signature.args[0], signature.args[2]
        pointer, element = _vector_at(context, builder, lines_kind, lines, at)
        value = _read(builder, pointer, lines_kind)

        def body(pixel, near, far):
            following = builder.add(pixel, ir.Constant(pixel.type, LANES))
            for where, weight in ((pixel, near), (following, far)):
                target, _ = _vector_at(context, builder, kind, image, where)
                total = _plus_product(builder, _read(builder, target, kind), weight, value)
                _write(builder, total, target, kind)

        _crossings(builder, first, last, start, slope, stride, element)(body)
        return context.get_dummy_value()

    return signature, code


@compiled
def project_lines(
    first_ray: int,
    last_ray: int,
    table: np.ndarray,
    by_rows: np.ndarray,
    by_columns: np.ndarray,
    lines: np.ndarray,
) -> None:
    """lines (ray, LANES) = A of a chunk held both ways, lengths of steps left out, of some rays.

    table: PlaneRays.table (ray, 6), whose rays stay within a pixel of the lines that they meet.
    """
    flat = lines.reshape(-1)
    flat[first_ray * LANES : last_ray * LANES] = 0.0
    for along_rows, image in ((True, by_rows), (False, by_columns)):
        n_lines, stride = image.shape[0], image.shape[1] * LANES
        source = image.reshape(-1)
        band = max(1, BAND_BYTES // (stride * image.itemsize))
        for first in range(0, n_lines, band):
            last = min(n_lines, first + band)
            for ray in range(first_ray, last_ray):
                if (table[ray, 0] > 0) == along_rows:
                    begin, end = max(first, int(table[ray, 4])), min(last, int(table[ray, 5]))
                    start, slope = table[ray, 1], table[ray, 2]
                    gather_ray(flat, ray * LANES, source, stride, begin, end, start, slope)


@compiled
def back_project_lines(
    first_line: int,
    last_line: int,
    table: np.ndarray,
    lines: np.ndarray,
    by_rows: np.ndarray,
    by_columns: np.ndarray,
) -> None:
    """A* of lines (ray, LANES), scaled by their steps, held both ways: some rows, then columns.

    The lines of work are the rows, and after them the columns.
    """
    flat, n_y = lines.reshape(-1), by_rows.shape[0]
    for along_rows, image, before in ((True, by_rows, 0), (False, by_columns, n_y)):
        stride, target = image.shape[1] * LANES, image.reshape(-1)
        band = max(1, BAND_BYTES // (stride * image.itemsize))
        end_of_work = min(image.shape[0], last_line - before)
        for first in range(max(0, first_line - before), end_of_work, band):
            last = min(end_of_work, first + band)
            target[first * stride : last * stride] = 0.0
            for ray in range(table.shape[0]):
                if (table[ray, 0] > 0) == along_rows:
                    begin, end = max(first, int(table[ray, 4])), min(last, int(table[ray, 5]))
                    start, slope = table[ray, 1], table[ray, 2]
                    scatter_ray(target, stride, flat, ray * LANES, begin, end, start, slope)


@compiled
def image_in(
    first_row: int,
    last_row: int,
    volume: np.ndarray,
    first_slice: int,
    by_rows: np.ndarray,
    by_columns: np.ndarray,
) -> None:
    """Some rows of LANES slices of (z, y, x) to (y, x + 2 PAD, LANES) and (x, y + 2 PAD, LANES)."""
    _, n_y, n_x = volume.shape
    n_slices = min(LANES, volume.shape[0] - first_slice)
    if first_row == 0:
        by_columns[:, :PAD], by_columns[:, n_y + PAD :] = 0.0, 0.0
    for y in range(first_row, last_row):
        by_rows[y, :PAD], by_rows[y, n_x + PAD :] = 0.0, 0.0
        for first in range(0, n_x, LANES):
            last = min(n_x, first + LANES)
            for s in range(n_slices):
                for x in range(first, last):
                    by_rows[y, x + PAD, s] = volume[first_slice + s, y, x]
            for x in range(first, last):
                for s in range(LANES):
                    by_columns[x, y + PAD, s] = by_rows[y, x + PAD, s]


@compiled
def image_out(
    first_row: int,
    last_row: int,
    by_rows: np.ndarray,
    by_columns: np.ndarray,
    first_slice: int,
    volume: np.ndarray,
) -> None:
    """Some rows of LANES slices of (z, y, x) = both images of them together."""
    n_slices, n_x = min(LANES, volume.shape[0] - first_slice), volume.shape[2]
    both = np.empty((LANES, LANES), volume.dtype)
    for y in range(first_row, last_row):
        for first in range(0, n_x, LANES):
            last = min(n_x, first + LANES)
            for x in range(first, last):
                for s in range(LANES):
                    both[x - first, s] = by_rows[y, x + PAD, s] + by_columns[x, y + PAD, s]
            for s in range(n_slices):
                for x in range(first, last):
                    volume[first_slice + s, y, x] = both[x - first, s]


@compiled
def lines_in(
    first_view: int,
    last_view: int,
    values: np.ndarray,
    first_slice: int,
    table: np.ndarray,
    lines: np.ndarray,
) -> None:
    """LANES slices of some views of (view, slice, column), times steps, to lines (ray, LANES)."""
    _, n_slices, n_columns = values.shape
    n_slices = min(LANES, n_slices - first_slice)
    for view in range(first_view, last_view):
        for first in range(0, n_columns, LANES):
            last = min(n_columns, first + LANES)
            for s in range(n_slices):
                for b in range(first, last):
                    ray = view * n_columns + b
                    lines[ray, s] = values[view, first_slice + s, b] * table[ray, 3]


@compiled
def lines_out(
    first_view: int,
    last_view: int,
    lines: np.ndarray,
    table: np.ndarray,
    first_slice: int,
    values: np.ndarray,
) -> None:
    """LANES slices of some views of (view, slice, column) = lines (ray, LANES) times steps."""
    _, n_slices, n_columns = values.shape
    n_slices = min(LANES, n_slices - first_slice)
    for view in range(first_view, last_view):
        for first in range(0, n_columns, LANES):
            last = min(n_columns, first + LANES)
            for s in range(n_slices):
                for b in range(first, last):
                    ray = view * n_columns + b
                    values[view, first_slice + s, b] = lines[ray, s] * table[ray, 3]
