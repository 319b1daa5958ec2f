"""Linear operators with exact adjoints: the X-ray transform, finite differences, their algebra."""

from diffusionblend.operators.differences import FiniteDifferences
from diffusionblend.operators.linear import LinearOperator, stack
from diffusionblend.operators.masked import MaskedTransform
from diffusionblend.operators.weighted import WeightedOperator
from diffusionblend.operators.xray import XRayTransform

__all__ = [
    "FiniteDifferences",
    "LinearOperator",
    "MaskedTransform",
    "WeightedOperator",
    "XRayTransform",
    "stack",
]
