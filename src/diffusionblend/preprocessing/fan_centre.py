"""The centre of rotation of a fan or a cone, by rays that are measured from both sides.

Over a whole turn the ray at angle g of the view at t is that at -g of the view at t + 180 degrees
- 2 g, run through the other way. Which detector column g counts from is the centre; the right one
makes both measurements equal. In a cone that holds in the plane of the source alone.
"""

from __future__ import annotations

import math

import numpy as np

from diffusionblend.data.raw_scan import RawScan
from diffusionblend.errors import InputError
from diffusionblend.geometry.turning import turns_wholly
from diffusionblend.preprocessing.centre import CUT_SHARE, Centre

TURN = 2 * math.pi
FEWEST_VIEWS = 36
FEWEST_COLUMNS = 16
MOST_VIEWS, MOST_ROWS = 180, 8
"""Of more of them only some are looked at."""
NEAREST_END = 0.15
"""Share of the columns at either end where no centre is looked for."""
CLEARLY_BEST = 0.25
"""Of the median mismatch, below which the best column counts."""
COARSE_COLUMNS = 128
"""Columns are taken together until there are about so many, for a first look at all of them."""
STEPS = 4
"""To each side of the best column, through whose mismatches a parabola is fitted."""
LEAST_HELD = 0.2
"""Of the most that columns on both sides of a centre hold, below which they say nothing."""
NEAREST_KNOWN = 0.02
"""Share of the columns at either end where no axis that a file states can be."""
MUCH_LESS = 0.25
"""Of what one end of the detector reads, below which the other reads far less."""
REPORTED_COLUMNS = 2.0
"""By which opposite rays may disagree with the axis that is stated."""


