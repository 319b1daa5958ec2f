"""All methods on a pretended GPU, which refuses to mix its tensors with the host's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from diffusionblend.geometry import ConeBeam, FanBeam
from diffusionblend.methods import METHODS, Cgls, DiffusionBlendPP, DiffusionMethod
from diffusionblend.methods.api import make_method, reconstruct
from diffusionblend.operators import slicewise
from diffusionblend.simulation import simulate
from pretended_device import Mixed, OnDevice, interpreted, on_device, pretended_device
from small_scan import scan, small_volume
from tiny_network import TINY, random_prior

TOLERANCE_HU = 0.5
VOLUME = small_volume((6, 16, 16))
PARALLEL = scan(VOLUME, n_views=6)


ROOM = "diffusionblend.operators"


@pytest.fixture
def device(monkeypatch):
    """A GPU that is pretended, on which operators are matrices, or computed by the host."""
    with pretended_device(monkeypatch):
        for module in ("panels", "slicewise"):
            monkeypatch.setattr(f"{ROOM}.{module}.gpu_kernels", lambda data: None)
        yield "cuda"


@pytest.fixture
def by_kernels(monkeypatch):
    """A GPU that is pretended, by whose kernels operators compute."""
    pytest.importorskip("triton", reason="Triton is not installed")
    from diffusionblend.operators.kernels import cuda as kernels

    with pretended_device(monkeypatch):
        interpreted(kernels, monkeypatch)
        monkeypatch.setitem(slicewise.MATRIX_LIMIT_BYTES, "cuda", 0)
        yield "cuda"


def priors_of(name: str, device: str = "cpu") -> dict:
    """Random priors of the types that a method takes, by the argument's name."""
    needed = METHODS.get(name).prior
    if needed is None:
        return {}
    types = {"prior": needed.prior_type} | ({"coronal_prior": "coronal"} if needed.coronal else {})
    found = {
        name: random_prior(i, replace(TINY, prior_type=prior_type))
        for i, (name, prior_type) in enumerate(types.items())
    }
    for prior in found.values():
        prior.trained |= {"settings": {"views": 6, "arc_degrees": 180.0}}
    return {name: prior.to(device) for name, prior in found.items()}


def compare(projections, method, name, device):
    on_cpu = reconstruct(projections, method, device="cpu", **priors_of(name))
    there = reconstruct(projections, method, device=device, **priors_of(name, device))
    assert np.abs(there.volume.values - on_cpu.volume.values).max() < TOLERANCE_HU


def quick(name: str):
    """A method in few steps."""
    kind = METHODS.get(name)
    if issubclass(kind, DiffusionMethod):
        return make_method(name, steps=2)
    return make_method(name, iterations=3) if hasattr(kind, "iterations") else make_method(name)


@pytest.mark.parametrize("name", list(METHODS))
def test_every_method(device, name):
    compare(PARALLEL, quick(name), name, device)


@pytest.mark.parametrize("step", ["cg", "prox", "hard", "dps", "admm-tv-z", "none"])
def test_every_data_consistency_step(device, step):
    compare(PARALLEL, DiffusionBlendPP(steps=2, consistency=step), "diffusionblend++", device)


@pytest.mark.parametrize("init", ["noise", "fbp", "cg", "tv"])
def test_every_initialisation(device, init):
    compare(PARALLEL, DiffusionBlendPP(steps=2, init=init), "diffusionblend++", device)


def scan_by(kind, volume=VOLUME):
    beam = kind.fitting(volume.grid, 4, source_to_axis_mm=300, source_to_detector_mm=500)
    return simulate(volume, beam)


@pytest.mark.parametrize("kind", [FanBeam, ConeBeam])
def test_every_beam(device, kind):
    compare(scan_by(kind), DiffusionBlendPP(steps=1), "diffusionblend++", device)


@pytest.mark.parametrize("kind", [FanBeam, ConeBeam])
def test_the_kernels_get_tensors_of_the_device(by_kernels, kind):
    compare(scan_by(kind, small_volume((3, 8, 8))), Cgls(iterations=1), "cgls", by_kernels)


def test_a_volume_on_the_host(device, monkeypatch):
    """Where the GPU has no room for it, the volume comes slab by slab."""
    monkeypatch.setattr("pretended_device.MEMORY_BYTES", 1 << 10)
    small = torch.cuda.get_device_properties(0)
    small.total_memory = 1 << 10
    compare(PARALLEL, DiffusionBlendPP(steps=2), "diffusionblend++", device)


def test_the_device_refuses_what_cuda_does(device):
    here, there = torch.ones(3), torch.ones(3).to(device)
    assert there.device.type == "cuda" and there.is_cuda and (there + 1).is_cuda
    assert torch.zeros(2, device="cuda").is_cuda and not there.cpu().is_cuda
    assert not isinstance(there.to("cpu"), OnDevice) and isinstance(here.to(there), OnDevice)
    refused = (
        lambda: here + there,
        lambda: torch.cat([there, here]),
        lambda: here[torch.tensor([0]).to(device)],
        lambda: there.numpy(),
        lambda: np.asarray(there),
        lambda: torch.randn(2, device="cuda", generator=torch.Generator()),
    )
    for mixed in refused:
        with pytest.raises(Mixed):
            mixed()
    assert (there * torch.tensor(2.0)).sum() == 6  # a number may come from the host
    assert there[torch.tensor([0])].is_cuda
    there[:2] = here[:2] * 3
    assert there.tolist() == [3, 3, 1]
    assert torch.equal(on_device(here).cpu(), here)
