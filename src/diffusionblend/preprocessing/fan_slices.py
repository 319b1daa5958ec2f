"""A helix as fans of single slices, for methods that work slice by slice.

Single-slice rebinning (Noo, Defrise, Clackdoyle 1999, Phys. Med. Biol. 44, 561): a ray of a slice's
fan is measured by the ray that passes above or below it and meets the slice at its foot on the
axis. Approximate where rays climb.
"""

from __future__ import annotations

import math

import numpy as np

from diffusionblend.data.projections import Projections
from diffusionblend.errors import InputError
from diffusionblend.geometry import FanBeam, Helix

__all__ = ["fan_slices"]

TURN = 2 * math.pi
BEYOND_ROWS = 0.5
"""Of a row, by which rays may pass the middle of the first or last one."""
ROUNDING = 1e-6


def fan_slices(scan: Projections) -> Projections:
    """Fans over a whole turn, one for every slice of a helix that the source passes by half a turn
    on both sides; the grid has those slices.

    Views are read between measured ones where a turn is no whole number of them. Photons are left
    out, since their numbers are of other rays. Raises InputError for another geometry than a helix,
    a flying focal spot, rays that are left out, a pitch whose rays pass the detector's rows, and
    where no slice is measured so.
    """
    helix = scan.geometry
    if not isinstance(helix, Helix):
        raise InputError(
            f"The projections of a {type(helix).__name__} were to be rebinned to fans.", "a helix"
        )
    _check(scan, helix)
    angles = np.array(helix.angles_rad)
    sense = 1.0 if angles[-1] > angles[0] else -1.0
    n_views = max(1, round(TURN / float(np.median(np.abs(np.diff(angles))))))
    directions = angles[0] + sense * TURN * np.arange(n_views) / n_views
    heights = (np.arange(scan.grid.shape[0]) - (scan.grid.shape[0] - 1) / 2) * scan.grid.spacing_mm[
        0
    ]
    slices = _passed_by_half_a_turn(heights, helix)
    fans = np.empty((n_views, len(heights[slices]), helix.n_columns), np.float32)
    for k, height in enumerate(heights[slices]):
        nearest = angles[0] + (height - helix.start_mm) * TURN / helix.pitch_mm
        turns = np.round((nearest - directions) / TURN)
        fans[:, k] = _read(scan.values, helix, directions + turns * TURN, float(height))
    geometry = FanBeam(
        angles_rad=tuple(directions),
        n_columns=helix.n_columns,
        column_mm=helix.column_mm,
        detector_shift_mm=helix.detector_shift_mm,
        source_to_axis_mm=helix.source_to_axis_mm,
        source_to_detector_mm=helix.source_to_detector_mm,
        axis_shift_mm=helix.axis_shift_mm,
        curved=helix.curved,
    )
    notes = {name: value for name, value in scan.notes.items() if name != "photons"}
    notes["rebinned"] = "fans of single slices, from a helix (Noo et al. 1999)"
    return Projections(fans, geometry, scan.grid.part(slices), scan.mu_water_per_mm, notes)


def _check(scan: Projections, helix: Helix) -> None:
    """Raise InputError for what cannot be rebinned."""
    if helix.spot_offsets_mm or scan.measured is not None:
        what = "a flying focal spot" if helix.spot_offsets_mm else "rays that are left out"
        raise InputError(
            f"A helix with {what} was to be rebinned to fans.",
            "one focal spot, and all rays",
            "a method for the helix itself, such as fbp or admm-tv",
        )
    angles = np.array(helix.angles_rad)
    if len(angles) < 2 or np.ptp(np.sign(np.diff(angles))) or not helix.pitch_mm:
        raise InputError(
            f"A helix of {len(angles)} views and a pitch of {helix.pitch_mm:g} mm was to be "
            "rebinned to fans.",
            "views that follow each other, and a pitch",
        )
    rows = _rows_met(helix, np.array((-0.5, 0.5)) * helix.pitch_mm)
    most = helix.n_rows - 1 + BEYOND_ROWS + ROUNDING
    if rows.min() < -BEYOND_ROWS - ROUNDING or rows.max() > most:
        raise InputError(
            f"With a pitch of {abs(helix.pitch_mm):.4g} mm rays of a slice pass the detector by "
            f"{max(-rows.min(), rows.max() - helix.n_rows + 1):.1f} rows.",
            "a pitch of at most the height of all rows at the axis, and less for wide fans",
            "a method for the helix itself, such as fbp or admm-tv",
        )


