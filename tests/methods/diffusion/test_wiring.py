"""What the settings are reaches the loop, its executor and its data-consistency step.

By way of `reconstruct` itself. The recursions of the loop are checked in test_gaussian_methods.py
with loops built by hand.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from diffusionblend.data.projections import Projections
from diffusionblend.methods import METHODS, Cg, DiffusionMethod, Dps, Hard, Prox, TvZ
from diffusionblend.methods.api import reconstruct
from diffusionblend.methods.base import Execution
from diffusionblend.methods.diffusion import run
from diffusionblend.methods.diffusion.base import EstimateMethod
from diffusionblend.methods.diffusion.consistency.cg import ConjugateGradientStep
from diffusionblend.methods.diffusion.consistency.scaled_state import OnScaledState
from diffusionblend.methods.diffusion.consistency.tv_z import TotalVariationAlongZ
from diffusionblend.methods.diffusion.timesteps import sampling_timesteps
from diffusionblend.methods.diffusion.tpdm import draw_planes
from diffusionblend.methods.problem import Problem
from diffusionblend.priors.partition import AXIAL
from reverse_process import ReverseProcess
from small_scan import dense_system, scan, small_volume
from tiny_network import TINY, random_prior

SAMPLING = [n for n in METHODS if issubclass(METHODS[n], DiffusionMethod)]
SHAPE = (4, 16, 16)


@pytest.fixture(scope="module")
def projections() -> Projections:
    return scan(small_volume(SHAPE))


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[ReverseProcess]:
    """Every loop that is made, with its executor."""
    found: list[ReverseProcess] = []
    make_loop = run._loop

    def kept(method, problem, prior, executor):
        found.append(ReverseProcess(make_loop(method, problem, prior, executor), executor))
        return found[-1].loop

    monkeypatch.setattr(run, "_loop", kept)
    return found


def process_of(
    name: str, projections: Projections, built: list[ReverseProcess], **settings: object
) -> ReverseProcess:
    needed = METHODS[name].prior
    priors = {"prior": random_prior(config=replace(TINY, prior_type=needed.prior_type))}
    if needed.coronal:
        priors["coronal_prior"] = random_prior(config=replace(TINY, prior_type="coronal"))
    execution = Execution(batch_blocks=3)
    reconstruct(projections, name, execution=execution, **priors, **settings)
    return built[-1]


@pytest.mark.parametrize("noise", ["noise_fraction", "ddim_eta"])
@pytest.mark.parametrize("name", SAMPLING)
def test_loop_and_executor_are_those_of_the_settings(
    name: str, noise: str, projections: Projections, built: list[ReverseProcess]
) -> None:
    given: dict[str, object] = {"steps": 4, noise: 0.6, "time_power": 2.0, "init": "noise"}
    of_estimates = issubclass(METHODS[name], EstimateMethod)
    on_estimate = of_estimates and METHODS[name]().consistency.on_estimate
    if on_estimate:
        given |= {"dual_damping": 0.4, "tail_average_below": 300}
    if name == "diffusion-mbir":
        given["corrector_snr"] = 0.31
    process = process_of(name, projections, built, nonnegative=False, **given)
    loop, executor = process.loop, process.executor
    times = sampling_timesteps(4, 1000, power=2.0)
    assert loop.ddim_eta == (0.6 if noise == "ddim_eta" else None)
    assert loop.noise_fraction == (0.6 if noise == "noise_fraction" else 0.0)
    assert executor.batch_blocks == 3
    assert list(executor.times) == list(times)
    alpha_bar = executor.prior.schedule.alpha_bar
    assert list(loop.abar) == pytest.approx([float(alpha_bar[t]) for t in times])
    assert loop.dual_damping == (0.4 if on_estimate else 0.0)
    assert sum(t < 300 for t in times) == 2
    assert loop.averaged == (2 if on_estimate else 1)
    assert loop.lowest is None
    assert loop.corrector_snr == (0.31 if name == "diffusion-mbir" else 0.0)
    scaled = isinstance(loop.consistency._inner, OnScaledState)
    assert scaled == (name == "diffusion-mbir")
    assert len(executor.partitions) == 4


@pytest.mark.parametrize("name", SAMPLING)
def test_estimates_are_clipped_at_no_attenuation_by_default(
    name: str, projections: Projections, built: list[ReverseProcess]
) -> None:
    assert process_of(name, projections, built, steps=2).loop.lowest == -1


@pytest.mark.parametrize(("name", "seen"), [("dds-2d", 1), ("diffusionblend", 3)])
def test_methods_of_one_prior_see_their_slices_alone_or_among_neighbours(
    name: str, seen: int, projections: Projections, built: list[ReverseProcess]
) -> None:
    executor = process_of(name, projections, built, steps=2).executor
    assert {p.blocks.shape[1] for p in executor.partitions} == {seen}


def test_one_step_in_the_plane_ratio_is_coronal() -> None:
    drawn = islice(draw_planes(SHAPE, 5, torch.Generator().manual_seed(0)), 1000)
    coronal = sum(p.axis != AXIAL for p in drawn)
    assert coronal == pytest.approx(200, abs=5 * (1000 * 0.2 * 0.8) ** 0.5)


def test_tpdm_takes_its_plane_ratio(projections: Projections, built: list[ReverseProcess]) -> None:
    executor = process_of("tpdm", projections, built, steps=4, plane_ratio=1).executor
    assert {p.axis for p in executor.partitions} == {1}


def system(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """A and y of the slices, dense, in the unit of the problem."""
    operator = problem.operator
    dense = dense_system(operator.geometry, operator.grid) / operator.grid.spacing_mm[2]
    y = problem.y.double().numpy().transpose(0, 2, 1).reshape(len(dense), -1)
    return dense, y


@pytest.mark.parametrize(("chosen", "expected"), [(Prox(rho=0.1), 0.1), (Prox(rho=0.7), 0.7)])
def test_prox_pulls_with_its_rho(chosen: Prox, expected: float, projections: Projections) -> None:
    problem = Problem.of(projections)
    x0 = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
    got = chosen.step(problem)(x0, slice(0, SHAPE[0]))
    dense, y = system(problem)
    columns = x0.double().numpy().reshape(SHAPE[0], -1).T
    normal = dense.T @ dense + expected * np.eye(dense.shape[1])
    wanted = np.linalg.solve(normal, dense.T @ y + expected * columns)
    np.testing.assert_allclose(got.numpy().reshape(SHAPE[0], -1).T, wanted, atol=2e-3)


def test_hard_weighs_the_state_with_its_weight(projections: Projections) -> None:
    problem, weight = Problem.of(projections), 0.3
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(2))
    step = Hard(hard_weight=weight).step(problem)
    got = step.on_state(x, slice(0, SHAPE[0]), 1.0, torch.zeros(SHAPE))
    dense, y = system(problem)
    columns = x.double().numpy().reshape(SHAPE[0], -1).T
    normal = (1 - weight) * dense.T @ dense + weight * np.eye(dense.shape[1])
    wanted = np.linalg.solve(normal, (1 - weight) * dense.T @ y + weight * columns)
    np.testing.assert_allclose(got.numpy().reshape(SHAPE[0], -1).T, wanted, atol=2e-3)


def test_dps_goes_its_step_along_the_gradient(projections: Projections) -> None:
    step = Dps(dps_step=2.5).step(Problem.of(projections))
    x, gradient = torch.ones(2, 2, 2), torch.full((2, 2, 2), 3.0)
    moved = step.moved(x, gradient, torch.tensor(16.0))
    np.testing.assert_allclose(moved.numpy(), 1 - 2.5 * 3 / 4, rtol=1e-6)


def test_the_other_steps_have_their_numbers(projections: Projections) -> None:
    problem = Problem.of(projections)
    numbers = {"tv_z_weight": 0.37, "tv_z_penalty": 2.0, "cg_iterations": 7, "tv_z_keep": True}
    tv = TvZ(**numbers).step(problem)
    assert isinstance(tv, TotalVariationAlongZ)
    assert (tv.weight, tv.penalty, tv.cg_iterations, tv.keeps) == (0.37, 2.0, 7, True)
    cg = Cg(cg_iterations=7, rho=0.2).step(problem)
    assert isinstance(cg, ConjugateGradientStep) and (cg.iterations, cg.rho) == (7, 0.2)
