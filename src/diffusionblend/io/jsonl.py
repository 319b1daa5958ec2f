"""A file of JSON objects, one a line, to which finished work is added one by one.

Each line carries a checksum of its object, so that a line that was damaged is known and left out.
"""

from __future__ import annotations

import json
import os
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path

from diffusionblend.io.json_file import NO_JSON
from diffusionblend.io.locks import locked

CHECKSUM = "crc32"
"""The key of a line's checksum; lines of older versions have none."""


def read_json_lines(path: Path) -> list[dict]:
    """The objects of the file, none where there is no file; a line cut short by a kill is left out.

    So is a damaged line, with a warning: its work is done again.
    """
    if not path.exists():
        return []
    *lines, _ = path.read_bytes().split(b"\n")  # what follows the last line break is not finished
    rows, damaged = [], []
    for number, line in enumerate(lines, 1):
        row = _checked(line)
        if row is None:
            damaged.append(number)
        else:
            rows.append(row)
    if damaged:
        warnings.warn(
            f"line(s) {', '.join(map(str, damaged))} of {path} are damaged and left out; their "
            "work is done again",
            stacklevel=2,
        )
    return rows


def append_json_line(path: Path, row: Mapping[str, object]) -> None:
    """Add an object, on the disk when this returns; a line cut short before it is removed.

    Two processes that add to one file wait for each other.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    line = json.dumps(dict(row) | {CHECKSUM: _checksum(row)}).encode() + b"\n"
    with path.open("r+b") as file, locked(file):
        content = file.read()
        file.truncate(content.rfind(b"\n") + 1)
        file.seek(0, os.SEEK_END)
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def _checked(line: bytes) -> dict | None:
    """The object of a line; None where it is damaged."""
    try:
        row = json.loads(line)
    except NO_JSON:
        return None
    if not isinstance(row, dict):
        return None
    checksum = row.pop(CHECKSUM, None)
    return row if checksum is None or checksum == _checksum(row) else None


def _checksum(row: Mapping[str, object]) -> int:
    return zlib.crc32(json.dumps(row, sort_keys=True).encode())
