"""The voxels that a text header describes, beside it or behind it, in whatever packing."""

from __future__ import annotations

import bz2
import gzip
import math
import os
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from diffusionblend.errors import InputError
from diffusionblend.io.detached import check_beside
from diffusionblend.io.foreign.limits import HIGHEST_RATIO, check_claim
from diffusionblend.io.foreign.mapped import mapped_in_child

HEADER_AGAIN = "copy the header again, or write it anew"
MAX_HEADER_BYTES = 1 << 20
HIGHEST_RATIOS = {"gzip": HIGHEST_RATIO, "zlib": HIGHEST_RATIO, "bzip2": 50_000}
"""How far a packing goes at most; 1 where it is none."""
MOST_FILES = 100_000


@dataclass(frozen=True)
class Part:
    """A file with voxels: from which byte on, and whether those at its end are meant."""

    path: Path
    offset_bytes: int = 0
    from_end: bool = False
    skip_lines: int = 0


@dataclass(frozen=True)
class Layout:
    """How voxels are stored. packing: raw, gzip, zlib, bzip2, ascii or hex; extents: (i, j, k)."""

    dtype: np.dtype
    extents: tuple[int, ...]
    packing: str
    skip_bytes: int = 0


def read_parts(
    parts: Sequence[Part], layout: Layout, source: Path
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The voxels (k, j, i) of one file or of several in turn, and notes on files that hold more.

    Raises InputError where some lack.
    """
    count = math.prod(layout.extents)
    if count % len(parts):
        raise InputError(
            f"{source} names {len(parts)} files for {count} voxels.",
            "as many voxels in each",
            "put all of the files beside the header; copy them again",
        )
    share = count // len(parts)
    pieces = []
    for part in parts:
        if not part.path.is_file():
            raise _missing(part.path, source)
        pieces.append(_piece(part, layout, share))
    values = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
    notes = tuple(filter(None, (_surplus_note(part, layout, share) for part in parts)))
    return values.reshape(layout.extents[::-1]), notes[:1]


def _missing(path: Path, source: Path) -> InputError:
    """The error for a data file that is not there, or is written otherwise."""
    alike = path.parent.iterdir() if path.parent.is_dir() else ()
    other = next((p.name for p in alike if p.name.lower() == path.name.lower()), None)
    return InputError(
        f"{source} keeps its voxels in {path.name}, and there is no {path}"
        f"{f', but {other}' if other else ''}.",
        "the header and its data file in one folder",
        f"rename {other} to {path.name}" if other else f"copy {path.name} beside {source.name}",
    )


def _surplus_note(part: Part, layout: Layout, count: int) -> str | None:
    """A sentence on voxels that are not packed in a file that is longer than they are."""
    if layout.packing != "raw" or part.from_end:
        return None
    with part.path.open("rb") as file:
        file.seek(part.offset_bytes)
        _skip_lines(file, part)
        first = file.tell() + layout.skip_bytes
    surplus = part.path.stat().st_size - first - count * layout.dtype.itemsize
    return surplus_note(part.path, surplus, first) if surplus > 0 else None


def surplus_note(path: Path, surplus: int, first: int) -> str:
    """A sentence on a file with more bytes than its header describes."""
    return (
        f"{path} holds {surplus} bytes more than its header describes. The voxels were taken from "
        f"byte {first} on; if there is another header before them, they are shifted."
    )


def beside(source: Path, name: str) -> Path:
    """The data file that a header names, which must lie in its own folder or below.

    Raises InputError for another place.
    """
    path = Path(name.strip().strip('"').replace("\\", "/"))
    if re.match(r"[A-Za-z]:/|//", path.as_posix()) or name.strip().startswith("\\\\"):
        path = Path(path.name)  # where the file lay on a computer with Windows
    check_beside(source, path)
    return source.parent / path


def names_of_files(named: str, listed: list[str], path: Path) -> list[str]:
    """The data files that a header names: one, a LIST that follows, or a pattern with its numbers.

    path: of the header, for messages. Raises InputError.
    """
    words, names = named.split(), [named]
    if words and words[0].upper() == "LIST":
        names = listed
    elif "%" in named and len(words) >= 4:
        try:
            names = _numbered(words[0], *(int(w) for w in words[1:4]))
        except ValueError as error:
            raise InputError(
                f"{path} names its files by {named!r}: {error}.",
                "a pattern such as slice%03d.raw, with first, last and step",
                HEADER_AGAIN,
            ) from error
    if not words or not names:
        raise InputError(
            f"{path} names no data file.",
            "the name of a file beside it",
            HEADER_AGAIN,
        )
    return names


def _numbered(pattern: str, first: int, last: int, step: int) -> list[str]:
    """The file names of a pattern such as `slice%03d.raw`. Raises ValueError for another."""
    if step == 0 or abs(last - first) > MOST_FILES:
        raise ValueError("its steps lead nowhere")
    if re.search(r"%[^a-zA-Z]*\d{3}", pattern):
        raise ValueError("its numbers would have hundreds of digits")
    try:
        return [pattern % k for k in range(first, last + (1 if step > 0 else -1), step)]
    except (TypeError, ValueError) as error:
        raise ValueError(f"{pattern} is no pattern of file names") from error


def _piece(part: Part, layout: Layout, count: int) -> np.ndarray:
    n_bytes = count * layout.dtype.itemsize
    size = part.path.stat().st_size
    check_claim(part.path, n_bytes, ratio=HIGHEST_RATIOS.get(layout.packing, 1))
    if layout.packing == "raw" and n_bytes > size - part.offset_bytes:
        held = max(size - part.offset_bytes, 0)
        raise truncated(part.path, f"it holds {held} of {n_bytes} bytes of voxels")
    with part.path.open("rb") as file:
        if part.from_end:
            file.seek(max(size - n_bytes, 0))
        else:
            file.seek(part.offset_bytes)
            _skip_lines(file, part)
        try:
            data = _bytes_of(file, layout, count)
        except (EOFError, OSError, zlib.error, ValueError) as error:
            raise InputError(
                f"{part.path} could not be unpacked ({layout.packing}): {error}.",
                "a whole file",
                "copy it again (it may be truncated)",
            ) from error
    if len(data) < n_bytes:
        raise truncated(part.path, f"it holds {len(data)} of {n_bytes} bytes of voxels")
    return np.frombuffer(data, layout.dtype, count)


def truncated(path: Path, how: str) -> InputError:
    """The error for a file that ends too early."""
    return InputError(f"{path} is truncated: {how}.", "a whole file", "copy it again")


def _skip_lines(file: BinaryIO, part: Part) -> None:
    """Skip lines of text before the voxels. Raises InputError where there are fewer."""
    for skipped in range(part.skip_lines):
        if not file.readline():
            raise InputError(
                f"{part.path} ends after {skipped} lines, and its header has {part.skip_lines} of "
                "them skipped.",
                "voxels behind these lines",
                "copy it again, or write the header anew",
            )


def _bytes_of(file: BinaryIO, layout: Layout, count: int) -> bytes | np.ndarray:
    """As many bytes of voxels as the layout asks for, or as there are."""
    n_bytes = layout.skip_bytes + count * layout.dtype.itemsize
    if layout.packing == "ascii":
        numbers = np.array(file.read().split(), np.float64)
        return numbers[:count].astype(layout.dtype).tobytes()
    if layout.packing == "hex":
        return bytes.fromhex(file.read().decode("ascii"))[layout.skip_bytes :]
    if layout.packing not in UNPACKERS:
        file.seek(layout.skip_bytes, os.SEEK_CUR)
        n_bytes -= layout.skip_bytes
        mapped = mapped_in_child(file, n_bytes)
        return file.read(n_bytes) if mapped is None else mapped
    return UNPACKERS[layout.packing](file).read(n_bytes)[layout.skip_bytes :]


class _ZlibStream:
    """What zlib's own format (MetaImage) holds, read as a file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)  # zlib's header or gzip's

    def read(self, n_bytes: int) -> bytes:
        found = bytearray()
        while len(found) < n_bytes and not self._unpacker.eof:
            packed = self._unpacker.unconsumed_tail or self._file.read(1 << 20)
            if not packed:
                break
            found += self._unpacker.decompress(packed, n_bytes - len(found))
        return bytes(found)


UNPACKERS: dict[str, Callable[[BinaryIO], BinaryIO | gzip.GzipFile | bz2.BZ2File | _ZlibStream]] = {
    "gzip": lambda file: gzip.GzipFile(fileobj=file),
    "bzip2": bz2.BZ2File,
    "zlib": _ZlibStream,
}
