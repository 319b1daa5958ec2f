"""Simulated projections against known line integrals and the statistics of Beer's law."""

from __future__ import annotations

import math

import numpy as np
import pytest

import diffusionblend.simulation as simulation
from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError
from diffusionblend.geometry import ConeBeam, ParallelBeam
from diffusionblend.geometry.grid import Grid
from diffusionblend.phantom import synthetic_chest
from diffusionblend.simulation import (
    PAPER_ELECTRONIC_COUNTS,
    PAPER_PHOTONS,
    add_noise,
    planned_seconds,
    simulate,
    with_more_rays,
)
from diffusionblend.units import MU_WATER_PER_MM

AIR_HU = -1000.0


def water_box(pixel_mm: float = 2.0, n: int = 70, hu: float = 0.0, outside=AIR_HU) -> Volume:
    """A box of 100 x 100 mm in the middle of each slice."""
    values = np.full((3, n, n), outside)
    margin = (n - round(100 / pixel_mm)) // 2
    values[:, margin:-margin, margin:-margin] = hu
    return Volume(values, Grid(shape=values.shape, spacing_mm=(3.0, pixel_mm, pixel_mm)))


@pytest.mark.parametrize(("pixel_mm", "n"), [(2.0, 70), (0.5, 240)])
def test_100_mm_of_water(pixel_mm, n):
    volume = water_box(pixel_mm, n)
    geometry = ParallelBeam.fitting(volume.grid, angles_rad=(0.0, math.pi / 2, math.pi / 4))
    found = simulate(volume, geometry)
    middle = geometry.n_columns // 2
    assert found.values.shape == (3, 3, geometry.n_columns)
    np.testing.assert_allclose(found.values[:2, :, middle], 100 * MU_WATER_PER_MM, rtol=1e-5)
    diagonal = 100 * math.sqrt(2) - abs(2 * geometry.column_positions_mm[middle])
    np.testing.assert_allclose(found.values[2, :, middle], diagonal * MU_WATER_PER_MM, rtol=5e-3)
    assert found.values[:2, :, 2].max() == 0
    assert (found.grid, found.geometry) == (volume.grid, geometry)


def test_the_water_attenuation_scales_the_lines():
    volume = water_box(hu=500.0)
    geometry = ParallelBeam.fitting(volume.grid, angles_rad=(0.0,))
    found = simulate(volume, geometry, mu_water_per_mm=0.01)
    assert found.mu_water_per_mm == 0.01
    assert found.values.max() == pytest.approx(100 * 0.01 * 1.5, rel=1e-5)


def test_values_below_air_count_as_air():
    geometry = ParallelBeam.fitting(water_box().grid, 3)
    air = simulate(water_box(), geometry)
    below = simulate(water_box(outside=-3024.0), geometry)
    np.testing.assert_array_equal(air.values, below.values)


@pytest.mark.parametrize("line", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("electronic_counts", [0.0, 60.0])
def test_mean_and_variance_follow_beers_law(line, electronic_counts):
    """To first order var(line) = (N + sigma^2) / N^2 and bias = var / 2, with N = I0 exp(-line)."""
    samples = 200_000
    lines = np.full((1, 1, samples), line, dtype=np.float32)
    found = add_noise(lines, 2e4, electronic_counts, np.random.default_rng(1)).astype(np.float64)
    counts = 2e4 * math.exp(-line)
    variance = (counts + electronic_counts**2) / counts**2
    assert found.var() == pytest.approx(variance, rel=0.03)
    standard_error = math.sqrt(variance / samples)
    assert found.mean() == pytest.approx(line + variance / 2, abs=5 * standard_error)


def test_the_paper_noise_is_slight():
    volume = water_box()
    geometry = ParallelBeam.fitting(volume.grid, 5)
    clean = simulate(volume, geometry)
    noisy = simulate(
        volume, geometry, photons=PAPER_PHOTONS, electronic_counts=PAPER_ELECTRONIC_COUNTS
    )
    difference = noisy.values - clean.values
    assert 0.5e-3 < difference.std() < 5e-3
    open_beam = clean.values == 0
    assert difference[open_beam].std() == pytest.approx(1 / math.sqrt(1.11e6), rel=0.1)


def test_the_seed_decides_the_noise():
    volume = water_box()
    geometry = ParallelBeam.fitting(volume.grid, 4)
    first, again, other = (simulate(volume, geometry, photons=1e4, seed=seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first.values, again.values)
    assert (first.values != other.values).mean() > 0.9
    assert first.notes["seed"] == 5
    assert first.notes["photons"] == 1e4
    assert "seed" not in simulate(volume, geometry).notes


def test_noise_is_independent_in_every_column():
    noisy = add_noise(np.ones((40, 30, 50)), 1e4, 0.0, np.random.default_rng(0))
    residual = noisy - noisy.mean()
    for axis in range(3):
        near = np.take(residual, range(noisy.shape[axis] - 1), axis=axis)
        far = np.take(residual, range(1, noisy.shape[axis]), axis=axis)
        assert abs((near * far).mean()) < 0.03 * residual.var()


def test_zero_counts_stay_finite():
    noisy = add_noise(np.full((1, 1, 1000), 50.0), 100.0, 2.0, np.random.default_rng(0))
    assert np.isfinite(noisy).all()
    assert noisy.max() == pytest.approx(math.log(100))
    metal = water_box(hu=30_000.0)
    geometry = ParallelBeam.fitting(metal.grid, angles_rad=(0.0,))
    found = simulate(metal, geometry, photons=100.0, electronic_counts=2.0)
    assert np.isfinite(found.values).all()


def test_projections_beyond_the_memory_are_refused(monkeypatch):
    monkeypatch.setattr("diffusionblend.simulation.available_memory_bytes", lambda: 10**6)
    volume = synthetic_chest(0, shape=(4, 16, 16))
    with pytest.raises(InputError, match=r"of 9999 views would take .* 0\.001 GB are free"):
        simulate(volume, ParallelBeam.fitting(volume.grid, 9999))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"photons": 0.0}, "0.0 photons"),
        ({"photons": -1.0}, "-1.0 photons"),
        ({"photons": 1e30}, "1e.30 photons"),
        ({"photons": 1e4, "electronic_counts": -0.1}, "-0.1 counts"),
        ({"photons": 1e4, "electronic_counts": math.nan}, "nan counts"),
        ({"electronic_counts": 5.0}, "without photons"),
    ],
)
def test_bad_noise_is_an_error(wrong, words):
    volume = water_box()
    with pytest.raises(InputError, match=words) as raised:
        simulate(volume, ParallelBeam.fitting(volume.grid, 3), **wrong)
    assert raised.value.expected


