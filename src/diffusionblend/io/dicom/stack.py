"""Whether DICOM slices stack into one regular grid, and which; what does not is refused."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from diffusionblend.errors import InputError
from diffusionblend.geometry.grid import LEAST_MM, MOST_MM
from diffusionblend.io.dicom.header import Header
from diffusionblend.io.dicom.meaning import (
    check_rescale,
    field_warning,
    lossy_warning,
    material_warning,
    rescale_warning,
)

MIN_SLICES = 3
DUPLICATE_FRACTION = 0.1
"""Neighbours closer than this share of the usual spacing are one slice twice."""
SAME_PLACE_MM = 0.01
MISSING_FACTOR = 1.5
"""A gap of more than this many usual spacings lacks a slice."""
IRREGULAR_FRACTION = 0.15
"""How far, in spacings, a slice may lie from its place; rounded positions reach about 0.1."""
MAX_SHEAR_PIXELS = 0.25
"""How far a slice may lie beside the stack's normal through the first slice, and beside the line
through the first and last slices of a tilted gantry."""
MAX_TILT_COSINE_LOSS = 1e-4
"""1 - cosine between two slices' axes, 0.8 degrees."""
MIN_REPORTED_TILT_DEGREES = 0.5
SAME_PIXELS = 1e-4
FARTHEST_MM = 1e6
PLACE_TAGS = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2}
"""The tags that place a slice in space, and how many numbers each has."""
GREY = ("", "MONOCHROME1", "MONOCHROME2")
MAX_GAP_FACTOR = 1.5
"""Slices further apart than so many of their thicknesses leave tissue out."""
SAME_GAP = 0.1
"""Gaps that differ by less than this share are the same."""


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Slices in order along their normal, and the grid on which they lie (LPS, mm).

    spacing_mm: (z, y, x), of z along the normal. origin_mm: (x, y, z). direction: 3 x 3 by rows, as
    in `Grid`. sheared_step_mm: with a tilted gantry, from each slice to the next (x, y, z).
    """

    headers: tuple[Header, ...]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]
    direction: tuple[float, ...]
    sheared_step_mm: tuple[float, float, float] | None = None
    warnings: tuple[str, ...] = ()

    @property
    def matrix(self) -> np.ndarray:
        """4 x 4, from the index (column, row, slice) to LPS mm, with the shear."""
        matrix = np.eye(4)
        matrix[:3, :3] = np.reshape(self.direction, (3, 3)) * self.spacing_mm[::-1]
        if self.sheared_step_mm is not None:
            matrix[:3, 2] = self.sheared_step_mm
        matrix[:3, 3] = self.origin_mm
        return matrix


def check_ct_images(headers: list[Header]) -> None:
    """Raises InputError unless all are single-frame grey CT slices of one size, at least three."""
    n_ct = sum(h.text("Modality") == "CT" for h in headers)
    other = next((h for h in headers if h.text("Modality") != "CT"), None)
    if other is not None and n_ct:
        raise InputError(
            f"{other.path} has the modality {other.text('Modality') or '(none)'}, while {n_ct} "
            "images of its series are CT.",
            "CT slices",
            "take it out of the folder",
        )
    for header in headers:
        _check_ct_image(header)
    first = headers[0]
    for header in headers:
        same = header.size() == first.size() and np.allclose(
            header.numbers("PixelSpacing"), first.numbers("PixelSpacing"), rtol=SAME_PIXELS, atol=0
        )
        if not same:
            raise InputError(
                f"The slices differ in size: {first.name} has {first.size()} pixels of "
                f"{first.numbers('PixelSpacing')} mm, {header.name} {header.size()} of "
                f"{header.numbers('PixelSpacing')}.",
                "slices of one size",
                "take the slices of another reconstruction out of the folder",
            )
    check_rescale(headers)
    if len(headers) < MIN_SLICES:
        raise InputError(
            f"The series in {first.path.parent} has {len(headers)} slice(s).",
            f"at least {MIN_SLICES}",
            "the folder of the whole series",
        )


def sorted_stack(headers: list[Header]) -> Stack:
    """Order slices along their common normal; at least three, of one size.

    Slices may be shifted beside their normal as with a tilted gantry, along one line. Raises
    InputError for slices that are tilted against each other, beside that line, duplicated, missing
    or irregular; each message names the files.
    """
    directions = np.array([h.numbers("ImageOrientationPatient") for h in headers])
    positions = np.array([h.numbers("ImagePositionPatient") for h in headers])
    far = np.abs(positions).max(axis=1)
    if not far.max() < FARTHEST_MM:
        raise InputError(
            f"{headers[int(far.argmax())].path} lies {far.max():g} mm away by its "
            "ImagePositionPatient.",
            "a position in mm",
            "another export of the series",
        )
    _check_parallel(headers, directions)
    x_axis, y_axis = directions[0, :3], directions[0, 3:]
    x_axis = x_axis / np.linalg.norm(x_axis)
    y_axis = y_axis - (y_axis @ x_axis) * x_axis
    y_axis = y_axis / np.linalg.norm(y_axis)
    normal = np.cross(x_axis, y_axis)
    order = np.argsort(positions @ normal, kind="stable")
    headers, positions = [headers[i] for i in order], positions[order]
    heights_mm = positions @ normal
    spacing_mm = _regular_spacing(headers, heights_mm)
    sheared_step_mm = _sheared_step(headers, positions, normal)
    y_mm, x_mm = headers[0].numbers("PixelSpacing")
    return Stack(
        headers=tuple(headers),
        spacing_mm=(spacing_mm, y_mm, x_mm),
        origin_mm=tuple(positions[0]),
        direction=tuple(np.column_stack([x_axis, y_axis, normal]).ravel()),
        sheared_step_mm=sheared_step_mm,
        warnings=(
            *(_tilt_warning(headers[0]) if sheared_step_mm is None else ()),
            *rescale_warning(headers),
            *_thickness_warning(headers[0], spacing_mm),
            *lossy_warning(headers),
            *field_warning(headers[0]),
            *material_warning(headers[0]),
        ),
    )


def _check_ct_image(header: Header) -> None:
    """Raises InputError for one image that is not a placed, grey, single-frame CT slice."""
    modality = header.text("Modality")
    if modality != "CT":
        raise InputError(
            f"{header.path} has the modality {modality or '(none)'}.", "CT slices", "a CT series"
        )
    if header.is_localiser:
        raise InputError(
            f"{header.path} is a localiser (scout) image.",
            "axial CT slices only",
            "take it out of the folder, or pick another series with --series",
        )
    samples = header.number("SamplesPerPixel", 1)
    if samples != 1:
        raise InputError(
            f"{header.path} is a colour image ({samples:g} samples per pixel).",
            "CT slices with one number per pixel",
            "take screenshots and fused images out of the folder",
        )
    colours = header.text("PhotometricInterpretation").upper()
    if colours not in GREY:
        raise InputError(
            f"{header.path} is a colour image ({colours}).",
            "CT slices with one number per pixel",
            "take screenshots and fused images out of the folder",
        )
    frames = header.number("NumberOfFrames", 1)
    if frames > 1:
        raise InputError(
            f"{header.path} holds {frames:g} frames without the functional groups that place them.",
            "one file per slice, or Enhanced CT",
            "converting it to NIfTI (dcm2niix, 3D Slicer) and importing that",
        )
    for tag, n in PLACE_TAGS.items():
        numbers = header.numbers(tag)
        valid = len(numbers) == n and bool(np.isfinite(numbers).all())
        if tag == "PixelSpacing":
            valid = valid and LEAST_MM <= min(numbers) <= max(numbers) <= MOST_MM
        if not valid:
            raise InputError(
                f"{header.path} has no valid {tag}: where the slice lies is unknown.",
                f"{n} numbers of {tag} in each slice",
                "another export of the series, or import its NIfTI",
            )


def _check_parallel(headers: list[Header], directions: np.ndarray) -> None:
    """Raises InputError unless each slice has proper axes, the same as the first's."""
    x, y = directions[:, :3], directions[:, 3:]
    lengths = np.linalg.norm(np.stack([x, y]), axis=2)
    improper = (np.abs(lengths - 1).max(axis=0) > 0.01) | (np.abs((x * y).sum(axis=1)) > 0.01)
    if improper.any():
        bad = headers[int(np.argmax(improper))]
        raise InputError(
            f"{bad.path} has an ImageOrientationPatient that is not two perpendicular unit "
            f"vectors: {bad.numbers('ImageOrientationPatient')}.",
            "a valid orientation",
            "another export of the series; copy it again if it may be damaged",
        )
    usual = np.median(directions, axis=0)
    loss = np.maximum(1 - x @ usual[:3], 1 - y @ usual[3:])
    worst = int(np.argmax(loss))
    if loss[worst] > MAX_TILT_COSINE_LOSS:
        degrees = np.degrees(np.arccos(np.clip(1 - loss[worst], -1, 1)))
        raise InputError(
            f"{headers[worst].path} is tilted by {degrees:.1f} degrees against the other slices.",
            "parallel slices",
            "take it out of the folder, or resample the series in 3D Slicer first",
        )


