"""Geometries given view by view, as ASTRA's vectors: 12 numbers in mm, or its `proj_geom`.

A line, or a row of an array, has the source (of a parallel beam the direction of its rays), the
panel's middle, and the steps from a column to the next and from a row to the next, each (x, y, z)
from the volume's middle; z is the axis of rotation, where there is one.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from diffusionblend.data.raw_scan import RawScan
from diffusionblend.errors import InputError
from diffusionblend.geometry import ConeBeam, VectorGeometry
from diffusionblend.geometry.interop import from_astra
from diffusionblend.geometry.vectors import PER_VIEW, triples
from diffusionblend.io.atomic import check_readable
from diffusionblend.io.foreign.edge import WRITE_ANEW
from diffusionblend.io.foreign.limits import in_bytes
from diffusionblend.io.scans.numpy import read_array
from diffusionblend.io.scans.options import ReadOptions

NUMBERS = 12
MOST_TEXT_BYTES = 64_000_000
BY_ASTRA = ("cone", "cone_vec", "parallel3d_vec")


def read_vectors(path: Path, shape: tuple[int, int]) -> VectorGeometry:
    """The geometry of all views, for a detector of (rows, columns).

    Text and .npy have 12 numbers a view; .json is ASTRA's `proj_geom`. Raises InputError.
    """
    if path.suffix.lower() == ".json":
        return _by_astra(path, shape)
    check_readable(path)
    try:
        found = read_array(path) if path.suffix.lower() == ".npy" else _numbers(path)
    except ValueError as error:
        raise _wrong(path, str(error)) from None
    if found.ndim != 2 or found.shape[1] != NUMBERS or found.dtype.kind not in "fiu":
        raise _wrong(path, f"shape {found.shape}")
    return _of(path, found.reshape(-1, 4, 3), shape)


def _numbers(path: Path) -> np.ndarray:
    """The numbers of a text, a view a line, between blanks, commas or semicolons. Raises
    ValueError.
    """
    n_bytes = path.stat().st_size
    if n_bytes > MOST_TEXT_BYTES:  # which would take minutes
        raise ValueError(f"{in_bytes(n_bytes)} of text; save it as .npy")
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    lines = [line.partition("#")[0] for line in text.splitlines()]
    return np.loadtxt([re.sub("[,;]", " ", line) for line in lines], ndmin=2)


def _by_astra(path: Path, shape: tuple[int, int]) -> VectorGeometry:
    """By a `proj_geom`, as json.dump writes it of lists."""
    check_readable(path)
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
        kind = described.get("type")
    except (ValueError, AttributeError) as error:
        raise InputError(
            f"{path} is no JSON of ASTRA's: {error}.",
            "its proj_geom",
            WRITE_ANEW,
        ) from None
    if kind not in BY_ASTRA:
        raise InputError(
            f"{path} has the type {kind!r}.",
            " or ".join(BY_ASTRA),
            "astra.functions.geom_2vec, which makes vectors of it",
        )
    try:
        geometry = from_astra(described)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{path} could not be read: {error}.",
            "ASTRA's proj_geom",
            WRITE_ANEW,
        ) from None
    whole = geometry.to_vectors() if isinstance(geometry, ConeBeam) else geometry
    assert isinstance(whole, VectorGeometry)
    if (whole.n_rows, whole.n_columns) != shape:
        raise InputError(
            f"{path} has a panel of {whole.n_rows} rows and {whole.n_columns} columns, the views "
            f"have {shape[0]} and {shape[1]}.",
            "the geometry of this very scan",
            "the file of vectors that belongs to the views",
        )
    return whole


def _of(path: Path, parts: np.ndarray, shape: tuple[int, int]) -> VectorGeometry:
    """A geometry of its columns (view, 4, 3)."""
    if not np.isfinite(parts).all():
        raise _wrong(path, "numbers that are not finite")
    columns: dict[str, Any] = {name: triples(parts[:, i]) for i, name in enumerate(PER_VIEW)}
    try:
        return VectorGeometry(**columns, n_rows=shape[0], n_columns=shape[1])
    except InputError as error:
        raise InputError(f"{path}: {error.got}", error.expected, error.try_) from None


def _wrong(path: Path, found: str) -> InputError:
    return InputError(
        f"{path} could not be read as vectors: {found}.",
        "12 numbers in mm for every view: source, panel's middle, steps of a column and of a row",
        WRITE_ANEW,
    )


def with_vectors(scan: RawScan, geometry: VectorGeometry, options: ReadOptions) -> RawScan:
    """A scan with a geometry of the whole detector and all views, in place of its angles.

    Raises InputError where it has another number of views.
    """
    every = options.every
    expected = (geometry.n_views + every - 1) // every
    if len(scan.data) != expected:
        raise InputError(
            f"There are {geometry.n_views} vectors, of which every {every} would be taken, and "
            f"{len(scan.data)} views.",
            "12 numbers for every view",
            "the vectors of this very scan",
        )
    picked = geometry.of_views(np.arange(geometry.n_views)[options.window.views])
    first = (scan.first_row, scan.first_column)
    return replace(
        scan,
        geometry=picked.of_detector(first, scan.data.shape[1:]),
        angles_rad=angles_of(picked),
        column_mm=None,
        row_mm=None,
        centre_column=None,
        centre_row=None,
        source_to_axis_mm=None,
        source_to_detector_mm=None,
        axis_shift_mm=0.0,
    )


def angles_of(geometry: VectorGeometry) -> np.ndarray:
    """The angle of every view about z, by where its source is, counted on (view,)."""
    sources = np.array(geometry.sources_mm)
    x, y, _ = (sources if geometry.parallel else -sources).T
    return np.unwrap(np.arctan2(-x, y))
