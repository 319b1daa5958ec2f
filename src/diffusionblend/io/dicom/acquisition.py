"""Whether the slices of one series UID are one acquisition: what must agree, what may not mix."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np

from diffusionblend.errors import InputError
from diffusionblend.io.dicom.header import Header

ALIKE = {
    "TemporalPositionIdentifier": "temporal positions",
    "TemporalPositionIndex": "temporal positions",
    "NominalPercentageOfCardiacPhase": "cardiac phases",
    "ConvolutionKernel": "kernels",
    "KVP": "tube voltages",
    "RescaleType": "units of the values",
    "FilterType": "filters",
    "PatientPosition": "positions of the patient",
    "StudyInstanceUID": "studies",
    "PatientID": "patients",
    "StackID": "stacks",
    "FrameOfReferenceUID": "frames of reference",
    "ManufacturerModelName": "scanners",
}
"""Tags of which all slices of a volume have one value."""
NOT_MIXED = {
    "AcquisitionNumber": "acquisitions",
    "SeriesNumber": "series numbers",
    "ContrastBolusAgent": "contrast agents",
    "ImageType": "types of image",
    "SliceThickness": "slice thicknesses",
    "ReconstructionDiameter": "fields of view",
    "SeriesDescription": "descriptions",
    "ProtocolName": "protocols",
    "ReconstructionAlgorithm": "reconstruction algorithms",
    "StationName": "stations",
}
"""Tags that may change once along a volume, as where a scan goes on in a second acquisition, but
not again and again."""
TIMES = {"TriggerTime": "trigger times", "AcquisitionTime": "times of acquisition"}
"""Tags that may differ from slice to slice, and distinguish phases whose slices share positions."""
ALTERNATING = {
    **TIMES,
    "AcquisitionDateTime": "times of acquisition",
    "AcquisitionDate": "dates of acquisition",
    "ImageComments": "comments",
}
"""Tags that may differ from slice to slice, but not so that few values alternate along a volume."""
BACK_AND_FORTH = {
    "XRayTubeCurrent": "tube currents",
    "XRayTubeCurrentInmA": "tube currents",
    "Exposure": "exposures",
    "ExposureTime": "exposure times",
    "CTDIvol": "doses",
    "SpiralPitchFactor": "pitches",
    "TableSpeed": "table speeds",
    "ScanOptions": "kinds of scan",
    "FocalSpots": "focal spots",
    "DerivationDescription": "derivations",
    "ContrastBolusVolume": "volumes of contrast agent",
    "DeviceSerialNumber": "devices",
    "SoftwareVersions": "versions of the software",
    "BodyPartExamined": "parts of the body",
    "WindowCenter": "display windows",
}
"""Tags that a scanner may regulate along a volume, but not back and forth from slice to slice."""
OFTEN = 0.5
"""Of the steps from slice to slice, at which a tag that goes back and forth changes."""
REGULATED = 1.1
COUNTS = {
    "InstanceNumber": "numbers",
    "AcquisitionDateTime": "times of acquisition",
    "AcquisitionTime": "times of acquisition",
}
"""Tags that grow as a scan goes on, so that one which passes the same places again is another."""
MOST_PASSES, FEWEST_IN_A_PASS = 4, 4
MOST_ALTERNATING = 4
FEWEST_SLICES = 3
"""Fewer slices of a kind are strays, which the check of the stack's order reports."""
SAME_PLACE = 0.1
"""Of the spacing, below which two slices lie at one place."""
NOT_SHOWN = ("PatientID", "StudyInstanceUID")
"""What concerns patients is compared and not printed; a number stands for it."""
MAX_LISTED = 6
ANONYMISED = 3
"""Where there is more than one value for so many slices, an anonymiser has made them up."""


