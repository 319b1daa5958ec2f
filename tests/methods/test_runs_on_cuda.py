"""Every method on a GPU ends where it ends on the CPU, from one state and without new noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from diffusionblend.methods.diffusion.sampler import Execution, SamplerState
from diffusionblend.methods.registry import METHODS, find_method, reconstruct
from diffusionblend.methods.settings import DiffusionBlendPPSettings, MethodSettings
from diffusionblend.priors.prior import Prior
from small_scan import scan, small_volume
from tiny_network import TINY, random_prior

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
DEVICE = "cuda"
TOLERANCE_HU = 5.0
PROJECTIONS = scan(small_volume((6, 16, 16)), n_views=8)
SAMPLERS = [name for name, method in METHODS.items() if method.needs_prior and name != "fbp-unet"]


def priors_of(method: str, device: str) -> dict[str, Prior]:
    """Random priors of the layouts that a method takes, by the argument's name."""
    chosen = find_method(method)
    layouts = {"prior": chosen.layout}
    if chosen.perpendicular is not None:
        layouts["perpendicular_prior"] = chosen.perpendicular
    return {
        name: random_prior(i, replace(TINY, layout=layout)).to(device)
        for i, (name, layout) in enumerate(layouts.items())
    }


def without_new_noise(method: str, **values: object) -> MethodSettings:
    """Settings whose only noise is that of the start."""
    settings = find_method(method).settings(steps=4, eta=0.0, **values)
    return replace(settings, corrector_snr=0.0) if method == "diffusion-mbir" else settings


def keeper(kept: dict[int, SamplerState]):
    """Keeps a copy of every state, by its steps."""

    def keep(state: SamplerState) -> None:
        tensors = {n: v.clone() for n, v in vars(state).items() if torch.is_tensor(v)}
        kept[state.done] = replace(state, **tensors)

    return keep


def first_state(method: str, settings: MethodSettings) -> SamplerState:
    """Where the CPU's run stands after one step, with a generator of the GPU."""
    kept: dict[int, SamplerState] = {}
    reconstruct(
        PROJECTIONS,
        method=method,
        settings=settings,
        execution=Execution(on_state=keeper(kept)),
        **priors_of(method, "cpu"),
    )
    return replace(kept[1], generator=torch.Generator(DEVICE).get_state())


@pytest.mark.parametrize("method", SAMPLERS)
def test_a_sampler_on_cuda_ends_where_the_cpu_does(method: str) -> None:
    settings = without_new_noise(method)
    on_cpu = reconstruct(PROJECTIONS, method=method, settings=settings, **priors_of(method, "cpu"))
    on_gpu = reconstruct(
        PROJECTIONS,
        method=method,
        settings=settings,
        device=DEVICE,
        execution=Execution(resume=first_state(method, settings)),
        **priors_of(method, DEVICE),
    )
    assert np.abs(on_gpu.volume.values - on_cpu.volume.values).max() < TOLERANCE_HU


@pytest.mark.parametrize("consistency", ["cg", "prox", "hard", "dps", "admm-tv-z", "none"])
def test_every_data_step_runs_on_cuda(consistency: str) -> None:
    settings = DiffusionBlendPPSettings(steps=3, consistency=consistency)
    prior = random_prior().to(DEVICE)
    result = reconstruct(PROJECTIONS, settings=settings, prior=prior, device=DEVICE)
    assert np.isfinite(result.volume.values).all()


@pytest.mark.parametrize("method", ["fbp", "sirt", "cgls", "admm-tv"])
def test_a_method_without_a_prior_on_cuda_gives_the_same(method: str) -> None:
    on_cpu, on_gpu = (
        reconstruct(PROJECTIONS, method=method, device=device) for device in ("cpu", DEVICE)
    )
    assert np.abs(on_gpu.volume.values - on_cpu.volume.values).max() < TOLERANCE_HU


def test_a_run_on_cuda_that_was_stopped_goes_on_to_the_same_volume() -> None:
    kept: dict[int, SamplerState] = {}
    given = {"settings": DiffusionBlendPPSettings(steps=4), "device": DEVICE}
    given["prior"] = random_prior().to(DEVICE)
    whole = reconstruct(PROJECTIONS, execution=Execution(on_state=keeper(kept)), **given)
    again = reconstruct(PROJECTIONS, execution=Execution(resume=kept[2]), **given)
    assert np.abs(again.volume.values - whole.volume.values).max() < TOLERANCE_HU
