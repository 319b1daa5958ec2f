"""Measured scans in NeXus files of the definition NXtomo (Diamond, ISIS, ESRF)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from diffusionblend.data.raw_scan import RawScan
from diffusionblend.errors import InputError
from diffusionblend.io.scans.hdf5 import find_dataset, open_hdf5, text_attribute
from diffusionblend.io.scans.options import (
    DARK_KEY,
    FLAT_KEY,
    PROJECTION_KEY,
    ReadOptions,
    chosen_angles,
    split_by_key,
)

if TYPE_CHECKING:
    import h5py

DEFINITION = "NXtomo"
DETECTOR = "instrument/detector"
DATA, KEY = f"{DETECTOR}/data", f"{DETECTOR}/image_key"
ANGLES = "sample/rotation_angle"
PIXEL_SIZES = {"column_mm": f"{DETECTOR}/x_pixel_size", "row_mm": f"{DETECTOR}/y_pixel_size"}
MM_PER_UNIT = {"m": 1e3, "cm": 10.0, "mm": 1.0, "um": 1e-3, "µm": 1e-3, "nm": 1e-6}


def read_nexus(path: Path | str, options: ReadOptions) -> RawScan:
    """A scan from an NXtomo entry, its flat and dark frames identified by the image key.

    Raises InputError where there is no such entry, or its frames lie in another file that is not
    here.
    """
    path = Path(path)
    with open_hdf5(path, f"a NeXus file of the definition {DEFINITION}") as file:
        entry = _entry(file, path)
        data = find_dataset(entry, DATA, (3,))
        if data is None:
            raise InputError(
                f"{path} has no frames: {_missing(entry)}.",
                f"{entry.name}/{DATA} in the file",
                "put that file in its place; or, for a folder of TIFF frames, "
                f"import the folder with --image-key {path.name}",
            )
        keys = _keys(entry, path)
        own, unit = _own_angles(entry)
        angles = chosen_angles(options, path, len(data), own, unit)
        angles, kinds = split_by_key(keys, angles, len(data), path)
        rows, columns = options.window.of_detector(*data.shape[1:])
        frames = {k: data[i, rows, columns] for k, i in _taken(kinds, options).items() if len(i)}
        return RawScan(
            data=frames[PROJECTION_KEY],
            values=options.values or "counts",
            angles_rad=angles[options.window.views],
            flats=frames.get(FLAT_KEY),
            darks=frames.get(DARK_KEY),
            first_column=options.window.first_column,
            facts={"format": f"NeXus {DEFINITION}"},
            **_pixel_sizes(entry),
        )


def is_nexus_tomography(path: Path | str) -> bool:
    """Whether an HDF5 file has an entry of the definition NXtomo."""
    with open_hdf5(path, "an HDF5 file") as file:
        return _find_entry(file) is not None


def read_image_key(path: Path | str) -> tuple[np.ndarray, np.ndarray | None, str | None]:
    """The image key of an NXtomo file, and its rotation angles with their unit, if it has them."""
    path = Path(path)
    with open_hdf5(path, f"a NeXus file of the definition {DEFINITION}") as file:
        entry = _entry(file, path)
        return _keys(entry, path), *_own_angles(entry)


def _entry(file: h5py.File, path: Path) -> h5py.Group:
    found = _find_entry(file)
    if found is None:
        raise InputError(
            f"{path} has no entry of the definition {DEFINITION}.",
            f"a group with {DATA}, {KEY} and {ANGLES}",
            "another file, or its arrays as .npy with --angles",
        )
    return found


def _find_entry(file: h5py.File) -> h5py.Group | None:
    """The first group that has the image key of NXtomo, at most two levels down."""
    import h5py

    for first in file.values():
        if isinstance(first, h5py.Group):
            for group in (first, *(first.get(name) for name in first)):
                if isinstance(group, h5py.Group) and KEY in group:
                    return group
    return None


def _keys(entry: h5py.Group, path: Path) -> np.ndarray:
    keys = find_dataset(entry, KEY, (1,))
    if keys is None:
        raise InputError(f"{path} has no {entry.name}/{KEY}.", "a key for every frame")
    return keys[()].round().astype(int)


def _own_angles(entry: h5py.Group) -> tuple[np.ndarray | None, str | None]:
    found = find_dataset(entry, ANGLES, (1,))
    return (None, None) if found is None else (found[()], text_attribute(found, "units"))


def _taken(kinds: dict[int, np.ndarray], options: ReadOptions) -> dict[int, np.ndarray]:
    """The frames to read of each kind: every N-th view, all flats and darks."""
    return kinds | {PROJECTION_KEY: kinds[PROJECTION_KEY][options.window.views]}


def _pixel_sizes(entry: h5py.Group) -> dict[str, float]:
    """The sizes of a pixel in mm, where they and their unit are given."""
    found = {}
    for name, where in PIXEL_SIZES.items():
        size = entry.get(where)
        scale = MM_PER_UNIT.get(text_attribute(size, "units") or "") if size is not None else None
        if scale is not None and np.size(size[()]) == 1 and float(np.ravel(size[()])[0]) > 0:
            found[name] = float(np.ravel(size[()])[0]) * scale
    return found


def _missing(entry: h5py.Group) -> str:
    """Why the frames are not to be had."""
    import h5py

    link = entry[DETECTOR].get("data", getlink=True)
    if isinstance(link, h5py.ExternalLink):
        return f"they lie in {Path(link.filename).name}, which is not there"
    return f"{entry.name}/{DATA} is missing"
