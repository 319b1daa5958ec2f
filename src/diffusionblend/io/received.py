"""Volumes that come as a stream of bytes with a name, such as files dropped on a page."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from io import BufferedIOBase
from pathlib import Path, PurePosixPath, PureWindowsPath

from diffusionblend.data.printable import printable
from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError
from diffusionblend.io.atomic import file_suffix
from diffusionblend.io.volumes import READ_SUFFIXES, read_volume, warn

COPY_BYTES = 1 << 20


def read_received(
    name: str, stream: BufferedIOBase, length: int, *, on_note: Callable[[str], None] = warn
) -> tuple[str, Volume]:
    """The name, without folders and suffix, and the volume of a file of `length` bytes.

    The bytes are read as `read_volume` reads a file, whatever their unit, and are not kept on the
    disk. on_note: as there. Raises InputError, which names the file as it was called.
    """
    name = PureWindowsPath(PurePosixPath(name).name).name
    suffix = file_suffix(name)
    if not name.isprintable() or suffix not in READ_SUFFIXES:
        raise InputError(
            f"{printable(name)} is not a volume by its name.",
            f"a file that ends in {', '.join(READ_SUFFIXES)}",
            "for a DICOM series, 'diffusionblend view FOLDER'",
        )
    with tempfile.TemporaryDirectory(prefix="diffusionblend-received-") as folder:
        path = Path(folder) / f"volume{suffix}"
        left = length
        with path.open("wb") as file:
            while left > 0 and (part := stream.read(min(left, COPY_BYTES))):
                file.write(part)
                left -= len(part)
        if left:
            raise InputError(
                f"{name} ended {left} bytes early.", "the whole file", "the same again"
            )
        return name[: -len(suffix)], _read(path, name, on_note)


def _read(path: Path, name: str, on_note: Callable[[str], None]) -> Volume:
    """The volume of a file and the notes on it, both under the name that it has at home."""
    said: list[str] = []
    try:
        volume = read_volume(path, check=False, on_note=said.append)
    except InputError as error:
        parts = (error.got, error.expected, error.try_)
        raise InputError(*(part.replace(str(path), name) for part in parts)) from error
    for note in said:
        on_note(note.replace(str(path), name))
    return volume
