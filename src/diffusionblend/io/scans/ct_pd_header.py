"""The headers of DICOM-CT-PD, one file a view: what they say, in their own axes.

Tags and meaning by the format's user manual (version 3; Chen et al. 2015, Med. Phys. 42, 6964;
Moen et al. 2021, Med. Phys. 48, 902, table IV). Values come in their own type, or as bytes where a
file's syntax does not name the types of private tags.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from diffusionblend.errors import InputError
from diffusionblend.io.dicom.header import BROKEN_DICOM, Header, truncated

if TYPE_CHECKING:
    from pydicom import Dataset


class Tag(NamedTuple):
    """A tag of the format: its numbers, its type of value and its name."""

    group: int
    element: int
    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.name} ({self.group:04X},{self.element:04X})"


ROWS = Tag(0x7029, 0x1010, "US", "NumberofDetectorRows")
COLUMNS = Tag(0x7029, 0x1011, "US", "NumberofDetectorColumns")
COLUMN_MM = Tag(0x7029, 0x1002, "FL", "DetectorElementTransverseSpacing")
ROW_MM = Tag(0x7029, 0x1006, "FL", "DetectorElementAxialSpacing")
SHAPE = Tag(0x7029, 0x100B, "CS", "DetectorShape")
ANGLE = Tag(0x7031, 0x1001, "FL", "DetectorFocalCenterAngularPosition")
HEIGHT = Tag(0x7031, 0x1002, "FL", "DetectorFocalCenterAxialPosition")
TO_AXIS = Tag(0x7031, 0x1003, "FL", "DetectorFocalCenterRadialDistance")
TO_DETECTOR = Tag(0x7031, 0x1031, "FL", "ConstantRadialDistance")
CENTRE = Tag(0x7031, 0x1033, "FL", "DetectorCentralElement")
ANGLE_SHIFT = Tag(0x7033, 0x100B, "FL", "SourceAngularPositionShift")
HEIGHT_SHIFT = Tag(0x7033, 0x100C, "FL", "SourceAxialPositionShift")
RADIAL_SHIFT = Tag(0x7033, 0x100D, "FL", "SourceRadialDistanceShift")
SPOT_MODE = Tag(0x7033, 0x100E, "CS", "FlyingFocalSpotMode")
SPECTRUM = Tag(0x7033, 0x1063, "US", "SpectrumIndex")
PHOTONS = Tag(0x7033, 0x1065, "FL", "PhotonStatistics")
SCAN_TYPE = Tag(0x7037, 0x1009, "CS", "TypeofProjectionData")
BEAM_TYPE = Tag(0x7037, 0x100A, "CS", "TypeofProjectionGeometry")
HARDENING = Tag(0x7039, 0x1003, "CS", "BeamHardeningCorrectionFlag")
SCATTER = Tag(0x7039, 0x1008, "CS", "ScatterCorrectionFlag")
LOGARITHM = Tag(0x7039, 0x1009, "CS", "LogFlag")
WATER = Tag(0x7041, 0x1001, "DS", "WaterAttenuationCoefficient")
OLD_WATER = Tag(0x0018, 0x0061, "DS", "HUCalibrationFactor")
"""Of the format's first version."""
NUMBER = Tag(0x0020, 0x0013, "IS", "InstanceNumber")
SERIES = Tag(0x0020, 0x000E, "UI", "SeriesInstanceUID")
SLOPE = Tag(0x0028, 0x1053, "DS", "RescaleSlope")
INTERCEPT = Tag(0x0028, 0x1052, "DS", "RescaleIntercept")
MANUFACTURER = Tag(0x0008, 0x0070, "LO", "Manufacturer")
POSITION = Tag(0x0018, 0x5100, "CS", "PatientPosition")
PIXEL_GROUP = 0x0028
NUMBERS = {"US": "u2", "FL": "f4"}
"""Of binary values, as NumPy names them without their byte order."""


@dataclass(frozen=True, eq=False)
class ViewHeader:
    """What the file of a view says, angles in radians and lengths in mm, in the format's axes.

    number: of the view in the scan. angle_rad, height_mm, to_axis_mm: where the detector's focal
    centre is. spot: how far the focal spot is from there in angle (rad), height and distance from
    the axis. scale: slope and intercept of the stored numbers. photons: incident on every column,
    empty where unknown. shared: what all views of a scan have in common, by names.
    """

    header: Header
    number: int
    angle_rad: float
    height_mm: float
    to_axis_mm: float
    spot: tuple[float, float, float]
    scale: tuple[float, float]
    photons: np.ndarray
    shared: dict[str, Any] = field(default_factory=dict)


def read_view_header(path: Path) -> ViewHeader | None:
    """The header of a view; None for DICOM that is no view of projections.

    Raises InputError for a file that is cut short or lacks a part.
    """
    import pydicom

    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tags = pydicom.dcmread(file, stop_before_pixels=True, force=True)
            offset = file.tell()
            if (ANGLE.group, ANGLE.element) not in tags:
                return None
            view = _view(Header(path, tags, whole=True, pixel_offset=offset), tags)
            for key in list(tags.keys()):  # a scan has tens of thousands of views
                if key.group != PIXEL_GROUP:
                    del tags[key]
            return view
    except BROKEN_DICOM as error:
        raise truncated(path) from error


