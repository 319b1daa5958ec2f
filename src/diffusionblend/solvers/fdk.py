"""The algorithm of Feldkamp, Davis and Kress for cone beams (1984, J. Opt. Soc. Am. A 1)."""

from __future__ import annotations

import numpy as np
import torch

from diffusionblend.errors import InputError
from diffusionblend.geometry import ConeBeam
from diffusionblend.geometry.grid import Grid
from diffusionblend.operators.kernels.threads import in_parts
from diffusionblend.operators.panels import views_in_voxels
from diffusionblend.solvers.filters import ramp_filter, turn_weights, with_opposite_columns

VIEWS_AT_ONCE = 16
"""Views that are filtered together."""


def feldkamp_davis_kress(
    y: torch.Tensor, geometry: ConeBeam, grid: Grid, *, window: str = "ram-lak"
) -> torch.Tensor:
    """Attenuation in 1/mm (z, y, x) from line integrals (view, row, column) of a circular cone
    beam.

    Exact in the plane of the source's circle, approximate above and below; for a full scan, or 180°
    and the fan, of any angles. A detector off the middle counts every line once. Columns and rows
    are read by bilinear interpolation, 0 outside the panel. Computes in float32 on the CPU; the
    result lies on the data's device. Raises InputError on an unknown window, and for another class
    than ConeBeam, a subclass too.
    """
    from diffusionblend.operators.kernels import cpu as kernels_cpu

    if type(geometry) is not ConeBeam:
        raise InputError(
            f"Feldkamp's algorithm was asked for a {type(geometry).__name__}.",
            "a ConeBeam, whose source moves on a circle",
            "an iterative method, such as --method admm-tv",
        )
    weights = ray_weights(geometry)
    views = views_in_voxels(geometry.reaching_both_sides().panels(), grid)
    volume = np.zeros(grid.shape, np.float32)
    for first in range(0, geometry.n_views, VIEWS_AT_ONCE):
        part = slice(first, first + VIEWS_AT_ONCE)
        weighted = y[part].cpu().float() * torch.from_numpy(weights[part]).float()
        weighted, _ = with_opposite_columns(weighted, geometry)
        filtered = ramp_filter(weighted, geometry.column_mm, window)
        arguments = (filtered.numpy() * np.float32(geometry.source_to_detector_mm), views[part])
        spacing = np.array(grid.spacing_mm)
        in_parts(kernels_cpu.back_project_filtered, grid.shape[1], *arguments, spacing, volume)
    return torch.from_numpy(volume).to(y.device)


def ray_weights(geometry: ConeBeam) -> np.ndarray:
    """Weights (view, row, column) before filtering: the view's arc, the ray's share, and the length
    along the ray from the source to the foot of the centre, over which rays spread.
    """
    p = geometry.column_positions_mm
    height = geometry.row_positions_mm[:, None] - geometry.source_lift_mm
    source, detector = geometry.source_to_axis_mm, geometry.source_to_detector_mm
    along = source * detector + geometry.axis_shift_mm * p
    lengths = along / np.sqrt(detector**2 + p**2 + height**2)
    to_axis = np.arctan2(geometry.axis_shift_mm, source)
    turns = turn_weights(geometry.angles_rad, np.arctan(p / detector) - to_axis)
    return turns[:, None] * lengths
