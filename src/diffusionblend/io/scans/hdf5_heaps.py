"""The global heaps of an HDF5 file, where texts of any length lie, walked before the library does.

The library walks a heap from object to object by the sizes they state, and never ends where a
damaged one sends it nowhere or backwards.
"""

from __future__ import annotations

import mmap
from pathlib import Path

from diffusionblend.errors import InputError
from diffusionblend.io.foreign.edge import COPY_AGAIN

MOST_BYTES = 64 << 20
"""Larger files are not searched: the clock of the child process ends what does not return."""
SIGNATURE = b"GCOL\x01\x00\x00\x00"
"""Of a heap of version 1, the only one there is."""
HEADER_BYTES = 16
"""Of a heap, and of each of its objects."""
ALIGNED_TO = 8
LEAST_BYTES = 4096
MAGIC = b"\x89HDF\r\n\x1a\n"
"""How files begin whose description starts at once."""


def check_heaps(path: Path) -> None:
    """Raise InputError where the objects of a global heap do not follow one another."""
    size = path.stat().st_size
    if not LEAST_BYTES <= size <= MOST_BYTES:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if not _has_long_lengths(content):
            return
        start = content.find(SIGNATURE)
        while start >= 0:
            heap_bytes = int.from_bytes(content[start + 8 : start + 16], "little")
            whole = LEAST_BYTES <= heap_bytes <= size - start
            if whole and not _is_walked(content, start + HEADER_BYTES, start + heap_bytes):
                raise InputError(
                    f"{path} is damaged: a heap of texts at byte {start} does not end.",
                    "a whole HDF5 file",
                    COPY_AGAIN,
                )
            start = content.find(SIGNATURE, start + 1)


def _has_long_lengths(content: mmap.mmap) -> bool:
    """Whether the file states lengths in 8 bytes, as all do that are written today."""
    if content[:8] != MAGIC:
        return False
    return content[14 if content[8] < 2 else 10] == 8


def _is_walked(content: mmap.mmap, place: int, end: int) -> bool:
    """Whether the objects between two places follow one another to the end, as the library goes."""
    while place + HEADER_BYTES <= end:
        number = int.from_bytes(content[place : place + 2], "little")
        held = int.from_bytes(content[place + 8 : place + 16], "little")
        taken = held if number == 0 else HEADER_BYTES + -(-held // ALIGNED_TO) * ALIGNED_TO
        if not 0 < taken <= end - place:
            return False
        place += taken
    return True