def check_one_acquisition(headers: list[Header], folder: Path) -> list[str]:
    """Notes on what changes along a series. Raises InputError where it is more than one volume.

    The message names the tags that differ and how to choose.
    """
    heights_mm = _heights(headers)
    order = np.argsort(heights_mm, kind="stable")
    headers = [headers[i] for i in order]
    differing = {
        tag: values
        for tag in (*ALIKE, *NOT_MIXED)
        if len(values := _values(headers, tag, tag in NOT_MIXED)) > 1
    }
    notes = []
    for tag, values in differing.items():
        made_up = tag.endswith("UID") and len(values) * ANONYMISED > len(headers)
        mixed = _are_mixed(headers, heights_mm[order], tag)
        if (tag in ALIKE and not made_up) or (tag in NOT_MIXED and mixed):
            raise _several(tag, headers, heights_mm[order], list(differing), folder)
        if not made_up and tag in ("AcquisitionNumber", "SliceThickness", "ContrastBolusAgent"):
            notes.append(
                f"The series has {len(values)} {NOT_MIXED[tag]} in one stack: "
                f"{', '.join(v or '(none)' for v in list(values)[:MAX_LISTED])}."
            )
    times = None if differing else _times_that_split(headers, heights_mm[order])
    if times is None:
        times = _tag_that_alternates(headers, heights_mm[order])
    if times is not None:
        raise _several(times, headers, heights_mm[order], [times], folder)
    return [*notes, *_passes_note(headers, heights_mm[order])]


def _heights(headers: list[Header]) -> np.ndarray:
    axes = np.array(headers[0].numbers("ImageOrientationPatient"))
    positions = np.array([h.numbers("ImagePositionPatient") for h in headers])
    return positions @ np.cross(axes[:3], axes[3:])


def _values(headers: list[Header], tag: str, count_missing: bool) -> dict[str, int]:
    """The values of a tag and how many slices have each."""
    found: dict[str, int] = {}
    for header in headers:
        value = _value(header, tag)
        if value or count_missing:
            found[value] = found.get(value, 0) + 1
    return found


def _value(header: Header, tag: str) -> str:
    text = header.text(tag)
    try:
        return f"{float(text):.15g}"
    except ValueError:
        return text


def _are_mixed(headers: list[Header], heights_mm: np.ndarray, tag: str) -> bool:
    """Whether slices of two values share more of the stack than the ends where they meet.

    Two that meet in one place are left to the check of the stack's order, which names both.
    """
    values = np.array([_value(h, tag) for h in headers])
    kinds = [heights_mm[values == value] for value in dict.fromkeys(values)]
    ranges = sorted((h.min(), h.max()) for h in kinds if len(h) >= FEWEST_SLICES)
    gaps = [np.median(np.diff(h)) for h in kinds if len(h) >= FEWEST_SLICES]
    shared = [a[1] - b[0] for a, b in pairwise(ranges)]
    if not shared:
        return False
    places = np.sort(np.concatenate([h for h in kinds if len(h) >= FEWEST_SLICES]))
    overlap = max(shared) > -SAME_PLACE * max(gaps)
    same = (np.diff(places) < SAME_PLACE * min(gaps)).sum()
    return bool((overlap and same > 1) or max(shared) > 1.5 * max(gaps))


def _times_that_split(headers: list[Header], heights_mm: np.ndarray) -> str | None:
    """The tag that distinguishes phases that share all positions; None where there is none."""
    places = np.unique(np.round(heights_mm, 2))
    if len(headers) % len(places) or len(headers) == len(places):
        return None
    n_phases = len(headers) // len(places)
    for tag in TIMES:
        values = _values(headers, tag, count_missing=True)
        if len(values) == n_phases and set(values.values()) == {len(places)}:
            return tag
    return None


def _tag_that_alternates(headers: list[Header], heights_mm: np.ndarray) -> str | None:
    """The tag of which a few values, each of several slices, return again and again along z."""
    for tag in ALTERNATING:
        values = _values(headers, tag, count_missing=True)
        few = 1 < len(values) <= MOST_ALTERNATING and min(values.values()) >= FEWEST_SLICES
        if few and _are_mixed(headers, heights_mm, tag):
            return tag
    own = [e.keyword for e in headers[0].tags] if headers[0].frame is not None else []
    for tag in dict.fromkeys((*NOT_MIXED, *BACK_AND_FORTH, *own)):
        values = _values(headers, tag, count_missing=True)
        few = 1 < len(values) <= MOST_ALTERNATING and min(values.values()) >= FEWEST_SLICES
        often = few and _changes(headers, tag) >= OFTEN * (len(headers) - 1)
        if often and not _is_regulated(values):
            return tag
    return None


