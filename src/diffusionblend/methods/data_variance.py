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
    if is_exact(scan):
        return 0.0
    lines, explained = problem.y + problem.water, is_simulated_on_its_grid(scan)
    if scan.measured is not None:
        explained = False  # rays beside metal are hardened, too
        # what stands in for those left out is as smooth as they are
        lines = lines.new_tensor(scan.values) / unit
    if not has_count(scan):
        return ROUGHNESS_SHARE * roughness(lines, columns_a_pixel(scan))
    noise = float(photon_variance(lines * unit, scan).mean()) / unit**2
    return noise + (0.0 if explained else MISFIT_PIXELS**2)


def trust_in_rays(problem: Problem) -> tuple[torch.Tensor | None, float]:
    """What the misfit of each ray counts for, of y's shape, and the mean variance of the data.

    A ray with more than STARVED times the median variance, and more than the misfit of a scan that
    is not simulated on its grid, counts for less, and for the mean has that, in squared pixels of
    water. None, and the mean of all, where there is none, or the scan does not contain its photon
    count. The variance of a ray is by the mean count about it: one that happens to be high would
    else seem precise.
    """
    scan = problem.projections
    if not has_count(scan) or scan.measured is not None:
        return None, variance_of_data(problem)
    unit = scan.mu_water_per_mm * scan.grid.spacing_mm[2]
    lines = smoothed_by_counts((problem.y + problem.water) * unit)
    misfit = 0.0 if is_simulated_on_its_grid(scan) else MISFIT_PIXELS**2
    variance = photon_variance(lines, scan) / unit**2 + misfit
    most = max(STARVED * float(variance.median()), MISFIT_PIXELS**2)
    if float(variance.max()) <= most:
        return None, variance_of_data(problem)
    return (most / variance).clamp(max=1.0), float(variance.clamp(max=most).mean())


def smoothed_by_counts(lines: torch.Tensor) -> torch.Tensor:
    """Lines (view, row, column) of the mean counts of SMOOTHED neighbouring columns."""
    width = min(SMOOTHED, lines.shape[-1] - 1 + lines.shape[-1] % 2)
    passed = functional.pad(torch.exp(-lines), (width // 2, width // 2), mode="replicate")
    return -torch.log(functional.avg_pool1d(passed, width, stride=1))


def has_count(scan: Projections) -> bool:
    """Whether the scan contains how many photons were emitted."""
    return scan.notes.get("photons") is not None or scan.photons is not None


def is_exact(scan: Projections) -> bool:
    """Whether all lines are those of the operator that reconstructs, without noise."""
    return is_simulated_on_its_grid(scan) and not has_count(scan) and scan.measured is None


def is_simulated_on_its_grid(scan: Projections) -> bool:
    """Whether the operator that reconstructs made the lines, from slices of the scan's own grid."""
    grid = scan.grid
    shape, spacing = scan.notes.get("simulated_shape"), scan.notes.get("simulated_spacing_mm")
    if not isinstance(shape, list) or not isinstance(spacing, list):
        return False
    return shape[1:] == list(grid.in_plane_shape) and spacing == list(grid.spacing_mm)


def columns_a_pixel(scan: Projections) -> int:
    """How many detector columns a pixel of the scan's grid is wide, at least one."""
    return max(1, round(scan.grid.spacing_mm[2] / scan.geometry.column_at_axis_mm))


def roughness(lines: torch.Tensor, step: int = 1) -> float:
    """Mean square of the third differences along the detector's columns, 1 for white noise of 1.

    step: columns from one to the next; those between count for nothing where pixels are wider.
    """
    step = min(step, (lines.shape[-1] - 1) // 3)
    if step < 1:
        return 0.0
    for _ in range(3):
        lines = lines[..., step:] - lines[..., :-step]
    return float(lines.square().mean()) / 20.0