def test_no_electronic_noise_is_poissons_alone():
    noisy = add_noise(np.zeros((1, 1, 100_000)), 1e4, 0.0, np.random.default_rng(0))
    assert noisy.std() == pytest.approx(1e-2, rel=0.02)


@pytest.mark.parametrize(
    ("compile_s", "cost"),
    [
        (0.0, lambda n: 0.01 + 0.002 * n),
        (3.0, lambda n: 0.01 + 0.002 * n),  # the first call of each way compiles
        (3.0, lambda n: 0.02 * n if n < 10 else 0.01 + 0.002 * n),  # few views by a matrix
        (0.0, lambda n: 2.0 * n),
    ],
)
def test_the_time_that_is_reported_is_that_of_all_views(monkeypatch, compile_s, cost):
    clock, compiled = [0.0], set()

    def simulate(volume, geometry, *noise):
        n, way = geometry.n_views, geometry.n_views < 10
        clock[0] += cost(n) + (0.0 if way in compiled else compile_s)
        compiled.add(way)

    monkeypatch.setattr(simulation, "simulate", simulate)
    monkeypatch.setattr(simulation.time, "perf_counter", lambda: clock[0])
    chest = synthetic_chest(0, shape=(3, 8, 8))
    geometry = ParallelBeam.fitting(chest.grid, 500)
    assert planned_seconds(chest, geometry) == pytest.approx(cost(500), rel=0.05)


def test_a_column_measures_the_mean_intensity_across_it():
    """A wall of 50 mm that covers half a column: -log((1 + exp(-mu 50 mm)) / 2) there."""
    values = np.full((1, 40, 40), AIR_HU)
    values[:, :, 21:] = 0.0  # water from the middle of a column of two pixels on
    volume = Volume(values, Grid(shape=values.shape, spacing_mm=(1.0, 1.25, 1.25)))
    geometry = ParallelBeam.fitting(volume.grid.coarser(2), angles_rad=(0.0,))
    found = simulate(volume, geometry, oversample=2)
    assert found.grid.shape == (1, 20, 20)
    assert found.grid.spacing_mm == (1.0, 2.5, 2.5)
    assert found.values.shape == (1, 1, geometry.n_columns)
    line = 40 * 1.25 * MU_WATER_PER_MM
    half = -math.log((1 + math.exp(-line)) / 2)
    measured = found.values[0, 0]
    edge = int(np.flatnonzero((measured > 0.01) & (measured < 0.99 * line))[0])
    assert measured[edge] == pytest.approx(half, rel=1e-4)
    beside = sorted(measured[[edge - 1, edge + 1]])
    assert beside == pytest.approx([0.0, line], abs=1e-4)


def test_the_rows_of_a_cone_are_averaged_too():
    volume = water_box(2.0, 70).with_values(np.full((3, 70, 70), 0.0))
    volume = Volume(
        np.repeat(volume.values, 4, axis=0), Grid(shape=(12, 70, 70), spacing_mm=(3.0, 2.0, 2.0))
    )
    cone = ConeBeam.fitting(volume.grid.coarser(2), views=2)
    fine = simulate(volume, with_more_rays(cone, 2))
    parts = fine.values.astype(float).reshape(2, cone.n_rows, 2, cone.n_columns, 2)
    expected = -np.log(np.exp(-parts).mean((2, 4)))
    found = simulate(volume, cone, oversample=2)
    np.testing.assert_allclose(found.values, expected, rtol=1e-4, atol=1e-5)


def test_a_simulation_states_its_pixels():
    volume = water_box(2.0, 70)
    geometry = ParallelBeam.fitting(volume.grid, views=2)
    assert simulate(volume, geometry).notes["simulated_shape"] == [3, 70, 70]
    coarse = ParallelBeam.fitting(volume.grid.coarser(2), views=2)
    found = simulate(volume, coarse, oversample=2)
    assert found.notes["simulated_shape"] == [3, 70, 70] != list(found.grid.shape)
    assert found.notes["oversample"] == 2


@pytest.mark.parametrize("oversample", [0, -1, 1.5, True])
def test_rays_across_a_column_are_a_whole_number(oversample):
    volume = water_box(2.0, 70)
    geometry = ParallelBeam.fitting(volume.grid, views=2)
    with pytest.raises(InputError, match="oversample is"):
        with_more_rays(geometry, oversample)


def test_vectors_have_no_columns_to_divide():
    volume = water_box(2.0, 70)
    vectors = ParallelBeam.fitting(volume.grid, views=2).to_vectors()
    with pytest.raises(InputError, match="VectorGeometry"):
        simulate(volume, vectors, oversample=2)
