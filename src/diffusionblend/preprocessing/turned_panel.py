"""Whether the panel of a cone beam is turned in its plane against the axis of rotation.

The plane of the source's circle, where rays are measured from both sides, is then seen along a line
that climbs over the columns. Along the right line both measurements agree; along others the
columns on either side of the axis look above and below that plane.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from diffusionblend.data.raw_scan import RawScan
from diffusionblend.geometry.turning import turns_wholly
from diffusionblend.preprocessing.fan_centre import FEWEST_COLUMNS, FEWEST_VIEWS, Mismatch

COARSE_DEGREES, FINE_DEGREES = 0.5, 0.25
FINE_COLUMNS, MOST_COLUMNS = 0.2, 1.0
"""How far columns of the axis that are compared lie apart, and at most from the first one."""
MOST_MOVED_DEGREES, MOST_STEPS = 3.0, 8
"""How far the turn may lie from the best one of a wrong column, and in how many steps."""
MOST_DEGREES = (3.0, 8.5)
"""The second where the first has no best turn: steeper lines leave the panel sooner."""
MOST_VIEWS = 720
"""Of more, some that lie evenly among them stand for all."""
SMOOTHING = {-2: 1 / 16, -1: 1 / 4, 0: 3 / 8, 1: 1 / 4, 2: 1 / 16}
"""Weights of rows about a line: binomial, of variance 1."""
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
    step = max(1, n_views // MOST_VIEWS)
    halves = [slice(first * step, None, 2 * step) for first in (0, 1)]
    for most in MOST_DEGREES:
        found = [
            _best_turn(scan, lines[some], scan.angles_rad[some], column, reach, most)
            for some in halves
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
        "slices: turn the frames by that, as scipy.ndimage.rotate does, before the import"
    ]


def _best_turn(
    scan: RawScan,
    lines: np.ndarray,
    angles_rad: np.ndarray,
    column: float,
    reach: float,
    most_degrees: float,
) -> float | None:
    """The turn along whose line rays and their opposites agree best, in degrees; none at an end.

    column: near which the axis is projected.
    """
    assert scan.column_mm is not None and scan.row_mm is not None
    assert scan.source_to_detector_mm is not None and scan.centre_row is not None
    step = scan.column_mm / scan.source_to_detector_mm
    ratio = scan.column_mm / scan.row_mm
    width = min(column, lines.shape[2] - 1 - column)
    # columns so far out that the steepest line stays on the panel
    width = min(width - 1, (reach - 1e-6) / (math.tan(math.radians(most_degrees)) * ratio))
    if width < FEWEST_COLUMNS / 2:
        return None

    def mismatch(degrees: float, column: float) -> float:
        slope = math.tan(math.radians(degrees)) * ratio
        rows = _along(lines, scan.centre_row or 0.0, column, slope)
        different, held = Mismatch(rows, angles_rad, step).of_one(column, width - MOST_COLUMNS)
        return different / held if held > 0 else math.inf

    tried = np.arange(-most_degrees, most_degrees + COARSE_DEGREES / 2, COARSE_DEGREES)
    values = np.array([mismatch(float(degrees), column) for degrees in tried])
    best = int(np.argmin(values))
    if best in (0, len(tried) - 1):
        return None
    found = _lowest_near(mismatch, float(tried[best]), column)
    if found is None or not mismatch(*found) < CLEARLY_BEST * np.median(values):
        return None
    return found[0] if abs(found[0]) < most_degrees else None


def _lowest_near(
    mismatch: Callable[[float, float], float], degrees: float, column: float
) -> tuple[float, float] | None:
    """The turn and the column of the axis of the lowest mismatch near some; None where none is.

    Both at once, since a turn displaces the column that was found along a row, and a wrong column
    the turn: by Newton's steps on quadratics through 5 x 3 places.
    """
    turns, sides = (FINE_DEGREES * np.arange(-2, 3), FINE_COLUMNS * np.arange(-1, 2))
    t, c = (place.ravel() for place in np.meshgrid(turns, sides, indexing="ij"))
    terms = np.stack([np.ones_like(t), t, c, t * t, t * c, c * c], axis=1)
    first = np.array((degrees, column))
    found = first
    for _ in range(MOST_STEPS):
        around = [mismatch(found[0] + dt, found[1] + dc) for dt, dc in zip(t, c, strict=True)]
        if not np.isfinite(around).all():
            return None
        _, *slope, tt, tc, cc = np.linalg.lstsq(terms, np.array(around))[0]
        curvature = np.array(((2 * tt, tc), (tc, 2 * cc)))
        if np.linalg.eigvalsh(curvature)[0] <= 0:
            return None
        step = np.linalg.solve(curvature, -np.array(slope))
        found = found + step
        if (np.abs(found - first) > (MOST_MOVED_DEGREES, MOST_COLUMNS)).any():
            return None
        if (np.abs(step) < (AGREEING_DEGREES / 4, FINE_COLUMNS / 4)).all():
            return float(found[0]), float(found[1])
    return None


def _along(lines: np.ndarray, row: float, column: float, slope: float) -> np.ndarray:
    """What the views hold along a line through a pixel, (view, 1, column); rows a column: slope.

    Smoothed over rows, since interpolation between them alone differs from one side to the other.
    """
    columns = np.arange(lines.shape[2])
    rows = row + slope * (columns - column)
    parts = [w * _at(lines, rows + k, columns) for k, w in SMOOTHING.items()]
    return np.sum(parts, axis=0)[:, None]


def _at(lines: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The views between rows, one for each column, (view, column)."""
    n_rows = lines.shape[1]
    rows = np.clip(rows, 0, n_rows - 1)
    low = np.clip(np.floor(rows).astype(int), 0, max(n_rows - 2, 0))
    part = rows - low
    high = np.minimum(low + 1, n_rows - 1)
    return (1 - part) * lines[:, low, columns] + part * lines[:, high, columns]
