"""Measured scans in HDF5 by Data Exchange (De Carlo et al. 2014): what TomoPy and APS write."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from diffusionblend.data.raw_scan import RawScan
from diffusionblend.errors import InputError
from diffusionblend.io.scans.hdf5 import (
    find_dataset,
    missing_reason,
    open_hdf5,
    text_attribute,
)
from diffusionblend.io.scans.hdf5_lengths import exchange_pixel_sizes
from diffusionblend.io.scans.options import ReadOptions, chosen_angles

if TYPE_CHECKING:
    import h5py

DATA, FLATS, DARKS = "exchange/data", "exchange/data_white", "exchange/data_dark"
THETA = "exchange/theta"
READ = (DATA, FLATS, DARKS)
VIEW_AXES = ("theta", "view", "angle")
LAYOUT = f"{DATA} (view, row, column), {THETA}, and for counts {FLATS} and {DARKS}"


def read_data_exchange(path: Path | str, options: ReadOptions) -> RawScan:
    """A scan from the group /exchange: data, data_white, data_dark, theta.

    Sinograms (row, view, column) are turned, where the attribute `axes` of the data says that they
    are. Raises InputError for missing keys, shapes that disagree and angles of an unclear unit.
    """
    path = Path(path)
    with open_hdf5(path, f"an HDF5 file with {LAYOUT}") as file:
        data = find_dataset(file, DATA, (2, 3))
        if data is None:
            reason = missing_reason(file, DATA)
            linked = "" if reason.endswith("is missing") else f" ({reason})"
            raise InputError(
                f"{path} has no /{DATA}{linked}; it has {_names(file)}.",
                LAYOUT,
                "another file, or its arrays as .npy with --angles",
            )
        turned = data.ndim == 3 and (options.sinograms or _is_sinogram(data))
        n_views = data.shape[1 if turned else 0]
        shape = (1 if data.ndim == 2 else data.shape[0 if turned else 1], data.shape[-1])
        theta = find_dataset(file, THETA, (1, 2))
        if theta is not None and theta.ndim == 2 and min(theta.shape) > 1:
            raise InputError(
                f"{path} has {THETA} of shape {theta.shape}.",
                "an angle a view",
                "--angles with a list of them, or --arc-degrees",
            )
        own, unit = (None, None) if theta is None else (theta[()], text_attribute(theta, "units"))
        angles = chosen_angles(options, path, n_views, own, unit)
        views = options.window.views
        sizes, size_notes = exchange_pixel_sizes(file)
        return RawScan(
            data=_part(data, options, views, turned),
            values=options.values or "counts",
            angles_rad=angles[views],
            flats=_frames(file, FLATS, options, shape, turned),
            darks=_frames(file, DARKS, options, shape, turned),
            facts={"format": "Data Exchange", "values_unit": text_attribute(data, "units")},
            notes=(*_unread(file), *size_notes),
            column_mm=sizes.get("column_mm"),
            row_mm=sizes.get("row_mm"),
            **options.window.place(*shape),
        )


def _unread(file: h5py.File) -> tuple[str, ...]:
    """A sentence on further frames of the group, such as flats that were taken afterwards."""
    group = file["exchange"]
    others = [n for n in group if n.startswith("data") and f"exchange/{n}" not in READ]
    return (f"/exchange also has {', '.join(others)}, which was not read",) if others else ()


def _frames(
    file: h5py.File, name: str, options: ReadOptions, shape: tuple[int, int], turned: bool
) -> np.ndarray | None:
    """Flat or dark frames of the window; None where the file has none.

    shape: rows and columns of the detector, by which an average without an axis of frames is
    known. turned: the views are sinograms, and so are these where they fit as such.
    """
    found = find_dataset(file, name, (1, 2, 3))
    if found is None or 0 in found.shape:
        return None
    if found.shape in (shape, shape[1:]) and shape[0] > 1 - (found.ndim == 1):
        rows, columns = options.window.of_detector(*shape)
        return found[()].reshape(shape)[None, rows, columns]
    fits = found.ndim == 3 and (found.shape[0], found.shape[2]) == shape
    as_frames = found.shape[1:] == shape
    sinogram = found.ndim == 3 and (_is_sinogram(found) or (turned and fits and not as_frames))
    return _part(found, options, slice(None), sinogram)


def _part(data: h5py.Dataset, options: ReadOptions, frames: slice, turned: bool) -> np.ndarray:
    """The window of a data set as (frame, row, column); two dimensions are one row, (frame,
    column).
    """
    n_rows = 1 if data.ndim == 2 else data.shape[0 if turned else 1]
    rows, columns = options.window.of_detector(n_rows, data.shape[-1])
    if data.ndim == 2:
        return data[frames, columns][:, None]
    return data[rows, frames, columns].swapaxes(0, 1) if turned else data[frames, rows, columns]


def _is_sinogram(data: h5py.Dataset) -> bool:
    """Whether the attribute `axes`, such as "y:theta:x", has the views second."""
    axes = [axis.strip().lower() for axis in (text_attribute(data, "axes") or "").split(":")]
    return data.ndim == 3 and len(axes) == 3 and axes[1].startswith(VIEW_AXES)


def _names(file: h5py.File) -> str:
    """Some names of what a file holds."""
    found: list[str] = []
    file.visit(lambda name: found.append(name) if len(found) < 6 else True)
    return ", ".join(found[:6]) or "nothing"
