"""TPDM: two priors of slices, axial and coronal, one of them at each step (Lee et al., ICCV 2023).

Published for a variance-exploding prior; here with the ancestral steps of the project's schedule.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from diffusionblend.data.projections import Projections
from diffusionblend.data.result import OnStep, Reconstruction, ignore_progress
from diffusionblend.methods.diffusion.method import Scheme, sample_volume
from diffusionblend.methods.diffusion.sampler import Execution
from diffusionblend.methods.settings import TpdmSettings
from diffusionblend.priors.partition import CORONAL, Partition, slice_partition
from diffusionblend.priors.prior import Prior


def reconstruct_tpdm(
    projections: Projections,
    prior: Prior,
    settings: TpdmSettings,
    on_step: OnStep = ignore_progress,
    execution: Execution | None = None,
    *,
    perpendicular_prior: Prior,
) -> Reconstruction:
    """A volume in HU from a prior of axial slices and one of coronal slices."""
    generator = torch.Generator().manual_seed(settings.seed)
    partitions = draw_planes(projections.grid.shape, settings.plane_ratio, generator)
    scheme = Scheme(partitions, perpendicular=perpendicular_prior)
    return sample_volume(projections, prior, settings, scheme, on_step, execution)


def draw_planes(
    shape: tuple[int, int, int], ratio: int, generator: torch.Generator
) -> Iterator[Partition]:
    """An endless run of partitions, one step in `ratio` (by chance) into coronal slices."""
    axial = slice_partition(shape[0])
    coronal = slice_partition(shape[CORONAL], axis=CORONAL, depth=shape[0])
    while True:
        drawn = int(torch.randint(ratio, (), generator=generator))
        yield coronal if drawn == 0 else axial
