"""Whether a NIfTI file is sound: SimpleITK 2.5 does not tell.

Its reader fills what is missing of a truncated file with whatever is in memory and turns NaN and
infinity into 0, and its writer does not notice a full disk.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from diffusionblend.errors import InputError

NIFTI_SUFFIXES = (".nii", ".nii.gz")
HEADER_BYTES = 348
NIFTI_2_HEADER_BYTES = 540
"""The header's first number, its own length, tells the version of NIfTI."""
FLOAT_TYPES = {16: "f4", 64: "f8"}
"""NIfTI's codes of the voxel types that can hold NaN, and NumPy's names for them."""
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class _Layout:
    """Where the voxels lie in the uncompressed file; dtype is None for whole numbers."""

    offset_bytes: int
    voxel_bytes: int
    dtype: np.dtype | None


def check_nifti(path: Path, *, finite: bool = True) -> None:
    """Raises InputError where a .nii or .nii.gz file is foreign, truncated or damaged.

    So it does for NaN and infinite voxels, where `finite`. The file is read once, which for .nii.gz
    also verifies its checksum.
    """
    packed = path.name.lower().endswith(".gz")
    try:
        with cast("BinaryIO", gzip.open(path) if packed else path.open("rb")) as file:
            layout = _layout(file, path)
            file.seek(layout.offset_bytes)
            found_bytes, n_bad = _scan(file, layout)
            file.read()  # what may follow the voxels, for the checksum at the end
    except EOFError as error:
        raise _truncated(path, "its compressed stream ends early") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise InputError(
            f"{path} is not a sound gzip file: {error}.", "a whole .nii.gz file", "copy it again"
        ) from error
    if found_bytes < layout.voxel_bytes:
        raise _truncated(path, f"it holds {found_bytes} of {layout.voxel_bytes} bytes of voxels")
    if n_bad and finite:
        raise InputError(
            f"{path} holds {n_bad} values that are NaN or infinite.",
            "finite values in HU",
            "replace them by -1000 (air)",
        )


def _scan(file: BinaryIO, layout: _Layout) -> tuple[int, int]:
    """How many of the voxels' bytes there are, and how many voxels are NaN or infinite."""
    found_bytes = n_bad = 0
    while found_bytes < layout.voxel_bytes:
        chunk = file.read(min(CHUNK_BYTES, layout.voxel_bytes - found_bytes))
        if not chunk:
            break
        found_bytes += len(chunk)
        if layout.dtype is not None and len(chunk) % layout.dtype.itemsize == 0:
            voxels = np.frombuffer(chunk, layout.dtype)
            n_bad += int(np.count_nonzero(~np.isfinite(voxels)))
    return found_bytes, n_bad


def _truncated(path: Path, how: str) -> InputError:
    return InputError(f"{path} is truncated: {how}.", "a whole NIfTI file", "copy it again")


def _layout(file: BinaryIO, path: Path) -> _Layout:
    """Read the header of NIfTI-1, in either byte order."""
    header = file.read(HEADER_BYTES)
    for order in "<>":
        n_header = struct.unpack_from(f"{order}i", header)[0] if len(header) >= 4 else 0
        if n_header == NIFTI_2_HEADER_BYTES:
            raise InputError(
                f"{path} is a NIfTI-2 file, which SimpleITK does not read.",
                "NIfTI-1, NRRD or MHA",
                "saving it as NIfTI-1, for instance with 3D Slicer or nibabel",
            )
        if n_header != HEADER_BYTES:
            continue
        if len(header) < HEADER_BYTES:
            raise _truncated(path, "its header is not whole")
        dims = struct.unpack_from(f"{order}8h", header, 40)
        code, bits = struct.unpack_from(f"{order}2h", header, 70)
        offset = int(struct.unpack_from(f"{order}f", header, 108)[0])
        voxels = math.prod(max(n, 1) for n in dims[1 : 1 + max(dims[0], 0)])
        dtype = np.dtype(order + FLOAT_TYPES[code]) if code in FLOAT_TYPES else None
        return _Layout(max(offset, HEADER_BYTES), voxels * bits // 8, dtype)
    raise InputError(f"{path} is not a NIfTI file.", "a NIfTI header", "check what the file is")
