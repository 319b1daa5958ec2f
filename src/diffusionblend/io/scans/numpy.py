"""Measured scans as plain NumPy files: an .npy array, or an .npz with its angles and frames."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from diffusionblend.data.raw_scan import RawScan
from diffusionblend.errors import InputError
from diffusionblend.io.atomic import check_readable
from diffusionblend.io.scans.options import ReadOptions, chosen_angles

DATA, FLATS, DARKS = "data", "flats", "darks"
ANGLES = {"angles_rad": "radians", "angles_degrees": "degrees"}
"""Names of the arrays of an .npz file, and the units of its angles."""
LAYOUT = f"an array (view, row, column) or (view, column), in .npz named {DATA}"


def read_numpy_scan(path: Path | str, options: ReadOptions) -> RawScan:
    """A scan from an .npy array, or an .npz with data, angles_rad or angles_degrees, flats, darks.

    Raises InputError for other shapes, pickled objects and truncated files.
    """
    path = Path(path)
    arrays = _arrays(path)
    if DATA not in arrays:
        raise InputError(f"{path} holds {', '.join(arrays) or 'nothing'}.", LAYOUT)
    own = next(((arrays[name], unit) for name, unit in ANGLES.items() if name in arrays), None)
    data = _three_axes(arrays[DATA], path)
    angles = chosen_angles(options, path, len(data), *(own or (None, None)))
    if len(angles) != len(data):
        raise InputError(
            f"{path} has {len(data)} views along its first axis, and there are {len(angles)} "
            f"angles; its shape is {data.shape}.",
            "an angle for every view, the views along the first axis",
            "turn the array with numpy.moveaxis, where the views are along another axis",
        )
    rows, columns = options.window.of_detector(*data.shape[1:])
    views = options.window.views
    frames = {
        name: _three_axes(arrays[name], path)[:, rows, columns]
        for name in (FLATS, DARKS)
        if name in arrays
    }
    return RawScan(
        data=data[views, rows, columns],
        values=options.values or "counts",
        angles_rad=angles[views],
        first_column=options.window.first_column,
        facts={"format": "NumPy"},
        **frames,
    )


def read_array(path: Path | str) -> np.ndarray:
    """The one array of an .npy file, mapped. Raises InputError."""
    check_readable(path)
    with _told_as_numpy(path):
        return np.load(path, mmap_mode="r", allow_pickle=False)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays by their names; an .npy's is `data`. Raises InputError."""
    if path.suffix.lower() == ".npy":
        return {DATA: read_array(path)}
    check_readable(path)
    with (
        _told_as_numpy(path),
        path.open("rb") as file,
        np.load(file, allow_pickle=False) as found,
    ):
        return {name: found[name] for name in found.files}


@contextmanager
def _told_as_numpy(path: Path | str) -> Iterator[None]:
    """What NumPy raises of a foreign or truncated file, as InputError."""
    try:
        yield
    except (ValueError, OSError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path} could not be read as NumPy: {error}.",
            "a whole .npy or .npz file of numbers",
            "save it again with numpy.save or numpy.savez",
        ) from error


def _three_axes(array: np.ndarray, path: Path) -> np.ndarray:
    """(frame, row, column); two axes are a single row. Raises InputError."""
    if array.dtype.kind not in "fiu" or array.ndim not in (2, 3) or 0 in array.shape:
        raise InputError(f"{path} holds {array.dtype} of shape {array.shape}.", LAYOUT)
    return array[:, None] if array.ndim == 2 else array
