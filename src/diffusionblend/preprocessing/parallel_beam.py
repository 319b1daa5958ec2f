"""Whether views can be those of a parallel beam over the stated arc: what opposite rays tell."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from diffusionblend.errors import InputError
from diffusionblend.geometry.turning import turns_wholly
from diffusionblend.preprocessing.centre import pair_centre_column
from diffusionblend.preprocessing.fan_centre import FEWEST_VIEWS, Mismatch
from diffusionblend.preprocessing.measured_angles import even_step, mirrored, views_apart

FEWEST_COLUMNS = 16
COARSE_COLUMNS = 96
MIDDLE_ROWS = 16
"""Rows up to one in so many from the middle are averaged: in a cone these are nearly a fan."""
HALF_FANS_DEGREES = (1.5, 3.0, 5.0, 8.0, 12.0, 18.0, 26.0)
"""Half the angles that a detector might see of a source, at all of which opposite rays are
compared."""
CENTRE_REACH, CENTRE_STEP = 2.0, 0.5
BETTER, CLEARLY_BETTER = 0.8, 0.5
"""Of the mismatch of parallel opposite rays, below which those of a fan are reported, or decide."""
LEAST_MISMATCH = 1e-4
"""Of the lines' variance, below which opposite views count as mirrored, whatever a fan leaves."""
NEAR_STEPS = (0.7, 1.4)
"""Distances that differ from the stated one by less are the same."""
LEAST_STEP = 0.01
"""Of what a view holds, which counts as the difference of neighbours that are nearly the same."""
GOES_ON, BREAKS_OFF = 2.0, 3.0
"""Views that differ by fewer times what neighbours do follow one another; by more, they do not."""


def check_parallel(lines: np.ndarray, angles_rad: np.ndarray, column: float) -> list[str]:
    """Sentences on views (view, row, column) that are hardly those of a parallel beam.

    column: onto which the axis is projected. Over a whole turn opposite views are mirror images; if
    they are none, but opposite rays of a fan agree, the source lies at a finite distance. Over half
    a turn the last view leads over to the first, mirrored. Raises InputError where that is clear.
    """
    _check_arc(lines, angles_rad)
    return _check_no_fan(lines, angles_rad, column)


def distance_notes(
    lines: np.ndarray, angles_rad: np.ndarray, column: float, step: float, row: float
) -> list[str]:
    """A sentence on a fan or a cone whose opposite rays agree far better for another distance, or
    for angles of the other sign.

    step: of a column, over the detector's distance from the source. row: of the source's plane.
    """
    found = _mismatches(lines, angles_rad, column, row, [step, 0.0])
    if found is not None and found.least(-step) < CLEARLY_BETTER * min(found.fans):
        return [
            "opposite rays agree far better where the object turns the other way than the angles "
            "say (--reverse-angles)"
        ]
    if found is None or found.fans[found.best] > CLEARLY_BETTER * found.least(step):
        return []
    seen = found.steps[found.best]
    stated = f"{1 / step:.3g} column widths from the source, as stated"
    if NEAR_STEPS[0] < seen / step < NEAR_STEPS[1]:
        return []
    other = "of parallel rays" if not seen else f"at some {1 / seen:.2g}"
    return [
        f"opposite rays agree far better for a detector {other} than for one {stated}: distances "
        "in another unit than columns, from another point, or exchanged"
    ]


