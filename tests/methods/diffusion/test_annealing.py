"""Langevin sampling: its flow, its draw by the data and its result, against Gaussians' own laws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from diffusionblend.data.projections import Projections
from diffusionblend.errors import InputError
from diffusionblend.methods import Langevin
from diffusionblend.methods.api import reconstruct
from diffusionblend.methods.data_variance import Trust
from diffusionblend.methods.diffusion import annealing
from diffusionblend.methods.diffusion.annealing import (
    AnnealedLangevin,
    DataDraw,
    Round,
    back_to_prior,
    groups_of,
    rounds_of,
    timestep_of,
    wanted_levels,
)
from diffusionblend.methods.diffusion.state import State
from diffusionblend.methods.problem import Problem
from diffusionblend.priors.schedule import NoiseSchedule
from gaussian_prior import GaussianPrior, covariance
from gaussian_recursion import ABAR
from small_scan import dense_system, scan, small_volume
from tiny_network import TINY, random_prior

PRIOR = GaussianPrior(clean_neighbours=True)


def factor(sd: float, halvings: int) -> float:
    """What a Gaussian of that sd, and noise of 1, is multiplied by on the way back to it."""
    method = Langevin(rounds=1, first_level=1.0, last_level=0.5**halvings, halvings=halvings)
    (now,) = rounds_of(method, NoiseSchedule())
    levels = iter(now.levels)
    found = back_to_prior(
        torch.ones(1, 1, 1, dtype=torch.float64), now, lambda x: x / (1 + (next(levels) / sd) ** 2)
    )
    assert next(levels, None) is None
    return float(found)


@pytest.mark.parametrize("sd", [0.25, 0.5, 1.0])
def test_the_flow_carries_a_noisy_gaussian_to_the_clean_one(sd: float) -> None:
    exact = sd / (sd**2 + 1) ** 0.5
    errors = [abs(factor(sd, halvings) / exact - 1) for halvings in (0, 1, 2)]
    assert errors[2] < 0.02
    assert errors[0] > 2 * errors[1]
    assert factor(sd, 5) == pytest.approx(exact, rel=0.012)


def test_levels_fall_by_halves_and_are_evaluated_where_the_flow_passes() -> None:
    found = wanted_levels(Langevin(rounds=4, first_level=2.0, last_level=0.5, halvings=1))
    assert [levels[0] for levels in found] == [2.0, 2.0, 1.0, 0.5]
    assert found[2:] == [(1.0, 0.75, 0.5, 0.25), (0.5, 0.25)]


def test_rounds_are_at_the_levels_of_the_nearest_timesteps() -> None:
    for level in (0.02, 0.3, 1.0, 40.0):
        expected = np.abs(np.log((1 / ABAR - 1) ** 0.5 / level)).argmin()
        assert timestep_of(level, NoiseSchedule()) == expected
    wanted = (0.05, 0.0375, 0.025, 0.0125)
    method = Langevin(rounds=1, first_level=0.05, last_level=0.025, halvings=1)
    (found,) = rounds_of(method, NoiseSchedule())
    assert found.timesteps == tuple(timestep_of(level, NoiseSchedule()) for level in wanted)
    expected = (1 / ABAR[list(found.timesteps)] - 1) ** 0.5
    np.testing.assert_allclose(found.levels, expected, rtol=1e-3)
    assert found.level == found.levels[0] != pytest.approx(0.05, rel=1e-3)
    for first, last in ((0.02, 0.02), (0.1, 0.02), (100.0, 0.02)):
        whole = rounds_of(Langevin(first_level=first, last_level=last), NoiseSchedule())
        assert all((np.diff(r.levels) < 0).all() for r in whole)


@pytest.mark.parametrize("middle", [0.3, 0.5, 0.8])
def test_the_last_piece_is_exact_where_the_slope_is_a_parabola(middle: float) -> None:
    """Wherever its middle lies: dx / dsigma = 3 sigma - 2 sigma^2 falls to 0 from 5 / 6 at 1."""
    levels = iter((1.0, middle))

    def clean(x: torch.Tensor) -> torch.Tensor:
        at = next(levels)
        return x - at * (3 * at - 2 * at**2)

    start = torch.full((1, 1, 1), 5 / 6, dtype=torch.float64)
    found = back_to_prior(start, Round((0, 0), (1.0, middle)), clean)
    assert float(found) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(("n_slices", "k"), [(2, 3), (9, 3), (8, 5)])
def test_slices_that_are_renewed_together_do_not_see_one_another(n_slices: int, k: int) -> None:
    renewed = []
    for group in groups_of(n_slices, k, clean=True):
        middles = group.blocks[:, k // 2].tolist()
        for block, middle in zip(group.blocks.tolist(), middles, strict=True):
            assert set(block) & set(middles) == {middle}
        renewed += middles
    assert sorted(renewed) == list(range(n_slices))
    (whole,) = groups_of(n_slices, k, clean=False)
    assert whole.blocks[:, k // 2].tolist() == list(range(n_slices))


def noisy_scan() -> Projections:
    """Two slices of 4 x 4 pixels, five views, few photons."""
    made = scan(small_volume((2, 4, 4)), 5)
    grid = made.grid
    notes = made.notes | {
        "photons": 2e3,
        "simulated_shape": list(grid.shape),
        "simulated_spacing_mm": list(grid.spacing_mm),
    }
    return replace(made, notes=notes)


def test_the_draw_by_the_data_has_the_law_of_gaussians_the_data_s_variance_doubled() -> None:
    """It is affine in its noises, so that its covariance follows from unit ones."""
    problem, level, both = Problem.of(noisy_scan()), 0.6, slice(0, 2)
    draw = DataDraw(problem)
    assert draw.variance > 0
    x = torch.randn(2, 4, 4, generator=torch.Generator().manual_seed(0))
    still = torch.zeros_like(x), torch.zeros(draw.shape)
    mean = draw(x, both, level, *still)
    jacobian = []
    for which in (0, 1):
        for i in range(still[which].numel()):
            unit = [part.clone() for part in still]
            unit[which].view(-1)[i] = 1.0
            jacobian.append((draw(x, both, level, *unit) - mean).double().flatten().numpy())
    found = np.stack(jacobian).T @ np.stack(jacobian)
    grid = problem.operator.grid
    one = dense_system(problem.operator.geometry, grid) / grid.spacing_mm[2]
    a = np.kron(np.eye(2), one)
    y = problem.y.double().numpy().transpose(1, 0, 2).ravel()
    variance = 2 * draw.variance
    expected = np.linalg.inv(a.T @ a / variance + np.eye(32) / level**2)
    np.testing.assert_allclose(found, expected, atol=2e-4)
    by_hand = expected @ (a.T @ y / variance + x.double().numpy().ravel() / level**2)
    np.testing.assert_allclose(mean.double().numpy().ravel(), by_hand, atol=2e-4)


class EveryVoxel:
    """The proximal step of data that are the voxels themselves, y (row, slice, column)."""

    couples_slices, least = False, 1e-6

    def __init__(
        self,
        problem: EveryVoxel | None = None,
        rho: float | None = None,
        trust: Trust | None = None,
    ) -> None:
        if problem is not None:
            self.y, self.variance, self.problem = problem.y, problem.variance, self

    @classmethod
    def of(cls, y: torch.Tensor, variance: float) -> EveryVoxel:
        made = cls()
        made.y, made.variance = y.transpose(0, 1), variance
        return made

    def of_slices(self, slices: slice) -> EveryVoxel:
        return EveryVoxel.of(self.y.transpose(0, 1)[slices], self.variance)

    def proximal(self, x0: torch.Tensor, y: torch.Tensor, rho: float) -> torch.Tensor:
        return (y.transpose(0, 1) + rho * x0) / (1 + rho)


def columns_of(
    n_slices: int, variance: float, monkeypatch: pytest.MonkeyPatch, prior: GaussianPrior = PRIOR
) -> np.ndarray:
    """Independent draws (z, n) of a column, the same data of each: its slice's number / 10."""
    monkeypatch.setattr(annealing, "ProximalStep", EveryVoxel)
    monkeypatch.setattr(annealing, "variance_of_data", lambda problem: problem.variance)
    shape = (n_slices, 40, 50)
    y = torch.arange(n_slices)[:, None, None].expand(shape) / 10
    parts = groups_of(n_slices, 3, clean=prior.clean_neighbours)
    method = Langevin(rounds=50)
    data = DataDraw(EveryVoxel.of(y, variance))
    loop = AnnealedLangevin(rounds_of(method, prior.schedule), prior.schedule, len(parts), data)
    generator = torch.Generator().manual_seed(1)
    draw = lambda size: torch.randn(tuple(size), generator=generator)  # noqa: E731
    state = State(0, draw(shape), generator.get_state())
    x = loop.run(state, loop.executor(prior, parts, batch_blocks=100), draw, lambda state: None)
    prior.seen.clear()
    return x.double().reshape(n_slices, -1).numpy()


