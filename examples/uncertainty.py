"""How sure a reconstruction is: mean and standard deviation of several samples, and coverage.

A minute on two cores: python examples/uncertainty.py
"""

from __future__ import annotations

import tyro

import diffusionblend as db
from diffusionblend.evaluation.calibration import calibrate

FIELD_MM = 360.0


def main(
    size: int = 128, slices: int = 24, samples: int = 4, steps: int = 20, prior: str = "chest"
) -> dict[str, float]:
    """PSNR of the mean and of the first sample (dB), and how often the truth lies within 2 sd."""
    chest = db.synthetic_chest(7, shape=(slices, size, size), in_plane_mm=FIELD_MM / size)
    scan = db.simulate(chest, db.ParallelBeam.fitting(chest.grid, 8))
    ensemble = db.sample(scan, n=samples, steps=steps, init="noise", prior=prior, keep_samples=True)
    mean, deviation = ensemble.mean, ensemble.standard_deviation
    body = calibrate(mean, deviation, chest, n_samples=samples).tissues["whole body"]
    figures = {
        "mean_psnr_db": db.evaluate(mean, chest).volume_psnr_db,
        "first_psnr_db": db.evaluate(ensemble.samples[0], chest).volume_psnr_db,
        "mean_deviation_hu": body.mean_deviation_hu,
        "rms_error_hu": body.rms_error_hu,
        "within_2_sd": body.within[2],
    }
    print(", ".join(f"{name} {value:.3g}" for name, value in figures.items()))
    return figures


if __name__ == "__main__":
    tyro.cli(main)
