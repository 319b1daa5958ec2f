"""Cells by the names of methods and settings for all that sample, without a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from diffusionblend.benchmarking.grid import CellSpec
from diffusionblend.methods import METHODS
from diffusionblend.methods.api import make_method
from diffusionblend.methods.base import Method
from diffusionblend.methods.diffusion.base import DiffusionMethod, EstimateMethod

ALIKE: dict[str, dict[str, Any]] = {
    "own": {},
    "published": {"dual_damping": 0.0, "tail_average_below": 0, "noise_fraction": 0.85},
    "equal": {"dual_damping": 0.95, "tail_average_below": 100, "noise_fraction": 1.0},
}
"""Settings that make methods of one loop alike: as DDS and DiffusionBlend were published, or as
DiffusionBlend++ is here; both begin with noise."""

STEPS_ALIKE = {"published": {"prox": "cg"}, "equal": {"cg": "prox"}}
"""The data-consistency step that takes the place of another: the papers' five steps of CG, or ours
solved."""


def cells_of(
    names: Sequence[str],
    *,
    steps: int | None = None,
    sampling: Literal["own", "published", "equal"] = "own",
) -> tuple[CellSpec, ...]:
    """A cell for each method. Raises InputError for an unknown one.

    steps: of every method that samples. sampling: applies to methods whose data-consistency step
    acts on the estimate and that renew a fraction of the noise.
    """
    cells = []
    for name in names:
        method = METHODS[name]()
        settings = settings_alike(method, sampling)
        if steps is not None and isinstance(method, DiffusionMethod):
            settings["steps"] = steps
        label = name if not settings_alike(method, sampling) else f"{name}, {sampling} sampling"
        method = make_method(method, **settings)
        cells.append(CellSpec(label=label, method=method, given=frozenset(settings)))
    return tuple(cells)


def settings_alike(method: Method, sampling: str) -> dict[str, Any]:
    """What `sampling` sets of a method; nothing for methods of another kind."""
    if sampling == "own" or not isinstance(method, EstimateMethod):
        return {}
    renews_noise = "noise_fraction" in method.default_noise and method.ddim_eta is None
    if not (renews_noise and method.consistency.on_estimate):
        return {}
    step = method.consistency.name
    step = STEPS_ALIKE[sampling].get(step, step)
    changed = {} if step == method.consistency.name else {"consistency": step}
    return ALIKE[sampling] | changed | {"init": "noise"}
