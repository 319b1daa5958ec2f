"""Scans of Nikon's X-Tek machines: a text header (.xtekct) beside 16-bit TIFF frames.

The frames are seen from behind the detector, row 0 at the top, and the sample turns clockwise, seen
from above, as peers read them (Core Imaging Library, NikonDataReader). With our z downwards, our
columns are theirs, and our angles are less their own.
"""

from __future__ import annotations

import glob
import math
from dataclasses import replace
from pathlib import Path, PureWindowsPath

import numpy as np

from diffusionblend.data.raw_scan import WHITE_LEVEL, RawScan
from diffusionblend.errors import InputError
from diffusionblend.io.detached import is_beside
from diffusionblend.io.scans.options import ReadOptions
from diffusionblend.io.scans.text_header import TextHeader, frames_beside

NIKON_SUFFIX = ".xtekct"
SECTION = "XTekCT"
LENGTHS = ("SrcToObject", "SrcToDetector", "DetectorPixelSizeX", "DetectorPixelSizeY")
COUNTS = ("Projections", "DetectorPixelsX", "DetectorPixelsY")
TURNS = (
    "the header does not say which way the sample turns: taken as clockwise, seen from above "
    "(--reverse-angles for the other way)"
)
LEAST_TILT_PIXELS = 1.0
"""By how much a tilted axis leaves its column, or row, before it is refused."""


def read_nikon(path: Path | str, options: ReadOptions) -> RawScan:
    """A cone-beam scan by its .xtekct, with the frames in the folder that it names, or beside it.

    Its white level stands in for flats, unless others are given. Raises InputError for a header
    that lacks a part or contradicts the frames, and for a tilted axis.
    """
    path = Path(path)
    found = TextHeader.read(path, "a Nikon header", (SECTION,), LENGTHS)
    n_views, n_columns, n_rows = (found.whole(name) for name in COUNTS)
    lengths = {name: found.number(name, positive=True) for name in LENGTHS}
    if lengths["SrcToDetector"] < lengths["SrcToObject"]:
        raise InputError(
            f"{path} has its detector {lengths['SrcToDetector']:g} mm from the source, before the "
            f"object at {lengths['SrcToObject']:g} mm.",
            "SrcToDetector of at least SrcToObject",
            "check the distances in the header",
        )
    _check_tilt(found, n_rows * lengths["DetectorPixelSizeY"], lengths)
    step, first = found.number("AngularStep"), found.number("InitialAngle")
    scan = _frames(found, options, n_views)
    angles = -np.radians(first + step * np.arange(n_views))
    if scan.detector_shape != (n_rows, n_columns):
        raise InputError(
            f"{path} tells of {n_rows} rows and {n_columns} columns, its frames have "
            f"{scan.detector_shape[0]} and {scan.detector_shape[1]}.",
            "the frames of this very scan",
            "the folder of frames that lies beside the header",
        )
    axis_columns = _axis_mm(found, lengths) / lengths["DetectorPixelSizeX"]
    white = found.number("WhiteLevel", positive=True)
    flats = np.full((1, *scan.data.shape[1:]), white, np.float32)
    return replace(
        scan,
        angles_rad=angles[options.window.views],
        flats=flats if scan.flats is None else scan.flats,
        column_mm=lengths["DetectorPixelSizeX"],
        row_mm=lengths["DetectorPixelSizeY"],
        centre_column=(n_columns - 1) / 2 + axis_columns - scan.first_column,
        centre_row=(n_rows - 1) / 2 - scan.first_row,
        source_to_axis_mm=lengths["SrcToObject"],
        source_to_detector_mm=lengths["SrcToDetector"],
        facts={"format": "Nikon XTekCT", WHITE_LEVEL: white},
        notes=(*scan.notes, TURNS),
    )


def _axis_mm(found: TextHeader, lengths: dict[str, float]) -> float:
    """How far beside the detector's middle the axis is seen, along the columns, in mm."""
    if "ObjectOffsetX" in found:
        magnification = lengths["SrcToDetector"] / lengths["SrcToObject"]
        return found.number("ObjectOffsetX") * magnification
    ends = ("CentreOfRotationTop", "CentreOfRotationBottom")
    return sum(found.number(name) for name in ends if name in found) / 2


def _check_tilt(found: TextHeader, height_mm: float, lengths: dict[str, float]) -> None:
    """Raise InputError for an axis that does not stand upright before the detector."""
    leaning_mm = 0.0
    for name in ("ObjectRoll", "ObjectTilt"):
        degrees = found.number(name) if name in found else 0.0
        leaning_mm = max(leaning_mm, abs(math.tan(math.radians(degrees))) * height_mm)
    ends = ("CentreOfRotationTop", "CentreOfRotationBottom")
    if "ObjectRoll" not in found and all(name in found for name in ends):
        top, bottom = (found.number(name) for name in ends)
        leaning_mm = max(leaning_mm, abs(top - bottom))
    if leaning_mm > LEAST_TILT_PIXELS * lengths["DetectorPixelSizeX"]:
        raise InputError(
            f"{found.path} has an axis that leans by {leaning_mm:.3g} mm over the detector's "
            "height.",
            "an upright axis: ObjectRoll and ObjectTilt 0, CentreOfRotationTop as Bottom",
            "a VectorGeometry made view by view, in Python (docs/tutorials/own-geometry.md)",
        )


def _frames(found: TextHeader, options: ReadOptions, n_views: int) -> RawScan:
    """The frames, as a scan over any arc. Raises InputError where their number is another."""
    path, named = found.path, found.text("InputFolderName").replace("\\", "/")
    has_folder = named and is_beside(path, named) and (path.parent / named).is_dir()
    folder = path.parent / named if has_folder else path.parent
    prefix = glob.escape(PureWindowsPath(found.text("InputName")).name)
    pattern = f"{prefix}*.tif*" if prefix and any(folder.glob(f"{prefix}*.tif*")) else None
    return frames_beside(path, folder, pattern, options, (n_views,))