@pytest.mark.parametrize(
    ("n_slices", "variance", "tolerance"), [(6, 0.2, 0.05), (6, 2.0, 0.08), (2, 0.2, 0.05)]
)
def test_samples_have_the_posterior_s_mean_and_covariance(
    n_slices: int, variance: float, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of data with little noise and with much, and where there are two slices."""
    x = columns_of(n_slices, variance, monkeypatch)
    check_law(x, variance, tolerance, tolerance)


def test_samples_by_a_joint_prior_come_near_the_posterior(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its neighbours are noisy, so that some of the correlation along z is lost."""
    x = columns_of(6, 0.2, monkeypatch, GaussianPrior())
    check_law(x, 0.2, 0.08, 0.16)


def check_law(x: np.ndarray, variance: float, of_sd: float, of_correlation: float) -> None:
    """Compare columns (z, n) with the posterior of their data within tolerances."""
    n_slices = len(x)
    prior = np.linalg.inv(covariance(np.arange(n_slices), PRIOR.variance, PRIOR.correlation))
    expected = np.linalg.inv(prior + np.eye(n_slices) / variance)
    y = np.arange(n_slices) / 10
    mean = expected @ (prior.sum(1) * PRIOR.mean + y / variance)
    sd = np.diag(expected) ** 0.5
    np.testing.assert_allclose((x.mean(1) - mean) / sd, 0, atol=0.1)
    np.testing.assert_allclose(x.std(1) / sd, 1, atol=of_sd)
    np.testing.assert_allclose(np.corrcoef(x), expected / np.outer(sd, sd), atol=of_correlation)


def test_a_single_slice_is_refused() -> None:
    prior = random_prior(config=replace(TINY, prior_type="neighbours"))
    with pytest.raises(InputError, match="at least 2 slices"):
        reconstruct(scan(small_volume((1, 16, 16))), "langevin", prior=prior)


@pytest.mark.parametrize(
    "bad", [{"last_level": 4.0}, {"first_level": 200.0}, {"last_level": 0.001}, {"rounds": 0}]
)
def test_levels_that_the_prior_does_not_have_are_refused(bad: dict) -> None:
    with pytest.raises(InputError):
        Langevin(**bad)
