"""What the projections are worth: the variance of their noise and of the operator's misfit."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.nn import functional

from diffusionblend.methods.problem import Problem, photon_variance

if TYPE_CHECKING:
    from diffusionblend.data.projections import Projections

MISFIT_PIXELS = 0.35
"""Root mean square difference, in pixels of water, between line integrals of a chest and those of
its mean over pixels: what the operator cannot explain in any scan that it did not simulate itself.
Measured on training patients at 128 x 128 (0.2 to 0.5; docs/log.md)."""
MISFIT_OF_ALL, MISFIT_OF_STEP = 0.2, 0.05
"""Its standard deviation by ray, in pixels of water: what every ray has, and its share of the step
to the rays a pixel beside, since it is edges that the mean of a pixel lacks (docs/log.md)."""
NOISE_WORTH = 0.05
"""rho's share of the variance of a ray's noise, since the estimate's error is no white noise: it
is largest in what many rays see (docs/log.md)."""
MISFIT_WORTH = 0.3
"""Its share of the misfit where rays are as many as pixels: that of an edge is much alike in
neighbouring views, which do not average it out. Of noise, too, where rays are not weighed."""
STARVED = 8.0
"""A ray with so many times the median variance of noise, few photons have passed."""
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


class Trust(NamedTuple):
    """What the rays of a scan count for.

    variance: of a ray that counts fully, in squared pixels of water, as much of it as rho counts.
    weights: of the misfit of each ray, of y's shape, at most 1; None: all count fully. starved:
    whether hardly any photon passed some, so that slices differ much.
    """

    variance: float
    weights: torch.Tensor | None = None
    starved: bool = False

    def alike(self) -> torch.Tensor | None:
        """Weights (view, 1, column) of the rays of all slices, by their mean variance."""
        if self.weights is None:
            return None
        return 1 / (1 / self.weights).mean(dim=1, keepdim=True)


def trust_in_rays(problem: Problem) -> Trust:
    """What the misfit of each ray of a problem counts for.

    Where the scan contains its photon count and slices are independent, one over the variance of
    noise and misfit, each by its worth; lines that the operator itself simulated have no misfit.
    In cones, where that gains nothing, only starved rays count for less, those with more than
    STARVED times the median variance and more than the misfit, and the fewer the rays, the less
    other ones correct what few photons get wrong. The noise of a ray is by the mean count about it:
    one that happens to be high would else seem precise.
    """
    scan = problem.projections
    seen = min(1.0, rays_per_pixel(problem))
    of_misfit = MISFIT_WORTH * seen
    if not has_count(scan) or scan.measured is not None:
        return Trust(of_misfit * variance_of_data(problem))
    unit = scan.mu_water_per_mm * scan.grid.spacing_mm[2]
    lines = problem.y + problem.water
    noise = photon_variance(smoothed_by_counts(lines * unit), scan) / unit**2
    own = is_simulated_on_its_grid(scan)
    whole = noise if own else noise + MISFIT_PIXELS**2
    most = max(STARVED * float(whole.median()), MISFIT_PIXELS**2)
    starved = float(whole.max()) > most
    if problem.operator.couples_slices:
        if not starved:
            return Trust(of_misfit * variance_of_data(problem))
        weights = (most / whole).clamp(max=1.0) ** (2.0 - seen)
        return Trust(of_misfit * float(whole.clamp(max=most).mean()), weights, starved)
    variance = NOISE_WORTH * noise
    if not own:
        variance += of_misfit * misfit_variance(lines, noise, columns_a_pixel(scan))
    least = float(variance.min())
    return Trust(least, least / variance, starved)


def misfit_variance(lines: torch.Tensor, noise: torch.Tensor, columns: int = 1) -> torch.Tensor:
    """Variance of what the operator cannot explain, of each of the lines (view, row, column).

    lines, and noise, their variance: in pixels of water. By the larger step to the rays so many
    columns to either side, a pixel, less what noise adds to it.
    """
    found = torch.full_like(lines, MISFIT_OF_ALL**2)
    for view, of_noise, to in zip(lines, noise, found, strict=True):
        steps = squared_steps(view, columns) - 2 * of_noise
        to += MISFIT_OF_STEP**2 * steps.clamp(min=0.0)
    return found


def squared_steps(lines: torch.Tensor, step: int = 1) -> torch.Tensor:
    """The larger squared difference to the line `step` before or behind, (row, column)."""
    step = min(step, lines.shape[1])
    squares = (lines[:, step:] - lines[:, :-step]).square()
    return torch.maximum(functional.pad(squares, (step, 0)), functional.pad(squares, (0, step)))


def rays_per_pixel(problem: Problem) -> float:
    """How much of the volume the rays can determine, at most.

    With few of them most of the estimate's error is in what they do not see, and the network's
    error at a noise level says too little of it.
    """
    return math.prod(problem.operator.range_shape) / math.prod(problem.operator.domain_shape)


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
