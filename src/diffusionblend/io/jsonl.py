"""A file of JSON objects, one a line, to which finished work is added one by one."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from diffusionblend.errors import InputError


def read_json_lines(path: Path) -> list[dict]:
    """The objects of the file, none where there is no file; a line cut short by a kill is left out.

    Raises InputError where another line is not an object.
    """
    if not path.exists():
        return []
    *lines, _ = path.read_bytes().split(b"\n")  # what follows the last line break is not finished
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, UnicodeDecodeError):
            row = None
        if not isinstance(row, dict):
            raise InputError(
                f"Line {number} of {path} is not a JSON object.",
                "one object a line",
                "remove the line, and what it tells of is done again",
            )
        rows.append(row)
    return rows


def append_json_line(path: Path, row: Mapping[str, object]) -> None:
    """Add an object, on the disk when this returns; a line cut short before it is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    with path.open("r+b") as file:
        content = file.read()
        file.truncate(content.rfind(b"\n") + 1)
        file.seek(0, os.SEEK_END)
        file.write(json.dumps(row).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
