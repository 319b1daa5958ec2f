"""Data-consistency steps: one short file each, with its settings and its equation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffusionblend.registry import Registry

if TYPE_CHECKING:
    from diffusionblend.methods.diffusion.consistency.base import Consistency

CONSISTENCY_STEPS: Registry[Consistency] = Registry(
    "data-consistency step",
    "diffusionblend.consistency_steps",
    {
        "cg": "diffusionblend.methods.diffusion.consistency.cg:Cg",
        "prox": "diffusionblend.methods.diffusion.consistency.prox:Prox",
        "admm-tv-z": "diffusionblend.methods.diffusion.consistency.tv_z:TvZ",
        "hard": "diffusionblend.methods.diffusion.consistency.hard:Hard",
        "dps": "diffusionblend.methods.diffusion.consistency.dps:Dps",
        "none": "diffusionblend.methods.diffusion.consistency.none:Unconstrained",
    },
    base="diffusionblend.methods.diffusion.consistency.base:Consistency",
)
"""By name; others come in by entry points of the group `diffusionblend.consistency_steps`."""