def find_centre_from_source(scan: RawScan, lines: np.ndarray, *, of_plane: bool) -> Centre | None:
    """The column onto which the axis is projected; None where the views do not determine it.

    lines: (view, row, column), of the scan's pixels. of_plane: whether the row of the source's
    plane alone is looked at, as in a cone.
    """
    n_views, _, n_columns = lines.shape
    if n_views < FEWEST_VIEWS or n_columns < FEWEST_COLUMNS or not turns_wholly(scan.angles_rad):
        return None
    rows = _plane(scan, lines) if of_plane else _fullest(lines)
    if rows is None:
        return None
    assert scan.column_mm is not None and scan.source_to_detector_mm is not None
    step = scan.column_mm / scan.source_to_detector_mm
    factor = max(1, n_columns // COARSE_COLUMNS)
    column = _coarse(rows, scan.angles_rad, step, factor)
    mismatch = Mismatch(rows, scan.angles_rad, step)
    reaches = [2.0 * factor, *(r for r in (factor / 2,) if r > 1), 1.0, 1.0]
    for reach in reaches:
        column = None if column is None else _fitted(mismatch, column, reach)
    if column is None:
        return None
    return Centre(column=column, method="opposite rays", pair_column=None, mass_column=None)


def check_known_axis(scan: RawScan) -> None:
    """Raises InputError where the files of a fan or a cone have the axis at the detector's end.

    So it is where the place of the first pixel was lost, which is 0 then.
    """
    if scan.centre_column is None or scan.source_to_detector_mm is None:
        return
    n_columns = scan.detector_shape[1]
    column = scan.centre_column + scan.first_column
    if min(column + 0.5, n_columns - 0.5 - column) >= max(1.0, NEAREST_KNOWN * n_columns):
        return
    raise InputError(
        f"The files place the axis of rotation at column {column:.2f} of {n_columns}, the end of "
        "the detector.",
        "an axis within it; a detector to one side of the axis reaches a little beyond that",
        "the place of the first pixel in the file (Offset in .mha, usually half the detector below "
        "0), which other programs lose; or --centre-column and --centre-row",
    )


def check_middle(lines: np.ndarray, angles_rad: np.ndarray) -> None:
    """Raises InputError where the middle of the detector, for want of better, cannot be the axis.

    Over a whole turn both ends of a detector in the middle see as much of an object that it does
    not see whole. lines: (view, row, column).
    """
    if not turns_wholly(angles_rad):
        return
    high = float(np.percentile(lines, 95))
    parts = (lines[:, :, :2], lines[:, :, -2:])
    air, cut = sorted(float(np.median(part.mean(axis=(1, 2)))) for part in parts)
    if high <= 0 or cut < CUT_SHARE * high or air > MUCH_LESS * cut:
        return
    raise InputError(
        "The centre of rotation could not be found, and is not the middle of the detector: over a "
        f"whole turn one end reads {cut:.2f} and the other {air:.2f}.",
        "a detector whose axis is known, where it lies to one side",
        "--centre-column with the column onto which the axis is projected",
    )


def stated_axis_notes(scan: RawScan, lines: np.ndarray, *, of_plane: bool) -> list[str]:
    """A sentence on an axis, of the files or a person, that opposite rays place elsewhere.

    lines: (view, row, column), of the scan's pixels, whose axis is known. of_plane: as above.
    """
    stated = scan.centre_column
    if stated is None or scan.axis_shift_mm:
        return []
    found = find_centre_from_source(scan, lines, of_plane=of_plane)
    if found is None or abs(found.column - stated) <= REPORTED_COLUMNS:
        return []
    return [
        f"the centre of rotation is stated to be {abs(found.column - stated):.1f} columns (as "
        f"taken) {'before' if stated < found.column else 'behind'} where opposite rays agree: "
        "columns count from 0 on the whole detector, before cropping and binning; or the pixels "
        "are of another width, or the files' offsets were lost"
    ]


def _coarse(rows: np.ndarray, angles_rad: np.ndarray, step: float, factor: int) -> float | None:
    """The best column of all, from `factor` of them taken together; None where none stands out."""
    n_views, n_rows, n_columns = rows.shape
    n_taken = n_columns // factor
    taken = rows[..., : n_taken * factor].reshape(n_views, n_rows, n_taken, factor).mean(axis=3)
    tried = np.arange(math.ceil(NEAREST_END * n_taken), math.floor((1 - NEAREST_END) * n_taken))
    values = Mismatch(taken, angles_rad, step * factor).of(tried.astype(float))
    if not np.isfinite(values).any() or np.nanmin(values) > CLEARLY_BEST * np.nanmedian(values):
        return None
    return float(tried[np.nanargmin(values)]) * factor + (factor - 1) / 2


def _fitted(mismatch: Mismatch, column: float, reach: float) -> float | None:
    """Where a parabola through the mismatches near a column is least, None where it is not near."""
    near = np.arange(-reach, reach + reach / STEPS / 2, reach / STEPS)
    width = min(column, mismatch.last_column - column) - reach
    if width < 1:
        return None
    values = np.array([mismatch.of_one(column + step, width)[0] for step in near])
    curve, slope, _ = np.polyfit(near, values, 2)
    moved = -slope / (2 * curve) if curve > 0 else math.inf
    return column + float(moved) if abs(moved) <= reach else None


def _plane(scan: RawScan, lines: np.ndarray) -> np.ndarray | None:
    """The row in the plane of the source (view, 1, column), None where it is not measured."""
    assert scan.centre_row is not None
    row = min(max(scan.centre_row, 0.0), lines.shape[1] - 1.0)
    if abs(row - scan.centre_row) > 1:
        return None
    low = min(math.floor(row), max(lines.shape[1] - 2, 0))
    part = row - low
    high = min(low + 1, lines.shape[1] - 1)
    return ((1 - part) * lines[:, low] + part * lines[:, high])[:, None]


def _fullest(lines: np.ndarray) -> np.ndarray:
    """The rows with the most in them."""
    held = lines.var(axis=(0, 2))
    return lines[:, np.sort(np.argsort(held)[-MOST_ROWS:])]


class Mismatch:
    """How far rays and their opposites differ, for a column of the axis.

    rows: (view, row, column). angles_rad: of every view. step: of a column, over the detector's
    distance.
    """

    def __init__(self, rows: np.ndarray, angles_rad: np.ndarray, step: float) -> None:
        turned = np.mod(angles_rad, TURN)
        order = np.argsort(turned)
        self.rows = rows[order].astype(np.float64)
        self.angles = turned[order]
        self.step = step
        self.last_column = rows.shape[2] - 1
        self.taken = np.arange(0, len(order), max(1, len(order) // MOST_VIEWS))

    def of(self, columns: np.ndarray) -> np.ndarray:
        """The mean square difference over that of the lines, (centre,); NaN where too little is
        measured on both sides.
        """
        widths = np.minimum(columns, self.last_column - columns)
        found = [self.of_one(float(c), float(w)) for c, w in zip(columns, widths, strict=True)]
        values, held = np.array(found).T
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(held >= LEAST_HELD * held.max(), values / held, np.nan)

    def of_one(self, centre: float, reach: float) -> tuple[float, float]:
        """The mean square difference within a reach of a centre, and the lines' variance there."""
        n_views = len(self.rows)
        columns = np.arange(math.ceil(centre - reach), math.floor(centre + reach) + 1)
        fan = np.arctan((columns - centre) * self.step)
        opposite = np.mod(self.angles[self.taken, None] + math.pi - 2 * fan, TURN)
        around = np.concatenate([self.angles, [self.angles[0] + TURN]])
        below = np.mod(opposite - self.angles[0], TURN) + self.angles[0]
        views = np.interp(below, around, np.arange(n_views + 1))
        mirrored = np.broadcast_to(2 * centre - columns, views.shape)
        there = self._read(views, mirrored)
        here = self.rows[self.taken][:, :, columns].transpose(0, 2, 1)
        return float(((here - there) ** 2).mean()), float(here.var())

    def _read(self, views: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Lines between views and columns, (view, column, row)."""
        n_views, _, n_columns = self.rows.shape
        first = np.floor(views).astype(int)
        low = np.clip(np.floor(columns).astype(int), 0, n_columns - 2)
        part, share = (columns - low)[..., None], (views - first)[..., None]

        def between(of_views: np.ndarray) -> np.ndarray:
            one, other = (self.rows[of_views % n_views, :, low + k] for k in (0, 1))
            return (1 - part) * one + part * other

        return (1 - share) * between(first) + share * between(first + 1)
