"""Which images of a folder are the series: copies count once, scouts are left out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diffusionblend.errors import InputError
from diffusionblend.io.dicom.acquisition import NOT_SHOWN, check_one_acquisition, numbered
from diffusionblend.io.dicom.completeness import completeness_notes
from diffusionblend.io.dicom.enhanced import frames_of, stray_notes
from diffusionblend.io.dicom.header import TAGS, Header, check_whole, read_headers
from diffusionblend.io.dicom.stack import MIN_SLICES, Stack, check_ct_images, sorted_stack
from diffusionblend.io.dicom.unlisted import alternation_notes

PARALLEL = 0.999
"""Cosine between the normals of slices that belong together."""
NAMES = {"PT": "PET (PT)", "OT": "another kind (OT)", "SC": "screen captures (SC)"}
"""Of modalities, where their letters say little."""


@dataclass(frozen=True)
class Found:
    """A series in its order, how many files of the folder are not of it, and notes for the user."""

    stack: Stack
    n_files: int
    n_skipped: int
    notes: tuple[str, ...]


def find_series(
    folder: Path,
    *,
    series_uid: str | None = None,
    only: Sequence[str] = (),
    on_file: Callable[[int, int], None] | None = None,
) -> Found:
    """The one CT series of a folder, or of a multi-frame file, sorted into a regular stack.

    series_uid: which series, where there are several. only: conditions TAG=VALUE on the header of
    each slice. on_file: called with the files seen and in all. Raises InputError.
    """
    headers, others = read_headers(folder, on_file)
    n_files = len(headers) + len(others)
    images, copies = without_copies(headers)
    headers = images
    multi_frame = {h.path: notes for h in headers if (notes := stray_notes(h))}
    headers = [frame for header in headers for frame in frames_of(header)]
    headers, left_out, notes = pick_series(headers, series_uid, folder)
    notes += [n for p, h in multi_frame.items() if any(p == f.path for f in headers) for n in h]
    whole_series, headers = headers, _matching(headers, only, folder)
    check_whole(headers)
    check_ct_images(headers)
    notes += check_one_acquisition(headers, folder)
    stack = sorted_stack(headers)
    if not only:
        uid = whole_series[0].series_uid
        files = [h for h in images if h.series_uid == uid]
        n_beside = len({h.path for h in files} - {h.path for h in whole_series})
        notes += completeness_notes(files, whole_series, n_beside)
    notes += alternation_notes(stack.headers)
    if copies:
        notes.insert(
            0,
            f"{len(copies)} file(s), such as {copies[0]}, are copies of others (one SOP instance "
            "UID, the same content); they count once.",
        )
    return Found(stack, n_files, len(others) + len(left_out), (*stack.warnings, *notes))


def without_copies(headers: list[Header]) -> tuple[list[Header], list[str]]:
    """The headers without those of files that are there twice, and the names of the copies.

    Raises InputError where two files carry one SOP instance UID, lie at one place and differ.
    """
    kept: dict[tuple[object, ...], Header] = {}
    copies: list[str] = []
    unique: list[Header] = []
    for header in headers:
        key = (header.text("SOPInstanceUID"), header.numbers("ImagePositionPatient"))
        if not key[0] or key not in kept:
            kept[key] = header
            unique.append(header)
            continue
        first = kept[key]
        if not _same_content(first, header):
            if first.whole != header.whole:
                cut, other = (header, first) if first.whole else (first, header)
                raise InputError(
                    f"{cut.path} is truncated ({cut.path.stat().st_size} bytes); {other.path.name} "
                    "is the same image, whole.",
                    "each image once, and whole",
                    f"take {cut.path.name} out of the folder",
                )
            raise InputError(
                f"{first.path.name} and {header.path.name} carry one SOP instance UID and differ.",
                "each image once",
                "take one of the two out of the folder",
            )
        copies.append(header.path.name)
    return unique, copies


def _same_content(a: Header, b: Header) -> bool:
    """Whether two files are the same image: the same bytes, or the same pixels and rescaling."""
    if _digest(a.path) == _digest(b.path):
        return True
    from diffusionblend.io.dicom.pixels import stored_words

    same_numbers = all(
        a.numbers(tag) == b.numbers(tag)
        for tag in ("RescaleSlope", "RescaleIntercept", "PixelSpacing", "ImageOrientationPatient")
    )
    many = a.whole_number("NumberOfFrames", 1) > 1 or b.whole_number("NumberOfFrames", 1) > 1
    if not same_numbers or many or not (a.whole and b.whole):
        return False
    return bool(np.array_equal(stored_words(a), stored_words(b)))


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def pick_series(
    headers: list[Header], series_uid: str | None, folder: Path
) -> tuple[list[Header], list[str], list[str]]:
    """The images of one series, the names of all others, and notes.

    Scouts and what else cannot be a stack of slices is left out with a note. Raises InputError,
    listing the series, where several are stacks and none is named, or the one named is not there.
    """
    series: dict[str, list[Header]] = {}
    for header in headers:
        series.setdefault(header.series_uid, []).append(header)
    listing = "\n".join(f"  {uid or '(no UID)'}: {_describe(hs)}" for uid, hs in series.items())
    if series_uid is not None and series_uid not in series:
        raise InputError(
            f"{folder} has no series {series_uid}; it holds:\n{listing}",
            "one of these",
            "the UID of one of these",
        )
    uid = next(iter(series)) if len(series) == 1 else series_uid
    if uid is None:
        stacks = _possible_stacks(series)
        if len(stacks) != 1:
            raise InputError(
                f"{folder} holds {len(series)} series:\n{listing}",
                "one series",
                f"'diffusionblend import {folder} --series UID -o volume.nii.gz' with the UID of "
                "the one to take, and that volume from there on ('diffusionblend export "
                "--template-series UID')",
            )
        uid = stacks[0]
    slices, scouts = _without_scouts(series[uid])
    left_out = [h for h in headers if h.series_uid != uid]
    notes = []
    if series_uid is None and (left_out or scouts):
        notes += _left_out_notes({u: hs for u, hs in series.items() if u != uid}, scouts)
    return slices, [h.name for h in (*left_out, *scouts)], notes


def _left_out_notes(others: dict[str, list[Header]], scouts: list[Header]) -> list[str]:
    """What was left out, and why: series of other modalities, and what is no stack of slices."""
    of_ct: list[str] = []
    foreign: list[str] = []
    for uid, headers in others.items():
        is_foreign = headers[0].text("Modality") not in ("CT", "")
        text = f"{_describe(headers)} (series {uid or 'without UID'})"
        (foreign if is_foreign else of_ct).append(text)
    of_ct += [f"{len(scouts)} localiser(s) of the series itself"] if scouts else []
    whys = (("as no CT", foreign), ("as no stack of slices", of_ct))
    return [f"Left out, {why}: {', '.join(what)}." for why, what in whys if what]


def _possible_stacks(series: dict[str, list[Header]]) -> list[str]:
    """The series that have slices; those with at least three of them, where there is such a one."""
    n_slices = {uid: sum(_is_slice(h) for h in headers) for uid, headers in series.items()}
    enough = [uid for uid, n in n_slices.items() if n >= MIN_SLICES]
    return enough or [uid for uid, n in n_slices.items() if n]


def _is_slice(header: Header) -> bool:
    """Whether an image is a placed grey CT image and no scout."""
    return (
        header.text("Modality") == "CT"
        and not header.is_localiser
        and header.number("SamplesPerPixel", 1) == 1
        and len(header.numbers("ImagePositionPatient")) == 3
        and len(header.numbers("ImageOrientationPatient")) == 6
    )


def _without_scouts(headers: list[Header]) -> tuple[list[Header], list[Header]]:
    """The images, and apart from them the scouts that do not lie parallel to the others."""
    slices = [h for h in headers if _is_slice(h)]
    if not slices:
        return headers, []
    normal = _normal(slices[0])
    scouts = [
        h
        for h in headers
        if h.is_localiser
        and (len(h.numbers("ImageOrientationPatient")) != 6 or abs(_normal(h) @ normal) < PARALLEL)
    ]
    return [h for h in headers if h not in scouts], scouts


def _normal(header: Header) -> np.ndarray:
    axes = header.numbers("ImageOrientationPatient")
    return np.cross(axes[:3], axes[3:])


def _matching(headers: list[Header], only: Sequence[str], folder: Path) -> list[Header]:
    """The images whose headers have the values asked for. Raises InputError."""
    for condition in only:
        tag, equals, value = condition.partition("=")
        if not equals or (tag not in TAGS and not any(h.text(tag) for h in headers)):
            raise InputError(
                f"--only is {condition!r}.",
                "TAG=VALUE with the keyword of a DICOM tag",
                "--only AcquisitionNumber=2",
            )
        found = [h for h in headers if _has(h, tag, value)]
        if tag in NOT_SHOWN and not found:
            found = [h for h in headers if value == numbered(headers, h, tag)]
        if not found:
            present = dict.fromkeys(
                numbered(headers, h, tag) if tag in NOT_SHOWN else h.text(tag) or "(none)"
                for h in headers
            )
            raise InputError(
                f"No image in {folder} has {tag} {value}.",
                f"one of {', '.join(present)}",
                "one of those, or leave the option out",
            )
        headers = found
    return headers


def _has(header: Header, tag: str, value: str) -> bool:
    text = header.text(tag)
    if text == value.strip():
        return True
    low, dots, high = value.partition("..")
    try:
        return float(low) <= float(text) <= float(high if dots else low)
    except ValueError:
        return False


def _describe(headers: list[Header]) -> str:
    """A series in a few words, without patient data."""
    first = headers[0]
    modality = first.text("Modality")
    words = [f"{len(headers)} image(s)", NAMES.get(modality, modality) or "no modality"]
    if first.is_localiser:
        words.append("localiser")
    if first.text("SliceThickness"):
        words.append(f"{first.number('SliceThickness'):g} mm slices")
    if first.text("ConvolutionKernel"):
        words.append(f"kernel {first.text('ConvolutionKernel')}")
    return ", ".join(words)
