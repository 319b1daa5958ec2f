"""Tags that are listed nowhere, private ones and sequences, that alternate from slice to slice.

Two reconstructions that are interleaved under one series UID may differ in nothing else.
"""

from __future__ import annotations

import warnings
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from diffusionblend.io.dicom.header import BROKEN_DICOM, TAGS, Header

if TYPE_CHECKING:
    from pydicom import Dataset

VARYING = {
    *("SmallestImagePixelValue", "LargestImagePixelValue", "SmallestPixelValueInSeries"),
    *("LargestPixelValueInSeries", "WindowWidth", "WindowCenterWidthExplanation"),
}
"""Tags that depend on the pixels or on how they are shown."""
FEWEST_SLICES, MOST_ALTERNATING = 8, 4
LOOKED_AT = 12
"""Slices in the middle of the stack whose whole headers are read first."""
ALTERNATES = 0.9
"""In what share of the slices a value must differ from the next one's and return in its turn."""
LONGEST_BYTES, DEEPEST, MOST_NAMED, MAX_LETTERS = 1024, 3, 3, 24
"""Longer values, such as a scanner's tables, are not compared."""
PATIENT_GROUP = 0x0010
"""Of the tags of the patient, whose values are not printed."""
REGULATED = 1.1
"""Numbers that differ by less are those of a steady tube or clock."""


def alternation_notes(headers: tuple[Header, ...]) -> tuple[str, ...]:
    """A sentence on the tags, of those that `acquisition` does not compare, that alternate.

    headers: in order along the stack, one file each.
    """
    if len(headers) < FEWEST_SLICES or any(h.frame is not None for h in headers):
        return ()
    middle = len(headers) // 2
    some = headers[max(middle - LOOKED_AT // 2, 0) : middle + LOOKED_AT // 2]
    found = _alternating(some) and _alternating(headers)
    if not found:
        return ()
    more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
    return (
        f"From slice to slice {', '.join(found[:MOST_NAMED])}{more} alternate: two "
        "reconstructions or phases may be interleaved under one series UID. Where they are, move "
        "the files of each to a folder of its own.",
    )


def _alternating(headers: tuple[Header, ...]) -> list[str]:
    """The names of the tags that alternate along a stack, each with its values."""
    of_slices = [_values(header) for header in headers]
    found = []
    for name in dict.fromkeys(name for values in of_slices for name in values):
        values = [v.get(name, "") for v in of_slices]
        kinds = list(dict.fromkeys(values))
        few = 1 < len(kinds) <= MOST_ALTERNATING and not _are_close(kinds)
        if few and _take_turns(values, len(kinds)):
            shown = f" ({', '.join(k[:MAX_LETTERS] or 'none' for k in kinds)})"
            found.append(name if _may_name_a_person(name) else name + shown)
    return found


def _may_name_a_person(name: str) -> bool:
    """Whether a tag, given by its path, is of the patient's group or holds a person's name."""
    from pydicom.datadict import dictionary_VR, tag_for_keyword

    tag = tag_for_keyword(name.rpartition(".")[2])
    return tag is not None and (tag >> 16 == PATIENT_GROUP or dictionary_VR(tag) == "PN")


def _take_turns(values: list[str], period: int) -> bool:
    """Whether each value differs from the next one, and is back after one turn of all."""
    differ = np.mean([a != b for a, b in pairwise(values)])
    return_ = np.mean([a == b for a, b in zip(values, values[period:], strict=False)])
    return bool(min(differ, return_) >= ALTERNATES)


def _are_close(kinds: list[str]) -> bool:
    """Whether values are numbers that differ by little."""
    try:
        numbers = [abs(float(kind)) for kind in kinds]
    except ValueError:
        return False
    return min(numbers) > 0 and max(numbers) < REGULATED * min(numbers)


def _values(header: Header) -> dict[str, str]:
    """The short values of a file by the names of their tags, those in sequences by their paths."""
    import pydicom

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(header.path, stop_before_pixels=True, force=True)
            found: dict[str, str] = {}
            _collect(dataset, "", found, 0)
    except BROKEN_DICOM:
        return {}
    return {k: v for k, v in found.items() if k not in TAGS and k not in VARYING}


def _collect(dataset: Dataset, before: str, found: dict[str, str], depth: int) -> None:
    """Add the values of a data set, and of those within it, to what was found."""
    for tag in dataset.keys():  # noqa: SIM118 - a data set iterates over converted values
        raw = dataset.get_item(tag)
        content = getattr(raw, "value", None)
        if isinstance(content, bytes) and len(content) > LONGEST_BYTES:
            continue
        try:
            element = dataset[tag]
        except BROKEN_DICOM:
            continue
        name = before + (element.keyword or str(element.tag).replace(" ", "").lower())
        if element.VR != "SQ":
            text = str(element.value)
            found[name] = "".join(letter for letter in text if letter.isprintable()).strip()
        elif depth < DEEPEST:
            for item in element.value[:2]:
                _collect(item, f"{name}.", found, depth + 1)
