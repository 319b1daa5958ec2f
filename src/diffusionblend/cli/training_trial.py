"""A small reconstruction at each validation of `train`, to see what a prior has become worth."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import numpy as np

from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError
from diffusionblend.geometry.grid import Grid

if TYPE_CHECKING:
    from diffusionblend.priors.prior import Prior
    from diffusionblend.priors.restorer import Restorer
    from diffusionblend.training.dataset import VolumeBank
    from diffusionblend.training.settings import TrainSettings

METHODS = {
    "joint": "diffusionblend++",
    "slices": "dds",
    "conditional": "diffusionblend",
    "fbp-unet": "fbp-unet",
}
"""The method that a prior of a type is tried with; of other types there is no trial."""
SLICES, STEPS, SEED = 9, 10, 1
DEFAULT_PIXEL_MM = 2.5
"""Where the pixels of the volumes are not known."""

Trial = Callable[["Prior | Restorer"], float]
"""The PSNR of the volume in dB that a prior gives."""


def trial_of(bank: VolumeBank, settings: TrainSettings, views: int, device: str) -> Trial | None:
    """A trial on the middle slices of a bank's first volume, None for types that have none.

    Noiseless projections over 180 degrees by the operator that reconstructs, 10 steps: a figure to
    compare along the run, not a result. Raises InputError for less than one view.
    """
    if views < 1:
        raise InputError(f"The trial has {views} views.", "at least one, or 0 for no trial")
    method = METHODS.get(settings.network.prior_type)
    if method is None:
        return None
    truth = trial_volume(bank, settings.network.image_size)

    def trial(prior: Prior | Restorer) -> float:
        import torch

        from diffusionblend.evaluation.metrics import evaluate
        from diffusionblend.geometry import ParallelBeam
        from diffusionblend.methods.api import make_method
        from diffusionblend.simulation import simulate

        scan = simulate(truth, ParallelBeam.fitting(truth.grid, views))
        few: dict[str, int] = {} if method == "fbp-unet" else {"steps": STEPS, "seed": SEED}
        with torch.random.fork_rng(devices=[]):
            found = make_method(method, **few)(scan, prior=cast("Prior", prior), device=device)
        return evaluate(found.volume, truth).volume_psnr_db

    return trial


def trial_volume(bank: VolumeBank, pixels: int) -> Volume:
    """The middle slices of the first volume, brought to so many pixels where they divide them."""
    whole = bank.volumes[0]
    first = max(0, (len(whole) - SLICES) // 2)
    values = np.asarray(whole[first : first + SLICES], dtype=np.float32)
    pixel_mm = bank.pixel_mm[0] if bank.pixel_mm else DEFAULT_PIXEL_MM
    factor = values.shape[1] // pixels
    if factor > 1 and values.shape[1] % pixels == 0:
        n, size = len(values), values.shape[1] // factor
        values = values.reshape(n, size, factor, size, factor).mean((2, 4))
        pixel_mm *= factor
    grid = Grid(shape=values.shape, spacing_mm=(bank.slice_spacing_mm[0], pixel_mm, pixel_mm))
    return Volume(values, grid)
