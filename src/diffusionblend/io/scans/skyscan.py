"""Scans of SkyScan and Bruker machines: a text log (.log) beside 16-bit TIFF frames.

Lengths by the pixel's size at the object, which the machine has calibrated, since the camera's own
pixels may be seen through fibres. As peers read them (TIGRE, ASTRA): the line of the optical axis
counts from the bottom of the frames, and the detector is shifted by the post-alignment.
"""

from __future__ import annotations

import glob
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from diffusionblend.data.raw_scan import WHITE_LEVEL, RawScan
from diffusionblend.errors import InputError
from diffusionblend.io.foreign.edge import COPY_AGAIN
from diffusionblend.io.scans.options import ReadOptions
from diffusionblend.io.scans.text_header import TextHeader, frames_beside

SKYSCAN_SUFFIX = ".log"
SECTIONS = ("Acquisition", "Reconstruction", "System")
FARTHEST_MM = 10_000.0
"""Sources beyond count as infinitely far, as the machines' own software has it."""
SENSES = {"CC": 1.0, "CCW": 1.0, "": 1.0, "CW": -1.0}
MICROMETRES = 1e-3
ROUNDED = 0.01
"""By what part of itself a distance may be off."""
SMALLER = 0.1
"""By what part of itself the pixel may be smaller than the camera's and the distances make it."""
FARTHEST_ROWS = 10
"""The source's plane lies at most so many times the camera's height from its first line."""
LEAST_TILT_PIXELS = 1.0
"""By how much a turned detector displaces its outermost row before it is reported."""


def read_skyscan(path: Path | str, options: ReadOptions) -> RawScan:
    """A cone-beam scan, or a parallel one, by its log, with the frames beside it.

    Frames that the machine has flat-corrected take the log's reference intensity, or the highest
    number of their depth, in place of flats; others need flats. Raises InputError for a log that
    lacks a part or contradicts the frames, and for trajectories other than a circle.
    """
    path = Path(path)
    found = TextHeader.read(path, "a log of SkyScan", SECTIONS)
    n_files, n_rows, n_columns = (
        found.whole(name) for name in ("Number of Files", "Number of Rows", "Number of Columns")
    )
    _check_trajectory(found)
    pixel_mm = found.number("Image Pixel Size (um)", positive=True) * MICROMETRES
    to_axis = found.number("Object to Source (mm)", positive=True)
    scan = _frames(found, options, n_files)
    if scan.detector_shape != (n_rows, n_columns):
        raise InputError(
            f"{path} tells of {n_rows} rows and {n_columns} columns, its frames have "
            f"{scan.detector_shape[0]} and {scan.detector_shape[1]}.",
            "the frames of this very scan",
            "the folder of frames that the log lies in",
        )
    angles, notes = _angles(found, len(scan.data), options)
    shift = found.number("Postalignment") if "Postalignment" in found else None
    parallel = to_axis > FARTHEST_MM
    to_detector = to_axis if parallel else _to_detector(found, to_axis)
    if not parallel:
        _check_pixel(found, pixel_mm, to_axis / to_detector)
    column_mm = pixel_mm if parallel else pixel_mm * to_detector / to_axis
    return replace(
        scan,
        angles_rad=angles,
        **_flats(found, scan),
        column_mm=column_mm,
        row_mm=column_mm,
        centre_column=None if shift is None else (n_columns - 1) / 2 - shift - scan.first_column,
        centre_row=None if parallel else _plane(found, n_rows) - scan.first_row,
        source_to_axis_mm=None if parallel else to_axis,
        source_to_detector_mm=None if parallel else to_detector,
        notes=(*scan.notes, *notes, *_tilt_notes(found, n_rows)),
    )


def _to_detector(found: TextHeader, to_axis: float) -> float:
    """From the source to the camera, mm; it stands at the axis where the log does not say it."""
    name = "Camera to Source (mm)"
    to_detector = found.number(name, positive=True) if name in found else to_axis
    if to_detector < to_axis * (1 - ROUNDED):
        raise InputError(
            f"{found.path} has the camera {to_detector:g} mm from the source, and the object "
            f"{to_axis:g} mm.",
            "the camera behind the object",
            "the log of this very scan, as the machine wrote it",
        )
    return max(to_axis, to_detector)


def _check_pixel(found: TextHeader, pixel_mm: float, demagnified: float) -> None:
    """Raise InputError for a pixel at the object that is smaller than the camera's own makes it.

    demagnified: what of the camera's pixel is seen at the object. Binning, and fibres that widen
    towards the object, make it larger.
    """
    camera, image = "Camera Pixel Size (um)", "Image Pixel Size (um)"
    if camera not in found or demagnified == 1:
        return
    least_mm = found.number(camera, positive=True) * MICROMETRES * demagnified
    if pixel_mm < (1 - SMALLER) * least_mm:
        raise InputError(
            f"{found.path} has {image} {found.number(image):g}, and {camera} "
            f"{found.number(camera):g}, which by its distances is {least_mm / MICROMETRES:.4g} at "
            "the object.",
            f"an {image} of {least_mm / MICROMETRES:.4g}, or more with binning",
            "the log as the machine wrote it, or the wrong one corrected in a copy",
        )