def _check_arc(lines: np.ndarray, angles_rad: np.ndarray) -> None:
    """Raises InputError for a whole turn that is said to be half of one, or the other way round."""
    step = even_step(angles_rad)
    if step is None:
        return
    turns = len(lines) * abs(step) / (2 * math.pi)
    is_half, is_whole = (abs(turns - wanted) < 1.5 * abs(step) / math.pi for wanted in (0.5, 1.0))
    if not (is_half or is_whole):
        return
    pairs = range(0, len(lines) - 1, max(1, len(lines) // 12))
    usual = float(np.median([views_apart(lines[i], lines[i + 1]) for i in pairs]))
    same = views_apart(lines[0], lines[-1])
    axis = pair_centre_column(lines, [(0, len(lines) - 1)])
    turned = mirrored(lines[-1], axis)
    assert turned is not None
    opposite = views_apart(lines[0], turned)
    usual = max(usual, LEAST_STEP * views_apart(lines[0], np.zeros_like(lines[0])))
    goes_on, breaks_off = (same, opposite) if is_half else (opposite, same)
    if goes_on > GOES_ON * usual or breaks_off < BREAKS_OFF * usual:
        return
    said, seen = (180, 360) if is_half else (360, 180)
    raise InputError(
        f"The last view leads over to the first{'' if is_half else ', mirrored'}: the "
        f"{len(lines)} views seem to cover {seen} degrees, and their angles cover {said}.",
        "the angles of these views",
        f"--arc-degrees {seen}, or --angles; --geometry parallel, to insist",
    )


def _check_no_fan(lines: np.ndarray, angles_rad: np.ndarray, column: float) -> list[str]:
    """A sentence where opposite rays agree better as those of a fan; InputError if far better."""
    middle = (lines.shape[1] - 1) / 2
    found = _mismatches(lines, angles_rad, column, middle, [])
    parallel = 0.0 if found is None else found.least(0.0)
    if found is None or parallel < LEAST_MISMATCH * found.held:
        return []
    fans, best, steps = found.fans, found.best, found.steps
    if fans[best] > BETTER * parallel:
        return []
    agree = (
        "opposite views are no mirror images, and opposite rays agree "
        f"{'best' if fans[best] > CLEARLY_BETTER * parallel else 'about'} where the detector is "
        f"some {1 / steps[best]:.2g} column widths from the source"
    )
    if fans[best] > CLEARLY_BETTER * parallel:
        return [f"a parallel beam was taken, but {agree}: a fan or cone, or an object that moved"]
    raise InputError(
        f"The views are not those of a parallel beam: {agree}.",
        "the distances of a fan or cone beam",
        "--source-to-axis-mm and --source-to-detector-mm; or --geometry parallel, to insist",
    )


@dataclass(frozen=True)
class _Mismatches:
    """How far opposite rays differ for some distances of the detector, given as steps of a column.

    factor: how many columns were taken together for one. held: the variance of the lines.
    """

    rows: np.ndarray
    angles_rad: np.ndarray
    centres: np.ndarray
    reach: float
    factor: int
    steps: list[float]
    fans: list[float]
    held: float

    @property
    def best(self) -> int:
        """Which step leaves least."""
        return int(np.argmin(self.fans))

    def least(self, step: float) -> float:
        """The least mismatch of a step of one column, over centres near the axis."""
        mismatch = Mismatch(self.rows[:, None], self.angles_rad, step * self.factor)
        return min(mismatch.of_one(c, self.reach)[0] for c in self.centres)


def _mismatches(
    lines: np.ndarray, angles_rad: np.ndarray, column: float, row: float, more: list[float]
) -> _Mismatches | None:
    """The mismatches of a whole turn about a row; None of others, and where little is on both
    sides of the axis.
    """
    n_views, n_rows, n_columns = lines.shape
    if n_views < FEWEST_VIEWS or n_columns < FEWEST_COLUMNS or not turns_wholly(angles_rad):
        return None
    factor = max(1, n_columns // COARSE_COLUMNS)
    n_taken = n_columns // factor
    around = n_rows // MIDDLE_ROWS
    low = max(0, min(math.floor(row), n_rows - 1) - around)
    middle = lines[:, low : math.ceil(row) + 1 + around, : n_taken * factor]
    if not middle.shape[1]:
        return None
    binned = middle.mean(axis=1).reshape(n_views, n_taken, factor).mean(axis=2)
    rows = _smoothed(binned, angles_rad)
    axis = (column - (factor - 1) / 2) / factor
    reach = min(axis, n_taken - 1 - axis) - CENTRE_REACH
    if reach < FEWEST_COLUMNS / 4:
        return None
    centres = axis + np.arange(-CENTRE_REACH, CENTRE_REACH + CENTRE_STEP / 2, CENTRE_STEP)
    halves = [math.tan(math.radians(half)) for half in HALF_FANS_DEGREES]
    steps = [half / (n_columns / 2) for half in halves] + more
    held = Mismatch(rows[:, None], angles_rad, 0.0).of_one(axis, reach)[1]
    made = _Mismatches(rows, angles_rad, centres, reach, factor, steps, [], held)
    made.fans.extend(made.least(step) for step in steps)
    return made


def _smoothed(sinogram: np.ndarray, angles_rad: np.ndarray) -> np.ndarray:
    """A sinogram (view, column), averaged over neighbours along both axes, weights 1, 2, 1.

    Values that are read between others have less noise; so all have little.
    """
    order = np.argsort(np.mod(angles_rad, 2 * math.pi))
    around = sinogram[order]
    around = (np.roll(around, 1, axis=0) + 2 * around + np.roll(around, -1, axis=0)) / 4
    padded = np.pad(around, ((0, 0), (1, 1)), mode="edge")
    smoothed = np.empty_like(around)
    smoothed[order] = (padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]) / 4
    return smoothed
