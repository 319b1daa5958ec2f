"""A method's setting chosen by search on a volume whose truth is known (a training volume)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from diffusionblend.data.projections import Projections
from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError
from diffusionblend.evaluation.metrics import evaluate_volume
from diffusionblend.methods.registry import find_method, reconstruct
from diffusionblend.methods.settings import MethodSettings

TV_WEIGHTS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
TV_Z_WEIGHTS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
TV_Z_PENALTIES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
DPS_STEPS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)

LEVEL_DB = 0.1

SEARCHED: dict[str, tuple[tuple[str, tuple[float, ...]], ...]] = {
    "sirt": (("iterations", (5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560)),),
    "cgls": (("iterations", (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)),),
    "admm-tv": (("weight", TV_WEIGHTS),),
    "dds": (("tv_z_penalty", TV_Z_PENALTIES), ("tv_z_weight", TV_Z_WEIGHTS)),
    "diffusion-mbir": (("tv_z_weight", TV_Z_WEIGHTS),),
    "tpdm": (("dps_step", DPS_STEPS),),
}
"""By method: the settings that the data's weight hangs on, and the values tried for each, rising.
They are searched one after another, each with the best of those before it. ADMM's penalty changes
what comes out where its variables are not kept (dds), and how soon where they are."""


@dataclass(frozen=True)
class Tuned:
    """The best settings found, and the whole-volume PSNR in dB of each value that was tried."""

    settings: MethodSettings
    psnr_by_value: dict[float, float]


def tune(
    method: str,
    projections: Projections,
    truth: Volume,
    values: Sequence[float] | None = None,
    *,
    name: str | None = None,
    settings: MethodSettings | None = None,
    options: Mapping[str, object] | None = None,
) -> Tuned:
    """One of the method's settings at the highest whole-volume PSNR against `truth`.

    name: of the setting, by default the first that SEARCHED has for the method. values: in rising
    order, by default those of SEARCHED, climbed from the middle one until both
    neighbours are worse; a best one at either end raises InputError, since the true best may lie
    beyond it, unless the figure has levelled off there (less than LEVEL_DB from its neighbour). The
    most iterations are a best one too: of noiseless data they can rise for ever. settings: all
    other settings, by default the method's own. options: of `reconstruct`, such as priors and the
    device.
    """
    if method not in SEARCHED:
        raise InputError(f"{method} has nothing to search.", f"one of {', '.join(SEARCHED)}")
    searched = dict(SEARCHED[method])
    name = next(iter(searched)) if name is None else name
    values = searched[name] if values is None else values
    settings = find_method(method).settings() if settings is None else settings
    scores: dict[float, float] = {}
    left = [values[len(values) // 2]]
    while left:
        for value in left:
            tried = replace(settings, **{name: value})
            result = reconstruct(projections, method=method, settings=tried, **(options or {}))
            scores[value] = evaluate_volume(result.volume, truth).volume_psnr_db
        best = max(scores, key=scores.__getitem__)
        left = [value for value in _neighbours(best, values) if value not in scores]
    is_most = name == "iterations" and best == values[-1]
    if not is_most and _is_at_the_end(best, values, scores):
        tried = ", ".join(f"{value:g}: {scores[value]:.2f} dB" for value in sorted(scores))
        raise InputError(
            f"The best {name} of {method}, {best:g}, is at the end of those tried ({tried}).",
            "a best value inside the range",
            "a wider range ('values' of tune, in Python)",
        )
    return Tuned(replace(settings, **{name: best}), dict(sorted(scores.items())))


def _neighbours(value: float, values: Sequence[float]) -> list[float]:
    """Those before and after it in the order of the values."""
    i = list(values).index(value)
    return [*values[max(0, i - 1) : i], *values[i + 1 : i + 2]]


def _is_at_the_end(best: float, values: Sequence[float], scores: Mapping[float, float]) -> bool:
    """Whether the best of the values has one neighbour at most, and stands out of it."""
    beside = _neighbours(best, values)
    return len(beside) < 2 and all(scores[best] - scores[n] > LEVEL_DB for n in beside)
