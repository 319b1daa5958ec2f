"""The baseline of the speed benchmark reconstructs what it should."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import islice

import pytest
import torch

from diffusionblend import Grid
from diffusionblend.geometry import equally_spaced_angles, full_detector
from diffusionblend.methods.diffusion.consistency.base import ConsistencyStep
from diffusionblend.methods.diffusion.executor import Executor
from diffusionblend.methods.diffusion.loop import ReverseLoop
from diffusionblend.methods.diffusion.state import State
from diffusionblend.methods.diffusion.timesteps import sampling_timesteps
from diffusionblend.priors.partition import draw_partitions
from diffusionblend.solvers.conjugate_gradient import conjugate_gradient
from operator_properties import check_operator
from published_loop import PAPER_CG_ITERATIONS, RotateAndSum, published_loop
from tiny_network import TINY, random_prior

SIZE = 16


@dataclass
class WholeVolumeStep(ConsistencyStep):
    """The paper's consistency step, with one step length for all slices."""

    operator: RotateAndSum
    back: torch.Tensor
    couples_slices = True

    def __call__(self, x0, slices):
        return conjugate_gradient(self.operator.normal, self.back, x0, PAPER_CG_ITERATIONS)


def partitions(n_slices: int):
    return draw_partitions(
        n_slices,
        3,
        kind="fixed",
        jump_stride=3,
        jump_every=2,
        generator=torch.Generator().manual_seed(0),
    )


@pytest.mark.parametrize("size", [15, 16])
def test_rotate_and_sum_has_its_exact_adjoint(size):
    operator = RotateAndSum(2, size, equally_spaced_angles(5), dtype=torch.float64)
    check_operator(operator, dtype=torch.float64)


@pytest.mark.parametrize("size", [47, 48])
def test_rotate_and_sum_gives_the_line_integrals_of_a_gaussian(size):
    """exp(-k r^2) about (x, y): its line at p is sqrt(pi / k) exp(-k (p - x cos - y sin)^2)."""
    k, x, y = 0.02, 5.0, -3.0
    angles = equally_spaced_angles(7)
    operator = RotateAndSum(1, size, angles, dtype=torch.float64)
    centred = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    squared = (centred[None, :] - x) ** 2 + (centred[:, None] - y) ** 2
    lines = operator.forward(torch.exp(-k * squared)[None])
    n_columns = full_detector((size, size))
    p = torch.arange(n_columns, dtype=torch.float64) - (n_columns - 1) / 2
    for line, angle in zip(lines[:, 0], angles, strict=True):
        at = x * math.cos(angle) + y * math.sin(angle)
        expected = math.sqrt(math.pi / k) * torch.exp(-k * (p - at) ** 2)
        torch.testing.assert_close(line, expected, rtol=0, atol=0.01 * math.sqrt(math.pi / k))


@pytest.mark.parametrize("lengths", [0, 8])
def test_the_loop_is_the_packages_where_both_do_the_same(lengths):
    """Written anew, one block a call: with the same consistency it gives the package's volume."""
    shape, steps, eta = (6, SIZE, SIZE), 4, 0.85
    prior = random_prior(config=replace(TINY, length_codes=lengths))
    prior = prior.for_grid(Grid(shape=shape, spacing_mm=(2.5, 3.0, 3.0)))
    operator = RotateAndSum(shape[0], SIZE, equally_spaced_angles(4))
    y = operator.forward(torch.rand(shape, generator=torch.Generator().manual_seed(3)))
    with torch.inference_mode():
        x, spent = published_loop(
            prior,
            operator,
            y,
            partitions(shape[0]),
            steps=steps,
            eta=eta,
            generator=torch.Generator().manual_seed(1),
        )
        times = sampling_timesteps(steps, prior.schedule.n_timesteps)
        drawn = list(islice(partitions(shape[0]), steps))
        loop = ReverseLoop(
            abar=[float(prior.schedule.alpha_bar[t]) for t in times],
            consistency=WholeVolumeStep(operator, operator.adjoint(y)),
            noise_fraction=eta,
        )
        generator = torch.Generator().manual_seed(1)

        def noise() -> torch.Tensor:
            return torch.randn(shape, generator=generator)

        state = State(0, loop.start(noise()), generator.get_state())
        executor = Executor(prior, times, drawn, batch_blocks=8)
        expected = loop.run(state, executor, noise, lambda state: None)
    torch.testing.assert_close(x, expected, rtol=1e-3, atol=1e-3)
    assert len(spent.total) == len(spent.network) == len(spent.consistency) == steps
