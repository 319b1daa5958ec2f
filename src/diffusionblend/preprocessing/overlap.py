"""The axis of rotation where a detector does not see all of the object: opposite views overlap."""

from __future__ import annotations

import numpy as np

from diffusionblend.errors import InputError

FEWEST_OVERLAPPING, OVERLAP_PART = 8, 10
"""At first mirrored views overlap by at least so many columns, and one in so many."""
NARROWEST = 2
"""Columns by which they overlap at least, where the best of those is at its bound."""
LEAST_HELD = 0.05
"""Of the most that an overlap holds, below which one says nothing."""
CLEARLY_BEST = 0.2
"""Of the median mismatch, below which an overlap decides."""
CLEARLY_WITHIN = 0.5
"""Of the mismatch of the narrowest overlap, below which a narrow one decides."""
AGREEING_COLUMNS = 0.5
"""By which what every other pair says may differ, of a narrow overlap."""


def overlap_centre_column(lines: np.ndarray, pairs: list[tuple[int, int]]) -> float | None:
    """Where mirrored opposite views agree best over the columns that both have, to 0.1 columns.

    For a detector that does not see all of the object, where registration of whole views goes by
    their cut ends, and the wedge and the centre of mass are off. The squared difference over the
    overlap, of what both hold there, is least at the axis (Vo, Atwood, Drakopoulos, Connolley,
    Optics Express 29, 2021). None where no place is far better than others. Raises InputError
    where the best place is the last one that can be asked for, at the detector's end.
    """
    n_columns = lines.shape[2]
    least = max(FEWEST_OVERLAPPING, n_columns // OVERLAP_PART)
    sums = np.arange(least - 1, 2 * n_columns - least)  # twice the column about which one mirrors
    miss = _mismatches(lines, pairs, sums)
    best = int(np.argmin(miss))
    if not miss[best] < CLEARLY_BEST * np.median(miss):
        return None
    if 0 < best < len(sums) - 1:
        return _between(sums, miss, best)
    column = _narrow_overlap(lines, pairs, first=best == 0, least=least)
    if column is None:
        raise InputError(
            "The centre of rotation could not be found: opposite views agree the better the less "
            f"they overlap, at the {'first' if best == 0 else 'last'} of {n_columns} columns (as "
            "taken), so that the axis lies at the end of the detector or beyond.",
            "an axis some columns within the detector",
            "--centre-column with the column of the centre of rotation; a smaller --binning",
        )
    return column


def _narrow_overlap(
    lines: np.ndarray, pairs: list[tuple[int, int]], *, first: bool, least: int
) -> float | None:
    """The axis near the first or the last column, where views overlap by fewer than `least`
    columns; None where their mismatch has no clear minimum, or pairs differ.
    """
    n_columns = lines.shape[2]
    sums = np.arange(NARROWEST - 1, least + 2)
    sums = sums if first else 2 * (n_columns - 1) - sums[::-1]
    end = 0 if first else -1
    found = []
    for some in (pairs, pairs[::2], pairs[1::2]):
        if not some:
            continue
        miss = _mismatches(lines, some, sums, least_held=0.0)
        best = int(np.argmin(miss))
        if best in (0, len(sums) - 1) or not miss[best] < CLEARLY_WITHIN * miss[end]:
            return None
        found.append(_between(sums, miss, best))
    return found[0] if np.ptp(found) <= AGREEING_COLUMNS else None


def _mismatches(
    lines: np.ndarray,
    pairs: list[tuple[int, int]],
    sums: np.ndarray,
    least_held: float = LEAST_HELD,
) -> np.ndarray:
    """How far views and mirrored opposite ones differ, of what they hold, for each of the sums."""
    first, second = (lines[[pair[i] for pair in pairs]] for i in (0, 1))
    missed, held = np.array([_overlap_miss(first, second, int(s)) for s in sums]).T
    enough = held > least_held * held.max()
    return np.where(enough, missed / np.maximum(held, 1e-30), np.inf)


def _between(sums: np.ndarray, miss: np.ndarray, best: int) -> float:
    """The column of the least mismatch, by a parabola through it and its neighbours."""
    part = float(np.clip(summit(*miss[best - 1 : best + 2]), -0.5, 0.5))
    return float(sums[best] + part) / 2


def _overlap_miss(first: np.ndarray, second: np.ndarray, mirrored: int) -> tuple[float, float]:
    """How far views and mirrored opposite ones (pair, row, column) differ where both are, and what
    is there, squared; `mirrored` is the sum of two columns that belong together.
    """
    n_columns = first.shape[2]
    columns = np.arange(max(0, mirrored - n_columns + 1), min(n_columns - 1, mirrored) + 1)
    one, other = first[:, :, columns], second[:, :, mirrored - columns]
    held = float((one**2).sum(dtype=np.float64) + (other**2).sum(dtype=np.float64))
    return float(((one - other) ** 2).sum(dtype=np.float64)), held


def summit(before: float, at: float, after: float) -> float:
    """Where the parabola through three values has its summit or valley, from the middle one."""
    curvature = before - 2 * at + after
    return 0.0 if curvature == 0 else 0.5 * (before - after) / curvature
