"""Does a small finding survive? A nodule is put into a chest; its contrast is measured again.

A minute on two cores: python examples/lost_nodule.py
"""

from __future__ import annotations

import numpy as np
import tyro

import diffusionblend as db

FIELD_MM = 360.0
NODULE_HU, LUNG_HU = 50.0, -700.0
"""The nodule, and the brightest voxel that counts as lung around it."""


def nodule_mask(chest: db.Volume, diameter_mm: float) -> np.ndarray:
    """A ball about the lung voxel of the middle slice that is farthest from all other tissue."""
    from scipy.ndimage import distance_transform_edt

    inside_body = np.zeros(chest.grid.in_plane_shape, bool)
    quarter = chest.grid.shape[1] // 4
    inside_body[quarter:-quarter, quarter:-quarter] = True
    k = chest.grid.shape[0] // 2
    lung = (chest.values[k] < LUNG_HU) & inside_body
    centre = (k, *np.unravel_index(distance_transform_edt(lung).argmax(), lung.shape))
    away = np.indices(chest.grid.shape) - np.reshape(centre, (3, 1, 1, 1))
    away_mm = away * np.reshape(chest.grid.spacing_mm, (3, 1, 1, 1))
    return (away_mm**2).sum(0) <= (diameter_mm / 2) ** 2


def main(
    size: int = 128,
    slices: int = 24,
    views: int = 8,
    diameter_mm: float = 12.0,
    steps: int = 50,
    prior: str = "chest",
) -> float:
    """The share of the nodule's contrast that comes back, 1 where all of it does."""
    without = db.synthetic_chest(7, shape=(slices, size, size), in_plane_mm=FIELD_MM / size)
    mask = nodule_mask(without, diameter_mm)
    chests = without, without.with_values(np.where(mask, NODULE_HU, without.values))
    geometry = db.ParallelBeam.fitting(without.grid, views)
    means_hu = []
    for chest in chests:
        scan = db.simulate(chest, geometry)
        volume = db.reconstruct(scan, "diffusionblend++", steps=steps, seed=0, prior=prior).volume
        means_hu.append((volume.values[mask].mean(), chest.values[mask].mean()))
    (found_without, true_without), (found_with, true_with) = means_hu
    share = float((found_with - found_without) / (true_with - true_without))
    print(f"{mask.sum()} voxels, {views} views: {share:.0%} of the contrast")
    return share


if __name__ == "__main__":
    tyro.cli(main)
