"""Acquisition geometries and the projections taken with them; docs/conventions.md draws them."""

from diffusionblend.geometry.beams import (
    ConeBeam,
    FanBeam,
    ParallelBeam,
    equally_spaced_angles,
)
from diffusionblend.geometry.coverage import check_scan, truncated_fraction
from diffusionblend.geometry.fitting import (
    cone_beam_for,
    fan_beam_for,
    full_detector,
    parallel_beam_for,
)
from diffusionblend.geometry.projections import Geometry, Projections
from diffusionblend.geometry.vectors import VectorGeometry

__all__ = [
    "ConeBeam",
    "FanBeam",
    "Geometry",
    "ParallelBeam",
    "Projections",
    "VectorGeometry",
    "check_scan",
    "cone_beam_for",
    "equally_spaced_angles",
    "fan_beam_for",
    "full_detector",
    "parallel_beam_for",
    "truncated_fraction",
]
