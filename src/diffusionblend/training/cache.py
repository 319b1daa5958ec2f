"""Training volumes kept ready on disk: int16 HU at one slice size, mapped into memory.

A cache folder holds one .npy file for each volume and slice size, and index.json. A volume is known
by its content's SHA-256, so that it may be moved or renamed; it is hashed again only where its size
or time of change is another.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diffusionblend.errors import InputError
from diffusionblend.io.atomic import atomic_output, sha256_of
from diffusionblend.io.json_file import NO_JSON
from diffusionblend.training.dataset import whole_hu

INDEX_FILE = "index.json"
CACHE_FORMAT = 2
SHA256 = "sha256"
"""The key of the hash of all else in the index."""
NAME_DIGITS = 24
"""Of the source's hash, in the name of its file."""


@dataclass(frozen=True)
class CachedVolume:
    """A volume in the cache: values (z, size, size) int16 HU, mapped; its spacings in mm."""

    name: str
    values: np.ndarray
    slice_spacing_mm: float
    pixel_mm: float


class VolumeCache:
    """The volumes of one slice size in a cache folder, made when first asked for."""

    def __init__(self, folder: Path, size: int) -> None:
        self._folder, self._size = Path(folder), size

    def volumes(
        self, paths: Iterable[Path], on_step: Callable[[int, int], None] = lambda done, total: None
    ) -> list[CachedVolume]:
        """The volumes of the paths, in their order; what the cache lacks is read and kept first.

        A file of the cache that is short, or is changed in any byte, is made anew. An interrupted
        call has kept the volumes it was through with. Raises InputError for a volume that cannot be
        read, OutputWriteError.
        """
        paths = list(paths)
        found = []
        for i, path in enumerate(paths):
            found.append(self._volume(path))
            on_step(i + 1, len(paths))
        return found

    def _volume(self, path: Path) -> CachedVolume:
        index = _read_index(self._folder)
        source = self.sha256_of(path, index)
        key = f"{source}-{self._size}"
        entry = index["volumes"].get(key)
        known = entry is not None and "pixel_mm" in entry  # which older caches lack
        values = self._open(key, entry) if known else None
        if values is None:
            entry = self._make(path, key)
            values = self._open(key, entry)
            assert values is not None, "it was made"
        return CachedVolume(path.name, values, entry["slice_spacing_mm"], entry["pixel_mm"])

    def sha256_of(self, path: Path, index: dict | None = None) -> str:
        """The SHA-256 of a file or folder, as `io.files` has it; not computed anew where known.

        Raises InputError where there is nothing at `path`.
        """
        if not path.exists():
            raise InputError(f"There is no {path}.", "an existing file or folder")
        index = _read_index(self._folder) if index is None else index
        stamp, place = _stamp(path), _place(path)
        known = index["sources"].get(place)
        if known is not None and known["stamp"] == stamp:
            return known["sha256"]
        digest = sha256_of(path)
        if (self._folder / INDEX_FILE).exists():  # else the volume itself is still to be read
            self._note("sources", place, {"stamp": stamp, "sha256": digest})
        return digest

    def _make(self, path: Path, key: str) -> dict:
        """Read a volume, keep it, and note it in the index."""
        from diffusionblend.data.resample import to_square_slices
        from diffusionblend.io.volumes import read_volume

        stamp = _stamp(path)
        volume = to_square_slices(read_volume(path), self._size)
        file = self._folder / _file_name(key)
        with atomic_output(file, force=True) as temporary, temporary.open("wb") as stream:
            np.save(stream, whole_hu(volume))
        entry = {
            "slice_spacing_mm": volume.grid.spacing_mm[0],
            "pixel_mm": volume.grid.pixel_mm,
            "slices": volume.grid.shape[0],
            "sha256": sha256_of(file),
            "stamp": _stamp(file),
        }
        self._note("volumes", key, entry)
        source = {"stamp": stamp, "sha256": key.partition("-")[0]}
        self._note("sources", _place(path), source)
        return entry

    def _open(self, key: str, entry: dict) -> np.ndarray | None:
        """The values of an entry, mapped; None where its file is not what it was."""
        file = self._folder / _file_name(key)
        if not file.is_file() or not file.stat().st_size:
            return None
        stamp = _stamp(file)
        if stamp != entry["stamp"]:
            if sha256_of(file) != entry["sha256"]:
                return None
            self._note("volumes", key, entry | {"stamp": stamp})  # copied or touched
        return np.load(file, mmap_mode="r")

    def _note(self, kind: str, key: str, value: dict) -> None:
        """Add to the index; what another run has added meanwhile stays."""
        index = _read_index(self._folder)
        index[kind][key] = value
        text = json.dumps(index | {SHA256: _sha256_of(index)}, indent=1) + "\n"
        with atomic_output(self._folder / INDEX_FILE, force=True) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _place(path: Path) -> str:
    """What stands for a path in the index, which thus contains no names."""
    return hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:NAME_DIGITS]


def _stamp(path: Path) -> str:
    """A mark of a file, or of a folder's files, that changes with size or modification time."""
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    lines = [f"{p.relative_to(path)} {(s := p.stat()).st_size} {s.st_mtime_ns}" for p in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _file_name(key: str) -> str:
    digest, _, size = key.partition("-")
    return f"{digest[:NAME_DIGITS]}-{size}.npy"


def _read_index(folder: Path) -> dict:
    """The index of a cache; an empty one where there is none that is as it was written.

    Its content is then made anew.
    """
    empty = {"format": CACHE_FORMAT, "sources": {}, "volumes": {}}
    try:
        index = json.loads((folder / INDEX_FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, *NO_JSON):
        return empty
    if not isinstance(index, dict) or index.get("format") != CACHE_FORMAT:
        return empty
    whole = index.pop(SHA256, None) == _sha256_of(index)
    return index if whole and set(empty) == set(index) else empty


def _sha256_of(index: dict) -> str:
    return hashlib.sha256(json.dumps(index, sort_keys=True).encode()).hexdigest()