def _view(header: Header, tags: Dataset) -> ViewHeader:
    """The header of a view from its tags. Raises InputError."""
    path = header.path

    def number(tag: Tag, default: float | None = None) -> float:
        found = _numbers(tags, tag, path)
        if found.size == 0 and default is not None:
            return default
        if found.size != 1:
            raise _wrong(path, tag, _counted(found), "one number")
        return float(found[0])

    def length(tag: Tag) -> float:
        found = number(tag)
        if found <= 0:
            raise _wrong(path, tag, f"{found:g}", "a positive length in mm")
        return found

    def count(tag: Tag) -> int:
        found = number(tag)
        if found < 1 or found != int(found):
            raise _wrong(path, tag, f"{found:g}", "a whole number from 1")
        return int(found)

    centre = _numbers(tags, CENTRE, path)
    if centre.size != 2:
        raise _wrong(path, CENTRE, _counted(centre), "the column and the row, from 1")
    water = number(WATER, 0.0) or number(OLD_WATER, 0.0)
    texts = (SHAPE, SPOT_MODE, SCAN_TYPE, BEAM_TYPE, HARDENING, SCATTER, LOGARITHM)
    shared: dict[str, Any] = {
        tag.name: _text(tags, tag) for tag in (*texts, SERIES, MANUFACTURER, POSITION)
    }
    shared |= {tag.name: count(tag) for tag in (ROWS, COLUMNS)}
    shared |= {tag.name: length(tag) for tag in (COLUMN_MM, ROW_MM, TO_DETECTOR)}
    shared |= {CENTRE.name: (float(centre[0]), float(centre[1])), WATER.name: water}
    shared |= {SPECTRUM.name: int(number(SPECTRUM, 0.0))}
    shared |= {"image": tuple(header.whole_number(name, 0) for name in ("Rows", "Columns"))}
    return ViewHeader(
        header=header,
        number=int(number(NUMBER)),
        angle_rad=number(ANGLE),
        height_mm=number(HEIGHT),
        to_axis_mm=length(TO_AXIS),
        spot=(number(ANGLE_SHIFT, 0.0), number(HEIGHT_SHIFT, 0.0), number(RADIAL_SHIFT, 0.0)),
        scale=(number(SLOPE), number(INTERCEPT)),
        photons=_numbers(tags, PHOTONS, path),
        shared=shared,
    )


def _numbers(tags: Dataset, tag: Tag, path: Path) -> np.ndarray:
    """The numbers of a tag, none where it is absent. Raises InputError for nonsense."""
    value = _value(tags, tag)
    if value is None or value == "":
        return np.zeros(0)
    try:
        if isinstance(value, bytes):
            order = "<" if tags.original_encoding[1] is not False else ">"
            if tag.kind in NUMBERS:
                found = np.frombuffer(value, order + NUMBERS[tag.kind]).astype(float)
            else:
                found = np.array(value.decode("ascii").strip("\0 ").split("\\"), dtype=float)
        else:
            found = np.atleast_1d(np.asarray(value, dtype=float)).ravel()
    except (ValueError, TypeError) as error:
        raise _wrong(path, tag, repr(value)[:40], "numbers") from error
    if not np.isfinite(found).all():
        raise _wrong(path, tag, "values that are not finite", "finite numbers")
    return found


def _counted(found: np.ndarray) -> str:
    """How many values a tag has, as `_wrong` takes it."""
    return f"{found.size} values" if found.size else ""


def _text(tags: Dataset, tag: Tag) -> str:
    """A tag as printable text in capitals; empty where it is absent."""
    value = _value(tags, tag)
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value or "")
    return "".join(letter for letter in text if letter.isprintable()).strip().upper()


def _value(tags: Dataset, tag: Tag) -> Any:
    """What pydicom has for a tag; None where it is absent."""
    found = tags.get((tag.group, tag.element))
    return None if found is None else found.value


def _wrong(path: Path, tag: Tag, found: str, expected: str) -> InputError:
    """The error for a value of a tag; for its lack where nothing was found."""
    return InputError(
        f"{path} {f'has {found} for' if found else 'lacks'} {tag}.",
        f"{expected}, as the DICOM-CT-PD manual says",
        "copy it again, or another export of the scan",
    )


def same(one: Any, other: Any) -> bool:
    """Whether two values that views share are the same; numbers to 1e-5."""
    if isinstance(one, str):
        return bool(one == other)
    return all(
        math.isclose(a, b, rel_tol=1e-5) for a, b in zip(_flat(one), _flat(other), strict=True)
    )


def _flat(value: Any) -> tuple[float, ...]:
    return tuple(value) if isinstance(value, tuple) else (value,)
