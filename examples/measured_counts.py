"""From a detector's counts, with flat and dark frames, to attenuation in 1/mm.

Seconds on one core: python examples/measured_counts.py
"""

from __future__ import annotations

import numpy as np
import tyro

import diffusionblend as db
from diffusionblend.units import hu_to_mu

ROD_MU_PER_MM, ROD_RADIUS_MM, ROD_X_MM = 0.04, 6.0, 8.0
PHOTONS, DARK_COUNTS = 50_000.0, 100.0
FIELD_MM, AXIS_OFF_COLUMNS = 48.0, 1.5


def measure(angles_rad: np.ndarray, columns: int) -> dict[str, np.ndarray]:
    """Counts (view, row, column) of a rod, flats and darks (frame, row, column); the axis is
    off.
    """
    rng = np.random.default_rng(5)
    places_mm = (np.arange(columns) - (columns - 1) / 2 - AXIS_OFF_COLUMNS) * FIELD_MM / columns
    off_mm = places_mm - ROD_X_MM * np.cos(angles_rad)[:, None]
    chords_mm = 2 * np.sqrt(np.clip(ROD_RADIUS_MM**2 - off_mm**2, 0, None))
    lines = np.repeat((ROD_MU_PER_MM * chords_mm)[:, None], 3, axis=1)
    beam = PHOTONS * (1 + 0.2 * np.cos(places_mm / FIELD_MM))  # brighter in the middle
    frames = (10, *lines.shape[1:])
    return {
        "data": rng.poisson(beam * np.exp(-lines)) + rng.poisson(DARK_COUNTS, lines.shape),
        "flats": rng.poisson(beam, frames) + rng.poisson(DARK_COUNTS, frames),
        "darks": rng.poisson(DARK_COUNTS, frames),
    }


def main(columns: int = 96, views: int = 180) -> float:
    """The rod's attenuation in 1/mm as it is found, from its inner half."""
    angles_rad = np.pi * np.arange(views) / views
    counts = measure(angles_rad, columns)
    column_mm = FIELD_MM / columns
    scan = db.RawScan(**counts, values="counts", angles_rad=angles_rad, column_mm=column_mm)
    done = db.prepare_scan(scan)
    result = db.reconstruct(done.projections, "fbp")
    mu_per_mm = hu_to_mu(result.volume.values, done.projections.mu_water_per_mm)

    _, rows, columns = mu_per_mm.shape
    y, x = np.mgrid[:rows, :columns] - np.reshape([rows - 1, columns - 1], (2, 1, 1)) / 2
    pixel_mm = result.volume.grid.spacing_mm[2]
    inside = np.hypot(x * pixel_mm - ROD_X_MM, y * pixel_mm) < ROD_RADIUS_MM / 2
    found = float(mu_per_mm[:, inside].mean())
    print(f"the rod has {found:.4f} / mm, set to {ROD_MU_PER_MM}; {done.centre}")
    return found


if __name__ == "__main__":
    tyro.cli(main)
