"""Grids and acquisition geometries; docs/conventions.md draws them."""

from diffusionblend.geometry.base import Geometry
from diffusionblend.geometry.beams import (
    ConeBeam,
    FanBeam,
    ParallelBeam,
    equally_spaced_angles,
)
from diffusionblend.geometry.checks import check_scan, truncated_fraction
from diffusionblend.geometry.fitting import (
    cone_beam_for,
    fan_beam_for,
    full_detector,
    parallel_beam_for,
)
from diffusionblend.geometry.grid import Grid
from diffusionblend.geometry.vectors import VectorGeometry

__all__ = [
    "ConeBeam",
    "FanBeam",
    "Geometry",
    "ParallelBeam",
    "Grid",
    "VectorGeometry",
    "check_scan",
    "cone_beam_for",
    "equally_spaced_angles",
    "fan_beam_for",
    "full_detector",
    "parallel_beam_for",
    "truncated_fraction",
]
