"""The whole path in Python on arrays, as a script would do it."""

from __future__ import annotations

import builtins
from dataclasses import replace

import numpy as np
import pytest

from diffusionblend import (
    DiffusionBlendPP,
    Fbp,
    Grid,
    InputError,
    ParallelBeam,
    Volume,
    evaluate,
    reconstruct,
    simulate,
)
from diffusionblend.methods import Cg
from tiny_network import random_prior


@pytest.fixture
def disc() -> Volume:
    """A disc of soft tissue with a denser core in air, 8 slices of 16 x 16."""
    grid = Grid(shape=(8, 16, 16), spacing_mm=(3.0, 2.0, 2.0))
    y, x = np.mgrid[:16, :16] - 7.5
    radius = np.hypot(x, y)
    hu = np.where(radius < 3, 300.0, np.where(radius < 7, 40.0, -1000.0))
    return Volume(np.broadcast_to(hu, grid.shape), grid)


@pytest.fixture
def no_writing(monkeypatch):
    """Fails a test in which a file is opened for writing."""
    real_open = builtins.open

    def reading_only(file, mode="r", *args, **kwargs):
        assert not set(mode) & set("wax+"), f"{file} was opened for writing"
        return real_open(file, mode, *args, **kwargs)

    monkeypatch.setattr(builtins, "open", reading_only)


def test_arrays_go_in_and_out_without_a_file(disc, no_writing, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    geometry = ParallelBeam.fitting(disc.grid, 60)
    scan = simulate(disc, geometry, photons=1e6, seed=4)
    found = {
        "fbp": reconstruct(scan, "fbp", window="hann"),
        "admm-tv": reconstruct(scan, "admm-tv", weight=0.05, iterations=40),
        "diffusionblend++": reconstruct(scan, prior=random_prior(), steps=3, rho=1e-3),
    }
    for result in found.values():
        assert result.volume.grid == disc.grid
        assert np.isfinite(result.volume.values).all()
    scores = {n: evaluate(r.volume, disc).volume_psnr_db for n, r in found.items()}
    nothing = Volume(np.full(disc.grid.shape, -1000.0), disc.grid)
    worst = evaluate(nothing, disc).volume_psnr_db
    assert scores["admm-tv"] > 25 > worst + 15
    assert scores["fbp"] > worst + 8
    assert found["diffusionblend++"].network_evaluations == 3
    assert 0 < found["diffusionblend++"].network_share < 1
    assert not list(tmp_path.iterdir())


def test_a_prior_may_be_given_as_an_object_or_as_its_folder(disc, tiny_prior):
    from diffusionblend import load_prior

    scan = simulate(disc, ParallelBeam.fitting(disc.grid, 4))
    volumes = [
        reconstruct(scan, prior=prior, steps=2, seed=1).volume.values
        for prior in (load_prior(tiny_prior), tiny_prior, str(tiny_prior))
    ]
    np.testing.assert_array_equal(volumes[0], volumes[1])
    np.testing.assert_array_equal(volumes[0], volumes[2])


def test_a_name_with_settings_and_an_instance_are_the_same(disc):
    scan = simulate(disc, ParallelBeam.fitting(disc.grid, views=4))
    given, prior = {"steps": 2, "seed": 1}, random_prior()
    instance = DiffusionBlendPP(**given, consistency=Cg(cg_iterations=3))
    volumes = [
        run(prior).volume.values
        for run in (
            lambda p: reconstruct(
                scan, "diffusionblend++", prior=p, consistency="cg", cg_iterations=3, **given
            ),
            lambda p: reconstruct(scan, instance, prior=p),
            lambda p: instance(scan, prior=p),
            lambda p: reconstruct(scan, replace(instance, seed=9), prior=p, seed=1),
        )
    ]
    for other in volumes[1:]:
        np.testing.assert_array_equal(other, volumes[0])


def test_a_method_takes_its_own_settings_alone(disc):
    scan = simulate(disc, ParallelBeam.fitting(disc.grid, 4))
    with pytest.raises(InputError, match=r"(?s)fbp has no setting 'weight'.*one of window"):
        reconstruct(scan, "fbp", weight=1.0)
    with pytest.raises(InputError, match=r"(?s)did you mean 'window'|did you mean window"):
        reconstruct(scan, Fbp(), windows="hann")
    with pytest.raises(InputError, match=r"(?s)'prox' has no setting 'cg_iterations'"):
        reconstruct(scan, "dds", consistency="prox", cg_iterations=3)
    with pytest.raises(InputError, match=r"(?s)no method 'sart'.*fbp, .*admm-tv, .*diffusionblend"):
        reconstruct(scan, "sart")


def test_progress_is_reported_step_by_step(disc):
    scan = simulate(disc, ParallelBeam.fitting(disc.grid, 4))
    seen = []
    reconstruct(scan, "admm-tv", iterations=4, on_step=lambda *done: seen.append(done))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
