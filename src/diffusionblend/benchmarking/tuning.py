"""A method's setting chosen by search on a volume whose truth is known (a training volume)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from diffusionblend.data.projections import Projections
from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError
from diffusionblend.evaluation.metrics import evaluate
from diffusionblend.methods import METHODS
from diffusionblend.methods.api import make_method
from diffusionblend.methods.base import Execution, Method, reconstruct_with

if TYPE_CHECKING:
    from diffusionblend.priors.prior import Prior

LEVEL_DB = 0.1


@dataclass(frozen=True)
class Tuned:
    """The method with the best setting found, and the PSNR in dB of each value that was tried.

    PSNR is of the whole volume.
    """

    method: Method
    psnr_by_value: dict[float, float]


def searched_settings(method: Method) -> dict[str, tuple[float, ...]]:
    """What is searched of a method, in order: those of `tuned` that it has as it is set."""
    there = method.settings()
    return {name: values for name, values in method.tuned.items() if name in there}


def tune(
    method: str | Method,
    projections: Projections,
    truth: Volume,
    values: Sequence[float] | None = None,
    *,
    name: str | None = None,
    priors: Mapping[str, Prior] | None = None,
    device: str = "cpu",
) -> Tuned:
    """One of the method's settings at the highest whole-volume PSNR against `truth`.

    method: with all its other settings. values: in rising order, by default those that the method
    names, climbed from the middle one until both neighbours are worse; a best one at either end
    raises InputError, since the true best may lie beyond it, unless the figure has levelled off
    there (less than LEVEL_DB from its neighbour). The most iterations are a best value too: with
    noiseless data the PSNR can rise for ever. name: of the setting, by default the first that is
    searched. priors: loaded, by their roles.
    """
    method = make_method(method)
    searched = searched_settings(method)
    if not searched:
        known = [n for n, kind in METHODS.usable().items() if getattr(kind, "tuned", None)]
        raise InputError(f"{method.name} has nothing to search.", f"one of {', '.join(known)}")
    name = next(iter(searched)) if name is None else name
    values = searched[name] if values is None else values
    scores: dict[float, float] = {}
    left = [values[len(values) // 2]]
    while left:
        for value in left:
            one = make_method(method, **{name: value})
            result = reconstruct_with(one, projections, priors or {}, device, Execution())
            scores[value] = evaluate(result.volume, truth).volume_psnr_db
        best = max(scores, key=scores.__getitem__)
        left = [value for value in _neighbours(best, values) if value not in scores]
    is_most = name == "iterations" and best == values[-1]
    if not is_most and _is_at_the_end(best, values, scores):
        tried = ", ".join(f"{value:g}: {scores[value]:.2f} dB" for value in sorted(scores))
        raise InputError(
            f"The best {name} of {method.name}, {best:g}, is at the end of those tried ({tried}).",
            "a best value inside the range",
            "a wider range ('values' of tune, in Python)",
        )
    return Tuned(make_method(method, **{name: best}), dict(sorted(scores.items())))


def _neighbours(value: float, values: Sequence[float]) -> list[float]:
    """Those before and after it in the order of the values."""
    i = list(values).index(value)
    return [*values[max(0, i - 1) : i], *values[i + 1 : i + 2]]


def _is_at_the_end(best: float, values: Sequence[float], scores: Mapping[float, float]) -> bool:
    """Whether the best of the values has one neighbour at most, and stands out of it."""
    beside = _neighbours(best, values)
    return len(beside) < 2 and all(scores[best] - scores[n] > LEVEL_DB for n in beside)
