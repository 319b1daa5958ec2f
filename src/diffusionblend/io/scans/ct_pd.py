"""Clinical projections as DICOM-CT-PD: a folder with a file for every view, to a helix.

The format's axes are those of a person at the table's end who faces the gantry: x to the right, y
up, z into the gantry, and a source at angle 0 is at the top and turns counterclockwise. Seen from
there with the source at the top, column 1 is the leftmost and row 1 the farthest. The patient's
position on the table turns that into the patient's axes, ours; without one it is taken to be head
first and supine. General Electric's files of patients who lie feet first count z towards the head
(as PyTomography found by the scanner's own images).
"""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from diffusionblend.data.raw_scan import RawScan
from diffusionblend.errors import InputError
from diffusionblend.geometry.helix import TURN, Helix
from diffusionblend.geometry.vectors import triples
from diffusionblend.io.dicom.files import DICOMDIR, begins_as_dicom, dicom_paths, is_named_dicom
from diffusionblend.io.dicom.pixels import stored_words
from diffusionblend.io.foreign.limits import check_claim
from diffusionblend.io.scans import ct_pd_header as tag
from diffusionblend.io.scans.ct_pd_header import ViewHeader, read_view_header, same
from diffusionblend.io.scans.options import ReadOptions
from diffusionblend.units import MU_WATER_PER_MM

CYLINDER, FLAT = "CYLINDRICAL", "FLAT"
SAME_MM = 0.05
"""Distances from the axis that vary by less are one, and heights so far off a line lie on it."""
HEIGHT_ROWS = 0.1
"""Share of a row's height at the axis by which heights may lie off a line."""
SPOT_STEP_MM = 1e-4
"""Positions of the focal spot are rounded to this."""
MOST_GAPS = 4
"""Of missing views that a note names."""
STEEPEST_STEP_RAD = 0.5
"""Views farther apart than this do not follow each other."""


class Lie(NamedTuple):
    """How a patient lies: our angle is sense times the format's and `start_rad`, our z is
    `along` times its.
    """

    sense: int
    start_rad: float
    along: int


LIES = {
    "HFS": Lie(-1, 0.0, 1),
    "FFS": Lie(1, 0.0, -1),
    "HFP": Lie(-1, math.pi, 1),
    "FFP": Lie(1, math.pi, -1),
}


def read_ct_pd(folder: Path | str, options: ReadOptions) -> RawScan:
    """A helical or circular scan of a folder of DICOM-CT-PD files, in the patient's axes.

    Line integrals by slope and intercept, photons of every view and column, and the attenuation of
    water. Raises InputError for other DICOM, several series or spectra, a spherical detector,
    views that contradict each other, and a table that does not advance evenly.
    """
    folder = Path(folder)
    views = _views(folder)
    shared = views[0].shared
    lie, notes = _lie(shared)
    _check_kind(folder, shared)
    values = options.values or _values_of(folder, shared)
    picked = views[options.window.views]
    n_rows, n_columns = shared[tag.ROWS.name], shared[tag.COLUMNS.name]
    rows, columns = options.window.of_detector(n_rows, n_columns)
    turned = (slice(None, None, -lie.along), slice(None, None, -lie.sense))
    data = _data(picked, (n_rows, n_columns), turned, (rows, columns))
    missing = _missing_notes(views)
    helix = _helix(folder, picked, lie, missing).of_detector(
        (rows.start, columns.start), data.shape[1:]
    )
    notes += [*missing, *_water_notes(shared)]
    photons, more = _photons(picked, columns, turned[1])
    return RawScan(
        data=data,
        values=values,
        angles_rad=np.array(helix.angles_rad),
        geometry=helix,
        photons=photons,
        mu_water_per_mm=shared[tag.WATER.name] or None,
        facts=_facts(shared),
        notes=(*notes, *more),
        **options.window.place(n_rows, n_columns),
    )


def holds_dicom(folder: Path) -> bool:
    """Whether a folder has DICOM files, or a file is one."""
    return any(map(_is_dicom, dicom_paths(folder)))


def is_ct_pd(folder: Path) -> bool:
    """Whether a folder's first DICOM file is a view of projections. Raises InputError."""
    first = next((path for path in dicom_paths(folder) if _is_dicom(path)), None)
    return first is not None and read_view_header(first) is not None


def _is_dicom(path: Path) -> bool:
    """Whether a file is DICOM by its name, or where that says nothing by its first bytes."""
    if path.name.startswith(".") or path.name.upper() == DICOMDIR:
        return False
    says_nothing = not path.suffix or path.suffix[1:].isdecimal()
    return is_named_dicom(path) or (says_nothing and begins_as_dicom(path))


