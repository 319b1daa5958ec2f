"""From a detector's counts, with flat and dark frames, to attenuation in 1/mm.

Seconds on one core: python examples/measured_counts.py
"""

from __future__ import annotations

import numpy as np
import tyro

import diffusionblend as db
from diffusionblend.units import MU_WATER_PER_MM, hu_to_mu

ROD_MU_PER_MM, ROD_RADIUS_MM, ROD_X_MM = 0.04, 6.0, 8.0
PHOTONS, DARK_COUNTS = 50_000.0, 100.0
FIELD_MM = 48.0


def measure(angles_rad: np.ndarray, places_mm: np.ndarray) -> tuple[np.ndarray, ...]:
    """Counts (view, row, bin) of a rod off the axis, flats and darks (frame, row, bin)."""
    rng = np.random.default_rng(5)
    off_mm = places_mm - ROD_X_MM * np.cos(angles_rad)[:, None]
    chords_mm = 2 * np.sqrt(np.clip(ROD_RADIUS_MM**2 - off_mm**2, 0, None))
    lines = np.repeat((ROD_MU_PER_MM * chords_mm)[:, None], 3, axis=1)
    beam = PHOTONS * (1 + 0.2 * np.cos(places_mm / FIELD_MM))  # brighter in the middle
    counts = rng.poisson(beam * np.exp(-lines)) + rng.poisson(DARK_COUNTS, lines.shape)
    frames = (10, *lines.shape[1:])
    darks = rng.poisson(DARK_COUNTS, frames)
    return counts, rng.poisson(beam, frames) + rng.poisson(DARK_COUNTS, frames), darks


def main(bins: int = 96, views: int = 180) -> float:
    """The rod's attenuation in 1/mm as it is found, from its inner half."""
    angles_rad = np.pi * np.arange(views) / views
    beam = db.ParallelBeam(angles_rad=angles_rad, n_bins=bins, bin_mm=FIELD_MM / bins)
    counts, flats, darks = measure(angles_rad, beam.bin_positions_mm)
    dark = darks.mean(axis=0)
    lines = -np.log((counts - dark) / (flats.mean(axis=0) - dark))

    grid = db.Grid(shape=(3, bins, bins), spacing_mm=(1.0, beam.bin_mm, beam.bin_mm))
    scan = db.Projections(lines, beam, grid, MU_WATER_PER_MM)
    result = db.reconstruct(scan, method="fbp", settings=db.FbpSettings())

    mu_per_mm = hu_to_mu(result.volume.values, MU_WATER_PER_MM)
    y_mm, x_mm = np.meshgrid(beam.bin_positions_mm, beam.bin_positions_mm, indexing="ij")
    inside = np.hypot(x_mm - ROD_X_MM, y_mm) < ROD_RADIUS_MM / 2
    found = float(mu_per_mm[:, inside].mean())
    print(f"the rod has {found:.4f} / mm, set to {ROD_MU_PER_MM}")
    return found


if __name__ == "__main__":
    tyro.cli(main)
