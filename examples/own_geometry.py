"""A geometry of one's own: tomosynthesis, a source that moves along a line over a fixed panel.

Seconds on one core: python examples/own_geometry.py
"""

from __future__ import annotations

import math

import numpy as np
import tyro

import diffusionblend as db

FIELD_MM = 360.0
SOURCE_MM, PANEL_MM = -1000.0, 250.0
"""Where source and panel lie along y, from the centre of the volume."""
TRAVEL_MM = 400.0


def tomosynthesis(grid: db.Grid, views: int) -> db.VectorGeometry:
    """Views of `grid` from a line along x, on a panel that sees all of it in each of them."""
    depth_mm, width_mm = grid.shape[1] * grid.spacing_mm[1], grid.shape[2] * grid.spacing_mm[2]
    height_mm = grid.shape[0] * grid.spacing_mm[0]
    magnification = (PANEL_MM - SOURCE_MM) / (-SOURCE_MM - depth_mm / 2)  # of the nearest voxels
    half_mm = TRAVEL_MM / 2 + (TRAVEL_MM + width_mm) / 2 * magnification
    column_mm, row_mm = grid.spacing_mm[2], grid.spacing_mm[0]
    along_x, along_z = np.eye(3)[0], np.eye(3)[2]
    travel = np.linspace(-TRAVEL_MM / 2, TRAVEL_MM / 2, views)
    return db.VectorGeometry(
        sources_mm=[(x, SOURCE_MM, 0.0) for x in travel],
        detectors_mm=[(0.0, PANEL_MM, 0.0)] * views,
        column_steps_mm=[column_mm * along_x] * views,
        row_steps_mm=[row_mm * along_z] * views,
        n_columns=math.ceil(2 * half_mm / column_mm),
        n_rows=math.ceil(height_mm * magnification / row_mm),
    )


def main(size: int = 64, slices: int = 32, views: int = 25, iterations: int = 40) -> float:
    """PSNR of the volume in dB."""
    shape, spacing_mm = (slices, size, size), FIELD_MM / size
    chest = db.synthetic_chest(7, shape=shape, in_plane_mm=spacing_mm, slice_mm=spacing_mm)
    scan = db.simulate(chest, tomosynthesis(chest.grid, views))
    result = db.reconstruct(scan, "admm-tv", weight=0.3, iterations=iterations)
    psnr_db = db.evaluate(result.volume, chest).volume_psnr_db
    print(f"{views} views on {scan.values.shape[1:]} pixels: {psnr_db:.2f} dB")
    return psnr_db


if __name__ == "__main__":
    tyro.cli(main)
