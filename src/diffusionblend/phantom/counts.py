"""Counts of a detector, with flats and darks, of a small part: to try the way of measured scans."""

from __future__ import annotations

import numpy as np

from diffusionblend.data.raw_scan import RawScan
from diffusionblend.errors import InputError

PHOTONS, DARK_COUNTS, FRAMES = 20_000.0, 100.0, 5
AXIS_OFF_COLUMNS = 2.5
PART = (
    # x and y of the centre, half axes and turn, as parts of the field; attenuation in 1/mm
    (0.0, 0.0, 0.36, 0.30, 0.4, 0.020),
    (0.12, -0.08, 0.08, 0.05, 0.0, 0.030),
    (-0.14, 0.06, 0.05, 0.05, 0.0, -0.020),
    (-0.02, 0.16, 0.03, 0.03, 0.0, 0.060),
)
"""A body with an insert, a hole and a pin; the first grows from row to row."""


def synthetic_counts(
    *, views: int = 90, rows: int = 4, columns: int = 96, column_mm: float = 0.5, seed: int = 0
) -> RawScan:
    """A parallel scan over 180 degrees: counts (view, row, column), flats, darks, axis off middle.

    column_mm: width of a column. seed: of the photons. The lines are those of ellipses, in closed
    form. Raises InputError for sizes below one.
    """
    if min(views, rows, columns) < 1 or not column_mm > 0:
        raise InputError(
            f"{views} views of {rows} x {columns} pixels of {column_mm} mm were asked for.",
            "at least one of each, and a positive width",
        )
    rng = np.random.default_rng(seed)
    angles = np.pi * np.arange(views) / views
    places = (np.arange(columns) - (columns - 1) / 2 - AXIS_OFF_COLUMNS) * column_mm
    lines = sum(_lines_of(shape, angles, places, columns * column_mm) for shape in PART)
    grown = np.asarray(lines)[:, None] * (1 - 0.3 * np.arange(rows) / rows)[:, None]
    beam = PHOTONS * (1 - 0.2 * (places / (columns * column_mm)) ** 2)
    beam = np.broadcast_to(beam * rng.uniform(0.95, 1.05, columns), (rows, columns))
    dark = rng.uniform(0.9, 1.1, (rows, columns)) * DARK_COUNTS

    def counted(mean: np.ndarray) -> np.ndarray:
        return rng.poisson(mean).astype(np.uint16)

    return RawScan(
        data=counted(dark + beam * np.exp(-grown)),
        values="counts",
        angles_rad=angles,
        flats=counted(np.broadcast_to(dark + beam, (FRAMES, rows, columns))),
        darks=counted(np.broadcast_to(dark, (FRAMES, rows, columns))),
        column_mm=column_mm,
    )


def _lines_of(
    shape: tuple[float, ...], angles_rad: np.ndarray, places_mm: np.ndarray, field_mm: float
) -> np.ndarray:
    """Line integrals (view, column) of an ellipse: 2 a b mu sqrt(s^2 - q^2) / s^2."""
    x, y, a, b = (part * field_mm for part in shape[:4])
    turn, mu = shape[4:]
    t = angles_rad[:, None]
    q = places_mm - x * np.cos(t) - y * np.sin(t)
    s2 = (a * np.cos(t - turn)) ** 2 + (b * np.sin(t - turn)) ** 2
    return mu * 2 * a * b * np.sqrt(np.clip(s2 - q**2, 0, None)) / s2
