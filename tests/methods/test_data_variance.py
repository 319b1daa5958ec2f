"""What the projections are worth, against noise that is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from diffusionblend.data.projections import Projections
from diffusionblend.geometry import ConeBeam, FanBeam, ParallelBeam
from diffusionblend.methods import data_variance
from diffusionblend.methods.data_variance import (
    MISFIT_OF_ALL,
    MISFIT_PIXELS,
    MISFIT_WORTH,
    NOISE_WORTH,
    ROUGHNESS_SHARE,
    Trust,
    columns_a_pixel,
    is_exact,
    is_simulated_on_its_grid,
    misfit_variance,
    roughness,
    squared_steps,
    trust_in_rays,
    variance_of_data,
)
from diffusionblend.methods.problem import Problem, photon_variance
from diffusionblend.phantom import synthetic_chest
from diffusionblend.simulation import simulate
from diffusionblend.units import hu_to_mu
from small_scan import scan, small_volume

SHAPE = (4, 24, 24)


def noisy(photons: float | None) -> Projections:
    volume = small_volume(SHAPE)
    return simulate(volume, scan(volume, 20).geometry, photons=photons, seed=2)


def test_lines_of_the_operator_itself_without_noise_are_exact() -> None:
    assert variance_of_data(Problem.of(noisy(None))) == 0.0


@pytest.mark.parametrize("photons", [300.0, 1e4])
def test_the_variance_of_photons_is_that_of_the_noise(photons: float) -> None:
    clean, found = Problem.of(noisy(None)), Problem.of(noisy(photons))
    measured = float((found.y - clean.y).square().mean())
    assert variance_of_data(found) == pytest.approx(measured, rel=0.15)


def test_another_grid_adds_the_misfit_of_the_operator() -> None:
    own = noisy(1e4)
    other = replace(own, notes={**own.notes, "simulated_shape": [4, 48, 48]})
    own_variance, variance = (variance_of_data(Problem.of(s)) for s in (own, other))
    assert variance - own_variance == pytest.approx(MISFIT_PIXELS**2)


def test_rays_that_are_left_out_cast_doubt_on_those_beside_them() -> None:
    own = noisy(1e4)
    seen = np.ones(own.values.shape, bool)
    seen[:, :, 10] = False
    own_variance, variance = (
        variance_of_data(Problem.of(s)) for s in (own, replace(own, measured=seen))
    )
    assert variance == pytest.approx(own_variance + MISFIT_PIXELS**2, rel=1e-3)


def test_a_scan_without_notes_is_judged_by_its_roughness() -> None:
    scan_of_noise = replace(noisy(300.0), notes={})
    clean = replace(noisy(None), notes={})
    rough, smooth = (variance_of_data(Problem.of(s)) for s in (scan_of_noise, clean))
    assert 0 < smooth < rough


def test_a_coarser_grid_is_not_the_one_of_the_simulation() -> None:
    own = noisy(None)
    assert is_simulated_on_its_grid(own)
    assert not is_simulated_on_its_grid(replace(own, grid=own.grid.coarser(2)))
    assert not is_simulated_on_its_grid(replace(own, notes={}))


def test_roughness_of_white_noise_is_its_variance_and_of_a_parabola_zero() -> None:
    rng = np.random.default_rng(0)
    white = torch.from_numpy(3 * rng.standard_normal((40, 20, 200)).astype(np.float32))
    assert roughness(white) == pytest.approx(9.0, rel=0.03)
    parabola = torch.linspace(-1, 1, 30).square().expand(2, 3, 30)
    assert roughness(parabola) < 1e-12
    assert roughness(torch.ones(2, 3, 3)) == 0.0


def test_roughness_at_steps_of_a_pixel_leaves_out_what_lies_between() -> None:
    rng = np.random.default_rng(1)
    pixels = torch.from_numpy(rng.standard_normal((5, 4, 60)))
    between = torch.from_numpy(rng.standard_normal((5, 4, 60)))
    lines = torch.stack([pixels, between], -1).flatten(-2)
    each = (roughness(pixels) + roughness(between)) / 2
    assert roughness(lines, 2) == pytest.approx(each)
    assert roughness(torch.ones(2, 3, 7), 50) == 0.0  # fewer columns than three steps


def test_a_coarser_grid_leaves_smooth_lines_as_rough_as_they_are_to_its_pixels() -> None:
    """As twice as wide columns of the same scan would be; neighbouring ones are half as far."""
    own = replace(noisy(None), notes={})
    coarse = replace(own, grid=own.grid.coarser(2))
    assert (columns_a_pixel(own), columns_a_pixel(coarse)) == (1, 2)
    problem = Problem.of(coarse)
    lines = problem.y + problem.water
    wanted = (roughness(lines[..., ::2]) + roughness(lines[..., 1::2])) / 2
    assert variance_of_data(problem) == pytest.approx(ROUGHNESS_SHARE * wanted, rel=0.02)
    assert variance_of_data(problem) > 2 * ROUGHNESS_SHARE * roughness(lines)


def test_exact_are_lines_without_noise_of_the_grid_itself() -> None:
    own = noisy(None)
    assert is_exact(own)
    seen = np.ones(own.values.shape, bool)
    seen[0, 0, 0] = False
    others = [
        noisy(1e5),
        replace(own, photons=np.full(own.values.shape, 1e5)),
        replace(own, notes={}),
        replace(own, grid=own.grid.coarser(2)),
        replace(own, measured=seen),
    ]
    assert not any(is_exact(other) for other in others)


def from_finer(
    photons: float | None, kind: type[ParallelBeam] | type[FanBeam] | type[ConeBeam]
) -> Problem:
    volume = synthetic_chest(1, shape=(9, 96, 96), in_plane_mm=3.7)
    geometry = kind.fitting(volume.grid.coarser(2), views=20)
    return Problem.of(simulate(volume, geometry, photons=photons, seed=0, oversample=2))


@pytest.mark.parametrize("kind", [ParallelBeam, FanBeam])
def test_the_misfit_of_a_ray_is_as_large_as_is_told(kind) -> None:
    """Against lines of the true means over pixels: in size within a factor, and ray by ray."""
    volume = synthetic_chest(1, shape=(9, 96, 96), in_plane_mm=3.7)
    means = hu_to_mu(volume.values.clip(-1000.0)).reshape(9, 48, 2, 48, 2).mean((2, 4))
    problem = from_finer(None, kind)
    scan_ = problem.projections
    lines = problem.y + problem.water
    in_water = torch.from_numpy((means / scan_.mu_water_per_mm).astype(np.float32))
    squared = (problem.operator.forward(in_water) - lines).square()
    told = misfit_variance(lines, torch.zeros_like(lines))
    doubtful = told > told.median() * 4
    assert 0.02 < float(doubtful.float().mean()) < 0.5
    assert squared[doubtful].mean() > 5 * squared[~doubtful].mean()
    assert 0.3 < float(squared[doubtful].mean() / told[doubtful].mean()) < 3.0
    alike = squared.mean()
    likelihood = [float((v.log() + squared / v).mean()) for v in (told, alike.expand_as(told))]
    assert likelihood[0] < likelihood[1] - 0.2


def test_noise_is_not_taken_for_edges() -> None:
    """Steps by noise add nothing, so that rays through water have the misfit that all have."""
    noise = torch.full((6, 5, 400), 0.3)
    drawn = torch.Generator().manual_seed(0)
    lines = 20 + noise.sqrt() * torch.randn(noise.shape, generator=drawn)
    found = misfit_variance(lines, noise)
    assert found.min() == pytest.approx(MISFIT_OF_ALL**2)
    assert found.mean() < 1.1 * MISFIT_OF_ALL**2


def test_steps_are_the_larger_of_both_sides_a_pixel_away() -> None:
    lines = torch.tensor([[0.0, 1.0, 3.0, 3.0, -4.0]])
    assert squared_steps(lines).tolist() == [[1.0, 4.0, 4.0, 49.0, 49.0]]
    assert squared_steps(lines, 2).tolist() == [[9.0, 4.0, 49.0, 4.0, 49.0]]
    assert squared_steps(lines, 5).tolist() == squared_steps(lines, 9).tolist() == [[0.0] * 5]


def counted(problem: Problem) -> torch.Tensor:
    """Variance of each ray, as much of it as rho counts."""
    trust = trust_in_rays(problem)
    assert trust.weights is not None and float(trust.weights.max()) == pytest.approx(1.0)
    return trust.variance / trust.weights


@pytest.mark.parametrize("kind", [ParallelBeam, FanBeam])
def test_rays_are_weighed_by_one_over_the_variance_of_their_noise(kind) -> None:
    """That of noise drawn many times, where the operator itself simulated the lines."""
    volume = synthetic_chest(1, shape=(3, 128, 128), in_plane_mm=2.8)
    geometry = kind.fitting(volume.grid, views=6)
    clean = Problem.of(simulate(volume, geometry))
    found = Problem.of(simulate(volume, geometry, photons=1e5, seed=0))
    drawn = [Problem.of(simulate(volume, geometry, photons=1e5, seed=n)).y for n in range(100)]
    true = torch.stack([(y - clean.y).square() for y in drawn]).mean(0)
    told = counted(found) / NOISE_WORTH
    ratio = told / true  # at the edge of the body counts of neighbours differ much
    assert 0.85 < float(ratio.median()) < 1.15
    assert float(((ratio > 0.5) & (ratio < 2)).float().mean()) > 0.85
    assert float(true.max() / true.min()) > 10


def test_rays_of_another_grid_have_the_misfit_of_edges_too(monkeypatch) -> None:
    """The more, the more rays there are, up to as many as pixels."""
    problem = from_finer(1e5, ParallelBeam)
    found = {}
    for rays in (0.0, 0.5, 1.0, 3.0):
        monkeypatch.setattr(data_variance, "rays_per_pixel", lambda _, rays=rays: rays)
        found[rays] = counted(problem)
    lines = problem.y + problem.water
    misfit = MISFIT_WORTH * misfit_variance(lines, found[0.0] / NOISE_WORTH)
    torch.testing.assert_close(found[1.0] - found[0.0], misfit, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(found[0.5] - found[0.0], misfit / 2, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(found[3.0], found[1.0])


def test_slices_share_the_mean_variance_of_their_rays() -> None:
    problem = from_finer(1e5, ParallelBeam)
    trust, alike = trust_in_rays(problem), trust_in_rays(problem).alike()
    assert alike is not None and alike.shape == (20, 1, problem.y.shape[2])
    torch.testing.assert_close(trust.variance / alike[:, 0], counted(problem).mean(dim=1))
    assert Trust(1.0).alike() is None


def test_rays_count_alike_without_noise_or_a_count_of_photons() -> None:
    clean = Problem.of(noisy(None))
    assert trust_in_rays(clean) == Trust(0.0)
    volume = small_volume(SHAPE)
    few = simulate(volume, scan(volume, 8).geometry, photons=1e5, seed=2)
    uncounted = Problem.of(replace(few, notes={}))
    share = MISFIT_WORTH * 8 * uncounted.y.shape[2] / 24**2
    assert share < MISFIT_WORTH
    told = trust_in_rays(uncounted)
    assert told.weights is None and not told.starved
    assert told.variance == pytest.approx(share * variance_of_data(uncounted))


def with_a_view_of_single_photons(own: Projections) -> Problem:
    values = own.values.copy()
    values[3, :, 4:20] = np.log(1e5)  # a count of one
    return Problem.of(replace(own, values=values))


def test_rays_that_no_photon_passed_count_for_less() -> None:
    problem = with_a_view_of_single_photons(noisy(1e5))
    trust, others = trust_in_rays(problem), trust_in_rays(Problem.of(noisy(1e5)))
    assert trust.starved and not others.starved
    assert trust.weights is not None and others.weights is not None
    assert trust.weights.shape == problem.y.shape
    assert 0.0 < float(trust.weights[3, :, 9:15].max()) < 1e-2
    rest = [0, 1, 2, 4, 5]
    torch.testing.assert_close(trust.weights[rest], others.weights[rest])
    assert trust.variance == others.variance


def test_the_variance_of_a_starved_ray_is_by_its_neighbours_counts() -> None:
    own = noisy(1e5)
    values = own.values.copy()
    values[3] = np.log(1e5 / 10)
    values[3, :, 12] = np.log(1e5 / 1000)  # a hundred times the count of its neighbours
    weights = trust_in_rays(Problem.of(replace(own, values=values))).weights
    assert weights is not None and float(weights[3, :, 12].max()) < 0.5


@pytest.mark.parametrize("kind", [ParallelBeam, ConeBeam])
def test_rays_that_many_photons_passed_are_not_starved_however_unlike_they_are(kind) -> None:
    """With 1e8 photons a ray has many times the median variance, and is precise all the same."""
    volume = synthetic_chest(1, shape=(3, 64, 64), in_plane_mm=5.6)
    geometry = kind.fitting(volume.grid, views=20)
    for photons, starved in ((1e8, False), (1e7, False), (3e4, True)):
        problem = Problem.of(simulate(volume, geometry, photons=photons, seed=0))
        unit = problem.projections.mu_water_per_mm * volume.grid.spacing_mm[2]
        lines = (problem.y + problem.water) * unit
        variance = photon_variance(lines, problem.projections) / unit**2
        assert variance.max() > 8 * variance.median()
        assert (variance.max() > MISFIT_PIXELS**2) == starved
        assert trust_in_rays(problem).starved == starved


def in_a_cone(photons: float, shape: list[int]) -> Projections:
    volume = small_volume(SHAPE)
    own = simulate(volume, ConeBeam.fitting(volume.grid, views=20), photons=photons, seed=2)
    return replace(own, notes={**own.notes, "simulated_shape": shape})


@pytest.mark.parametrize("shape", [[4, 24, 24], [4, 48, 48]])
def test_in_a_cone_all_rays_count_that_are_not_starved(shape) -> None:
    problem = Problem.of(in_a_cone(1e5, shape))
    share = MISFIT_WORTH * min(1.0, problem.y.numel() / (4 * 24 * 24))
    assert trust_in_rays(problem) == Trust(share * variance_of_data(problem))


def test_in_a_cone_starved_rays_count_for_less_the_fewer_rays_there_are(monkeypatch) -> None:
    own = in_a_cone(1e5, [4, 24, 24])
    problem = with_a_view_of_single_photons(own)
    found = []
    for rays in (1.0, 0.25):
        monkeypatch.setattr(data_variance, "rays_per_pixel", lambda _, rays=rays: rays)
        trust = trust_in_rays(problem)
        assert trust.starved and trust.weights is not None
        found.append(trust.weights)
    many, few = found
    torch.testing.assert_close(few, many**1.75)
    assert float(many[3, :, 9:15].max()) < 0.1
    assert float(many[[0, 1, 2, 4, 5]].min()) == 1.0
