"""The fan-beam X-ray transform, for flat and curved detectors."""

from __future__ import annotations

from diffusionblend.operators.slicewise import SlicewiseTransform


class FanBeamTransform(SlicewiseTransform):
    """A of a FanBeam: see SlicewiseTransform. Rays are half lines from the source."""
