"""A run that starts from its own reconstruction on a coarser grid."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusionblend.methods.diffusion.sampler import Execution
from diffusionblend.methods.planning import Plan, _one_after_another, plan_reconstruction
from diffusionblend.methods.settings import DiffusionBlendPPSettings

from diffusionblend import reconstruct
from diffusionblend.data.volume import Volume, downsample_in_plane
from diffusionblend.errors import InputError
from diffusionblend.methods.diffusion.coarse_init import refined, stages
from diffusionblend.operators import XRayTransform
from small_scan import scan, small_volume
from tiny_network import TINY, random_prior

FINE, COARSE = random_prior(0, replace(TINY, image_size=32)), random_prior(1)
SHAPE = (5, 32, 32)
PROJECTIONS = scan(small_volume(SHAPE))
SETTINGS = DiffusionBlendPPSettings(steps=4, fine_steps=3, seed=5)
PRIORS = {"prior": FINE, "coarse_prior": COARSE}


def test_the_coarse_grid_covers_the_same_place():
    """Blocks of equal pixels throw the same shadow on either grid, at the same place."""
    coarse_grid = PROJECTIONS.grid.coarser(2)
    assert coarse_grid.shape == (5, 16, 16)
    y, x = np.mgrid[:16, :16]
    blob = np.exp(-((x - 9.0) ** 2 + (y - 6.5) ** 2) / 12)  # off the centre
    coarse = torch.from_numpy(np.repeat(blob[None], 5, 0)).float()
    fine = torch.from_numpy(np.kron(coarse.numpy(), np.ones((1, 2, 2)))).float()
    coarse_lines = XRayTransform(PROJECTIONS.geometry, coarse_grid).forward(coarse)
    fine_lines = XRayTransform(PROJECTIONS.geometry, PROJECTIONS.grid).forward(fine)
    columns = torch.arange(PROJECTIONS.geometry.n_columns, dtype=torch.float32)
    centres = [(lines @ columns) / lines.sum(-1) for lines in (coarse_lines, fine_lines)]
    torch.testing.assert_close(centres[0], centres[1], atol=0.05, rtol=0)  # columns of a fine pixel
    torch.testing.assert_close(coarse_lines.sum(-1), fine_lines.sum(-1), rtol=0.02, atol=0)


def test_a_refined_volume_lies_where_the_coarse_one_did():
    fine = small_volume((2, 32, 32)).grid
    place = lambda grid: np.add.outer(  # noqa: E731
        *(grid.origin_mm[1] + grid.spacing_mm[1] * np.arange(n) for n in grid.in_plane_shape)
    )
    coarse = fine.coarser(2)
    ramp = Volume(np.repeat(place(coarse)[None], 2, 0), coarse)
    got = refined(ramp, fine)
    assert got.grid == fine
    inner = np.s_[:, 4:-4, 4:-4]
    expected = np.repeat(place(fine)[None], 2, 0)
    np.testing.assert_allclose(got.values[inner], expected[inner], atol=1e-3)
    again = downsample_in_plane(got, 2)
    np.testing.assert_allclose(again.values[:, 2:-2, 2:-2], ramp.values[:, 2:-2, 2:-2], atol=1e-3)


def test_both_runs_are_made_and_counted():
    seen = []
    result = reconstruct(
        PROJECTIONS, settings=SETTINGS, on_step=lambda *done: seen.append(done), **PRIORS
    )
    assert seen == [(i, 7) for i in range(1, 8)]
    assert result.network_calls == 7
    assert result.volume.grid == PROJECTIONS.grid
    parts = sum(result.seconds[n] for n in ("network", "consistency", "rest"))
    assert parts <= result.seconds["total"]


def test_the_fine_run_starts_from_the_coarse_volume():
    """With hardly any noise and no data step the coarse volume comes out refined."""
    settings = replace(SETTINGS, fine_steps=1, first_timestep=0, consistency="none")
    coarse, _ = stages(PROJECTIONS, FINE, COARSE, settings)
    alone = reconstruct(coarse.projections, settings=coarse.settings, prior=COARSE).volume
    got = reconstruct(PROJECTIONS, settings=settings, **PRIORS).volume.values
    # x0 = (x - sqrt(1 - abar) eps) / sqrt(abar) with noise of 10 HU at t = 0 and an eps of order 1
    expected = np.maximum(refined(alone, PROJECTIONS.grid).values, -1000)
    assert np.abs(got - expected).mean() < 0.2 * np.abs(expected - expected.mean()).mean()
    noise = reconstruct(PROJECTIONS, settings=settings_from_noise(settings), prior=FINE)
    assert np.abs(noise.volume.values - expected).mean() > 3 * np.abs(got - expected).mean()


def settings_from_noise(settings):
    return replace(settings, start="noise", steps=1, first_timestep=None)


@pytest.mark.parametrize("done", [1, 3, 4, 5, 6])
def test_a_run_that_was_stopped_goes_on_to_the_same_volume(done):
    kept = {}

    def keep(state):
        kept[state.done] = replace(
            state, **{n: t.clone() for n, t in vars(state).items() if isinstance(t, torch.Tensor)}
        )

    given, seen = {"settings": SETTINGS, **PRIORS}, []
    whole = reconstruct(PROJECTIONS, execution=Execution(on_state=keep), **given)
    assert sorted(kept) == list(range(1, 8))
    again = Execution(resume=kept[done])
    resumed = reconstruct(
        PROJECTIONS, execution=again, on_step=lambda *at: seen.append(at), **given
    )
    np.testing.assert_array_equal(resumed.volume.values, whole.volume.values)
    assert seen == [(i, 7) for i in range(done + 1, 8)]


def test_what_the_settings_of_both_runs_are():
    coarse, fine = stages(PROJECTIONS, FINE, COARSE, DiffusionBlendPPSettings(preset="fast"))
    assert (coarse.settings.steps, fine.settings.steps) == (20, 10)
    assert coarse.settings == DiffusionBlendPPSettings(preset="fast").resolved()
    assert (fine.settings.start, fine.settings.first_timestep) == ("coarse", 50)
    late = DiffusionBlendPPSettings(preset="fast", first_timestep=30)
    late_coarse, late_fine = stages(PROJECTIONS, FINE, COARSE, late)
    assert late_coarse.settings == coarse.settings
    assert late_fine.settings.first_timestep == 30
    noise, still_fine = stages(PROJECTIONS, FINE, COARSE, replace(SETTINGS, coarse_start="noise"))
    assert noise.settings.start == "noise" and noise.settings.first_timestep is None
    assert still_fine.settings.start == "coarse"
    best, _ = stages(PROJECTIONS, FINE, COARSE, replace(SETTINGS, preset="best"))
    assert best.settings.start == "noise" and best.settings.first_timestep is None
    assert coarse.prior is COARSE and fine.prior is FINE
    assert coarse.projections.values is not None and fine.projections is PROJECTIONS


def test_the_presets_own_start_is_taken_without_a_coarse_prior():
    settings = replace(SETTINGS, fine_steps=None)
    plain = reconstruct(PROJECTIONS, settings=settings, prior=FINE)
    asked = replace(settings, start="fbp", first_timestep=249)
    asked = reconstruct(PROJECTIONS, settings=asked, prior=FINE)
    assert plain.network_calls == asked.network_calls == 4
    np.testing.assert_array_equal(plain.volume.values, asked.volume.values)


def test_what_cannot_be_a_coarse_start_is_refused():
    coarse = replace(SETTINGS, start="coarse")
    with pytest.raises(InputError, match="--coarse-prior"):
        reconstruct(PROJECTIONS, settings=coarse, prior=FINE)
    with pytest.raises(InputError, match="--coarse-prior"):
        reconstruct(PROJECTIONS, settings=replace(SETTINGS, first_timestep=40), prior=FINE)
    for name, value in (("fine_steps", 3), ("coarse_start", "noise")):
        alone = replace(SETTINGS, **{"fine_steps": None, name: value})
        with pytest.raises(InputError, match=f"{name} {value}"):
            reconstruct(PROJECTIONS, settings=alone, prior=FINE)
    with pytest.raises(InputError, match="32 pixels.*32|have 32"):
        reconstruct(PROJECTIONS, settings=SETTINGS, prior=FINE, coarse_prior=FINE)
    with pytest.raises(InputError, match="start is 'noise'"):
        reconstruct(PROJECTIONS, settings=replace(SETTINGS, start="noise"), **PRIORS)
    with pytest.raises(InputError, match="layout"):
        slices = random_prior(2, replace(TINY, layout="slices"))
        reconstruct(PROJECTIONS, settings=SETTINGS, prior=FINE, coarse_prior=slices)
    with pytest.raises(InputError, match="16 x 16"):
        reconstruct(PROJECTIONS, settings=SETTINGS, prior=COARSE, coarse_prior=COARSE)
    with pytest.raises(InputError, match="fine_steps"):
        DiffusionBlendPPSettings(fine_steps=0)


def test_both_runs_are_planned():
    parts = [
        Plan(
            step_seconds=seconds,
            begin_seconds=0.5,
            steps=steps,
            memory_bytes=1,
            gpu_bytes=None,
            timed_slices=5,
            slices=5,
        )
        for seconds, steps in ((1.0, 4), (3.0, 3))
    ]
    together = _one_after_another(9, *parts)
    assert together.seconds() == pytest.approx(sum(part.seconds() for part in parts))
    assert (together.steps, together.memory_bytes, together.gpu_bytes) == (7, 9, None)
    plan = plan_reconstruction(PROJECTIONS, method="diffusionblend++", settings=SETTINGS, **PRIORS)
    assert plan.steps == 7 and plan.seconds() > 0
