"""Whether the axis of a parallel beam leans in the plane of the detector."""

from __future__ import annotations

import math

import numpy as np

from diffusionblend.preprocessing.centre import opposite_pairs, pair_centre_column

FEWEST_ROWS, FEWEST_PAIRS = 12, 2
LEAST_HELD = 0.1
"""Of what the fullest third of the rows holds, below which another third says nothing."""
REPORTED_COLUMNS = 1.0
"""Over all rows."""
AGREEING_COLUMNS = 0.3
"""By which both halves of the pairs may differ."""


def lean_note(lines: np.ndarray, angles_rad: np.ndarray, pixel_ratio: float) -> list[str]:
    """A sentence on an axis that is seen at other columns at the top than at the bottom.

    Opposite views are registered in the first and in the last third of the rows. pixel_ratio: of a
    row's height and a column's width. None for few rows, few pairs of opposite views, thirds that
    hold little, and where pairs disagree.
    """
    n_rows = lines.shape[1]
    pairs = opposite_pairs(angles_rad, spread=True)
    if n_rows < FEWEST_ROWS or len(pairs) < FEWEST_PAIRS:
        return []
    third = n_rows // 3
    ends = lines[:, :third], lines[:, -third:]
    held = [float(part.var()) for part in (*ends, lines[:, third:-third])]
    if min(held[:2]) < LEAST_HELD * max(held):
        return []
    apart = n_rows - third
    leans = [
        (pair_centre_column(ends[1], some) - pair_centre_column(ends[0], some)) / apart * n_rows
        for some in (pairs[::2], pairs[1::2])
    ]
    lean = sum(leans) / 2
    if abs(leans[0] - leans[1]) > AGREEING_COLUMNS or abs(lean) < REPORTED_COLUMNS:
        return []
    degrees = math.degrees(math.atan2(lean, n_rows * pixel_ratio))
    return [
        f"the axis of rotation leans by {lean:.1f} columns from the first to the last row "
        f"({degrees:.2f} degrees), which blurs the outer slices: turn the frames by that before "
        "the import, or take fewer rows"
    ]
