"""Public collections of raw data by their own layouts: walnuts (FleX-ray) and 2DeteCT.

Walnuts (Der Sarkissian et al. 2019, Sci. Data 6, 215): frames of a detector that stands upright,
`scan_*.tif`, in the reverse order of the vectors `scan_geom_corrected.geom`; `di*.tif` are darks,
`io*.tif` flats. 2DeteCT (Kiss et al. 2023, Sci. Data 10, 576): of every slice and mode the sinogram
with one dark and two flats.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from diffusionblend.data.raw_scan import RawScan
from diffusionblend.errors import InputError
from diffusionblend.io.scans.frame_names import in_order
from diffusionblend.io.scans.options import ReadOptions
from diffusionblend.io.scans.tiff import Frames, read_frames
from diffusionblend.io.scans.tiff_file import read_tiff
from diffusionblend.io.scans.vectors import read_vectors, with_vectors

WALNUT_GEOMETRIES = ("scan_geom_corrected.geom", "scan_geom_original.geom")
WALNUT_VIEWS, WALNUT_FLATS, WALNUT_DARKS = "scan_*.tif", "io*.tif", "di*.tif"
SLICE_FILES = ("sinogram.tif", "dark.tif", "flat1.tif", "flat2.tif")
SLICE_SOURCE_TO_AXIS_MM, SLICE_SOURCE_TO_DETECTOR_MM = 431.019989, 529.000488
SLICE_COLUMN_MM, SLICE_COLUMNS = 0.0748, 1912
SHIFTED_SLICES = (range(1, 2831), range(5521, 5871))
"""Slices whose axis lies a column beside the detector's middle, by the collection's own code."""


def is_walnut(folder: Path) -> bool:
    """Whether a folder has the vectors of a walnut's orbit."""
    return any((folder / name).is_file() for name in WALNUT_GEOMETRIES)


def is_slice(folder: Path) -> bool:
    """Whether a folder has the files of a slice of 2DeteCT."""
    return all((folder / name).is_file() for name in SLICE_FILES)


def read_walnut(folder: Path, options: ReadOptions) -> RawScan:
    """An orbit of a walnut: counts, flats and darks, with source and panel of every view.

    Raises InputError where frames and vectors do not fit.
    """
    name = next(name for name in WALNUT_GEOMETRIES if (folder / name).is_file())
    whole = replace(options, rows=None, columns=None)
    paths = in_order(folder.glob(options.views or WALNUT_VIEWS))
    frames = Frames(paths, whole)
    numbers = np.arange(len(frames))[::-1][options.window.views]
    data = _upright(frames.read(numbers))
    flats, darks = (
        _upright(read_frames(pattern, folder, whole)) if any(folder.glob(pattern)) else None
        for pattern in (WALNUT_FLATS, WALNUT_DARKS)
    )
    scan = RawScan(
        data=data,
        values=options.values or "counts",
        angles_rad=np.zeros(len(data)),
        flats=flats,
        darks=darks,
        facts={"format": "FleX-ray with vectors"},
        notes=tuple(frames.notes),
    ).cropped(options.window)
    geometry = read_vectors(folder / name, data.shape[1:])
    if geometry.n_views != len(frames):
        raise InputError(
            f"{folder} has {len(frames)} views, and {name} {geometry.n_views}.",
            "12 numbers for every view",
            "the whole folder of an orbit",
        )
    return with_vectors(scan, geometry, options)


def read_slice(folder: Path, options: ReadOptions) -> RawScan:
    """A slice of 2DeteCT in one mode: a fan over a turn, with the collection's own distances.

    Raises InputError where the files do not fit.
    """
    sinogram, dark, *flats = (read_tiff(folder / name).frames for name in SLICE_FILES)
    views, n_columns = sinogram.shape[1:]
    if n_columns != SLICE_COLUMNS or any(f.size != n_columns for f in (dark, *flats)):
        sizes = ", ".join(str(f.shape[1:]) for f in (sinogram, dark, *flats))
        raise InputError(
            f"{folder} has files of {sizes}.",
            f"a sinogram (view, column) of {SLICE_COLUMNS} columns, and a line of each other",
            "--sinograms with the file itself, for other sinograms",
        )
    number = next((int(n) for n in re.findall(r"slice(\d+)", str(folder.resolve()))[-1:]), 0)
    shifted = any(number in numbers for numbers in SHIFTED_SLICES)
    # the last view is the first again
    angles = np.pi - 2 * np.pi * np.arange(views - 1) / max(views - 1, 1)
    notes = [] if number else ["no slice number in the folder's path: the axis may be 1 column off"]
    scan = RawScan(
        data=sinogram[0, :-1, None].astype(np.float32),
        values=options.values or "counts",
        angles_rad=angles,
        flats=np.concatenate([f.reshape(1, 1, n_columns) for f in flats]).astype(np.float32),
        darks=dark.reshape(1, 1, n_columns).astype(np.float32),
        column_mm=SLICE_COLUMN_MM,
        centre_column=(n_columns - 1) / 2 + shifted,
        source_to_axis_mm=SLICE_SOURCE_TO_AXIS_MM,
        source_to_detector_mm=SLICE_SOURCE_TO_DETECTOR_MM,
        facts={"format": "2DeteCT"},
        notes=tuple(notes),
    )
    part = scan.cropped(options.window)
    views_taken = options.window.views
    assert part.centre_column is not None
    return replace(
        part,
        data=part.data[views_taken],
        angles_rad=part.angles_rad[views_taken],
        centre_column=part.centre_column - part.first_column,
    )


def _upright(frames: np.ndarray) -> np.ndarray:
    """Frames as a detector that lies on its side reads them out, turned (frame, row, column)."""
    return np.ascontiguousarray(frames[:, ::-1].transpose(0, 2, 1))
