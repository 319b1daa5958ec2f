"""A method's setting chosen by search on a volume whose truth is known (a training volume)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from diffusionblend.errors import InputError
from diffusionblend.evaluation.metrics import evaluate_volume
from diffusionblend.geometry import Projections
from diffusionblend.methods.registry import MethodSettings, find_method, reconstruct
from diffusionblend.volume import Volume

SEARCHED: dict[str, tuple[str, tuple[float, ...]]] = {
    "sirt": ("iterations", (5, 10, 20, 40, 80, 160, 320, 640)),
    "cgls": ("iterations", (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48)),
    "admm-tv": ("weight", (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)),
}
"""By method: the setting that regularises, and the values tried for it, rising."""


@dataclass(frozen=True)
class Tuned:
    """The best settings found, and the whole-volume PSNR in dB of every value tried."""

    settings: MethodSettings
    psnr_by_value: dict[float, float]


def tune(
    method: str,
    projections: Projections,
    truth: Volume,
    values: Sequence[float] | None = None,
    *,
    device: str = "cpu",
) -> Tuned:
    """The method's regularising setting with the highest whole-volume PSNR against `truth`.

    values: in rising order, by default those of SEARCHED; a best one at either end raises
    InputError, since the true best may lie beyond it.
    """
    if method not in SEARCHED:
        raise InputError(f"{method} has nothing to search.", f"one of {', '.join(SEARCHED)}")
    name, usual = SEARCHED[method]
    values = usual if values is None else values
    defaults = find_method(method).settings()
    scores: dict[float, float] = {}
    for value in values:
        settings = replace(defaults, **{name: value})
        result = reconstruct(projections, method=method, settings=settings, device=device)
        scores[value] = evaluate_volume(result.volume, truth).volume_psnr_db
    best = max(scores, key=scores.__getitem__)
    if best in (values[0], values[-1]):
        raise InputError(
            f"The best {name} of {method}, {best:g}, is at the end of those tried, {list(values)}.",
            "a best value inside the range",
            "a wider range of values",
        )
    return Tuned(replace(defaults, **{name: best}), scores)
