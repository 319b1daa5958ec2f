"""A procedural synthetic chest CT: training and test data that need no patient."""

from __future__ import annotations

from diffusionblend.phantom.chest import synthetic_chest

__all__ = ["synthetic_chest"]