def _sheared_step(
    headers: list[Header], positions: np.ndarray, normal: np.ndarray
) -> tuple[float, float, float] | None:
    """The step from slice to slice of a tilted gantry, None where slices lie along their normal.

    Raises InputError for slices that lie beside the line through the first and the last.
    """
    steps = positions - positions[0]
    heights = steps @ normal
    allowed_mm = MAX_SHEAR_PIXELS * min(headers[0].numbers("PixelSpacing"))
    if np.linalg.norm(steps - np.outer(heights, normal), axis=1).max() <= allowed_mm:
        return None
    line = steps[-1] / heights[-1]
    beside_mm = np.linalg.norm(steps - np.outer(heights, line), axis=1)
    worst = int(np.argmax(beside_mm))
    if beside_mm[worst] > allowed_mm:
        raise InputError(
            f"The slices do not follow one line: {headers[worst].name} lies {beside_mm[worst]:.2f} "
            f"mm beside that from {headers[0].name} to {headers[-1].name}.",
            "slices stacked along their normal, or along the line of a tilted gantry",
            "take the slices of other scans out of the folder",
        )
    x, y, z = line * heights[-1] / (len(headers) - 1)
    return (float(x), float(y), float(z))


def _regular_spacing(headers: list[Header], heights_mm: np.ndarray) -> float:
    """The spacing of slices at ascending heights; raises InputError where it is not regular."""
    gaps = np.diff(heights_mm)
    apart = gaps[gaps > SAME_PLACE_MM]  # two reconstructions in one folder double every slice
    usual = float(np.median(apart)) if len(apart) else 0.0
    closest, widest = int(np.argmin(gaps)), int(np.argmax(gaps))
    _check_places(headers, usual)
    if gaps[closest] <= DUPLICATE_FRACTION * usual:
        raise InputError(
            f"Two slices lie at one place: {_pair(headers, closest)} are {gaps[closest]:.3f} mm "
            f"apart, the others {usual:g} mm.",
            "each slice once",
            "take one of the two, or the other reconstruction, out of the folder",
        )
    spacing = float((heights_mm[-1] - heights_mm[0]) / (len(heights_mm) - 1))
    off = np.abs(heights_mm - heights_mm[0] - spacing * np.arange(len(heights_mm))) / spacing
    worst = int(np.argmax(off))
    if gaps[widest] > MISSING_FACTOR * usual or off[worst] > IRREGULAR_FRACTION:
        _check_one_spacing(headers, gaps)
    if gaps[widest] > MISSING_FACTOR * usual:
        n_missing = max(1, round(float(gaps[widest]) / usual) - 1)
        what = "A slice is" if n_missing == 1 else f"{n_missing} slices are"
        raise InputError(
            f"{what} missing: {_pair(headers, widest)} are {gaps[widest]:g} mm apart, the "
            f"others {usual:g} mm.",
            "all slices of the series",
            "copy the series again, or keep only the slices on one side of the gap",
        )
    if off[worst] > IRREGULAR_FRACTION:
        raise InputError(
            f"The slice spacing is irregular: it goes from {gaps.min():g} to {gaps.max():g} mm, "
            f"and {headers[worst].name} lies {off[worst] * spacing:.2f} mm from its place.",
            "evenly spaced slices",
            "keep the slices of one spacing, or resample the series in 3D Slicer first",
        )
    return spacing


