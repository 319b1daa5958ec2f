"""An operator as deepinv's LinearPhysics and a prior as its Denoiser, over whole volumes.

deepinv's images are (batch, channel, z, y, x) with values from 0 to 1: here 0 is -1000 HU and 1 is
1000 HU, and nothing is clipped beyond.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from diffusionblend.adapters.flat import imported
from diffusionblend.errors import InputError, check_kind
from diffusionblend.methods.noise_levels import denoised_volume
from diffusionblend.methods.problem import Problem
from diffusionblend.operators.linear import LinearOperator
from diffusionblend.priors.partition import draw_partitions
from diffusionblend.priors.resolve import check_prior_fits

if TYPE_CHECKING:
    from diffusionblend.data.projections import Projections
    from diffusionblend.geometry.grid import Grid
    from diffusionblend.priors.prior import Prior

IMAGE_DIMENSIONS = 5
JUMP_STRIDE, JUMP_EVERY = 3, 2
"""As DiffusionBlend++ has them by default."""


def to_physics(operator: LinearOperator, **options: Any) -> Any:
    """deepinv's `LinearPhysics` of an operator, volumes to projections.

    x (batch, 1, z, y, x), y (batch, 1, view, row, column). options: of `LinearPhysics`, such as
    noise_model. Raises InputError for no operator, and where deepinv is not installed.
    """
    deepinv = imported("deepinv")
    check_kind(operator, LinearOperator, "The operator for deepinv")

    def of_each(one: Any) -> Any:
        def apply(batch: torch.Tensor, **_: Any) -> torch.Tensor:
            if batch.ndim != IMAGE_DIMENSIONS or batch.shape[1] != 1:
                raise InputError(
                    f"The images have shape {tuple(batch.shape)}.",
                    "(batch, 1, ...) with a volume or projections",
                )
            return torch.stack([one(image[0])[None] for image in batch])

        return apply

    return deepinv.physics.LinearPhysics(
        A=of_each(operator.forward),
        A_adjoint=of_each(operator.adjoint),
        img_size=(1, *operator.domain_shape),
        **options,
    )


def normalised_data(scan: Projections, device: str = "cpu") -> tuple[LinearOperator, torch.Tensor]:
    """The operator and the data of a scan for images from 0 to 1: A' x = y', lengths in pixels.

    y': (1, 1, view, row, column). Of images u = 2 x - 1 in HU / 1000, A' u = y becomes
    A' x = (y + A' 1) / 2.
    """
    problem = Problem.of(scan, device)
    return problem.operator, ((problem.y + problem.water) / 2)[None, None]


def to_denoiser(prior: Prior, grid: Grid, *, seed: int = 0) -> Any:
    """deepinv's `Denoiser` of a joint prior: forward(x, sigma) of volumes (batch, 1, z, y, x).

    grid: of the volumes; its pixel size and slice spacing may be inputs of the prior. Blocks are
    drawn afresh at every call, from `seed` on; sigma is in the images' range. Raises InputError for
    a prior that is not joint or not for such slices, and where deepinv is not installed.
    """
    deepinv = imported("deepinv")
    if prior.config.prior_type != "joint":
        raise InputError(
            f"The prior is of the type {prior.config.prior_type!r}.", "a joint prior, as chest"
        )
    check_prior_fits(prior, grid)
    fitted = prior.for_grid(grid)
    partitions = draw_partitions(
        grid.shape[0],
        prior.block_slices,
        kind="alternating",
        jump_stride=JUMP_STRIDE,
        jump_every=JUMP_EVERY,
        generator=torch.Generator().manual_seed(seed),
    )

    class BlockDenoiser(deepinv.models.Denoiser):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = prior.unet

        def forward(self, x: torch.Tensor, sigma: Any, **_: Any) -> torch.Tensor:
            level = 2 * float(torch.as_tensor(sigma).flatten()[0])
            clean = [
                denoised_volume(fitted, 2 * one[0] - 1, level, next(partitions), grid.spacing_mm[0])
                for one in x
            ]
            return (torch.stack(clean)[:, None] + 1) / 2

    return BlockDenoiser()
