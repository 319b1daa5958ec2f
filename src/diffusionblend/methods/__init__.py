"""Reconstruction methods: one file each, its settings, what it needs and how it runs."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from diffusionblend.registry import Registry

_CLASSES = {
    "Fbp": "fbp",
    "Sirt": "sirt",
    "Cgls": "cgls",
    "AdmmTv": "admm_tv",
    "FbpUnet": "fbp_unet",
    "Dds2d": "diffusion.dds",
    "Dds": "diffusion.dds",
    "DiffusionMbir": "diffusion.diffusion_mbir",
    "Tpdm": "diffusion.tpdm",
    "DiffusionBlend": "diffusion.diffusionblend",
    "DiffusionBlendPP": "diffusion.diffusionblend_pp",
    "Cg": "diffusion.consistency.cg",
    "Prox": "diffusion.consistency.prox",
    "TvZ": "diffusion.consistency.tv_z",
    "Hard": "diffusion.consistency.hard",
    "Dps": "diffusion.consistency.dps",
    "Unconstrained": "diffusion.consistency.none",
    "Method": "base",
    "Execution": "base",
    "Solution": "base",
    "DiffusionMethod": "diffusion.base",
    "EstimateMethod": "diffusion.base",
    "Problem": "problem",
}

METHODS = Registry(
    "method",
    "diffusionblend.methods",
    {
        "fbp": "diffusionblend.methods.fbp:Fbp",
        "sirt": "diffusionblend.methods.sirt:Sirt",
        "cgls": "diffusionblend.methods.cgls:Cgls",
        "admm-tv": "diffusionblend.methods.admm_tv:AdmmTv",
        "fbp-unet": "diffusionblend.methods.fbp_unet:FbpUnet",
        "dds-2d": "diffusionblend.methods.diffusion.dds:Dds2d",
        "dds": "diffusionblend.methods.diffusion.dds:Dds",
        "diffusion-mbir": "diffusionblend.methods.diffusion.diffusion_mbir:DiffusionMbir",
        "tpdm": "diffusionblend.methods.diffusion.tpdm:Tpdm",
        "diffusionblend": "diffusionblend.methods.diffusion.diffusionblend:DiffusionBlend",
        "diffusionblend++": "diffusionblend.methods.diffusion.diffusionblend_pp:DiffusionBlendPP",
    },
    base="diffusionblend.methods.base:Method",
)
"""By name; others come in by entry points of the group `diffusionblend.methods`."""

__all__ = sorted([*_CLASSES, "METHODS"])


def __getattr__(name: str) -> Any:
    if name not in _CLASSES:
        raise AttributeError(f"module 'diffusionblend.methods' has no attribute {name!r}")
    return getattr(import_module(f"diffusionblend.methods.{_CLASSES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