def _passed_by_half_a_turn(heights: np.ndarray, helix: Helix) -> slice:
    """The slices that the source passes by half a turn on both sides. Raises InputError."""
    ends, half = np.sort(helix.heights_mm[[0, -1]]), abs(helix.pitch_mm) / 2
    slack = ROUNDING * half
    passed = (heights >= ends[0] + half - slack) & (heights <= ends[1] - half + slack)
    if not passed.any():
        raise InputError(
            f"The source goes from {ends[0]:.4g} to {ends[1]:.4g} mm, {2 * half:.4g} mm a turn, so "
            "that it passes no slice by half a turn on both sides.",
            "a turn and more",
            "a method for the helix itself, such as fbp or admm-tv",
        )
    found = np.flatnonzero(passed)
    return slice(int(found[0]), int(found[-1]) + 1)


def _lengths(helix: Helix) -> tuple[np.ndarray, np.ndarray]:
    """Horizontal lengths of every column's ray: to the detector, and to its foot on the axis."""
    fan_rad, distance = helix.column_angles_rad, helix.source_to_detector_mm
    to_foot = np.cos(fan_rad) * helix.source_to_axis_mm + np.sin(fan_rad) * helix.axis_shift_mm
    to_panel = np.full(len(fan_rad), distance) if helix.curved else distance / np.cos(fan_rad)
    return to_panel, to_foot


def _rows_met(helix: Helix, above_mm: np.ndarray) -> np.ndarray:
    """Where rays that come to a slice at their foot meet the detector, (height, column), in rows
    from the first one. above_mm: how far the slice lies above the source, (height,).
    """
    to_panel, to_foot = _lengths(helix)
    met_mm = np.asarray(above_mm)[:, None] * to_panel / to_foot
    return (met_mm - helix.row_positions_mm[0]) / helix.row_mm


def _read(values: np.ndarray, helix: Helix, angles_rad: np.ndarray, height_mm: float) -> np.ndarray:
    """The fan of a slice at some angles of the helix, (view, column)."""
    own = np.array(helix.angles_rad)
    order = np.argsort(own)
    place = np.interp(angles_rad, own[order], np.arange(len(own)))
    below = np.clip(np.floor(place).astype(int), 0, max(len(own) - 2, 0))
    share = (place - below)[:, None]
    near, far = (
        _flattened(values, helix, order[np.minimum(below + k, len(own) - 1)], height_mm)
        for k in (0, 1)
    )
    return (1 - share) * near + share * far


def _flattened(values: np.ndarray, helix: Helix, views: np.ndarray, height_mm: float) -> np.ndarray:
    """Measured views read along the rows that a slice is seen in, as long as in its plane."""
    to_panel, _ = _lengths(helix)
    rows = np.clip(_rows_met(helix, height_mm - helix.heights_mm[views]), 0, helix.n_rows - 1)
    low = np.clip(np.floor(rows).astype(int), 0, max(helix.n_rows - 2, 0))
    high, part = np.minimum(low + 1, helix.n_rows - 1), rows - low
    columns, view = np.arange(helix.n_columns), views[:, None]
    lines = (1 - part) * values[view, low, columns] + part * values[view, high, columns]
    climb = rows * helix.row_mm + helix.row_positions_mm[0]
    return lines * to_panel / np.hypot(to_panel, climb)
