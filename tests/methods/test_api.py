"""Several samples, and the running estimate, by one call."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from diffusionblend.data.projections import Projections
from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError
from diffusionblend.methods import DiffusionBlendPP
from diffusionblend.methods.api import make_method, reconstruct, sample, steps
from diffusionblend.priors.prior import Prior
from diffusionblend.simulation import simulate
from small_scan import scan, small_volume
from tiny_network import TINY, random_prior

N_STEPS = 4
PATIENCE_SECONDS = 30.0


@pytest.fixture(scope="module")
def projections() -> Projections:
    return scan(small_volume())


@pytest.fixture(scope="module")
def prior() -> Prior:
    return random_prior()


def single(projections: Projections, prior: Prior, seed: int, **settings: object) -> np.ndarray:
    given = {"steps": N_STEPS, "init": "noise"} | settings
    return reconstruct(projections, prior=prior, seed=seed, **given).volume.values


@pytest.mark.parametrize("settings", [{}, {"init": "fbp"}], ids=["noise", "fbp"])
def test_an_ensemble_is_numpys_mean_and_deviation_of_single_runs(
    projections: Projections, prior: Prior, settings: dict[str, str]
) -> None:
    """From noise unless an initialisation is given; seeds from the one that is set."""
    seen: list[tuple[int, int]] = []
    found = sample(
        projections,
        n=3,
        prior=prior,
        keep_samples=True,
        on_sample=lambda *done: seen.append(done),
        seed=5,
        steps=N_STEPS,
        **settings,
    )
    singles = np.stack([single(projections, prior, s, **settings) for s in (5, 6, 7)])
    np.testing.assert_allclose(found.mean.values, singles.mean(0), atol=1e-2)
    deviation = found.standard_deviation.values
    np.testing.assert_allclose(deviation, singles.std(0, ddof=1), atol=1e-2)
    assert deviation.max() > 1
    for kept, expected in zip(found.samples, singles, strict=True):
        np.testing.assert_array_equal(kept.values, expected)
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert found.mean.grid == projections.grid


def test_samples_of_a_coarse_run_begin_its_first_stage_with_noise() -> None:
    fine, coarse = random_prior(), random_prior(config=replace(TINY, image_size=8))
    roles = frozenset({"prior", "coarse_prior"})
    method = DiffusionBlendPP(steps=2, fine_steps=2)
    assert method.for_ensemble(3, roles) == replace(method, seed=3, coarse_init="noise")
    priors = {"prior": fine, "coarse_prior": coarse}
    projections = scan(small_volume())
    found = sample(projections, method, n=2, keep_samples=True, **priors)
    expected = reconstruct(projections, method, coarse_init="noise", **priors).volume.values
    np.testing.assert_array_equal(found.samples[0].values, expected)


@pytest.mark.parametrize("call", [reconstruct, sample])
def test_a_photon_count_that_the_noise_contradicts_is_warned_of(call, prior: Prior) -> None:
    volume = small_volume()
    noisy = simulate(volume, scan(volume).geometry, photons=1e4, seed=1)
    wrong = replace(noisy, notes={**noisy.notes, "photons": 0.5})
    settings = {"prior": prior, "steps": N_STEPS}
    with pytest.warns(UserWarning, match="said to have 0.5 photons") as warned:
        call(wrong, **settings)
    assert [str(Path(one.filename).name) for one in warned] == ["test_api.py"]
    call(noisy, **settings)  # where every warning is an error


def test_samples_are_not_kept_unless_asked_for(projections: Projections, prior: Prior) -> None:
    assert sample(projections, n=2, prior=prior, steps=2).samples == ()


def test_what_cannot_be_sampled_is_refused(projections: Projections, prior: Prior) -> None:
    with pytest.raises(InputError, match="draws nothing at random"):
        sample(projections, "fbp", n=2)
    with pytest.raises(InputError, match="An ensemble of 1 sample"):
        sample(projections, n=1, prior=prior)
    with pytest.raises(InputError, match="0 samples"):
        sample(projections, n=0, prior=prior)


def test_every_estimate_comes_in_order_and_the_last_is_the_result(
    projections: Projections, prior: Prior
) -> None:
    """Without tail averaging the result is the last estimate itself."""
    given = {"prior": prior, "steps": N_STEPS, "tail_average_below": 0}
    seen: list[tuple[int, int, Volume]] = []
    result = reconstruct(projections, on_estimate=lambda *s: seen.append(s), **given)
    assert [s[:2] for s in seen] == [(i, N_STEPS) for i in range(1, N_STEPS + 1)]
    np.testing.assert_allclose(seen[-1][2].values, result.volume.values, atol=1e-3)
    assert all(s[2].grid == projections.grid for s in seen)
    unseen = reconstruct(projections, **given)
    np.testing.assert_array_equal(unseen.volume.values, result.volume.values)
    handed_out = list(steps(projections, **given))
    assert [(s.done, s.total) for s in handed_out] == [s[:2] for s in seen]
    for one, other in zip(handed_out, seen, strict=True):
        np.testing.assert_array_equal(one.estimate.values, other[2].values)


def test_estimates_fit_the_data_before_the_last_step_does(
    projections: Projections, prior: Prior
) -> None:
    """They are the consistent estimates, not the noisy states."""
    from small_scan import residual_by_hand

    given = {"prior": prior, "steps": 6, "init": "noise", "rho": 1e-3}
    for step in steps(projections, **given):
        assert residual_by_hand(projections, step.estimate.values) < 0.02


def test_estimates_of_both_runs_of_a_coarse_initialisation_count_through() -> None:
    coarse = random_prior(config=replace(TINY, image_size=8))
    projections = scan(small_volume())
    found = list(
        steps(projections, prior=random_prior(), coarse_prior=coarse, steps=3, fine_steps=2)
    )
    assert [(s.done, s.total) for s in found] == [(i, 5) for i in range(1, 6)]
    sizes = [s.estimate.grid.shape[2] for s in found]
    assert sizes == [8, 8, 8, 16, 16]


def running() -> set[threading.Thread]:
    return {t for t in threading.enumerate() if t.is_alive()}


def test_steps_left_early_stop_the_run_and_its_thread(
    projections: Projections, prior: Prior
) -> None:
    before, evaluations = running(), []
    denoise = prior.denoise
    counted = replace(prior)
    counted.denoise = lambda *a: evaluations.append(1) or denoise(*a)  # type: ignore
    for step in steps(projections, prior=counted, steps=200, init="noise"):
        if step.done == 2:
            break
    deadline = time.monotonic() + PATIENCE_SECONDS
    while running() - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not running() - before
    assert len(evaluations) < 20


def test_an_error_of_the_run_reaches_who_takes_the_steps(projections: Projections) -> None:
    before = running()
    with pytest.raises(InputError, match="no setting 'stepz'"):
        list(steps(projections, prior=random_prior(), stepz=3))
    with pytest.raises(InputError, match="16 x 16"):
        list(steps(scan(small_volume((5, 3, 3))), prior=random_prior(), init="noise"))
    assert not running() - before


def test_a_method_without_estimates_hands_out_none(projections: Projections) -> None:
    with pytest.raises(InputError, match="no running estimate"):
        list(steps(projections, "fbp"))


def test_settings_of_a_step_are_given_beside_its_name() -> None:
    method = make_method("dds", consistency="cg", cg_iterations=8, steps=3)
    assert (method.consistency.name, method.consistency.cg_iterations, method.steps) == ("cg", 8, 3)
    kept = make_method(method, rho=2.0)
    assert (kept.consistency.cg_iterations, kept.consistency.rho) == (8, 2.0)
    assert make_method(method) is method
    assert make_method("dds", **method.settings()) == method
