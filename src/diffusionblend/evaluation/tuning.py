"""A method's weight chosen by search on a volume whose truth is known (a training volume)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from diffusionblend.errors import InputError
from diffusionblend.evaluation.metrics import evaluate_volume
from diffusionblend.geometry import Projections
from diffusionblend.methods.registry import reconstruct
from diffusionblend.methods.settings import AdmmTvSettings
from diffusionblend.volume import Volume


@dataclass(frozen=True)
class Tuned:
    """The best settings found, and the whole-volume PSNR in dB of every weight tried."""

    settings: AdmmTvSettings
    psnr_by_weight: dict[float, float]


def tune_admm_tv(
    projections: Projections, truth: Volume, weights: Sequence[float], *, device: str = "cpu"
) -> Tuned:
    """ADMM-TV's weight with the highest whole-volume PSNR against `truth`.

    `weights` in rising order; a best weight at either end raises InputError, since the true best
    may lie beyond it.
    """
    scores: dict[float, float] = {}
    for weight in weights:
        result = reconstruct(
            projections, method="admm-tv", settings=AdmmTvSettings(weight=weight), device=device
        )
        scores[weight] = evaluate_volume(result.volume, truth).volume_psnr_db
    best = max(scores, key=scores.__getitem__)
    if best in (weights[0], weights[-1]):
        raise InputError(
            f"The best TV weight, {best:g}, is at the end of those tried, {list(weights)}.",
            "a best weight inside the range",
            "a wider range of weights",
        )
    return Tuned(AdmmTvSettings(weight=best), scores)
