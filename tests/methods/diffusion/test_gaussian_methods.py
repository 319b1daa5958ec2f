"""Every diffusion method's sampling scheme with a Gaussian prior, against its closed form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from diffusionblend.data.volume import Volume
from diffusionblend.methods.diffusion.consistency.base import ConsistencyStep
from diffusionblend.methods.diffusion.consistency.hard import HardStep
from diffusionblend.methods.diffusion.consistency.prox import ProximalStep
from diffusionblend.methods.diffusion.tpdm import draw_planes
from diffusionblend.methods.problem import Problem
from diffusionblend.priors.partition import (
    Partition,
    draw_partitions,
    make_partition,
    neighbour_partition,
    slice_partition,
)
from gaussian_prior import GaussianPrior, covariance
from gaussian_recursion import AffineStep, carried, equal_times, nothing
from reverse_process import reverse_process
from small_scan import dense_system, scan, small_volume

Z = 6
SHAPE = (Z, 48, 80)
"""Each of the 3840 pixels is an independent draw of Z slices."""

MIXING = 0.8 * np.eye(Z) + 0.1 * np.eye(Z, k=1) - 0.1 * np.eye(Z, k=-2)
SHIFT = np.linspace(-0.3, 0.2, Z)
PRIOR = GaussianPrior()
TARGET = covariance(np.arange(Z), PRIOR.variance, PRIOR.correlation)


def joint(steps: int) -> list[Partition]:
    generator = torch.Generator().manual_seed(3)
    options = {"kind": "alternating", "jump_stride": 2, "jump_every": 2}
    return list(islice(draw_partitions(Z, 3, generator=generator, **options), steps))


def planes(steps: int) -> list[Partition]:
    drawn = list(islice(draw_planes(SHAPE, 2, torch.Generator().manual_seed(4)), steps))
    assert {p.axis for p in drawn} == {0, 1}
    return drawn


Scheme = tuple[GaussianPrior, list[Partition], dict]


def scheme(name: str, steps: int) -> Scheme:
    """Prior, partitions and the sampler's options of a method."""
    alone = GaussianPrior(block_slices=1)
    if name == "dds-2d":
        return alone, [slice_partition(Z)] * steps, {"noise_fraction": 0.85}
    if name in ("diffusion-mbir", "strong-corrector"):
        snr = 0.16 if name == "diffusion-mbir" else 0.4
        options = {"ddim_eta": 1.0, "corrector_snr": snr}
        return alone, [slice_partition(Z)] * steps, options
    if name == "tpdm":
        options = {"ddim_eta": 1.0, "coronal_prior": GaussianPrior(along_rows=True)}
        return alone, planes(steps), options
    if name == "diffusionblend":
        return (
            GaussianPrior(middle_alone=True),
            [neighbour_partition(Z, 3)] * steps,
            {"noise_fraction": 0.85},
        )
    if name == "ancestral":
        return GaussianPrior(), joint(steps), {"ddim_eta": 1.0}
    if name == "half-ddim":
        return GaussianPrior(), joint(steps), {"ddim_eta": 0.5}
    return GaussianPrior(), joint(steps), {"noise_fraction": 1.0}


SCHEMES = ["dds-2d", "diffusion-mbir", "tpdm", "diffusionblend", "diffusionblend++"]


