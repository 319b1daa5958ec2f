"""Linear operators with exact adjoints: X-ray transforms and finite differences."""

from diffusionblend.operators.differences import FiniteDifferences
from diffusionblend.operators.linear import LinearOperator
from diffusionblend.operators.parallel import ParallelBeamTransform

__all__ = ["FiniteDifferences", "LinearOperator", "ParallelBeamTransform"]
