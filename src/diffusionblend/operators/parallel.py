"""The parallel-beam X-ray transform."""

from __future__ import annotations

from diffusionblend.operators.slicewise import SlicewiseTransform


class ParallelBeamTransform(SlicewiseTransform):
    """A of a ParallelBeam: see SlicewiseTransform."""
