"""NIfTI files, version 1 and 2: header and voxels, from the file alone.

SimpleITK 2.5 fills what is missing of a truncated file with whatever is in memory, turns NaN and
infinity into 0, takes a rigid qform for a sheared sform, and adds the intercept of a slope of 0,
and its writer does not notice a full disk.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from diffusionblend.data.plausible import check_finite
from diffusionblend.errors import InputError
from diffusionblend.io.foreign.limits import HIGHEST_RATIO, check_claim
from diffusionblend.io.foreign.mapped import mapped_in_child
from diffusionblend.io.formats.nifti_header import (
    HEADER_BYTES,
    NIFTI_2_HEADER_BYTES,
    NiftiHeader,
    matrix_lps,
    parsed_header,
    truncated,
)
from diffusionblend.io.formats.placed import Placed
from diffusionblend.io.formats.raw_data import surplus_note

NIFTI_SUFFIXES = (".nii", ".nii.gz")
CHUNK_BYTES = 1 << 20
GZIP_MAGIC = b"\x1f\x8b"


def read_nifti(path: Path) -> Placed:
    """The voxels of a .nii or .nii.gz file, scaled, and their place.

    Raises InputError where it is foreign, truncated, damaged or contradicts itself, and for NaN and
    infinite voxels.
    """
    with _opened(path) as file:
        header = _header(file, path)
        stored, size_notes = _voxels(file, header, path)
    if stored.dtype.kind == "f":
        check_finite(stored, path)
    values, scale_notes = _scaled(stored, header, path)
    matrix, notes = matrix_lps(header, path)
    return Placed(values, matrix, (*notes, *size_notes, *scale_notes))


def check_nifti(path: Path) -> None:
    """Raises InputError where a NIfTI file is truncated or damaged, which is then read once."""
    with _opened(path) as file:
        _voxels(file, _header(file, path), path)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The uncompressed file, whatever its name says; its own errors become InputError."""
    with path.open("rb") as file:
        packed = file.read(2) == GZIP_MAGIC
        file.seek(0)
        try:
            yield cast("BinaryIO", gzip.GzipFile(fileobj=file)) if packed else file
        except EOFError as error:
            raise truncated(path, "its compressed stream ends early") from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise InputError(
                f"{path} is not a sound gzip file: {error}.",
                "a whole .nii.gz file",
                "copy it again",
            ) from error


def _header(file: BinaryIO, path: Path) -> NiftiHeader:
    raw = file.read(HEADER_BYTES)
    if raw[:4] in (b"\x1c\x02\x00\x00", b"\x00\x00\x02\x1c"):
        raw += file.read(NIFTI_2_HEADER_BYTES - HEADER_BYTES)
    return parsed_header(raw, path)


def _voxels(file: BinaryIO, header: NiftiHeader, path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """The stored voxels (k, j, i), and a note where more follows. Raises InputError where the file
    holds fewer.
    """
    n_bytes = math.prod(header.extents) * header.dtype.itemsize
    default = NIFTI_2_HEADER_BYTES + 4 if header.version == 2 else HEADER_BYTES + 4
    offset = header.offset_bytes or default
    packed = isinstance(file, gzip.GzipFile)
    size = path.stat().st_size
    check_claim(path, n_bytes, ratio=HIGHEST_RATIO if packed else 1)
    if not packed and n_bytes > size - offset:
        raise truncated(path, f"it holds {max(size - offset, 0)} of {n_bytes} bytes of voxels")
    file.seek(offset)
    mapped = None if packed else mapped_in_child(file, n_bytes)
    buffer = _filled(file, n_bytes, path) if mapped is None else mapped
    surplus = 0
    while more := len(file.read(CHUNK_BYTES)):  # also for the checksum at the end
        surplus += more
    notes = (surplus_note(path, surplus, offset),) if surplus else ()
    return buffer.view(header.dtype).reshape(header.extents[::-1]), notes


def _filled(file: BinaryIO, n_bytes: int, path: Path) -> np.ndarray:
    """So many bytes of an open file. Raises InputError where it holds fewer."""
    buffer = np.empty(n_bytes, np.uint8)
    view = memoryview(buffer.data)
    found = 0
    while found < n_bytes:
        n_read = file.readinto(view[found : found + CHUNK_BYTES])  # type: ignore[attr-defined]
        if not n_read:
            raise truncated(path, f"it holds {found} of {n_bytes} bytes of voxels")
        found += n_read
    return buffer


def _scaled(
    stored: np.ndarray, header: NiftiHeader, path: Path
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The values, float32: scaled where the slope is neither 0 nor NaN, as the standard says."""
    slope, inter = header.slope, header.inter
    if slope == 0 or not math.isfinite(slope):
        if inter == 0 or not math.isfinite(inter):
            return stored.astype(np.float32, copy=False), ()
        note = (
            f"{path} has the intercept {inter:g} (scl_inter) with a slope of {slope:g}, which "
            "means that nothing is scaled; it was left out."
        )
        return stored.astype(np.float32, copy=False), (note,)
    if not math.isfinite(inter):
        raise InputError(
            f"{path} has the slope {slope:g} (scl_slope) and the intercept {inter:g} (scl_inter).",
            "finite numbers",
            "another export of the series",
        )
    if (slope, inter) == (1.0, 0.0):
        return stored.astype(np.float32, copy=False), ()
    narrow = stored.dtype.itemsize <= 2 or stored.dtype == np.float32
    values: np.ndarray = stored.astype(np.float32 if narrow else np.float64)
    np.multiply(values, slope, out=values)
    np.add(values, inter, out=values)
    return values.astype(np.float32, copy=False), ()
