"""Linear operators with exact adjoints: X-ray transforms and finite differences."""

from diffusionblend.operators.cone import ConeBeamTransform
from diffusionblend.operators.differences import FiniteDifferences
from diffusionblend.operators.factory import XRayTransform, make_transform
from diffusionblend.operators.fan import FanBeamTransform
from diffusionblend.operators.linear import LinearOperator
from diffusionblend.operators.parallel import ParallelBeamTransform
from diffusionblend.operators.slicewise import SlicewiseTransform
from diffusionblend.operators.weighted import WeightedOperator

__all__ = [
    "ConeBeamTransform",
    "FanBeamTransform",
    "FiniteDifferences",
    "LinearOperator",
    "ParallelBeamTransform",
    "SlicewiseTransform",
    "WeightedOperator",
    "XRayTransform",
    "make_transform",
]
