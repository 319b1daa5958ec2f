"""Reconstruction methods: one file each, its settings, what it needs and how it runs.

The public names are those of `__init__.pyi`, imported when first used.
"""

from __future__ import annotations

from diffusionblend.public_names import attach
from diffusionblend.registry import Registry

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
        "langevin": "diffusionblend.methods.diffusion.langevin:Langevin",
        "diffusionblend++": "diffusionblend.methods.diffusion.diffusionblend_pp:DiffusionBlendPP",
    },
    base="diffusionblend.methods.base:Method",
)
"""By name; others come in by entry points of the group `diffusionblend.methods`."""

__getattr__, __dir__, __all__ = attach(__name__, __file__)
__all__ += ["METHODS"]