class AffineData(ConsistencyStep):
    """An affine step on the estimate and one on the state, with noise of its own."""

    moves_state = True

    def __init__(self, couples: bool) -> None:
        self.couples_slices = self.couples_state = couples
        self.matrix = MIXING if couples else np.diag(np.diag(MIXING) + SHIFT / 3)

    def __call__(self, x0: torch.Tensor, slices: slice) -> torch.Tensor:
        return self._applied(self.matrix, x0, slices) + self._shift(slices, x0)

    def on_state(
        self, x: torch.Tensor, slices: slice, abar: float, noise: torch.Tensor
    ) -> torch.Tensor:
        moved = self._applied(0.9 * self.matrix + 0.1 * abar * np.eye(Z), x, slices)
        return moved + abar * self._shift(slices, x) + 0.2 * (1 - abar) ** 0.5 * noise

    def _applied(self, matrix: np.ndarray, x: torch.Tensor, slices: slice) -> torch.Tensor:
        return torch.einsum("ij,jyx->iyx", torch.as_tensor(matrix).to(x)[slices, slices], x)

    def _shift(self, slices: slice, like: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(SHIFT).to(like)[slices, None, None]

    def in_closed_form(self) -> dict:
        def on_state(abar: float) -> AffineStep:
            gain = 0.9 * self.matrix + 0.1 * abar * np.eye(Z)
            return AffineStep(gain, abar * SHIFT, 0.2 * (1 - abar) ** 0.5 * np.eye(Z))

        return {"estimate": AffineStep(self.matrix, SHIFT, nothing(Z).spread), "on_state": on_state}


def run(chosen: Scheme, consistency: ConsistencyStep, *, batch_blocks: int = 100) -> torch.Tensor:
    prior, partitions, options = chosen
    times = equal_times(len(partitions))
    whole = reverse_process(
        prior, consistency, times, partitions, batch_blocks=batch_blocks, **options
    )
    return whole.run(whole.start(SHAPE, torch.Generator().manual_seed(8)))


def in_closed_form(chosen: Scheme, **steps: object) -> tuple[np.ndarray, np.ndarray]:
    prior, partitions, options = chosen
    options = dict(options)
    snr = options.pop("corrector_snr", 0.0)
    return carried(prior, partitions, Z, snr=snr, **options, **steps)


def assert_distribution(x: torch.Tensor, mean: np.ndarray, cov: np.ndarray) -> None:
    """Mean and covariance over the pixels within 5 standard errors and a rounding."""
    pixels = x.reshape(Z, -1).double().numpy()
    n, variance = pixels.shape[1], np.diag(cov)
    mean_error = 5 * np.sqrt(variance / n) + 1e-4
    cov_error = 5 * np.sqrt((np.outer(variance, variance) + cov**2) / n) + 1e-4
    assert (np.abs(pixels.mean(1) - mean) < mean_error).all()
    assert (np.abs(np.cov(pixels) - cov) < cov_error).all()


@pytest.mark.parametrize("steps", [5, 30])
@pytest.mark.parametrize("name", [*SCHEMES, "ancestral", "half-ddim", "strong-corrector"])
def test_without_data_mean_and_covariance_follow_the_closed_form(name: str, steps: int) -> None:
    chosen = scheme(name, steps)
    assert_distribution(run(chosen, ConsistencyStep()), *in_closed_form(chosen))


@pytest.mark.parametrize("couples", [True, False])
@pytest.mark.parametrize("name", SCHEMES)
def test_with_steps_on_estimate_and_state_too(name: str, couples: bool) -> None:
    chosen, data = scheme(name, 12), AffineData(couples)
    assert_distribution(run(chosen, data), *in_closed_form(chosen, **data.in_closed_form()))


@pytest.mark.parametrize("name", ["diffusion-mbir", "tpdm", "diffusionblend"])
def test_batch_size_does_not_change_the_result(name: str) -> None:
    for couples in (True, False):
        one, many = (run(scheme(name, 6), AffineData(couples), batch_blocks=b) for b in (1, 100))
        torch.testing.assert_close(one, many, atol=1e-5, rtol=0)


def broken(name: str) -> Callable[[Scheme], Scheme]:
    """A way to get a scheme wrong that must not pass unseen."""

    def swap_codes(chosen: Scheme) -> Scheme:
        prior, partitions, options = chosen
        swapped = [Partition(p.blocks, 3 - p.code) for p in partitions]
        return prior, swapped, options

    def wrong_plane(chosen: Scheme) -> Scheme:
        prior, partitions, options = chosen
        return prior, [slice_partition(Z)] * len(partitions), options

    def missing_slice(chosen: Scheme) -> Scheme:
        prior, partitions, options = chosen
        blocks = [p.blocks[p.blocks.min(1).values > 0] for p in partitions]
        return (
            prior,
            [Partition(b, p.code) for b, p in zip(blocks, partitions, strict=True)],
            options,
        )

    def noise_variance(chosen: Scheme) -> Scheme:
        prior, partitions, options = chosen
        return prior, partitions, options | {"noise_fraction": 0.9 * options["noise_fraction"]}

    def other_eta(chosen: Scheme) -> Scheme:
        prior, partitions, options = chosen
        return prior, partitions, {"noise_fraction": options["ddim_eta"]}

    def no_corrector(chosen: Scheme) -> Scheme:
        prior, partitions, options = chosen
        return prior, partitions, options | {"corrector_snr": 0.0}

    return locals()[name]


@pytest.mark.parametrize(
    ("name", "mistake"),
    [
        ("diffusionblend++", "swap_codes"),
        ("diffusionblend++", "missing_slice"),
        ("diffusionblend++", "noise_variance"),
        ("ancestral", "other_eta"),
        ("tpdm", "wrong_plane"),
        ("strong-corrector", "no_corrector"),
    ],
)
def test_a_mistake_is_seen(name: str, mistake: str) -> None:
    chosen = scheme(name, 12)
    x = run(broken(mistake)(chosen), ConsistencyStep())
    with pytest.raises(AssertionError):
        assert_distribution(x, *in_closed_form(chosen))


WHOLE = make_partition(Z, Z, 1, 0)


@pytest.mark.parametrize("noise", [{"ddim_eta": 0.0}, {"noise_fraction": 0.0}, {"ddim_eta": 1.0}])
def test_with_one_block_the_exact_forms_tend_to_the_prior(noise: dict[str, float]) -> None:
    prior = GaussianPrior(block_slices=Z)
    gaps = []
    for steps in (10, 50, 500):
        mean, cov = carried(prior, [WHOLE] * steps, Z, **noise)
        gaps.append(np.abs(cov - TARGET).max() + np.abs(mean - prior.mean).max())
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 0.03 * prior.variance


def test_a_noise_fraction_shrinks_the_variance_however_many_the_steps() -> None:
    """The variance settles at three quarters of the prior's; the exact forms tend to all of it."""
    prior = GaussianPrior(block_slices=Z)
    left = {}
    for steps in (200, 500):
        for form, value in (("noise_fraction", 0.85), ("ddim_eta", 1.0)):
            _, cov = carried(prior, [WHOLE] * steps, Z, **{form: value})
            left[form, steps] = np.trace(cov) / np.trace(TARGET)
    assert 0.7 < left["noise_fraction", 200] < left["noise_fraction", 500] < 0.78
    assert left["noise_fraction", 500] - left["noise_fraction", 200] < 0.02
    assert left["ddim_eta", 500] > 0.97
    chosen = (prior, [WHOLE] * 50, {"noise_fraction": 0.85})
    assert_distribution(run(chosen, ConsistencyStep()), *in_closed_form(chosen))


@pytest.mark.parametrize("name", ["prox", "hard"])
def test_real_data_consistency_steps_follow_the_closed_form(name: str) -> None:
    """Many slices with the same projections; a state of `carried` is one slice's pixels here."""
    one = small_volume((1, 6, 6))
    many = Volume(np.repeat(one.values, 4000, 0), replace(one.grid, shape=(4000, 6, 6)))
    problem = Problem.of(scan(many, n_views=3))
    operator, rho = problem.operator, 0.4
    a = dense_system(operator.geometry, operator.grid) / operator.grid.spacing_mm[2]
    y = problem.y[:, 0].double().numpy().ravel()
    inverse = np.linalg.inv(a.T @ a + rho * np.eye(36))
    prior, steps, weight = GaussianPrior(block_slices=1), 8, rho / (1 + rho)
    if name == "prox":
        data = ProximalStep(problem, rho)
        form = {"estimate": AffineStep(rho * inverse, inverse @ a.T @ y, nothing(36).spread)}
    else:
        data = HardStep(problem, weight)

        def on_state(abar: float) -> AffineStep:
            spread = (1 - abar) ** 0.5 * inverse @ a.T @ a
            return AffineStep(rho * inverse, abar**0.5 * inverse @ a.T @ y, spread)

        form = {"on_state": on_state}
    partitions = [slice_partition(4000)] * steps
    whole = reverse_process(prior, data, equal_times(steps), partitions, 0.8, batch_blocks=4000)
    x = whole.run(whole.start((4000, 6, 6), torch.Generator().manual_seed(5)))
    mean, cov = carried(prior, [slice_partition(36)] * steps, 36, noise_fraction=0.8, **form)
    pixels = x.reshape(4000, 36).double().numpy().T
    variance = np.diag(cov)
    assert (np.abs(pixels.mean(1) - mean) < 5 * np.sqrt(variance / 4000) + 1e-3).all()
    errors = 5 * np.sqrt((np.outer(variance, variance) + cov**2) / 4000) + 1e-3
    assert (np.abs(np.cov(pixels) - cov) < errors).all()
    assert np.abs(cov - np.diag(variance)).max() > 0.01, "the data couple the pixels"