def _check_trajectory(found: TextHeader) -> None:
    """Raise InputError for scans that are no single circle."""
    trajectory = found.text("Scanning Trajectory").upper()
    places = found.text("Number of Horizontal Offset Positions")
    if trajectory not in ("", "ROUND") or places not in ("", "1"):
        raise InputError(
            f"{found.path} has the trajectory {trajectory or 'ROUND'} with {places or 1} "
            "horizontal position(s).",
            "one circle: ROUND, 1",
            "the machine's own software, to join the positions",
        )


def _frames(found: TextHeader, options: ReadOptions, n_files: int) -> RawScan:
    """The frames: the prefix and digits; the last, at the first's angle, may be missing."""
    prefix, length = found.text("Filename Prefix"), found.text("Filename Index Length")
    digits = "[0-9]" * int(length) if length.isdecimal() and int(length) < 10 else "[0-9]*"
    pattern = f"{glob.escape(prefix)}{digits}.[tT][iI][fF]*" if prefix else None
    folder = found.path.parent
    if pattern and not any(folder.glob(pattern)):
        pattern = f"{glob.escape(prefix)}[0-9]*.[tT][iI][fF]*"
    chosen = pattern if pattern and any(folder.glob(pattern)) else None
    return frames_beside(found.path, folder, chosen, options, (n_files, n_files - 1))


def _angles(
    found: TextHeader, n_views: int, options: ReadOptions
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The angles (view,) of the views that are taken, and what to know of them."""
    step = found.number("Rotation Step (deg)", positive=True)
    first = "Scanning Start Angle"
    start = found.number(first) if first in found else 0.0
    _check_arc(found, step)
    direction = found.text("Rotation Direction").upper()
    if direction not in SENSES:
        raise InputError(
            f"{found.path} has the Rotation Direction {direction}.",
            "CC or CW",
            COPY_AGAIN,
        )
    degrees = SENSES[direction] * (start + step * options.every * np.arange(n_views))
    note = (
        "the log does not say from which side frames are seen: if the volume is mirrored, "
        "reverse_angles turns it"
    )
    moved: tuple[str, ...] = ()
    if found.text("Random Movement").upper().startswith("ON"):
        moved = ("the camera was moved at random between views, which is not undone here",)
    return np.radians(degrees), (note, *moved)


def _check_arc(found: TextHeader, step: float) -> None:
    """Raise InputError where the log's steps do not make the whole turn that it tells of."""
    n_files, arc = found.whole("Number of Files"), 360.0
    short = abs(n_files * step - arc)
    if found.text("Use 360 Rotation").upper() != "YES" or short <= max(2 * step, ROUNDED * arc):
        return
    raise InputError(
        f"{found.path} tells of a rotation over 360 degrees (Use 360 Rotation=YES), and of "
        f"{n_files} frames in steps of {step:g} degrees, which cover {n_files * step:g}.",
        "steps that make the rotation",
        f"a Rotation Step of {arc / n_files:.4g} degrees in a copy of the log, or Use 360 "
        "Rotation=NO, whichever is right",
    )


def _plane(found: TextHeader, n_rows: int) -> float:
    """The row, from the top, in the plane of the source."""
    if "Optical Axis (line)" not in found:
        return (n_rows - 1) / 2
    line = found.number("Optical Axis (line)")
    if abs(line) > FARTHEST_ROWS * n_rows:
        raise InputError(
            f"{found.path} has the Optical Axis at line {line:g} of {n_rows}.",
            "a line on the camera, or near it",
            "the log of this very scan, as the machine wrote it",
        )
    return n_rows - 1 - line


def _flats(found: TextHeader, scan: RawScan) -> dict[str, Any]:
    """The level of the open beam in place of flats, where the frames are flat-corrected."""
    facts: dict[str, object] = {"format": "SkyScan log", "scanner": found.text("Scanner")}
    if scan.flats is not None or not found.text("Flat Field Correction").upper().startswith("ON"):
        return {"facts": facts}
    name = "Reference Intensity"
    if name in found:
        white = found.number(name, positive=True)
    else:
        depth = found.whole("Depth (bits)") if "Depth (bits)" in found else 16
        white = 2.0 ** min(depth, 32) - 1
    flats = np.full((1, *scan.data.shape[1:]), white, np.float32)
    return {"flats": flats, "facts": facts | {WHITE_LEVEL: white}}


def _tilt_notes(found: TextHeader, n_rows: int) -> tuple[str, ...]:
    """What to know of a detector that is turned in its plane."""
    degrees = found.number("Image Rotation") if "Image Rotation" in found else 0.0
    if abs(math.tan(math.radians(degrees))) * n_rows / 2 <= LEAST_TILT_PIXELS:
        return ()
    return (f"the log's Image Rotation of {degrees:g} degrees is not applied to the frames",)
