"""A plain re-run of the published loop, the baseline of the speed benchmark.

As in the authors' script: one block a network evaluation, float32 in PyTorch's default memory
layout, an X-ray transform that turns every slice and sums its rows, five steps of conjugate
gradients over the whole volume. Unlike it, this starts from noise, uses the result of its data
consistency, and has the exact adjoint, so that its volumes are worth comparing.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch.nn import functional

from diffusionblend.geometry import full_detector
from diffusionblend.methods.diffusion.timesteps import sampling_timesteps
from diffusionblend.operators.linear import LinearOperator
from diffusionblend.priors.partition import Partition
from diffusionblend.priors.prior import Prior
from diffusionblend.solvers.conjugate_gradient import conjugate_gradient

PAPER_NOISE_FRACTION = 0.85
PAPER_CG_ITERATIONS = 5
BILINEAR, ZEROS = 0, 0
"""Codes of `grid_sample`'s mode and padding in its backward operator."""


class RotateAndSum(LinearOperator):
    """A: slices (z, n, n) turned by bilinear interpolation and summed, to (view, z, column),
    pixels.

    Columns are one pixel wide and measure the whole slice, as `ParallelBeam` has them. Slices are
    the batch of `grid_sample`, one view after another, as in the published code. The adjoint is
    exact: `grid_sample`'s own backward, called without the forward pass that autograd would add.
    """

    def __init__(
        self,
        n_slices: int,
        size: int,
        angles_rad: tuple[float, ...],
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        n_columns = full_detector((size, size))
        self.domain_shape = (n_slices, size, size)
        self.range_shape = (len(angles_rad), n_slices, n_columns)
        angles = torch.tensor(angles_rad, dtype=torch.float64)
        cos, sin, zero = angles.cos(), angles.sin(), torch.zeros_like(angles)
        rows = [torch.stack(row, -1) for row in ((cos, -sin, zero), (sin, cos, zero))]
        turns = torch.stack(rows, 1) * (n_columns / size)
        shape = (len(angles), 1, n_columns, n_columns)
        self.device, self.dtype = torch.device(device), dtype
        self.grids = functional.affine_grid(turns, shape, align_corners=False).to(device, dtype)

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        slices = x[:, None]
        views = [
            functional.grid_sample(slices, self._grid(v), align_corners=False).sum(2)[:, 0]
            for v in range(self.range_shape[0])
        ]
        return torch.stack(views)

    def _adjoint(self, y: torch.Tensor) -> torch.Tensor:
        n_columns = self.range_shape[2]
        total = y.new_zeros(self.domain_shape)
        like = total[:, None]
        for v in range(self.range_shape[0]):
            smeared = y[v][:, None, None, :].expand(-1, 1, n_columns, n_columns)
            back, _ = torch.ops.aten.grid_sampler_2d_backward(
                smeared, like, self._grid(v), BILINEAR, ZEROS, False, [True, False]
            )
            total = total + back[:, 0]
        return total

    def _grid(self, view: int) -> torch.Tensor:
        """The sampling grid of a view, for every slice."""
        return self.grids[view : view + 1].expand(self.domain_shape[0], -1, -1, -1)


@dataclass
class PublishedSteps:
    """Seconds of each reverse step, and of its network evaluations and data consistency."""

    total: list[float]
    network: list[float]
    consistency: list[float]


def published_loop(
    prior: Prior,
    operator: RotateAndSum,
    y: torch.Tensor,
    partitions: Iterator[Partition],
    *,
    steps: int,
    generator: torch.Generator,
    eta: float = PAPER_NOISE_FRACTION,
    synchronize: Callable[[], None] = lambda: None,
) -> tuple[torch.Tensor, PublishedSteps]:
    """A volume (z, y, x) from y = A x, all in the network's range, and what its steps cost."""
    unet = copy.deepcopy(prior.unet).to(memory_format=torch.contiguous_format)
    device = y.device
    back = operator.adjoint(y)
    spent = PublishedSteps([], [], [])
    times = sampling_timesteps(steps, prior.schedule.n_timesteps)
    x = torch.randn(operator.domain_shape, generator=generator).to(device)
    for t, following in zip(times, [*times[1:], None], strict=True):
        synchronize()
        started = time.perf_counter()
        x0, eps = _denoise_block_by_block(prior, unet, x, t, next(partitions))
        synchronize()
        denoised = time.perf_counter()
        x0 = conjugate_gradient(operator.normal, back, x0, PAPER_CG_ITERATIONS)
        synchronize()
        spent.network.append(denoised - started)
        spent.consistency.append(time.perf_counter() - denoised)
        if following is None:
            x = x0
        else:
            abar = float(prior.schedule.alpha_bar[following])
            z = torch.randn(x.shape, generator=generator).to(device)
            noise = (1 - eta**2) ** 0.5 * eps + eta * z
            x = abar**0.5 * x0 + (1 - abar) ** 0.5 * noise
        synchronize()
        spent.total.append(time.perf_counter() - started)
    return x, spent


def _denoise_block_by_block(
    prior: Prior, unet: torch.nn.Module, x: torch.Tensor, t: int, partition: Partition
) -> tuple[torch.Tensor, torch.Tensor]:
    """x0 and eps (z, y, x), one block a call; a slice of two blocks keeps the later one's."""
    x0, eps = torch.empty_like(x), torch.empty_like(x)
    times = torch.tensor([t], device=x.device)
    codes = prior.codes(partition.code, 1, x.device)
    factor = prior.config.unshuffle
    for block in partition.blocks.to(x.device):
        noisy = x[block][None]
        tiles = functional.pixel_unshuffle(noisy, factor)
        v = functional.pixel_shuffle(unet(tiles, times, class_labels=codes).sample, factor)
        clean, noise = prior.schedule.x0_and_eps_from_v(noisy, v, times)
        x0[block], eps[block] = clean[0], noise[0]
    return x0, eps
