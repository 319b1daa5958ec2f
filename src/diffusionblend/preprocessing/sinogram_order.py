"""Whether sinograms were read as views: which of two axes the projections of an object follow.

What a row attenuates in all is the same in every view, and its centre of mass follows a sine (the
conditions of orders zero and one of Helgason and Ludwig; Natterer 1986, II.4).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from diffusionblend.errors import InputError
from diffusionblend.preprocessing.centre import is_cut

FEWEST_FRAMES, FEWEST_VIEWS, UNEVEN = 4, 8, 1e-3
FILLED = 0.05
"""Of the most that a row of a view attenuates, below which its centre of mass says little."""
LEAST_VARIATION, MUCH_STEADIER = 0.02, 0.3
"""Sums that vary over the views by as much, and by less than this share over the rows, and centres
of mass that are off their sine by less than this share, make rows the views."""
LEAST_WAVE = 3.0
"""How many times as far as they are off it, centres of mass go along their sine at least."""


@dataclass(frozen=True)
class _Fit:
    """How far views keep the conditions: the variation of rows' sums, of their mean, and in columns
    how far centres of mass are off their sine, and what they go along it, both in the mean square.
    """

    variation: float
    off: float
    wave: float


def check_no_sinograms(lines: np.ndarray, angles_rad: np.ndarray) -> None:
    """Raises InputError where the second axis seems to be that of the views, and not the first.

    lines: (view, row, column). Views at even steps alone are compared, whose number follows from
    the array; not those of an object that the detector does not see whole.
    """
    n_first, n_second, _ = lines.shape
    if n_first < FEWEST_FRAMES or n_second < FEWEST_VIEWS or is_cut(lines):
        return
    steps = np.diff(angles_rad)
    step = float(steps.mean())
    as_read = _fit(lines, angles_rad)
    if np.abs(steps - step).max() > UNEVEN * abs(step) or as_read.variation < LEAST_VARIATION:
        return
    turned = np.arange(n_second) * (step * n_first / n_second)
    other = _fit(lines.swapaxes(0, 1), turned)
    if (
        other.variation > MUCH_STEADIER * as_read.variation
        or other.off > MUCH_STEADIER * as_read.off
        or other.wave < LEAST_WAVE * other.off
    ):
        return
    raise InputError(
        f"The {n_first} frames seem to be sinograms of {n_second} views each: what rows attenuate "
        f"in all varies by {100 * as_read.variation:.1f} % from frame to frame and by "
        f"{100 * other.variation:.1f} % within them, and there centres of mass follow a sine.",
        "frames that are views (view, row, column)",
        "--sinograms, which reads (row, view, column), or leave it out where it was given; "
        "--centre-column, to insist",
    )


def _fit(lines: np.ndarray, angles_rad: np.ndarray) -> _Fit:
    """How far lines (view, row, column) keep the conditions; not where rows hold nothing."""
    totals = lines.sum(axis=2, dtype=np.float64)
    filled = totals > FILLED * totals.max()
    # a row that is empty in some views has no sine that all of its views follow
    rows = np.flatnonzero(filled.all(axis=0))
    mean = float(np.abs(totals.mean(axis=0)).sum())
    if mean <= 0:
        return _Fit(0.0, np.inf, 0.0)
    variation = float(totals.std(axis=0).sum()) / mean
    places = np.arange(lines.shape[2])
    centres = (lines[:, rows] @ places) / totals[:, rows]
    waves = np.column_stack([np.ones_like(angles_rad), np.cos(angles_rad), np.sin(angles_rad)])
    parts, _, rank, _ = np.linalg.lstsq(waves, centres, rcond=None)
    if rank < 3 or not len(rows):
        return _Fit(variation, np.inf, 0.0)
    off = float(np.sqrt(((centres - waves @ parts) ** 2).mean()))
    wave = float(np.sqrt(((waves[:, 1:] @ parts[1:]) ** 2).mean()))
    return _Fit(variation, off, wave)
