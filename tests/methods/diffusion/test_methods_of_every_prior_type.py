"""Every diffusion method from projections to a volume, with tiny networks of random weights."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from diffusionblend.data.projections import Projections
from diffusionblend.data.result import Reconstruction
from diffusionblend.errors import InputError
from diffusionblend.methods import (
    METHODS,
    Dds,
    Dds2d,
    DiffusionBlend,
    DiffusionBlendPP,
    DiffusionMbir,
    Dps,
    Execution,
    Hard,
    Langevin,
    Method,
    Tpdm,
    TvZ,
)
from diffusionblend.methods.api import reconstruct
from diffusionblend.methods.diffusion.consistency import CONSISTENCY_STEPS
from diffusionblend.methods.diffusion.state import State
from diffusionblend.priors.prior import Prior
from diffusionblend.priors.prior_types.registry import PRIOR_TYPES
from diffusionblend.priors.store import shipped_of_type
from small_scan import residual_by_hand, scan, small_volume
from tiny_network import TINY, random_prior

SETTINGS: dict[str, Method] = {
    "dds-2d": Dds2d(steps=4),
    "dds": Dds(steps=4, consistency=TvZ(tv_z_keep=True)),
    "diffusion-mbir": DiffusionMbir(steps=4),
    "tpdm": Tpdm(steps=4),
    "diffusionblend": DiffusionBlend(steps=4),
    "diffusionblend++": DiffusionBlendPP(steps=4),
    "langevin": Langevin(rounds=4),
}
"""Every method that samples, quick."""
EVALUATIONS = {"diffusion-mbir": 7, "langevin": 6 + 6 + 6 + 4}
"""Network evaluations in 4 steps, where not 4: a corrector after each step but the last, and two
for each piece of the way back to the prior."""


@pytest.fixture(scope="module")
def projections() -> Projections:
    return scan(small_volume((5, 16, 16)))


@pytest.fixture(scope="module")
def priors() -> dict[str, Prior]:
    return {n: random_prior(config=replace(TINY, prior_type=n)) for n in PRIOR_TYPES}


def run(
    name: str,
    projections: Projections,
    priors: dict[str, Prior],
    **options: object,
) -> Reconstruction:
    needed = SETTINGS[name].prior
    given = {"prior": priors[needed.prior_type]}
    if needed.coronal:
        given["coronal_prior"] = priors["coronal"]
    return reconstruct(projections, SETTINGS[name], **given, **options)


def test_every_method_that_samples_is_tested_here() -> None:
    sampling = {n for n in METHODS if METHODS[n].prior and METHODS[n]().is_random}
    assert set(SETTINGS) == sampling


@pytest.mark.parametrize("name", SETTINGS)
def test_it_gives_a_volume_and_what_it_cost(
    name: str, projections: Projections, priors: dict[str, Prior]
) -> None:
    told: list[tuple[int, int]] = []
    result = run(name, projections, priors, on_step=lambda *done: told.append(done))
    assert result.volume.grid == projections.grid
    assert np.isfinite(result.volume.values).all()
    assert told == [(i, 4) for i in range(1, 5)]
    assert result.network_evaluations == EVALUATIONS.get(name, 4)
    expected = residual_by_hand(projections, result.volume.values)
    assert result.relative_residual == pytest.approx(expected, rel=1e-3)
    again = run(name, projections, priors)
    np.testing.assert_array_equal(again.volume.values, result.volume.values)
    other = run(name, projections, priors, seed=1)
    assert np.abs(other.volume.values - result.volume.values).max() > 10


@pytest.mark.parametrize("name", SETTINGS)
def test_a_run_goes_on_from_any_state_to_the_same_volume(
    name: str, projections: Projections, priors: dict[str, Prior]
) -> None:
    kept: list[State] = []

    def keep(state: State) -> None:
        if state.done == 2:
            kept.append(deepcopy(state))

    whole = run(name, projections, priors, execution=Execution(on_state=keep))
    assert bool(kept[0].variables) == (name in ("dds", "diffusion-mbir"))
    resumed = run(name, projections, priors, execution=Execution(resume=kept[0]))
    np.testing.assert_array_equal(resumed.volume.values, whole.volume.values)


@pytest.mark.parametrize("consistency", CONSISTENCY_STEPS.names())
@pytest.mark.parametrize("name", ["dds-2d", "diffusionblend", "diffusionblend++"])
def test_every_consistency_step_goes_with_every_prior(
    name: str, consistency: str, projections: Projections, priors: dict[str, Prior]
) -> None:
    result = run(name, projections, priors, consistency=consistency, steps=3)
    assert np.isfinite(result.volume.values).all()
    free = run(name, projections, priors, consistency="none", steps=3)
    if consistency == "none":
        np.testing.assert_array_equal(result.volume.values, free.volume.values)
    else:
        assert result.relative_residual < free.relative_residual


def test_dds_couples_slices_and_dds_2d_does_not(
    projections: Projections, priors: dict[str, Prior]
) -> None:
    """Other data of the last slice change the first one, or not."""
    changed = projections.values.copy()
    changed[:, -1] *= 1.5
    other = replace(projections, values=changed)
    for name, couples in (("dds", True), ("dds-2d", False)):
        a, b = (run(name, p, priors).volume.values[0] for p in (projections, other))
        assert (np.abs(a - b).max() > 1e-3) == couples


def test_tpdm_takes_coronal_slices_to_the_coronal_prior(
    projections: Projections, priors: dict[str, Prior]
) -> None:
    seen: dict[str, set] = {"slices": set(), "coronal": set()}
    handles = [
        priors[n].unet.register_forward_pre_hook(
            lambda module, inputs, n=n: seen[n].add(tuple(inputs[0].shape[1:]))
        )
        for n in seen
    ]
    run("tpdm", projections, priors, steps=8)
    for handle in handles:
        handle.remove()
    assert seen == {"slices": {(1, 16, 16)}, "coronal": {(1, 6, 16)}}


@pytest.mark.parametrize("name", [n for n in METHODS if METHODS[n].prior is not None])
def test_a_prior_of_another_type_is_refused_with_the_way_to_one_that_fits(
    name: str, projections: Projections, priors: dict[str, Prior]
) -> None:
    kind = METHODS[name].prior.prior_type
    wrong = priors["slices" if kind == "joint" else "joint"]
    shipped = shipped_of_type(kind)
    with pytest.raises(InputError) as caught:
        reconstruct(projections, name, prior=wrong)
    assert f"{name} needs a prior of the type '{kind}'" in caught.value.got
    assert all(one in caught.value.expected for one in shipped)
    assert ("leave --prior out" if shipped else f"--prior-type {kind}") in caught.value.try_
    if not shipped:
        with pytest.raises(InputError, match="none was given"):
            reconstruct(projections, name)


def test_tpdm_without_its_second_prior_says_so(
    projections: Projections, priors: dict[str, Prior], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diffusionblend.priors.store.DEFAULT_ORDER", ("chest",))
    for second in (None, priors["slices"]):
        with pytest.raises(InputError, match='coronal_prior="priors/coronal"'):
            reconstruct(projections, "tpdm", prior=priors["slices"], coronal_prior=second)


def test_an_unknown_method_lists_the_known_ones(projections: Projections) -> None:
    with pytest.raises(InputError) as caught:
        reconstruct(projections, "magic")
    for name in METHODS:
        assert name in caught.value.expected


@pytest.mark.parametrize(
    "bad",
    [
        lambda: DiffusionMbir(consistency=Hard()),
        lambda: DiffusionMbir(consistency=Dps()),
        lambda: DiffusionMbir(corrector_snr=-0.1),
        lambda: Tpdm(plane_ratio=0),
        lambda: Dds(noise_fraction=1.5),
        lambda: Dds(noise_fraction=0.5, ddim_eta=0.5),
        lambda: Dds2d(init_timestep=300),
    ],
)
def test_settings_that_make_no_sense_are_refused(bad) -> None:
    with pytest.raises(InputError):
        bad()


def test_fbp_unet_adds_the_network_s_output_to_the_fbp(
    projections: Projections, priors: dict[str, Prior]
) -> None:
    prior = priors["fbp-unet"]
    prior.trained["settings"] = {"views": 6, "arc_degrees": 180.0}
    told: list[tuple[int, int]] = []
    result = reconstruct(
        projections,
        "fbp-unet",
        prior=prior,
        execution=Execution(batch_blocks=2),
        on_step=lambda *done: told.append(done),
    )
    assert told == [(1, 3), (2, 3), (3, 3)]
    fbp = reconstruct(projections, "fbp").volume.values / 1000
    with torch.no_grad():
        expected = 1000 * prior.restore(torch.from_numpy(fbp)[:, None])[:, 0].numpy()
    np.testing.assert_allclose(result.volume.values, expected, atol=0.1)
    for views in ({"views": 8, "arc_degrees": 180.0}, {"views": 6, "arc_degrees": 90.0}):
        prior.trained["settings"] = views
        with pytest.raises(InputError, match="--views 6"):
            reconstruct(projections, "fbp-unet", prior=prior)


def test_fbp_unet_for_any_scan_gets_its_views_and_its_arc(
    projections: Projections, priors: dict[str, Prior]
) -> None:
    prior = priors["fbp-unet"]
    prior.trained["settings"] = {"views": 8, "arc_degrees": 180.0, "any_scan": True}
    found = reconstruct(projections, "fbp-unet", prior=prior).volume.values
    fbp = torch.from_numpy(reconstruct(projections, "fbp").volume.values / 1000)[:, None]
    with torch.no_grad():
        told = 1000 * prior.restore(fbp, views=6, arc_degrees=180.0)[:, 0].numpy()
        not_told = 1000 * prior.restore(fbp)[:, 0].numpy()
    np.testing.assert_allclose(found, told, atol=0.1)
    assert np.abs(told - not_told).max() > 1.0
    uneven = replace(
        projections.geometry, angles_rad=tuple(a**2 for a in projections.geometry.angles_rad)
    )
    with pytest.raises(InputError, match="6 views, not equally spaced"):
        reconstruct(replace(projections, geometry=uneven), "fbp-unet", prior=prior)
