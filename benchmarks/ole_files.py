"""Writes OLE files, as Microsoft's [MS-CFB] describes them, for files of Zeiss microscopes.

Version 3: sectors of 512 bytes; streams shorter than 4096 bytes lie in sectors of 64 bytes within
the root's own stream. The entries of a folder are a chain in place of a balanced tree.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

SECTOR, MINI_SECTOR, SHORT = 512, 64, 4096
END, FREE, TABLE = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFD
STORAGE, STREAM, ROOT = 1, 2, 5
IN_HEADER = 109
"""Sectors of the table of sectors that the header lists."""


@dataclass
class _Entry:
    """A folder or a stream: where it begins, its length, and the numbers of its neighbours."""

    name: str
    kind: int
    start: int = END
    size: int = 0
    right: int = FREE
    child: int = FREE
    inside: dict[str, int] = field(default_factory=dict)

    def packed(self) -> bytes:
        """The 128 bytes of the directory."""
        name = self.name.encode("utf-16-le") + b"\0\0"
        head = name.ljust(64, b"\0") + struct.pack("<HBB", len(name), self.kind, 1)
        links = struct.pack("<III", FREE, self.right, self.child)
        return head + links + bytes(36) + struct.pack("<IQ", self.start, self.size)


class _Sectors:
    """Streams one after another in sectors of a size, and the table of what follows each."""

    def __init__(self, size: int) -> None:
        self.size, self.content, self.following = size, bytearray(), list[int]()

    def add(self, content: bytes) -> int:
        """Append a stream; where it begins."""
        if not content:
            return END
        first, count = len(self.following), -(-len(content) // self.size)
        self.content += content.ljust(count * self.size, b"\0")
        self.following += [*range(first + 1, first + count), END]
        return first


def write_ole(path: Path, streams: Mapping[str, bytes]) -> Path:
    """Write a file of streams by their names; "Folder/Name" lies in a folder."""
    entries = [_Entry("Root Entry", ROOT)]
    long, short = _Sectors(SECTOR), _Sectors(MINI_SECTOR)
    for name, content in streams.items():
        folder = entries[0]
        *parents, last = name.split("/")
        for parent in parents:
            folder = entries[_numbered(entries, folder, _Entry(parent, STORAGE))]
        sectors = short if len(content) < SHORT else long
        _numbered(entries, folder, _Entry(last, STREAM, sectors.add(content), len(content)))
    _chain(entries)
    entries[0].start, entries[0].size = long.add(bytes(short.content)), len(short.content)
    table = struct.pack(f"<{len(short.following)}I", *short.following)
    mini, mini_count = long.add(table), -(-len(table) // SECTOR)
    directory = long.add(b"".join(entry.packed() for entry in entries))
    n_tables = 0
    while n_tables * SECTOR < 4 * (len(long.following) + n_tables):
        n_tables += 1
    first = len(long.following)
    following = [*long.following, *[TABLE] * n_tables]
    following += [FREE] * (n_tables * SECTOR // 4 - len(following))
    where = [*range(first, first + n_tables), *[FREE] * (IN_HEADER - n_tables)]
    header = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(16)
    header += struct.pack("<5H6x6I", 0x3E, 3, 0xFFFE, 9, 6, 0, n_tables, directory, 0, SHORT, mini)
    header += struct.pack("<3I", mini_count, END, 0) + struct.pack(f"<{IN_HEADER}I", *where)
    tables = struct.pack(f"<{len(following)}I", *following)
    path.write_bytes(header + bytes(long.content) + tables)
    return path


def _numbered(entries: list[_Entry], folder: _Entry, entry: _Entry) -> int:
    """The number of an entry of a folder, which is added where it is new."""
    if entry.name not in folder.inside:
        folder.inside[entry.name] = len(entries)
        entries.append(entry)
    return folder.inside[entry.name]


def _chain(entries: list[_Entry]) -> None:
    """Every folder leads to its first entry by length and name, each entry to the next."""
    for folder in entries:
        order = sorted(folder.inside, key=lambda name: (len(name), name.upper()))
        numbers = [folder.inside[name] for name in order]
        if numbers:
            folder.child = numbers[0]
        for number, following in pairwise(numbers):
            entries[number].right = following
