"""Grids and acquisition geometries; docs/conventions.md draws them."""

from diffusionblend.geometry.base import Geometry
from diffusionblend.geometry.checks import check_scan, truncated_fraction
from diffusionblend.geometry.cone import ConeBeam
from diffusionblend.geometry.fan import FanBeam
from diffusionblend.geometry.grid import Grid
from diffusionblend.geometry.helix import Helix
from diffusionblend.geometry.parallel import ParallelBeam, full_detector
from diffusionblend.geometry.turning import equally_spaced_angles
from diffusionblend.geometry.vectors import VectorGeometry

__all__ = [
    "ConeBeam",
    "FanBeam",
    "Geometry",
    "Grid",
    "Helix",
    "ParallelBeam",
    "VectorGeometry",
    "check_scan",
    "equally_spaced_angles",
    "full_detector",
    "truncated_fraction",
]