def _tilt_warning(header: Header) -> tuple[str, ...]:
    """A warning where the header states a gantry tilt that the slices' positions do not show."""
    tilt = header.number("GantryDetectorTilt", 0.0)
    if abs(tilt) < MIN_REPORTED_TILT_DEGREES or not _is_upright(header):
        return ()
    return (
        f"The header states a gantry tilt of {tilt:g} degrees, but the slices are stacked "
        "upright; they are taken as they lie.",
    )


def _check_places(headers: list[Header], usual_mm: float) -> None:
    """Raises InputError where all slices lie at one place, whatever their SliceLocation says."""
    if usual_mm:
        return
    locations = {h.number("SliceLocation") for h in headers}
    slices = " Their SliceLocation differs, but it has no defined zero or direction." * (
        len(locations) > 1
    )
    raise InputError(
        f"All {len(headers)} slices have the ImagePositionPatient "
        f"{headers[0].text('ImagePositionPatient')}.{slices}",
        "the place of each slice",
        "another export of the series: an anonymiser or a converter has set them alike; or its "
        "NIfTI",
    )


def _check_one_spacing(headers: list[Header], gaps: np.ndarray) -> None:
    """Raises InputError where slices follow one another at one distance, then at another."""
    same = np.abs(np.diff(gaps)) <= SAME_GAP * np.minimum(gaps[:-1], gaps[1:])
    steady = [i for i in range(len(gaps)) if same[max(i - 1, 0) : i + 1].any()]
    sizes = gaps[steady]
    if not len(sizes) or sizes.max() <= (1 + SAME_GAP) * sizes.min():
        return
    first = next(i for i in steady if abs(gaps[i] - sizes[0]) > SAME_GAP * min(gaps[i], sizes[0]))
    raise InputError(
        f"The spacing of the slices changes at {headers[first].name}: {sizes[0]:g} mm "
        f"({_pair(headers, first - 1)} are {gaps[first - 1]:g} mm apart), then {gaps[first]:g} mm "
        f"({_pair(headers, first)}). None needs to be missing.",
        "slices of one spacing",
        "keep the slices on one side of it, or resample the series in 3D Slicer first",
    )


def _thickness_warning(header: Header, spacing_mm: float) -> tuple[str, ...]:
    """A warning where tissue between the slices was not measured."""
    thickness = header.number("SliceThickness", 0.0)
    if not thickness or spacing_mm <= MAX_GAP_FACTOR * thickness:
        return ()
    return (
        f"The slices are {thickness:g} mm thick and {spacing_mm:g} mm apart: what lies between "
        "them was not measured.",
    )


def _is_upright(header: Header) -> bool:
    axes = np.round(np.abs(header.numbers("ImageOrientationPatient")), 3)
    return bool(np.isin(axes, (0.0, 1.0)).all())


def _pair(headers: list[Header], i: int) -> str:
    return f"{headers[i].name} and {headers[i + 1].name}"
