"""Which files of a folder are views, flats and darks, and their order, by their names."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from diffusionblend.errors import InputError
from diffusionblend.io.scans.tiff_file import TIFF_SUFFIXES

FLAT_WORDS = ("flat", "white", "open", "bright", "gain", "ff", "ob", "ref", "blank", "empty", "air")
DARK_WORDS = ("dark", "df", "dc", "di", "offset")
"""A word of a file's name that begins so (two letters: that is so) marks flats and darks."""
FLAT_CORRECTED = re.compile(r"flat[ _-]?(field)?(ed)?[ _-]?corr", re.IGNORECASE)
LONG_NUMBER = 1e7
FEWEST_COUNTED, MOST_GAPS = 3, 1.0
"""Fewer files are in the order of all their numbers, and so are those of which as many are missing
as there are."""
FEW = 10
"""Files of one pattern from which on another one among them, of a tenth as many, is odd."""


def tiff_files(folder: Path) -> list[Path]:
    """The TIFF files of a folder, in order; hidden ones, as macOS leaves them, do not count."""
    return in_order(
        p
        for p in folder.iterdir()
        if p.suffix.lower() in TIFF_SUFFIXES and p.is_file() and not p.name.startswith(".")
    )


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder, by name."""
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def is_flat(path: Path) -> bool:
    """Whether a file or folder is of flats, by a word of its name; not what was corrected by
    them.
    """
    return _has_word(path, FLAT_WORDS) and not FLAT_CORRECTED.search(path.name)


def is_dark(path: Path) -> bool:
    """Whether a file or folder is of darks, by a word of its name."""
    return _has_word(path, DARK_WORDS)


def sorted_by_kind(paths: Iterable[Path]) -> tuple[list[Path], list[Path], list[Path]]:
    """Views, flats and darks of some files or folders, each in order.

    A word in every name is ignored, and where none is left as a view, that of most of the files,
    as in dark-chocolate_0000.tif beside dark_00.tif.
    """
    found = in_order(paths)
    if found and all(is_flat(p) or is_dark(p) for p in found):
        usual, count = Counter(_words(p) for p in found).most_common(1)[0]
        if len(found) / 2 < count < len(found):
            views = [p for p in found if _words(p) == usual]
            others = [p for p in found if _words(p) != usual]
            darks = [p for p in others if is_dark(p)]
            return views, [p for p in others if p not in set(darks)], darks
    darks = [p for p in found if is_dark(p)]
    darks = [] if len(darks) == len(found) else darks
    flats = [p for p in found if is_flat(p) and p not in set(darks)]
    flats = [] if len(flats) + len(darks) == len(found) else flats
    taken = {*flats, *darks}
    return [p for p in found if p not in taken], flats, darks


def in_order(paths: Iterable[Path]) -> list[Path]:
    """By the numbers in their names, so that 2 comes before 10, -1.5 before +0.5, and 0a before 10
    where they count in hexadecimal digits.
    """
    found = list(paths)
    if _are_hexadecimal(found):
        return sorted(found, key=lambda p: p.stem.lower())
    signs = _signed_places(found)
    place = counting_number(found)
    first = {p: () if place is None else (_numbers(p.name, signs)[place],) for p in found}
    return sorted(found, key=lambda p: (first[p], _key(p.name, signs), p.name))


def counting_number(paths: Sequence[Path]) -> int | None:
    """Which number of the names, by its place, counts the files; None where all are compared.

    It is the number that no two files share and of which fewest are missing between the least and
    the greatest; a time or an angle before it may go up and down, but not with it.
    """
    if len(paths) < FEWEST_COUNTED or len({_words(p) for p in paths}) != 1:
        return None
    signs = _signed_places(paths)
    rows = [_numbers(p.name, signs) for p in paths]
    columns = [list(column) for column in zip(*rows, strict=True)]
    varying = [i for i, column in enumerate(columns) if len(set(column)) > 1]
    counting = [i for i in varying if len(set(columns[i])) == len(paths)]
    if len(varying) < 2 or not counting:
        return None
    by_rows = sorted(range(len(rows)), key=lambda k: rows[k])
    place = min(counting, key=lambda i: (_gaps(columns[i]), _are_times(columns[i]), i))
    if _gaps(columns[place]) > MOST_GAPS * len(paths):
        return None
    rising = [columns[place][k] for k in by_rows]
    return None if rising == sorted(rising) else place


def order_notes(paths: Sequence[Path]) -> list[str]:
    """A sentence where several numbers of the names could count the frames, in other orders."""
    if len(paths) < FEWEST_COUNTED or len({_words(p) for p in paths}) != 1:
        return []
    signs = _signed_places(paths)
    columns = list(zip(*(_numbers(p.name, signs) for p in paths), strict=True))
    rising = [c for c in columns if len(set(c)) == len(paths) and list(c) == sorted(c)]
    others = [c for c in columns if len(set(c)) == len(paths) and list(c) != sorted(c)]
    if not others or not rising:
        return []
    place, other = columns.index(rising[0]), columns.index(others[0])
    numbers = NUMBER.findall(paths[0].name)
    return [
        f"the frames are in the order of number {place + 1} of their names ({numbers[place]} in "
        f"{paths[0].name}); number {other + 1} ({numbers[other]}) has another order"
    ]


def _are_times(numbers: Sequence[float]) -> bool:
    """Whether all numbers can be a time of day, a date or seconds of an epoch."""
    return all(n >= LONG_NUMBER or _is_time_of_day(n) for n in numbers) and max(numbers) >= 1e4


def _is_time_of_day(number: float) -> bool:
    """Whether a number reads hhmmss."""
    minutes, seconds = divmod(int(number), 100)
    return seconds < 60 and minutes % 100 < 60 and minutes < 2400


def _gaps(numbers: Sequence[float]) -> float:
    """How many numbers are missing between the least and the greatest, in their usual step."""
    ordered = sorted(numbers)
    step = Counter(round(b - a, 6) for a, b in pairwise(ordered)).most_common(1)[0][0]
    return math.inf if step <= 0 else round((ordered[-1] - ordered[0]) / step) + 1 - len(numbers)


def _numbers(name: str, signs: frozenset[int]) -> tuple[float, ...]:
    """The numbers of a name, with their signs."""
    return tuple(n for n in _key(name, signs) if isinstance(n, float))


def check_views(
    views: Sequence[Path], others: Sequence[Path], *, chosen: bool, equally_spaced: bool
) -> None:
    """Raises InputError for views that are there twice, odd ones, and missing numbers.

    others: further frames of the folder, which may have the numbers between. chosen: a person has
    chosen them by a pattern, odd ones too. equally_spaced: the angles follow from the order alone,
    so that a missing view turns all later ones.
    """
    signs = _signed_places(views)
    keys = [_key(p.stem, signs) for p in views]
    for one, other, a, b in zip(keys, keys[1:], views, views[1:], strict=False):
        if one == other:
            raise InputError(
                f"{a.name} and {b.name} are the same view by their names.",
                "a file for every view",
                "--views with a pattern of the one kind, such as '*.tif'",
            )
    patterns = Counter(_words(p) for p in views)
    usual, count = patterns.most_common(1)[0]
    odd = [p for p in views if _words(p) != usual]
    if not chosen and count >= FEW and 0 < len(odd) <= count / FEW:
        raise InputError(
            f"{views[0].parent} has {count} views named like "
            f"{next(p.name for p in views if _words(p) == usual)}, and {len(odd)} named "
            f"otherwise, such as {odd[0].name}.",
            "views alone, and flats and darks",
            "--views with a pattern of the views' names, and --flats and --darks with theirs; or "
            "take the others out",
        )
    if equally_spaced and not odd:
        _check_numbers(views, others)


def _check_numbers(views: Sequence[Path], others: Sequence[Path]) -> None:
    """Raises InputError where whole numbers that count the views leave some out."""
    numbers = [re.findall(r"\d+", p.stem) for p in views]
    if len(views) < FEW or len({len(n) for n in numbers}) != 1 or not numbers[0]:
        return
    varying = [i for i in range(len(numbers[0])) if len({n[i] for n in numbers}) > 1]
    if not varying:
        return
    gaps = [_gaps([int(n[i]) for n in numbers]) for i in varying]
    counted = [int(n[varying[int(np.argmin(gaps))]]) for n in numbers]
    taken = {int(n) for p in others for n in re.findall(r"\d+", p.stem)}
    steps = Counter(b - a for a, b in pairwise(counted))
    step, how_often = steps.most_common(1)[0]
    if step < 1 or how_often < 0.8 * len(views):
        return
    whole = range(counted[0], counted[-1] + 1, step)
    missing = [n for n in whole if n not in set(counted) and n not in taken]
    if missing:
        raise InputError(
            f"{views[0].parent} has no view number {missing[0]} between {counted[0]} and "
            f"{counted[-1]} (missing: {len(missing)}), so that the views are not equally spaced.",
            "all views, where their angles follow from their order",
            "put them back; or --angles with an angle for each view that is there",
        )


def _has_word(path: Path, words: tuple[str, ...]) -> bool:
    """Whether a word of the name, of letters alone, is or begins with one of some."""
    name = path.name if path.is_dir() else path.stem
    parts = re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower())
    return any(p == w or (len(w) > 2 and p.startswith(w)) for p in parts for w in words)


def _are_hexadecimal(paths: Sequence[Path]) -> bool:
    """Whether names, all of one length, differ in hexadecimal digits alone."""
    stems = [p.stem.lower() for p in paths]
    if len({len(stem) for stem in stems}) != 1:
        return False
    letters = enumerate(zip(*stems, strict=True))
    same = next((i for i, found in letters if len(set(found)) > 1), 0)
    digits = [stem[same:] for stem in stems]
    return (
        all(re.fullmatch("[0-9a-f]+", d) for d in digits)
        and any(re.search("[a-f]", d) for d in digits)
        and any(re.search("[0-9]", d) for d in digits)
    )


NUMBER = re.compile(r"(\d+(?:\.\d+)?)")


def _pieces(name: str) -> list[str]:
    """The rest and numbers in turns, always beginning with the rest."""
    return NUMBER.split(name)


def _signed_places(paths: Iterable[Path]) -> frozenset[int]:
    """The numbers of a name, by their count, before which "+" and "-" are signs.

    They are where some have "+", or some "-" and others neither; a "-" that all have separates.
    """
    before: dict[int, set[str]] = {}
    for path in paths:
        for i, rest in enumerate(_pieces(path.name)[:-1:2]):
            before.setdefault(i, set()).add(rest[-1:] if rest[-1:] in ("+", "-") else "")
    return frozenset(i for i, found in before.items() if "+" in found or {"-", ""} <= found)


def _key(name: str, signs: frozenset[int]) -> list[str | float]:
    """What names are sorted by: words and numbers in turns."""
    pieces = _pieces(name)
    key: list[str | float] = []
    for i in range(0, len(pieces) - 1, 2):
        rest, number = pieces[i], float(pieces[i + 1])
        if i // 2 in signs and rest[-1:] in ("+", "-"):
            number = -number if rest[-1] == "-" else number
            rest = rest[:-1]
        key += [rest, number]
    return [*key, pieces[-1].lower()]


def _words(path: Path) -> tuple[str, ...]:
    """A name without its numbers, their signs, and the way its suffix is written."""
    return tuple(rest.rstrip("+-") for rest in _pieces(path.stem)[::2])
