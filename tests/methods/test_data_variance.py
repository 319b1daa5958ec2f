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


def test_rays_of_usual_noise_all_count() -> None:
    problem = Problem.of(noisy(1e5))
    assert trust_in_rays(problem) == Trust(variance_of_data(problem))
    assert trust_in_rays(Problem.of(noisy(None))) == Trust(0.0)


def test_rays_that_no_photon_passed_count_for_less() -> None:
    own = noisy(1e5)
    values = own.values.copy()
    values[3, :, 4:20] = np.log(1e5)  # a count of one
    problem = Problem.of(replace(own, values=values))
    trust = trust_in_rays(problem)
    assert trust.starved and trust.weights is not None
    assert trust.weights.shape == problem.y.shape
    assert 0.0 < float(trust.weights[3, :, 9:15].max()) < 1e-2
    assert float(trust.weights[[0, 1, 2, 4, 5]].min()) == 1.0
    assert trust.variance < variance_of_data(problem) / 10


def test_the_variance_of_a_starved_ray_is_by_its_neighbours_counts() -> None:
    own = noisy(1e5)
    values = own.values.copy()
    values[3] = np.log(1e5 / 10)
    values[3, :, 12] = np.log(1e5 / 1000)  # a hundred times the count of its neighbours
    weights = trust_in_rays(Problem.of(replace(own, values=values))).weights
    assert weights is not None and float(weights[3, :, 12].max()) < 0.5


def test_rays_that_many_photons_passed_are_not_starved_however_unlike_they_are() -> None:
    """With 1e8 photons a ray has many times the median variance, and is precise all the same."""
    volume = synthetic_chest(1, shape=(3, 64, 64), in_plane_mm=5.6)
    geometry = ParallelBeam.fitting(volume.grid, views=20)
    for photons, starved in ((1e8, False), (1e7, False), (3e4, True)):
        problem = Problem.of(simulate(volume, geometry, photons=photons, seed=0))
        unit = problem.projections.mu_water_per_mm * volume.grid.spacing_mm[2]
        lines = (problem.y + problem.water) * unit
        variance = photon_variance(lines, problem.projections) / unit**2
        assert variance.max() > 8 * variance.median()
        assert (variance.max() > MISFIT_PIXELS**2) == starved
        trust = trust_in_rays(problem)
        assert trust.starved == starved == (trust.weights is not None)
        assert starved or trust.variance == pytest.approx(float(variance.mean()))


def test_starved_rays_are_trusted_the_less_the_fewer_rays_there_are(monkeypatch) -> None:
    own = noisy(1e5)
    values = own.values.copy()
    values[3, :, 4:20] = np.log(1e5)
    problem = Problem.of(replace(own, values=values))
    found = []
    for rays in (1.0, 0.25):
        monkeypatch.setattr(data_variance, "rays_per_pixel", lambda _, rays=rays: rays)
        found.append(trust_in_rays(problem).weights)
    many, few = found
    torch.testing.assert_close(few, many**1.75)


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


def test_in_a_cone_all_rays_count_that_are_not_starved() -> None:
    problem = from_finer(1.11e6, ConeBeam)
    assert trust_in_rays(problem) == Trust(variance_of_data(problem))


def test_with_few_photons_rays_as_many_as_pixels_count_that_are_not_starved(monkeypatch) -> None:
    own = from_finer(1e5, ParallelBeam).projections
    values = own.values.copy()
    values[3, :, 20:40] = np.log(1e5)  # a count of one
    problem = Problem.of(replace(own, values=values))
    capped = []
    for rays in (0.99, 1.0):
        monkeypatch.setattr(data_variance, "rays_per_pixel", lambda _, rays=rays: rays)
        trust = trust_in_rays(problem)
        assert trust.starved and trust.weights is not None
        capped.append(float((trust.weights == 1.0).float().mean()))
    assert capped[0] < 0.3 < 0.5 < capped[1]


def test_rays_of_another_grid_are_weighed_by_one_over_their_variance() -> None:
    problem = from_finer(1e5, ParallelBeam)
    trust = trust_in_rays(problem)
    assert trust.weights is not None and not trust.starved
    assert float(trust.weights.max()) == pytest.approx(1.0)
    scan_ = problem.projections
    unit = scan_.mu_water_per_mm * scan_.grid.spacing_mm[2]
    variance = trust.variance / trust.weights
    assert float(variance.min()) >= MISFIT_OF_ALL**2
    lines = problem.y + problem.water
    photons = float(photon_variance(lines * unit, scan_).mean()) / unit**2
    assert photons < float(variance.mean()) - MISFIT_OF_ALL**2 < 5 * photons
    alike = trust.alike()
    assert alike is not None and alike.shape == (20, 1, problem.y.shape[2])
    torch.testing.assert_close(trust.variance / alike[:, 0], variance.mean(dim=1))
    assert Trust(1.0).alike() is None