def _views(folder: Path) -> list[ViewHeader]:
    """The headers of all views in their order. Raises InputError where they are of no one scan."""
    paths = [path for path in dicom_paths(folder) if _is_dicom(path)]
    held = sum(path.stat().st_size for path in paths)
    check_claim(folder, 2 * held, held_bytes=held, what="views")
    found = [(path, read_view_header(path)) for path in paths]
    views = [view for _, view in found if view is not None]
    if len(views) < 2 or len(views) != len(found):
        others = [path.name for path, view in found if view is None]
        lacking = f" ({others[0]} lacks {tag.ANGLE})" if others else ""
        raise InputError(
            f"{folder} has {len(views)} views of projections among {len(found)} DICOM files"
            f"{lacking}.",
            "a folder with a DICOM-CT-PD file for every view, and nothing else",
            "'diffusionblend import' reads a series of slices" if not views else "sort the files",
        )
    views.sort(key=lambda view: view.number)
    for before, view in pairwise(views):
        if view.number == before.number:
            raise InputError(
                f"{before.header.path.name} and {view.header.path.name} are both view "
                f"{view.number}.",
                "one file for every view of one scan",
                "take the copies, or the other scan, out of the folder",
            )
        for name, value in views[0].shared.items():
            if not same(value, view.shared[name]):
                raise InputError(
                    f"{view.header.path.name} has {view.shared[name]} for {name}, "
                    f"{views[0].header.path.name} has {value}.",
                    "one scan of one spectrum in a folder",
                    "a folder for each",
                )
    return views


def _lie(shared: dict[str, Any]) -> tuple[Lie, list[str]]:
    """How the patient lies, with what a person should know of it."""
    position = shared[tag.POSITION.name]
    lie = LIES.get(position, LIES["HFS"])
    notes = ["x and y count from the axis of rotation, z as the files do, which scanners shift"]
    if position not in LIES:
        notes.append(
            f"the patient's position is {position or 'not stated'}: taken as head first, supine"
        )
    elif lie.along < 0 and shared[tag.MANUFACTURER.name].startswith("GE"):
        lie = lie._replace(along=1)
        notes.append("General Electric's files count z towards the head: taken so")
    return lie, notes


def _check_kind(folder: Path, shared: dict[str, Any]) -> None:
    """Raise InputError for a detector or a beam that cannot be read."""
    if shared[tag.SHAPE.name] not in (CYLINDER, FLAT):
        raise InputError(
            f"{folder} has a detector of shape {shared[tag.SHAPE.name] or 'unknown'}.",
            f"{CYLINDER} or {FLAT}",
            "another export of the scan",
        )
    if shared[tag.BEAM_TYPE.name] not in ("", "FANBEAM"):
        raise InputError(
            f"{folder} has a beam of type {shared[tag.BEAM_TYPE.name]}.",
            "FANBEAM: views of a source and a detector that turn together, not rebinned",
            "another export of the scan",
        )
    n_rows, n_columns = shared[tag.ROWS.name], shared[tag.COLUMNS.name]
    if sorted(shared["image"]) != sorted((n_rows, n_columns)):
        raise InputError(
            f"{folder} has images of {shared['image'][0]} x {shared['image'][1]} pixels, and a "
            f"detector of {n_rows} rows and {n_columns} columns.",
            "the whole detector in every image",
            "copy it again, or another export of the scan",
        )


def _values_of(folder: Path, shared: dict[str, Any]) -> Any:
    """Line integrals. Raises InputError where the files say that no logarithm was taken."""
    if shared[tag.LOGARITHM.name] == "NO":
        raise InputError(
            f"{folder} has views before the logarithm, by its LogFlag.",
            "line integrals",
            "--values transmission, where they are I / I0",
        )
    return "lines"


def _data(
    views: list[ViewHeader],
    shape: tuple[int, int],
    turned: tuple[slice, slice],
    part: tuple[slice, slice],
) -> np.ndarray:
    """A part of the line integrals (view, row, column), rows and columns in our order."""
    rows, columns = part
    n_bytes = 4 * len(views) * (rows.stop - rows.start) * (columns.stop - columns.start)
    held = sum(view.header.path.stat().st_size for view in views)
    check_claim(views[0].header.path.parent, n_bytes, held_bytes=held, what="line integrals")
    data = np.empty(
        (len(views), rows.stop - rows.start, columns.stop - columns.start), dtype=np.float32
    )
    for i, view in enumerate(views):
        words = stored_words(view.header)
        if words.shape != shape:  # stored column by column, as most of the public files are
            words = words.T
        slope, intercept = view.scale
        data[i] = words[turned][part] * np.float64(slope) + intercept
    return data


