"""Whether a NIfTI file is whole: its reader in SimpleITK (2.5) fills missing voxels silently."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

from diffusionblend.errors import InputError

NIFTI_SUFFIXES = (".nii", ".nii.gz")
HEADER_BYTES = {348: 1, 540: 2}
"""The header's first number, its own length, tells the version of NIfTI."""
CHUNK_BYTES = 1 << 20
MAX_DIMENSIONS = 7


def check_nifti_complete(path: Path) -> None:
    """Raises InputError where a .nii or .nii.gz file is foreign or shorter than its header says.

    A compressed file is decompressed once, which also verifies its checksum.
    """
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    try:
        with opener(path, "rb") as file:
            needed = _bytes_needed(file, path)
            file.seek(0)
            found = sum(len(chunk) for chunk in iter(lambda: file.read(CHUNK_BYTES), b""))
    except EOFError as error:
        raise _truncated(path, "its compressed stream ends early") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise InputError(
            f"{path} is not a sound gzip file: {error}.", "a whole .nii.gz file", "copy it again"
        ) from error
    if found < needed:
        raise _truncated(path, f"it holds {found} of {needed} bytes")


def _truncated(path: Path, how: str) -> InputError:
    return InputError(f"{path} is truncated: {how}.", "a whole NIfTI file", "copy it again")


def _bytes_needed(file: BinaryIO, path: Path) -> int:
    """The length of the uncompressed file by its header (NIfTI-1 and -2, either byte order)."""
    header = file.read(max(HEADER_BYTES))
    for order in "<>":
        if len(header) < 4:
            break
        version = HEADER_BYTES.get(struct.unpack_from(f"{order}i", header)[0])
        if version is None:
            continue
        if len(header) < (348 if version == 1 else 540):
            raise _truncated(path, "its header is not whole")
        if version == 1:
            dims = struct.unpack_from(f"{order}8h", header, 40)
            (bits,) = struct.unpack_from(f"{order}h", header, 72)
            offset = int(struct.unpack_from(f"{order}f", header, 108)[0])
        else:
            dims = struct.unpack_from(f"{order}8q", header, 16)
            (bits,) = struct.unpack_from(f"{order}h", header, 14)
            (offset,) = struct.unpack_from(f"{order}q", header, 168)
        voxels = 1
        for n in dims[1 : 1 + min(max(dims[0], 0), MAX_DIMENSIONS)]:
            voxels *= max(n, 1)
        return offset + voxels * bits // 8
    raise InputError(f"{path} is not a NIfTI file.", "a NIfTI header", "check what the file is")
