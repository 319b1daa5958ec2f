"""Fan and cone scans through every method: the same calls, the same scales as a parallel beam."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from diffusionblend.data.projections import Projections
from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError
from diffusionblend.geometry import ConeBeam, FanBeam, Helix, equally_spaced_angles
from diffusionblend.methods import METHODS, Cg, DiffusionBlendPP, Prox
from diffusionblend.methods.api import make_method, reconstruct
from diffusionblend.methods.diffusion.init import initial_image
from diffusionblend.methods.problem import Problem
from diffusionblend.simulation import simulate
from diffusionblend.units import hu_to_network
from operator_properties import random_array
from small_scan import MU_WATER, small_volume
from tiny_network import TINY, random_prior

KINDS = ("fan", "curved", "cone", "vectors", "helix")


def geometry_of(kind: str, volume: Volume, n_views: int, arc_degrees: float = 360.0):
    angles = equally_spaced_angles(n_views, arc_degrees)
    distances = {"source_to_axis_mm": 120.0, "source_to_detector_mm": 180.0}
    if kind in ("fan", "curved"):
        return FanBeam.fitting(volume.grid, angles_rad=angles, curved=kind == "curved", **distances)
    if kind == "helix":
        spots = ((-0.4, 0.0, -0.3), (0.4, 0.0, 0.3))
        return Helix.fitting(
            volume.grid, n_views, n_rows=6, curved=True, spots_mm=spots, **distances
        )
    cone = ConeBeam.fitting(volume.grid, angles_rad=angles, **distances)
    return cone if kind == "cone" else cone.to_vectors()


def scan(kind: str, volume: Volume, n_views: int = 24) -> Projections:
    geometry = geometry_of(kind, volume, n_views)
    return simulate(volume, geometry, mu_water_per_mm=MU_WATER)


@pytest.mark.parametrize("kind", KINDS)
def test_the_truth_solves_the_system(kind: str) -> None:
    volume = small_volume()
    projections = scan(kind, volume)
    assert isinstance(projections.notes["simulator"], str)
    problem = Problem.of(projections)
    u = torch.from_numpy(hu_to_network(volume.values))
    assert problem.relative_residual(u) < 1e-5
    scale = (problem.y + problem.water).abs().max()
    assert (problem.operator.forward(u) - problem.y).abs().max() < 1e-4 * scale


@pytest.mark.parametrize("kind", KINDS)
def test_conjugate_gradients_reach_the_truth_where_views_abound(kind: str) -> None:
    volume = small_volume((3, 10, 10))
    problem = Problem.of(scan(kind, volume, 40))
    step = Cg(cg_iterations=60).step(problem)
    assert step.couples_slices == (kind in ("cone", "vectors", "helix"))
    truth = torch.from_numpy(hu_to_network(volume.values))
    found = step(torch.full_like(truth, -1.0), slice(0, 3))
    assert (found - truth).norm() < 0.05 * (truth + 1).norm()


@pytest.mark.parametrize(("kind", "tolerance"), [("fan", 1e-3), ("cone", 0.3)])
def test_the_gradient_of_the_proximal_step_vanishes(kind: str, tolerance: float) -> None:
    """Of a cone to the tolerance of its iterations."""
    problem = Problem.of(scan(kind, small_volume(), 5))
    x0 = random_array((5, 16, 16), 0)
    z = Prox(rho=0.3).step(problem)(x0, slice(0, 5))
    operator = problem.operator
    gradient = operator.adjoint(operator.forward(z) - problem.y) + 0.3 * (z - x0)
    before = operator.adjoint(operator.forward(x0) - problem.y)
    assert gradient.abs().max() < tolerance
    assert gradient.norm() < 0.02 * before.norm()


def test_part_of_a_cone_cannot_be_taken() -> None:
    problem = Problem.of(scan("cone", small_volume(), 3))
    assert problem.of_slices(slice(0, 5)) is problem
    with pytest.raises(InputError, match="whole volume"):
        problem.of_slices(slice(0, 2))


@pytest.mark.parametrize("kind", ["fan", "curved", "cone", "helix"])
def test_fbp_comes_back_in_hu(kind: str) -> None:
    volume = small_volume((5, 32, 32), 1.25)
    smooth = np.full(volume.grid.shape, -1000.0)
    y, x = np.indices((32, 32)) - 15.5
    smooth[:, np.hypot(x, y) < 11] = 200.0
    volume = volume.with_values(smooth)
    projections = scan(kind, volume, 120)
    result = reconstruct(projections, "fbp")
    inside = np.hypot(x, y) < 8
    assert result.volume.values[2, inside].mean() == pytest.approx(200, abs=25)
    assert result.relative_residual < 0.2


def test_vectors_have_no_fbp() -> None:
    with pytest.raises(InputError, match="admm-tv"):
        reconstruct(scan("vectors", small_volume(), 3), "fbp")


def test_cg_stands_in_for_the_fbp_that_a_preset_starts_from() -> None:
    projections = scan("vectors", small_volume(), 6)
    problem = Problem.of(projections)
    fbp, cg = (initial_image(name, problem) for name in ("fbp", "cg"))
    np.testing.assert_array_equal(fbp, cg)
    settings = DiffusionBlendPP(steps=2, preset="balanced")
    sampled = reconstruct(projections, settings, prior=random_prior())
    assert np.isfinite(sampled.volume.values).all()


@pytest.mark.parametrize("kind", ["fan", "cone", "helix"])
def test_admm_tv_and_the_sampler_run_unchanged(kind: str) -> None:
    volume = small_volume()
    projections = scan(kind, volume, 12)
    tv = reconstruct(projections, "admm-tv", weight=0.01, iterations=15)
    assert tv.relative_residual < 0.1
    settings = DiffusionBlendPP(steps=3, seed=1, consistency=Cg())
    sampled = reconstruct(projections, settings, prior=random_prior())
    assert sampled.volume.grid == volume.grid
    assert np.isfinite(sampled.volume.values).all()
    more = replace(settings, consistency=Cg(cg_iterations=40))
    closer = reconstruct(projections, more, prior=random_prior())
    assert closer.relative_residual < 0.5 * sampled.relative_residual
    solved = reconstruct(projections, replace(settings, consistency=Prox()), prior=random_prior())
    assert solved.relative_residual < 0.5 * sampled.relative_residual


@pytest.mark.parametrize("method", ["dds", "dds-2d", "diffusionblend"])
@pytest.mark.parametrize("kind", ["fan", "cone"])
def test_the_other_samplers_run_unchanged(kind: str, method: str) -> None:
    volume, chosen = small_volume(), METHODS[method]
    prior = random_prior(config=replace(TINY, prior_type=chosen.prior.prior_type))
    settings = chosen(steps=3, seed=1)
    projections = scan(kind, volume, 12)
    sampled = reconstruct(projections, settings, prior=prior)
    assert sampled.volume.grid == volume.grid
    unmoved = reconstruct(projections, settings, prior=prior, consistency="none")
    assert sampled.relative_residual < 0.5 * unmoved.relative_residual


@pytest.mark.parametrize("name", ["admm-tv-z", "hard"])
@pytest.mark.parametrize("kind", ["fan", "cone"])
def test_the_other_data_consistency_steps_run_unchanged(kind: str, name: str) -> None:
    sampled, unmoved = (
        reconstruct(scan(kind, small_volume(), 12), prior=random_prior(), steps=3, consistency=step)
        for step in (name, "none")
    )
    assert sampled.relative_residual < 0.5 * unmoved.relative_residual


def test_the_gradient_step_is_for_independent_slices() -> None:
    dps = make_method(steps=2, consistency="dps")
    fan, cone = (scan(kind, small_volume(), 4) for kind in ("fan", "cone"))
    assert np.isfinite(reconstruct(fan, dps, prior=random_prior()).volume.values).all()
    with pytest.raises(InputError, match="couples slices"):
        reconstruct(cone, dps, prior=random_prior())


@pytest.mark.parametrize("method", ["sirt", "cgls"])
@pytest.mark.parametrize("kind", ["fan", "cone"])
def test_least_squares_run_unchanged(kind: str, method: str) -> None:
    projections = scan(kind, small_volume(), 12)
    assert reconstruct(projections, method).relative_residual < 0.2


def test_the_sampler_knows_the_noise_of_a_cone() -> None:
    volume = small_volume()
    geometry = geometry_of("cone", volume, 12)
    noisy = simulate(volume, geometry, 2e4, 2, mu_water_per_mm=MU_WATER)
    settings = {"steps": 3, "seed": 1, "consistency": "cg", "cg_iterations": 40}
    plain, known = (
        reconstruct(noisy, prior=random_prior(), **settings, **options)
        for options in ({}, {"weighted": True, "stop_at_noise": True})
    )
    assert np.isfinite(known.volume.values).all()
    # stopped at the noise, it does not fit the noise as well
    assert known.relative_residual > 1.2 * plain.relative_residual