def _changes(headers: list[Header], tag: str) -> int:
    """At how many steps along the volume a tag changes."""
    return sum(_value(a, tag) != _value(b, tag) for a, b in pairwise(headers))


def _is_regulated(values: Iterable[str]) -> bool:
    """Whether values are numbers that differ by little, as those of a steady tube do."""
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        return False
    return min(numbers) > 0 and max(numbers) < REGULATED * min(numbers)


def _passes_note(headers: list[Header], heights_mm: np.ndarray) -> list[str]:
    """A sentence on slices that, in the order in which they were taken, pass the same places twice.

    headers: by their heights.
    """
    for tag, name in COUNTS.items():
        values = [_value(h, tag) for h in headers]
        try:
            counted = np.array([float(v) for v in values])
        except ValueError:
            continue
        if len(np.unique(counted)) < len(counted):
            continue
        order = np.argsort(counted)
        passes = _passes(heights_mm[order])
        if not 1 < len(passes) <= MOST_PASSES or min(map(len, passes)) < FEWEST_IN_A_PASS:
            continue
        ends = [(heights_mm[order][p].min(), heights_mm[order][p].max()) for p in passes]
        ends.sort()
        gap = (heights_mm[-1] - heights_mm[0]) / (len(headers) - 1)
        if all(b[0] - a[1] > -1.5 * gap for a, b in pairwise(ends)):
            continue
        first = passes[0]
        chosen = f"{tag}={values[order[first[0]]]}..{values[order[first[-1]]]}"
        return [
            f"In the order of their {tag} ({name}) the slices pass the same places "
            f"{len(passes)} times, as two acquisitions under one UID do; they were taken for one "
            f"volume (--only {chosen} takes the first pass)."
        ]
    return []


def _passes(heights_mm: np.ndarray) -> list[np.ndarray]:
    """The runs in which heights rise or fall, as indices."""
    steps = np.sign(np.diff(heights_mm))
    ends, direction = [], 0.0
    for i, step in enumerate(steps):
        if direction and step != direction:
            ends.append(i + 1)
            direction = 0.0
        else:
            direction = step
    return np.split(np.arange(len(heights_mm)), ends)


def numbered(headers: list[Header], header: Header, tag: str) -> str:
    """What stands for a value that is not printed: #1, #2, ... in the order of the values."""
    return _number_of(headers, _value(header, tag), tag)


def _number_of(headers: list[Header], value: str, tag: str) -> str:
    return f"#{1 + sorted({_value(h, tag) for h in headers}).index(value)}"


def _several(
    tag: str, headers: list[Header], heights_mm: np.ndarray, differing: list[str], folder: Path
) -> InputError:
    """The error for slices of more than one volume, by one tag that distinguishes them."""
    name = {**ALIKE, **NOT_MIXED, **ALTERNATING, **BACK_AND_FORTH}.get(tag, f"values of {tag}")
    parts = []
    values = list(dict.fromkeys(_value(h, tag) for h in headers))
    for value in values[:MAX_LISTED]:
        heights = heights_mm[[_value(h, tag) == value for h in headers]]
        gaps = np.diff(heights)
        apart = f", {np.median(gaps):g} mm apart" if len(gaps) else ""
        shown = value or "(none)"
        if tag in NOT_SHOWN:
            shown = _number_of(headers, value, tag)
        parts.append(f"  {tag}={shown}: {len(heights)} slice(s){apart}")
    more = [f"  and {len(values) - MAX_LISTED} more"] if len(values) > MAX_LISTED else []
    others = [t for t in differing if t != tag]
    also = f"\nThey differ in {', '.join(others)} too." if others else ""
    listing = "\n".join([*parts, *more])
    chosen = next((v for v in values if v), "...")
    if tag in NOT_SHOWN:
        chosen = _number_of(headers, chosen, tag)
    condition = f'"{tag}={chosen}"' if " " in chosen else f"{tag}={chosen}"
    return InputError(
        f"The series in {folder} has {len(values)} {name} and is not one volume:\n{listing}{also}",
        "the slices of one acquisition and reconstruction",
        f"'diffusionblend import {folder} --only {condition} -o volume.nii.gz' for one of them",
    )