def _helix(folder: Path, views: list[ViewHeader], lie: Lie, missing: list[str]) -> Helix:
    """The geometry of the whole detector. Raises InputError where it is no helix."""
    shared = views[0].shared
    own = np.unwrap([view.angle_rad for view in views])
    to_axis = np.array([view.to_axis_mm for view in views])
    widest = float(np.abs(np.diff(own)).max())
    senses = np.unique(np.sign(np.diff(own)))
    if widest > STEEPEST_STEP_RAD or len(senses) > 1 or senses[0] == 0 or np.ptp(to_axis) > SAME_MM:
        raise InputError(
            f"{folder} has steps of up to {math.degrees(widest):.3g} degrees between its views, "
            f"and focal centres {to_axis.min():g} to {to_axis.max():g} mm from the axis."
            + "".join(f" {note.partition(':')[0]}." for note in missing),
            "views that follow each other in one sense, at one distance",
            "all views of the scan; a smaller --every",
        )
    angles = lie.sense * own + lie.start_rad
    heights = lie.along * np.array([view.height_mm for view in views])
    slope, start = _line(angles - angles[0], heights)
    off = float(np.abs(start + slope * (angles - angles[0]) - heights).max())
    radius, distance = float(to_axis.mean()), shared[tag.TO_DETECTOR.name]
    if off > max(SAME_MM, HEIGHT_ROWS * shared[tag.ROW_MM.name] * radius / distance):
        raise InputError(
            f"{folder} has a table that does not advance evenly: by up to {off:.3g} mm off a line.",
            "a helix, or one circle",
            "the views of one of its circles in a folder of their own",
        )
    n_rows, n_columns = shared[tag.ROWS.name], shared[tag.COLUMNS.name]
    column, row = (place - 1 for place in shared[tag.CENTRE.name])
    aside = lie.sense * (column - (n_columns - 1) / 2) * shared[tag.COLUMN_MM.name]
    above = lie.along * (row - (n_rows - 1) / 2) * shared[tag.ROW_MM.name]
    return Helix(
        angles_rad=tuple(angles),
        n_columns=n_columns,
        column_mm=shared[tag.COLUMN_MM.name],
        detector_shift_mm=aside,
        source_to_axis_mm=radius,
        source_to_detector_mm=distance,
        n_rows=n_rows,
        row_mm=shared[tag.ROW_MM.name],
        pitch_mm=slope * TURN,
        start_mm=start,
        detector_lift_mm=above,
        curved=shared[tag.SHAPE.name] == CYLINDER,
        spot_offsets_mm=_spots(views, lie, radius),
    )


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope and value at 0 of the straight line through points; a slope of rounding alone is 0."""
    slope, start = np.polyfit(x, y, 1)
    if np.ptp(y) < SAME_MM:
        return 0.0, float(y.mean())
    return float(slope), float(start)


def _spots(views: list[ViewHeader], lie: Lie, radius_mm: float) -> tuple:
    """Where the focal spot lies from the focal centre along u, n and z, or nothing."""
    angle, height, radial = np.array([view.spot for view in views]).T
    distance = radius_mm + radial
    offsets = np.stack(
        [
            lie.sense * distance * np.sin(angle),
            radius_mm - distance * np.cos(angle),
            lie.along * height,
        ],
        axis=1,
    )
    offsets = SPOT_STEP_MM * np.round(offsets / SPOT_STEP_MM)
    return triples(offsets) if offsets.any() else ()


def _photons(
    views: list[ViewHeader], columns: slice, turned: slice
) -> tuple[np.ndarray | None, list[str]]:
    """Photons of every view and column (view, 1, column), None where not all are known."""
    n_columns = views[0].shared[tag.COLUMNS.name]
    sizes = {view.photons.size for view in views}
    if sizes == {0}:
        return None, []
    counts = np.array([v.photons for v in views]) if sizes == {n_columns} else np.zeros(1)
    if not (counts > 0).all():
        return None, ["photon numbers are not used: they are missing or 0 in some view or column"]
    return counts[:, None, turned][:, :, columns].astype(np.float32), []


def _missing_notes(views: list[ViewHeader]) -> list[str]:
    """What to know where the numbers of the views leave some out."""
    numbers = [view.number for view in views]
    gaps = [(one + 1, other - 1) for one, other in pairwise(numbers) if other > one + 1]
    missing = sum(last - first + 1 for first, last in gaps)
    if not missing:
        return []
    named = [f"{first}" if first == last else f"{first} to {last}" for first, last in gaps]
    shown = ", ".join(named[:MOST_GAPS]) + (" ..." if len(gaps) > MOST_GAPS else "")
    return [
        f"{missing} views between the first and the last are missing (InstanceNumber {shown}): the "
        "others keep their angles and heights; fbp refuses gaps above three steps in a helix, "
        "which iterative methods take"
    ]


def _water_notes(shared: dict[str, Any]) -> list[str]:
    """What is taken where the files do not say how water attenuates."""
    if shared[tag.WATER.name]:
        return []
    return [
        f"the files do not state the attenuation of water ({tag.WATER.name}): 0 HU is "
        f"{MU_WATER_PER_MM} per mm, that of 60 keV, unless mu_water_per_mm is given, and HU of "
        "another spectrum are off by a factor"
    ]


def _facts(shared: dict[str, Any]) -> dict[str, object]:
    """What else the files contain, nothing of the patient."""
    names = (tag.MANUFACTURER, tag.POSITION, tag.SPOT_MODE, tag.SCAN_TYPE, tag.HARDENING)
    return {"format": "DICOM-CT-PD"} | {
        t.name: shared[t.name] for t in (*names, tag.SCATTER) if shared[t.name]
    }
