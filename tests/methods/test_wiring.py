"""What the settings say reaches the sampler and the data step, by way of `reconstruct` itself.

The samplers' recursions are checked in test_gaussian_methods.py with samplers built by hand.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from diffusionblend.data.projections import Projections
from diffusionblend.methods.consistencies import make_consistency
from diffusionblend.methods.diffusion import method as diffusion
from diffusionblend.methods.diffusion.consistency import ConjugateGradientStep, OnScaledState
from diffusionblend.methods.diffusion.sampler import Sampler
from diffusionblend.methods.diffusion.timesteps import sampling_timesteps
from diffusionblend.methods.diffusion.tpdm import draw_planes
from diffusionblend.methods.diffusion.tv_z import TotalVariationAlongZ
from diffusionblend.methods.problem import Measurement
from diffusionblend.methods.registry import METHODS, reconstruct
from diffusionblend.methods.settings import ON_THE_ESTIMATE, SamplingSettings
from diffusionblend.priors.partition import AXIAL
from small_scan import dense_system, scan, small_volume
from tiny_network import TINY, random_prior

SAMPLING = [n for n, m in METHODS.items() if issubclass(m.settings, SamplingSettings)]
SHAPE = (4, 16, 16)


@pytest.fixture(scope="module")
def projections() -> Projections:
    return scan(small_volume(SHAPE))


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[Sampler]:
    """Every sampler that is built."""
    found: list[Sampler] = []

    def kept(*places: object, **names: object) -> Sampler:
        found.append(Sampler(*places, **names))
        return found[-1]

    monkeypatch.setattr(diffusion, "Sampler", kept)
    return found


def sampler_of(
    name: str, settings: SamplingSettings, projections: Projections, built: list[Sampler]
) -> Sampler:
    priors = {
        n: random_prior(config=replace(TINY, layout=layout))
        for n, layout in (
            ("prior", METHODS[name].layout),
            ("perpendicular_prior", METHODS[name].perpendicular),
        )
        if layout
    }
    reconstruct(projections, method=name, settings=settings, **priors)
    return built[-1]


@pytest.mark.parametrize("renewal", ["share", "ddim"])
@pytest.mark.parametrize("name", SAMPLING)
def test_the_sampler_is_the_one_of_the_settings(
    name: str, renewal: str, projections: Projections, built: list[Sampler]
) -> None:
    given: dict[str, object] = {"steps": 4, "eta": 0.6, "renewal": renewal, "time_power": 2.0}
    settings = METHODS[name].settings()
    if settings.consistency in ON_THE_ESTIMATE:
        given |= {"dual_decay": 0.4, "average_below": 70}
    given |= {"start": "noise", "batch_blocks": 3, "nonnegative": False}
    settings = replace(settings, **given)
    if name == "diffusion-mbir":
        settings = replace(settings, corrector_snr=0.31)
    sampler = sampler_of(name, settings, projections, built)
    assert (sampler.eta, sampler.renewal, sampler.batch_blocks) == (0.6, renewal, 3)
    assert list(sampler.times) == list(sampling_timesteps(4, 1000, power=2.0))
    assert sampler.dual_decay == given.get("dual_decay", 0.0)
    assert sampler.average_below == given.get("average_below", 0)
    assert sampler.lowest is None
    assert sampler.corrector_snr == (0.31 if name == "diffusion-mbir" else 0.0)
    assert isinstance(sampler.consistency, OnScaledState) == (name == "diffusion-mbir")
    assert len(sampler.partitions) == 4


@pytest.mark.parametrize("name", SAMPLING)
def test_estimates_are_raised_to_no_attenuation_by_default(
    name: str, projections: Projections, built: list[Sampler]
) -> None:
    settings = replace(METHODS[name].settings(), steps=2)
    assert sampler_of(name, settings, projections, built).lowest == -1


@pytest.mark.parametrize(("name", "given"), [("dds-2d", 1), ("diffusionblend", 3)])
def test_methods_of_one_prior_see_their_slices_alone_or_among_neighbours(
    name: str, given: int, projections: Projections, built: list[Sampler]
) -> None:
    sampler = sampler_of(name, replace(METHODS[name].settings(), steps=2), projections, built)
    assert {p.blocks.shape[1] for p in sampler.partitions} == {given}


def test_one_step_in_the_plane_ratio_is_coronal() -> None:
    drawn = islice(draw_planes(SHAPE, 5, torch.Generator().manual_seed(0)), 1000)
    coronal = sum(p.axis != AXIAL for p in drawn)
    assert coronal == pytest.approx(200, abs=5 * (1000 * 0.2 * 0.8) ** 0.5)


def test_tpdm_takes_its_plane_ratio(projections: Projections, built: list[Sampler]) -> None:
    always = replace(METHODS["tpdm"].settings(), steps=4, plane_ratio=1)
    sampler = sampler_of("tpdm", always, projections, built)
    assert {p.axis for p in sampler.partitions} == {1}


def system(measurement: Measurement) -> tuple[np.ndarray, np.ndarray]:
    """A and y of the slices, dense, in the unit of the measurement."""
    operator = measurement.operator
    dense = dense_system(operator.geometry, operator.grid) / operator.grid.spacing_mm[2]
    y = measurement.y.double().numpy().transpose(0, 2, 1).reshape(len(dense), -1)
    return dense, y


@pytest.mark.parametrize(("rho", "expected"), [(None, 0.1), (0.7, 0.7)])
def test_prox_pulls_with_its_rho(
    rho: float | None, expected: float, projections: Projections
) -> None:
    measurement = Measurement.of(projections)
    settings = METHODS["dds-2d"].settings(consistency="prox", rho=rho)
    x0 = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
    got = make_consistency(settings, measurement)(x0, slice(0, SHAPE[0]))
    dense, y = system(measurement)
    columns = x0.double().numpy().reshape(SHAPE[0], -1).T
    normal = dense.T @ dense + expected * np.eye(dense.shape[1])
    wanted = np.linalg.solve(normal, dense.T @ y + expected * columns)
    np.testing.assert_allclose(got.numpy().reshape(SHAPE[0], -1).T, wanted, atol=2e-3)


def test_hard_weighs_the_state_with_its_weight(projections: Projections) -> None:
    measurement, weight = Measurement.of(projections), 0.3
    settings = METHODS["dds-2d"].settings(consistency="hard", hard_weight=weight)
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(2))
    step = make_consistency(settings, measurement)
    got = step.on_state(x, slice(0, SHAPE[0]), 1.0, torch.zeros(SHAPE))
    dense, y = system(measurement)
    columns = x.double().numpy().reshape(SHAPE[0], -1).T
    normal = (1 - weight) * dense.T @ dense + weight * np.eye(dense.shape[1])
    wanted = np.linalg.solve(normal, (1 - weight) * dense.T @ y + weight * columns)
    np.testing.assert_allclose(got.numpy().reshape(SHAPE[0], -1).T, wanted, atol=2e-3)


def test_dps_goes_its_step_along_the_gradient(projections: Projections) -> None:
    settings = METHODS["tpdm"].settings(dps_step=2.5)
    step = make_consistency(settings, Measurement.of(projections))
    x, gradient = torch.ones(2, 2, 2), torch.full((2, 2, 2), 3.0)
    moved = step.moved(x, gradient, torch.tensor(16.0))
    np.testing.assert_allclose(moved.numpy(), 1 - 2.5 * 3 / 4, rtol=1e-6)


def test_the_other_steps_have_their_numbers(projections: Projections) -> None:
    measurement = Measurement.of(projections)
    numbers = {"tv_z_weight": 0.37, "tv_z_penalty": 2.0, "cg_iterations": 7, "tv_z_keeps": True}
    tv = make_consistency(METHODS["dds"].settings(**numbers), measurement)
    assert isinstance(tv, TotalVariationAlongZ)
    assert (tv.weight, tv.penalty, tv.cg_iterations, tv.keeps) == (0.37, 2.0, 7, True)
    cg = make_consistency(METHODS["dds-2d"].settings(cg_iterations=7, rho=0.2), measurement)
    assert isinstance(cg, ConjugateGradientStep) and (cg.iterations, cg.rho) == (7, 0.2)
