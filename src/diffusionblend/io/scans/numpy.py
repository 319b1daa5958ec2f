"""Measured scans as plain NumPy files: an .npy array, or an .npz with its angles and frames."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import numpy as np

from diffusionblend.data.raw_scan import RawScan, of_frames_too
from diffusionblend.errors import InputError
from diffusionblend.io.atomic import check_readable
from diffusionblend.io.foreign.edge import reason_of
from diffusionblend.io.foreign.limits import check_claim
from diffusionblend.io.scans.options import ReadOptions, chosen_angles

DATA, FLATS, DARKS = "data", "flats", "darks"
OTHER_NAMES = {
    DATA: ("projections", "proj", "projs", "tomo", "sinogram", "sinograms", "views", "arr_0"),
    FLATS: (
        *("flat", "white", "data_white", "open_beam", "flatfield", "flat_field", "flat_fields"),
        *("white_field", "whites", "blank", "air", "gain", "ff", "I0", "i0"),
    ),
    DARKS: ("dark", "data_dark", "dark_field", "dark_fields", "dark_current", "offset", "df"),
}
ANGLES = {
    "angles_rad": "radians",
    "angles_degrees": "degrees",
    **dict.fromkeys(("angles_deg", "theta_degrees", "theta_deg"), "degrees"),
    **dict.fromkeys(("angles_radians", "theta_rad", "theta_radians"), "radians"),
    **dict.fromkeys(("angles", "theta"), None),
}
"""Names of the arrays of an .npz file, and the units of its angles."""
MOST_LISTED, MOST_LETTERS = 10, 40
"""Of the names of arrays that a message has."""
KNOWN = {DATA, FLATS, DARKS, *ANGLES, *(n for names in OTHER_NAMES.values() for n in names)}
"""The arrays of an .npz file that are read; of others only the names."""
LAYOUT = f"an array (view, row, column) or (view, column), in .npz named {DATA}"


def read_numpy_scan(path: Path | str, options: ReadOptions) -> RawScan:
    """A scan from an .npy array, or an .npz with data, angles_rad or angles_degrees, flats, darks.

    Raises InputError for other shapes, pickled objects and truncated files.
    """
    path = Path(path)
    arrays = _arrays(path)
    arrays = _by_our_names(arrays)
    if DATA not in arrays:
        raise InputError(
            f"{path} holds {_listed(arrays) or 'nothing'}.",
            LAYOUT,
            "save it again with numpy.savez",
        )
    own = next(((arrays[name], unit) for name, unit in ANGLES.items() if name in arrays), None)
    data = _three_axes(arrays[DATA], path, sinograms=options.sinograms)
    angles = chosen_angles(options, path, len(data), *(own or (None, None)))
    counts = [len(np.atleast_3d(arrays[n])) if n in arrays else 0 for n in (FLATS, DARKS)]
    if len(angles) != len(data):
        frames_too = of_frames_too(len(angles), len(data), *counts)
        turned = "--sinograms, where the array is (row, view, column); else numpy.moveaxis turns it"
        raise InputError(
            f"{path} has {len(data)} views along its first axis, its shape being {data.shape}, and "
            f"there are {len(angles)} angles{frames_too}.",
            "an angle for every view, the views along the first axis",
            "the list of the views' angles alone" if frames_too else turned,
        )
    rows, columns = options.window.of_detector(*data.shape[1:])
    views = options.window.views
    frames = {
        name: _frames(arrays[name], path, data.shape[1:], options)[:, rows, columns]
        for name in (FLATS, DARKS)
        if name in arrays
    }
    unread = [name for name in arrays if name not in KNOWN]
    return RawScan(
        data=data[views, rows, columns],
        values=options.values or "counts",
        angles_rad=angles[views],
        facts={"format": "NumPy"},
        flats=frames.get(FLATS),
        darks=frames.get(DARKS),
        notes=(f"{path.name} also holds {_listed(unread)}, which was not read",) if unread else (),
        **options.window.place(*data.shape[1:]),
    )


def read_array(path: Path | str) -> np.ndarray:
    """The one array of an .npy file, mapped. Raises InputError."""
    check_readable(path)
    with _told_as_numpy(path):
        return np.load(path, mmap_mode="r", allow_pickle=False)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays by their names; an .npy's is `data`. Raises InputError."""
    return {DATA: read_array(path)} if path.suffix.lower() == ".npy" else read_arrays(path, KNOWN)


def read_arrays(path: Path, known: Collection[str]) -> dict[str, np.ndarray]:
    """The arrays of an .npz file; those not among the known names empty. Raises InputError."""
    check_readable(path)
    with _told_as_numpy(path):
        _check_sizes(path, known)
        with path.open("rb") as file, np.load(file, allow_pickle=False) as found:
            return {n: found[n] if n in known else np.empty(0) for n in found.files}


def _check_sizes(path: Path, known: Collection[str]) -> None:
    """Raises InputError where the arrays of an .npz that are wanted claim what it cannot hold."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if len(set(names)) < len(names):
            raise ValueError("it holds an array twice")
        wanted = [i for i in archive.infolist() if i.filename.removesuffix(".npy") in known]
        check_claim(path, sum(member.file_size for member in wanted), what="arrays")
        claims = [_claim(archive, member) for member in wanted]
    check_claim(path, sum(claims), what="arrays")


def _claim(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> int:
    """The bytes that a member's own header claims."""
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0
        if version != (1, 0):
            read = np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    return math.prod(shape) * dtype.itemsize


@contextmanager
def _told_as_numpy(path: Path | str) -> Iterator[None]:
    """What NumPy raises of a foreign or truncated file, as InputError."""
    try:
        yield
    except (ValueError, OSError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path} could not be read as NumPy: {reason_of(error)}.",
            "a whole .npy or .npz file of numbers",
            "save it again with numpy.save or numpy.savez",
        ) from error


def _by_our_names(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays under our names, where they have other usual names of the same meaning."""
    found = dict(arrays)
    for ours, others in OTHER_NAMES.items():
        present = [name for name in others if name in arrays]
        if ours not in arrays and len(present) == 1:
            found[ours] = found.pop(present[0])
    return found


def _listed(names: Collection[str]) -> str:
    """Names on a line, cut where they are long; of many the first ones."""
    shown = ", ".join(name[:MOST_LETTERS] for name in islice(names, MOST_LISTED))
    return f"{shown} and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else shown


def _three_axes(array: np.ndarray, path: Path, *, sinograms: bool = False) -> np.ndarray:
    """(frame, row, column), of sinograms (row, frame, column); two axes are a single row.

    Raises InputError.
    """
    if array.dtype.kind not in "fiu" or array.ndim not in (2, 3) or 0 in array.shape:
        raise InputError(
            f"{path} holds {array.dtype} of shape {array.shape}.",
            LAYOUT,
            "save it again as numbers, with numpy.save",
        )
    if array.ndim == 2:
        return array[:, None]
    return array.swapaxes(0, 1) if sinograms else array


def _frames(
    array: np.ndarray, path: Path, shape: tuple[int, int], options: ReadOptions
) -> np.ndarray:
    """Flat or dark frames (frame, row, column) of a detector's shape; one average has no frames.

    Raises InputError.
    """
    if (array.shape == shape and shape[0] > 1) or array.shape == shape[1:]:
        return array.reshape(1, *shape)
    fits = array.shape[1:] == shape
    return _three_axes(array, path, sinograms=options.sinograms and not fits)
