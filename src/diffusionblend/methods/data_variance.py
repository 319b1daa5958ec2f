"""What the projections are worth: the variance of their noise and of the operator's misfit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from diffusionblend.methods.problem import Problem, photon_variance

if TYPE_CHECKING:
    from diffusionblend.data.projections import Projections

MISFIT_PIXELS = 0.35
"""Root mean square difference, in pixels of water, between line integrals of a chest and those of
its mean over pixels: what the operator cannot explain in any scan that it did not simulate itself.
Measured on training patients at 128 x 128 (0.2 to 0.5; docs/log.md)."""
STARVED = 8.0
"""A ray with so many times the median variance counts for less."""
SMOOTHED = 9
"""Columns whose counts are averaged for the variance of a ray, an odd number."""
ROUGHNESS_SHARE = 1 / 6
"""Variance of noise and misfit, as a share of the roughness of the lines, without a
photon count: 0.1 to 0.2 for chests with little noise."""


def variance_of_data(problem: Problem) -> float:
    """Mean variance of a problem's data y, in squared pixels of water.

    That of the photons, where the scan contains their count, and the misfit of the operator: none
    for projections that it simulated on this very grid. Without a count both are taken from the
    roughness of the lines.
    """
    scan = problem.projections
    unit = scan.mu_water_per_mm * scan.grid.spacing_mm[2]
    lines, exact = problem.y + problem.water, is_simulated_on_its_grid(scan)
    if scan.measured is not None:
        exact = False  # rays beside metal are hardened, too
        # what stands in for those left out is as smooth as they are
        lines = lines.new_tensor(scan.values) / unit
    if scan.notes.get("photons") is None and scan.photons is None:
        return 0.0 if exact else ROUGHNESS_SHARE * roughness(lines)
    noise = float(photon_variance(lines * unit, scan).mean()) / unit**2
    return noise + (0.0 if exact else MISFIT_PIXELS**2)


def trust_in_rays(problem: Problem) -> tuple[torch.Tensor | None, float]:
    """What the misfit of each ray counts for, of y's shape, and the mean variance of the data.

    A ray with more than STARVED times the median variance counts for less, and for the mean has
    that, in squared pixels of water. None, and the mean of all, where there is none, or the scan
    does not contain its photon count. The variance of a ray is by the mean count about it: one that
    happens to be high would else seem precise.
    """
    scan = problem.projections
    has_count = scan.notes.get("photons") is not None or scan.photons is not None
    if not has_count or scan.measured is not None:
        return None, variance_of_data(problem)
    unit = scan.mu_water_per_mm * scan.grid.spacing_mm[2]
    lines = smoothed_by_counts((problem.y + problem.water) * unit)
    misfit = 0.0 if is_simulated_on_its_grid(scan) else MISFIT_PIXELS**2
    variance = photon_variance(lines, scan) / unit**2 + misfit
    most = STARVED * float(variance.median())
    if float(variance.max()) <= most:
        return None, variance_of_data(problem)
    return (most / variance).clamp(max=1.0), float(variance.clamp(max=most).mean())


def smoothed_by_counts(lines: torch.Tensor) -> torch.Tensor:
    """Lines (view, row, column) of the mean counts of SMOOTHED neighbouring columns."""
    width = min(SMOOTHED, lines.shape[-1] - 1 + lines.shape[-1] % 2)
    passed = functional.pad(torch.exp(-lines), (width // 2, width // 2), mode="replicate")
    return -torch.log(functional.avg_pool1d(passed, width, stride=1))


def is_simulated_on_its_grid(scan: Projections) -> bool:
    """Whether the operator that reconstructs made the lines, from slices of the scan's own grid."""
    grid = scan.grid
    shape, spacing = scan.notes.get("simulated_shape"), scan.notes.get("simulated_spacing_mm")
    if not isinstance(shape, list) or not isinstance(spacing, list):
        return False
    return shape[1:] == list(grid.in_plane_shape) and spacing == list(grid.spacing_mm)


def roughness(lines: torch.Tensor) -> float:
    """Mean square of the third differences along the detector's columns, 1 for white noise of 1."""
    if lines.shape[-1] < 4:
        return 0.0
    third = lines.diff(n=3, dim=-1)
    return float(third.square().mean()) / 20.0
