"""Whether views can be those of a parallel beam over the stated arc: what opposite rays tell."""

from __future__ import annotations

import math

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
HALF_FANS_DEGREES = (1.0, 2.0, 3.0, 4.5, 6.5, 9.0, 12.0, 16.0, 21.0, 27.0)
"""Half the angles that a detector might see of a source, at all of which opposite rays are
compared."""
CENTRE_REACH, CENTRE_STEP = 3.0, 0.5
BETTER, CLEARLY_BETTER = 0.8, 0.5
"""Of the mismatch of parallel opposite rays, below which those of a fan are reported, or decide."""
LEAST_MISMATCH = 1e-4
"""Of the lines' variance, below which opposite views count as mirrored, whatever a fan leaves."""
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
    n_views, n_rows, n_columns = lines.shape
    if n_views < FEWEST_VIEWS or n_columns < FEWEST_COLUMNS or not turns_wholly(angles_rad):
        return []
    factor = max(1, n_columns // COARSE_COLUMNS)
    n_taken = n_columns // factor
    around = n_rows // MIDDLE_ROWS
    middle = lines[:, (n_rows - 1) // 2 - around : n_rows // 2 + 1 + around, : n_taken * factor]
    rows = _smoothed(middle.mean(axis=1).reshape(n_views, n_taken, factor).mean(axis=2), angles_rad)
    axis = (column - (factor - 1) / 2) / factor
    reach = min(axis, n_taken - 1 - axis) - CENTRE_REACH
    if reach < FEWEST_COLUMNS / 4:
        return []
    centres = axis + np.arange(-CENTRE_REACH, CENTRE_REACH + CENTRE_STEP / 2, CENTRE_STEP)

    def least(step: float) -> float:
        mismatch = Mismatch(rows[:, None], angles_rad, step)
        return min(missed for c in centres for missed, _ in [mismatch.of_one(c, reach)])

    held = Mismatch(rows[:, None], angles_rad, 0.0).of_one(axis, reach)[1]
    parallel = least(0.0)
    if parallel < LEAST_MISMATCH * held:
        return []
    steps = [math.tan(math.radians(half)) / (n_taken / 2) for half in HALF_FANS_DEGREES]
    fans = [least(step) for step in steps]
    best = int(np.argmin(fans))
    if fans[best] > BETTER * parallel:
        return []
    agree = (
        "opposite views are no mirror images, and opposite rays agree "
        f"{'best' if fans[best] > CLEARLY_BETTER * parallel else 'about'} where the detector is "
        f"some {1 / (steps[best] * factor):.2g} column widths from the source"
    )
    if fans[best] > CLEARLY_BETTER * parallel:
        return [f"a parallel beam was taken, but {agree}: a fan or cone, or an object that moved"]
    raise InputError(
        f"The views are not those of a parallel beam: {agree}.",
        "the distances of a fan or cone beam",
        "--source-to-axis-mm and --source-to-detector-mm; or --geometry parallel, to insist",
    )


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
