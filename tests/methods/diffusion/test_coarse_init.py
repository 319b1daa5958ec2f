"""A run that begins with its own reconstruction on a coarser grid."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from diffusionblend import reconstruct
from diffusionblend.data.volume import Volume, downsample_in_plane
from diffusionblend.errors import InputError
from diffusionblend.methods import DiffusionBlendPP, Execution, Unconstrained
from diffusionblend.methods.cost import Plan, _one_after_another, plan_reconstruction
from diffusionblend.methods.diffusion.coarse_init import coarse_scan, refined
from diffusionblend.operators import XRayTransform
from small_scan import scan, small_volume
from tiny_network import TINY, random_prior

FINE, COARSE = random_prior(0, replace(TINY, image_size=32)), random_prior(1)
SHAPE = (5, 32, 32)
PROJECTIONS = scan(small_volume(SHAPE))
SETTINGS = DiffusionBlendPP(steps=4, fine_steps=3, seed=5)
PRIORS = {"prior": FINE, "coarse_prior": COARSE}
ROLES = frozenset(PRIORS)


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
    result = reconstruct(PROJECTIONS, SETTINGS, on_step=lambda *done: seen.append(done), **PRIORS)
    assert seen == [(i, 7) for i in range(1, 8)]
    assert result.network_evaluations == 7
    assert result.volume.grid == PROJECTIONS.grid
    parts = sum(result.seconds[n] for n in ("network", "consistency", "rest"))
    assert parts <= result.seconds["total"]


def test_the_fine_run_starts_from_the_coarse_volume():
    """With hardly any noise and no data-consistency step the coarse volume comes out refined."""
    settings = replace(SETTINGS, fine_steps=1, init_timestep=0, consistency=Unconstrained())
    coarse, _ = settings.resolved(ROLES).stages()
    alone = reconstruct(coarse_scan(PROJECTIONS, COARSE), coarse, prior=COARSE).volume
    got = reconstruct(PROJECTIONS, settings, **PRIORS).volume.values
    # x0 = (x - sqrt(1 - abar) eps) / sqrt(abar) with noise of 10 HU at t = 0 and an eps of order 1
    expected = np.maximum(refined(alone, PROJECTIONS.grid).values, -1000)
    assert np.abs(got - expected).mean() < 0.2 * np.abs(expected - expected.mean()).mean()
    from_noise = replace(settings, init="noise", steps=1, init_timestep=None, fine_steps=None)
    noise = reconstruct(PROJECTIONS, from_noise, prior=FINE)
    assert np.abs(noise.volume.values - expected).mean() > 3 * np.abs(got - expected).mean()


@pytest.mark.parametrize("done", [1, 3, 4, 5, 6])
def test_a_run_that_was_stopped_goes_on_to_the_same_volume(done):
    kept = {}

    def keep(state):
        kept[state.done] = replace(
            state, **{n: t.clone() for n, t in vars(state).items() if isinstance(t, torch.Tensor)}
        )

    given, seen = {"method": SETTINGS, **PRIORS}, []
    whole = reconstruct(PROJECTIONS, execution=Execution(on_state=keep), **given)
    assert sorted(kept) == list(range(1, 8))
    again = Execution(resume=kept[done])
    resumed = reconstruct(
        PROJECTIONS, execution=again, on_step=lambda *at: seen.append(at), **given
    )
    np.testing.assert_array_equal(resumed.volume.values, whole.volume.values)
    assert seen == [(i, 7) for i in range(done + 1, 8)]


def stages(settings: DiffusionBlendPP) -> tuple[DiffusionBlendPP, DiffusionBlendPP]:
    return settings.resolved(ROLES).stages()


def test_what_the_settings_of_both_runs_are():
    coarse, fine = stages(DiffusionBlendPP(preset="fast"))
    assert (coarse.steps, fine.steps) == (20, 10)
    assert coarse == DiffusionBlendPP(preset="fast").resolved()
    assert (fine.init, fine.init_timestep) == ("coarse", 50)
    late_coarse, late_fine = stages(DiffusionBlendPP(preset="fast", init_timestep=30))
    assert late_coarse == coarse
    assert late_fine.init_timestep == 30
    noise, still_fine = stages(replace(SETTINGS, coarse_init="noise"))
    assert noise.init == "noise" and noise.init_timestep is None
    assert still_fine.init == "coarse"
    best, _ = stages(replace(SETTINGS, preset="best"))
    assert best.init == "noise" and best.init_timestep is None


def test_what_the_runs_are_of():
    (scan_1, _, priors_1), (scan_2, fine, priors_2) = SETTINGS.resolved(ROLES).cost_parts(
        PROJECTIONS, PRIORS
    )
    assert (priors_1, priors_2) == ({"prior": COARSE}, {"prior": FINE})
    assert scan_1.grid == PROJECTIONS.grid.coarser(2) and scan_2 is PROJECTIONS
    np.testing.assert_array_equal(scan_1.values, PROJECTIONS.values)
    assert (fine.steps, fine.init) == (3, "noise")  # the time does not depend on the image


def test_the_presets_own_initialisation_is_taken_without_a_coarse_prior():
    settings = replace(SETTINGS, fine_steps=None)
    plain = reconstruct(PROJECTIONS, settings, prior=FINE)
    asked = replace(settings, init="fbp", init_timestep=249)
    asked = reconstruct(PROJECTIONS, asked, prior=FINE)
    assert plain.network_evaluations == asked.network_evaluations == 4
    np.testing.assert_array_equal(plain.volume.values, asked.volume.values)


def test_what_cannot_be_a_coarse_initialisation_is_refused():
    for settings in (replace(SETTINGS, init="coarse"), replace(SETTINGS, init_timestep=40)):
        with pytest.raises(InputError, match="coarse_prior"):
            reconstruct(PROJECTIONS, settings, prior=FINE)
    for name, value in (("fine_steps", 3), ("coarse_init", "noise")):
        alone = replace(SETTINGS, **{"fine_steps": None, name: value})
        with pytest.raises(InputError, match=f"{name} {value}"):
            reconstruct(PROJECTIONS, alone, prior=FINE)
    with pytest.raises(InputError, match=r"32 pixels.*32|have 32"):
        reconstruct(PROJECTIONS, SETTINGS, prior=FINE, coarse_prior=FINE)
    with pytest.raises(InputError, match="init is 'noise'"):
        reconstruct(PROJECTIONS, replace(SETTINGS, init="noise"), **PRIORS)
    with pytest.raises(InputError, match="prior of the type 'joint'"):
        slices = random_prior(2, replace(TINY, prior_type="slices"))
        reconstruct(PROJECTIONS, SETTINGS, prior=FINE, coarse_prior=slices)
    with pytest.raises(InputError, match="16 pixels"):  # the grid on which the fine one works
        reconstruct(PROJECTIONS, SETTINGS, prior=COARSE, coarse_prior=COARSE)
    with pytest.raises(InputError, match="fine_steps"):
        DiffusionBlendPP(fine_steps=0)


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
    together = _one_after_another(9, parts)
    assert together.seconds() == pytest.approx(sum(part.seconds() for part in parts))
    assert (together.steps, together.memory_bytes, together.gpu_bytes) == (7, 9, None)
    plan = plan_reconstruction(PROJECTIONS, SETTINGS, PRIORS)
    assert plan.steps == 7 and plan.seconds() > 0
