"""A tiny prior trained for a minute on synthetic chests, and a reconstruction with it.

About two minutes on two cores: python examples/train_prior.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import tyro

import diffusionblend as db
from diffusionblend.priors.config import NetworkConfig
from diffusionblend.training.dataset import VolumeBank
from diffusionblend.training.loop import Trainer
from diffusionblend.training.settings import TrainSettings

FIELD_MM = 360.0
SMALL = {"unshuffle": 1, "channels": (16, 32), "norm_groups": 8, "attention_head_channels": 8}


def main(size: int = 32, slices: int = 24, steps: int = 600, chests: int = 6) -> float:
    """PSNR of the volume in dB, of a chest that the prior has not seen, from 12 views."""
    volumes = [
        db.synthetic_chest(seed, shape=(slices, size, size), in_plane_mm=FIELD_MM / size)
        for seed in range(chests + 1)
    ]
    network = NetworkConfig(image_size=size, **SMALL)
    settings = TrainSettings(network=network, steps=steps, learning_rate=1e-3, precision="float32")
    bank = VolumeBank.of(volumes[1:], block_slices=network.block_slices)
    with tempfile.TemporaryDirectory() as folder:
        prior = Trainer(settings, bank, None, Path(folder)).run(report)

    unseen = volumes[0]
    scan = db.simulate(unseen, db.ParallelBeam.fitting(unseen.grid, 12))
    result = db.reconstruct(scan, "diffusionblend++", steps=20, prior=prior)
    psnr_db = db.evaluate(result.volume, unseen).volume_psnr_db
    print(f"after {steps} steps: {psnr_db:.2f} dB")
    return psnr_db


def report(state: object) -> None:
    """A line now and then."""
    if state.step % 100 == 0:
        print(f"step {state.step} of {state.steps}: loss {state.loss:.3f}")


if __name__ == "__main__":
    tyro.cli(main)
