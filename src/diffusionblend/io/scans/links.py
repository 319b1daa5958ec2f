"""Data of an HDF5 file that lie in other files: only in the file's own folder or below it.

A file that comes from somewhere else must not have this program read what its sender could not.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from diffusionblend.errors import InputError
from diffusionblend.io.detached import leads_away

if TYPE_CHECKING:
    import h5py

SAME_FILE = "."
"""How a virtual data set names the file that it is in itself."""


def check_links(file: h5py.File, path: Path, *, allowed: bool) -> None:
    """Raises InputError where data lie in another file that is not beside this one.

    allowed: whether they may lie beside it at all; as raw bytes (HDF5's external storage) they
    never may.
    """
    for name, other, is_raw in _others(file):
        if is_raw or not allowed or leads_away(path, other):
            raise InputError(
                f"{path} has the data of {name} in another file, {other}.",
                "data in the file itself"
                + (", or in files of its own folder or below" if allowed else ""),
                "copy the data into the file (h5repack, or h5py's copy with expand_external)",
            )


def _others(file: h5py.File) -> Iterator[tuple[str, str, bool]]:
    """Every link and data set that leads to another file, its name, and whether that is raw."""
    import h5py

    found: list[tuple[str, str, bool]] = []

    def look(name: str, link: object) -> None:
        if isinstance(link, h5py.ExternalLink):
            found.append((name, link.filename, False))
        elif isinstance(link, h5py.HardLink):
            held = file[name]
            if not isinstance(held, h5py.Dataset):
                return
            found.extend((name, raw[0], True) for raw in held.external or ())
            if held.is_virtual:
                files = {source.file_name for source in held.virtual_sources()} - {SAME_FILE}
                found.extend((name, other, False) for other in sorted(files))

    file.visititems_links(look)
    yield from found
