"""A fan beam over a full scan and over a short scan, by FBP and by total variation.

Half a minute on two cores: python examples/fan_beam.py
"""

from __future__ import annotations

import math

import tyro

import diffusionblend as db

FIELD_MM = 360.0
SOURCE_TO_AXIS_MM, SOURCE_TO_DETECTOR_MM = 595.0, 1085.6
METHODS = (db.Fbp(), db.AdmmTv(weight=0.3, iterations=60))


def main(size: int = 128, slices: int = 8, views: int = 60) -> dict[str, float]:
    """PSNR of the volume (dB), by the arc in degrees and the method."""
    chest = db.synthetic_chest(7, shape=(slices, size, size), in_plane_mm=FIELD_MM / size)
    distances = {
        "source_to_axis_mm": SOURCE_TO_AXIS_MM,
        "source_to_detector_mm": SOURCE_TO_DETECTOR_MM,
    }
    whole = db.FanBeam.fitting(chest.grid, views, **distances)
    short_arc = math.ceil(180 + 2 * math.degrees(max(whole.fan_angles_rad)))  # Parker's least
    short = db.FanBeam.fitting(chest.grid, views, short_arc, **distances)
    psnr_db = {}
    for arc, geometry in ((360, whole), (short_arc, short)):
        scan = db.simulate(chest, geometry)
        for method in METHODS:
            result = db.reconstruct(scan, method)
            name = f"{arc} degrees, {method.name}"
            psnr_db[name] = db.evaluate(result.volume, chest).volume_psnr_db
            print(f"{name}: {psnr_db[name]:.2f} dB")
    return psnr_db


if __name__ == "__main__":
    tyro.cli(main)
