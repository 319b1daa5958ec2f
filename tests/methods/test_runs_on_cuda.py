"""Every method on a GPU ends where it ends on the CPU, from one state and without new noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from diffusionblend.methods import METHODS, DiffusionMethod, Execution, Method
from diffusionblend.methods.api import make_method, reconstruct
from diffusionblend.methods.diffusion.state import State
from diffusionblend.priors.prior import Prior
from small_scan import scan, small_volume
from tiny_network import TINY, random_prior

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
DEVICE = "cuda"
TOLERANCE_HU = 5.0
PROJECTIONS = scan(small_volume((6, 16, 16)), n_views=8)
SAMPLERS = [name for name in METHODS if issubclass(METHODS[name], DiffusionMethod)]


def priors_of(method: str, device: str) -> dict[str, Prior]:
    """Random priors of the types that a method takes, by the argument's name."""
    needed = METHODS[method].prior
    types = {"prior": needed.prior_type} | ({"coronal_prior": "coronal"} if needed.coronal else {})
    return {
        name: random_prior(i, replace(TINY, prior_type=prior_type)).to(device)
        for i, (name, prior_type) in enumerate(types.items())
    }


def without_new_noise(name: str) -> Method:
    """A method whose only noise is that of the start."""
    method = make_method(name, steps=4, noise_fraction=0.0)
    return replace(method, corrector_snr=0.0) if name == "diffusion-mbir" else method


def keeper(kept: dict[int, State]):
    """Keeps a copy of every state, by its steps."""

    def keep(state: State) -> None:
        tensors = {n: v.clone() for n, v in vars(state).items() if torch.is_tensor(v)}
        kept[state.done] = replace(state, **tensors)

    return keep


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_on_cuda_ends_where_the_cpu_does_and_draws_the_same_noise(name: str) -> None:
    for method in (without_new_noise(name), make_method(name, steps=4)):
        on_cpu, on_gpu = (
            reconstruct(PROJECTIONS, method, device=device, **priors_of(name, device))
            for device in ("cpu", DEVICE)
        )
        assert np.abs(on_gpu.volume.values - on_cpu.volume.values).max() < TOLERANCE_HU


@pytest.mark.parametrize("consistency", ["cg", "prox", "hard", "dps", "admm-tv-z", "none"])
def test_every_consistency_step_runs_on_cuda(consistency: str) -> None:
    prior = random_prior().to(DEVICE)
    result = reconstruct(PROJECTIONS, prior=prior, device=DEVICE, steps=3, consistency=consistency)
    assert np.isfinite(result.volume.values).all()


@pytest.mark.parametrize("method", ["fbp", "sirt", "cgls", "admm-tv"])
def test_a_method_without_a_prior_on_cuda_gives_the_same(method: str) -> None:
    on_cpu, on_gpu = (reconstruct(PROJECTIONS, method, device=device) for device in ("cpu", DEVICE))
    assert np.abs(on_gpu.volume.values - on_cpu.volume.values).max() < TOLERANCE_HU


def test_a_run_on_cuda_that_was_stopped_goes_on_to_the_same_volume() -> None:
    kept: dict[int, State] = {}
    given = {"steps": 4, "device": DEVICE, "prior": random_prior().to(DEVICE)}
    whole = reconstruct(PROJECTIONS, execution=Execution(on_state=keeper(kept)), **given)
    again = reconstruct(PROJECTIONS, execution=Execution(resume=kept[2]), **given)
    assert np.abs(again.volume.values - whole.volume.values).max() < TOLERANCE_HU


@pytest.mark.parametrize("resumed_on", ["cpu", DEVICE])
def test_a_state_goes_on_where_another_device_computes(resumed_on: str) -> None:
    """The noise is the CPU's, wherever the volume lies; the state takes its generator along."""
    kept: dict[int, State] = {}
    first = "cpu" if resumed_on == DEVICE else DEVICE
    whole = reconstruct(
        PROJECTIONS, prior=random_prior(), steps=4, device=first,
        execution=Execution(on_state=keeper(kept)),
    )  # fmt: skip
    again = reconstruct(
        PROJECTIONS, prior=random_prior(), steps=4, device=resumed_on,
        execution=Execution(resume=kept[2]),
    )  # fmt: skip
    assert np.abs(again.volume.values - whole.volume.values).max() < TOLERANCE_HU
