"""What memory decides is decided alike by all processes; batches too large for a GPU are halved."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from diffusionblend import memory
from diffusionblend.devices import choose_device
from diffusionblend.errors import InputError
from diffusionblend.methods import DiffusionBlendPP, Dps, Execution
from diffusionblend.methods.api import reconstruct
from diffusionblend.methods.cost import batch_that_fits, home_of_volume
from diffusionblend.methods.diffusion.consistency import prox
from diffusionblend.priors.prior import Prior
from diffusionblend.ranks import Ranks
from diffusionblend.solvers import proximal
from small_scan import scan, small_volume
from tiny_network import random_prior

SCAN = scan(small_volume((15, 16, 16)), n_views=8)
SHAPE = (90, 256, 256)


@pytest.fixture
def small_gpu(monkeypatch):
    """A network whose memory is too small for more than so many blocks; the sizes it was asked."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)  # which would share a batch
    asked = []
    denoise = Prior.denoise

    def limit(most):
        def limited(self, blocks, *arguments, **options):
            asked.append(len(blocks))
            if len(blocks) > most:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return denoise(self, blocks, *arguments, **options)

        monkeypatch.setattr(Prior, "denoise", limited)
        return asked

    return limit


@pytest.mark.parametrize(
    "method", [DiffusionBlendPP(steps=3), DiffusionBlendPP(steps=3, consistency=Dps())]
)
def test_a_batch_that_is_too_large_is_halved(small_gpu, method):
    free = reconstruct(SCAN, method, prior=random_prior())
    asked = small_gpu(2)
    with pytest.warns(UserWarning, match="blocks are taken at a time") as told:
        halved = reconstruct(
            SCAN, method, prior=random_prior(), execution=Execution(batch_blocks=16)
        )
    np.testing.assert_allclose(halved.volume.values, free.volume.values, atol=0.05)
    too_large = [size for size in asked if size > 2]
    assert len(too_large) == len(told) <= 2  # halved once or twice, and never asked for again
    assert asked[: len(too_large)] == too_large


def test_a_single_block_that_is_too_large_is_an_error(small_gpu):
    small_gpu(0)
    with (
        pytest.warns(UserWarning, match="are taken at a time"),
        pytest.raises(torch.OutOfMemoryError),
    ):
        reconstruct(SCAN, DiffusionBlendPP(steps=2), prior=random_prior())


@pytest.fixture
def gpu(monkeypatch):
    """A prior on a GPU of so many bytes; whoever asks for what is free fails."""

    def of(n_bytes):
        facts = SimpleNamespace(total_memory=n_bytes)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: facts)
        monkeypatch.setattr(torch.cuda, "mem_get_info", None)
        return SimpleNamespace(device=torch.device("cuda", 1), block_slices=3)

    return of


def test_memory_that_is_taken_decides_nothing(gpu):
    assert home_of_volume(gpu(80 << 30), SHAPE) == torch.device("cuda", 1)
    assert home_of_volume(gpu(100 << 20), SHAPE) == torch.device("cpu")
    assert batch_that_fits(gpu(80 << 30), SHAPE) > 2 * batch_that_fits(gpu(20 << 30), SHAPE) > 2
    assert batch_that_fits(gpu(1 << 20), SHAPE) == 1


def test_the_first_process_decides_for_all(monkeypatch):
    def broadcast(values, src):
        assert src == 0
        values[0] = "cpu"

    monkeypatch.setattr("torch.distributed.broadcast_object_list", broadcast)
    assert Ranks(1, 2).of_first("cuda:1") == "cpu"
    assert Ranks().of_first("cuda:0") == "cuda:0"


def test_a_dense_factor_goes_by_the_memory_of_the_first_process(monkeypatch):
    class Second(Ranks):
        """A process whose first one has little memory for a factor."""

        def of_first(self, value):
            return 1000.0 if isinstance(value, float) else value

    free = [5 << 30]
    monkeypatch.setattr(prox, "available_memory_bytes", lambda: free[0])
    monkeypatch.setattr(prox, "total_memory_bytes", lambda: 6 << 30)
    assert prox.memory_for_factors("cpu") == 3 << 30
    free[0] = 2 << 30
    assert prox.memory_for_factors("cpu") == 3 << 29
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    assert prox.memory_for_factors("cpu") == 1 << 29
    monkeypatch.setattr(prox, "total_memory_bytes", lambda: None)
    monkeypatch.setattr(prox, "available_memory_bytes", lambda: None)
    assert prox.memory_for_factors("cpu") == math.inf
    monkeypatch.setattr(proximal, "MAX_EIGEN", 1)
    prior, execution = random_prior(), Execution(ranks=Second())
    with pytest.warns(UserWarning, match="1e-06 GB may be taken: conjugate gradients"):
        reconstruct(SCAN, DiffusionBlendPP(steps=1), prior=prior, execution=execution)


def test_all_memory_is_the_least_of_machine_container_and_limit(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    monkeypatch.setattr(memory, "_address_limit", lambda: None)
    machine = memory.total_memory_bytes()
    assert machine >= memory.available_memory_bytes()
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.total_memory_bytes() == machine
    (tmp_path / "memory.max").write_text("5000\n")
    (tmp_path / "memory.current").write_text("2000\n")
    assert memory.total_memory_bytes() == 5000 and memory.available_memory_bytes() == 3000
    monkeypatch.setattr(memory, "_address_limit", lambda: 4000)
    assert memory.total_memory_bytes() == 4000


def test_a_process_works_on_its_own_card(monkeypatch):
    taken = []
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for name in ("init_process_group", "get_rank", "get_world_size"):
        monkeypatch.setattr(f"torch.distributed.{name}", lambda *_: 1)
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    Ranks.started(choose_device("auto"))
    assert taken == ["cuda:1"]
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(InputError, match="Process 2 of this machine has no GPU of its own"):
        choose_device("auto")
    assert choose_device("cpu") == "cpu"
