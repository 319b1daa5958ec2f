"""Whether the panel of a cone beam is turned in its plane against the axis of rotation.

The plane of the source's circle, where rays are measured from both sides, is then seen along a line
that climbs over the columns. Along the right line both measurements agree; along others the
columns on either side of the axis look above and below that plane.
"""

from __future__ import annotations

import math

import numpy as np

from diffusionblend.data.raw_scan import RawScan
from diffusionblend.geometry.turning import turns_wholly
from diffusionblend.preprocessing.fan_centre import FEWEST_COLUMNS, FEWEST_VIEWS, Mismatch

COARSE_DEGREES, FINE_DEGREES = 0.5, 0.25
MOST_DEGREES = (3.0, 8.0)
"""The second where the first has no best turn: steeper lines leave the panel sooner."""
CLEARLY_BEST = 0.5
"""Of the median mismatch of all turns, below which the best one counts."""
AGREEING_DEGREES = 0.1
"""By which every second view and the others may differ."""
REPORTED_ROWS = 1.0
"""Over all columns."""


def panel_turn_degrees(scan: RawScan, lines: np.ndarray, column: float) -> float | None:
    """By how many degrees the panel is turned in its plane; None where the views do not determine
    it: an object that is the same above and below the plane of the source, or no whole turn.

    lines: (view, row, column), of the scan's pixels. column: onto which the axis is projected in
    the plane of the source, at the scan's centre_row. Positive where that plane is seen at higher
    rows in higher columns.
    """
    n_views, n_rows, n_columns = lines.shape
    too_few = n_views < 2 * FEWEST_VIEWS or n_columns < FEWEST_COLUMNS
    if too_few or scan.centre_row is None or not turns_wholly(scan.angles_rad):
        return None
    reach = min(scan.centre_row, n_rows - 1 - scan.centre_row)
    if reach < 1:
        return None
    for most in MOST_DEGREES:
        found = [
            _best_turn(scan, lines[first::2], scan.angles_rad[first::2], column, reach, most)
            for first in (0, 1)
        ]
        one, other = found
        if one is not None and other is not None and abs(one - other) <= AGREEING_DEGREES:
            return (one + other) / 2
    return None


def panel_turn_notes(scan: RawScan, lines: np.ndarray, column: float) -> list[str]:
    """A sentence on a panel whose turn displaces the source's plane by a row or more."""
    degrees = panel_turn_degrees(scan, lines, column)
    if degrees is None:
        return []
    assert scan.column_mm is not None and scan.row_mm is not None
    width = lines.shape[2] * scan.column_mm / scan.row_mm
    rows = math.tan(math.radians(degrees)) * width
    if abs(rows) < REPORTED_ROWS:
        return []
    return [
        f"the detector is turned in its plane by {degrees:.2f} degrees against the axis of "
        f"rotation ({rows:.1f} rows from the first to the last column), which blurs the outer "
        "slices: turn the frames by that before the import"
    ]


def _best_turn(
    scan: RawScan,
    lines: np.ndarray,
    angles_rad: np.ndarray,
    column: float,
    reach: float,
    most_degrees: float,
) -> float | None:
    """The turn along whose line rays and their opposites agree best, in degrees; none at an end."""
    assert scan.column_mm is not None and scan.row_mm is not None
    assert scan.source_to_detector_mm is not None and scan.centre_row is not None
    step = scan.column_mm / scan.source_to_detector_mm
    ratio = scan.column_mm / scan.row_mm
    width = min(column, lines.shape[2] - 1 - column)
    # columns so far out that the steepest line stays on the panel
    width = min(width - 1, (reach - 1e-6) / (math.tan(math.radians(most_degrees)) * ratio))
    if width < FEWEST_COLUMNS / 2:
        return None

    def mismatch(degrees: float) -> float:
        slope = math.tan(math.radians(degrees)) * ratio
        rows = _along(lines, scan.centre_row or 0.0, column, slope)
        different, held = Mismatch(rows, angles_rad, step).of_one(column, width)
        return different / held if held > 0 else math.inf

    tried = np.arange(-most_degrees, most_degrees + COARSE_DEGREES / 2, COARSE_DEGREES)
    values = np.array([mismatch(float(degrees)) for degrees in tried])
    best = int(np.argmin(values))
    if not values[best] < CLEARLY_BEST * np.median(values) or best in (0, len(tried) - 1):
        return None
    near = tried[best] + FINE_DEGREES * np.arange(-2, 3)
    curve, slope, _ = np.polyfit(near - tried[best], [mismatch(float(d)) for d in near], 2)
    moved = -slope / (2 * curve) if curve > 0 else math.inf
    return float(tried[best] + moved) if abs(moved) <= COARSE_DEGREES else None


def _along(lines: np.ndarray, row: float, column: float, slope: float) -> np.ndarray:
    """What the views hold along a line through a pixel, (view, 1, column); rows a column: slope."""
    n_rows, n_columns = lines.shape[1:]
    columns = np.arange(n_columns)
    rows = np.clip(row + slope * (columns - column), 0, n_rows - 1)
    low = np.clip(np.floor(rows).astype(int), 0, max(n_rows - 2, 0))
    part = rows - low
    high = np.minimum(low + 1, n_rows - 1)
    return ((1 - part) * lines[:, low, columns] + part * lines[:, high, columns])[:, None]
