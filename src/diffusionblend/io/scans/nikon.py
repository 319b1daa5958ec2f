"""Scans of Nikon's X-Tek machines: a text header (.xtekct) beside 16-bit TIFF frames.

The frames are seen from behind the detector, row 0 at the top, and the sample turns clockwise, seen
from above, as peers read them (Core Imaging Library, NikonDataReader). With our z downwards, our
columns are theirs, and our angles are less their own.
"""

from __future__ import annotations

import configparser
import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from diffusionblend.data.raw_scan import WHITE_LEVEL, RawScan
from diffusionblend.errors import InputError
from diffusionblend.io.atomic import check_readable
from diffusionblend.io.scans.options import ReadOptions
from diffusionblend.io.scans.tiff import read_tiff_projections

NIKON_SUFFIX = ".xtekct"
SECTION = "XTekCT"
LENGTHS = ("SrcToObject", "SrcToDetector", "DetectorPixelSizeX", "DetectorPixelSizeY")
COUNTS = ("Projections", "DetectorPixelsX", "DetectorPixelsY")
LEAST_TILT_PIXELS = 1.0
"""By how much a tilted axis leaves its column, or row, before it is refused."""


def read_nikon(path: Path | str, options: ReadOptions) -> RawScan:
    """A cone-beam scan by its .xtekct, with the frames in the folder that it names, or beside it.

    Its white level stands in for flats, unless others are given. Raises InputError for a header
    that lacks a part or contradicts the frames, and for a tilted axis.
    """
    path = Path(path)
    found = _header(path)
    n_views, n_columns, n_rows = (_whole(found, name, path) for name in COUNTS)
    lengths = {name: _number(found, name, path, positive=True) for name in LENGTHS}
    if lengths["SrcToDetector"] < lengths["SrcToObject"]:
        raise InputError(
            f"{path} has its detector {lengths['SrcToDetector']:g} mm from the source, before the "
            f"object at {lengths['SrcToObject']:g} mm.",
            "SrcToDetector of at least SrcToObject",
        )
    _check_tilt(found, path, n_rows * lengths["DetectorPixelSizeY"], lengths)
    step, first = _number(found, "AngularStep", path), _number(found, "InitialAngle", path)
    angles = -np.radians(first + step * np.arange(n_views))
    scan = _frames(path, found, options, n_views)
    if scan.detector_shape != (n_rows, n_columns):
        raise InputError(
            f"{path} tells of {n_rows} rows and {n_columns} columns, its frames have "
            f"{scan.detector_shape[0]} and {scan.detector_shape[1]}.",
            "the frames of this very scan",
        )
    axis_columns = _axis_mm(found, path, lengths) / lengths["DetectorPixelSizeX"]
    white = _number(found, "WhiteLevel", path, positive=True)
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
    )


def _header(path: Path) -> dict[str, str]:
    """The section of the scan, by names. Raises InputError."""
    check_readable(path)
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    try:
        parser.read_string(path.read_text(encoding="utf-8-sig", errors="replace"))
        return dict(parser[SECTION])
    except (configparser.Error, KeyError) as error:
        raise InputError(
            f"{path} could not be read as a Nikon header: {error}.",
            f"text with the section [{SECTION}], a name = value a line",
        ) from error


def _number(found: dict[str, str], name: str, path: Path, *, positive: bool = False) -> float:
    """A number of the header. Raises InputError where it is missing or none that it could be."""
    try:
        value = float(found[name])
    except (KeyError, ValueError) as error:
        raise InputError(
            f"{path} has {found.get(name, 'no')!r} for {name}.", f"a number in [{SECTION}]"
        ) from error
    if not math.isfinite(value) or (positive and value <= 0):
        raise InputError(f"{path} has {name} {value:g}.", "a positive, finite number")
    return value


def _whole(found: dict[str, str], name: str, path: Path) -> int:
    """A count of the header. Raises InputError."""
    value = _number(found, name, path, positive=True)
    if value != int(value):
        raise InputError(f"{path} has {name} {value:g}.", "a whole number")
    return int(value)


def _axis_mm(found: dict[str, str], path: Path, lengths: dict[str, float]) -> float:
    """How far beside the detector's middle the axis is seen, along the columns, in mm."""
    if "ObjectOffsetX" in found:
        magnification = lengths["SrcToDetector"] / lengths["SrcToObject"]
        return _number(found, "ObjectOffsetX", path) * magnification
    ends = ("CentreOfRotationTop", "CentreOfRotationBottom")
    return sum(_number(found, name, path) for name in ends if name in found) / 2


def _check_tilt(
    found: dict[str, str], path: Path, height_mm: float, lengths: dict[str, float]
) -> None:
    """Raise InputError for an axis that does not stand upright before the detector."""
    leaning_mm = 0.0
    for name in ("ObjectRoll", "ObjectTilt"):
        degrees = _number(found, name, path) if name in found else 0.0
        leaning_mm = max(leaning_mm, abs(math.tan(math.radians(degrees))) * height_mm)
    ends = ("CentreOfRotationTop", "CentreOfRotationBottom")
    if "ObjectRoll" not in found and all(name in found for name in ends):
        top, bottom = (_number(found, name, path) for name in ends)
        leaning_mm = max(leaning_mm, abs(top - bottom))
    if leaning_mm > LEAST_TILT_PIXELS * lengths["DetectorPixelSizeX"]:
        raise InputError(
            f"{path} has an axis that leans by {leaning_mm:.3g} mm over the detector's height.",
            "an upright axis: ObjectRoll and ObjectTilt 0, CentreOfRotationTop as Bottom",
            "a VectorGeometry made view by view, in Python (docs/tutorials/own-geometry.md)",
        )


def _frames(path: Path, found: dict[str, str], options: ReadOptions, n_views: int) -> RawScan:
    """The frames, as a scan over any arc. Raises InputError where their number is another."""
    named = found.get("InputFolderName", "").replace("\\", "/").strip()
    folder = path.parent / named if named and (path.parent / named).is_dir() else path.parent
    prefix = found.get("InputName", "").strip()
    pattern = options.views
    if pattern is None and prefix and any(folder.glob(f"{prefix}*.tif*")):
        pattern = f"{prefix}*.tif*"
    whole = replace(options, views=pattern, angles=None, arc_degrees=360.0, every=1)
    scan = read_tiff_projections(folder, whole)
    if len(scan.data) != n_views:
        raise InputError(
            f"{path} tells of {n_views} views, and {folder} has {len(scan.data)} frames.",
            "a frame for every view",
            "--views with a pattern of their names",
        )
    return replace(
        scan,
        data=scan.data[options.window.views],
        angles_rad=scan.angles_rad[options.window.views],
    )
