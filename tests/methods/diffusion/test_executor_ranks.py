"""Several ranks, as threads of the test, that sample one volume together; and several threads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from diffusionblend import reconstruct
from diffusionblend.methods import Langevin
from diffusionblend.methods.diffusion.annealing import AnnealedLangevin, groups_of, rounds_of
from diffusionblend.methods.diffusion.consistency.base import ConsistencyStep
from diffusionblend.methods.diffusion.state import State
from diffusionblend.methods.diffusion.timesteps import sampling_timesteps
from diffusionblend.priors.partition import Partition, draw_partitions
from diffusionblend.ranks import Ranks
from gaussian_prior import GaussianPrior
from reverse_process import reverse_process
from small_scan import scan, small_volume
from tiny_network import TINY, random_prior

Z = 7
SHAPE = (Z, 64, 64)
KEEPING = {"dual_damping": 0.6, "tail_average_below": 400}


class Shift(ConsistencyStep):
    """A consistency step that moves every slice by an amount of its own."""

    def __init__(self, couples_slices: bool) -> None:
        self.couples_slices = couples_slices

    def __call__(self, x0: torch.Tensor, slices: slice) -> torch.Tensor:
        return 0.7 * x0 + torch.linspace(-0.5, 1.0, Z)[slices, None, None]


def coupled() -> Shift:
    return Shift(couples_slices=True)


def slicewise() -> Shift:
    return Shift(couples_slices=False)


def drawn_partitions() -> list[Partition]:
    generator = torch.Generator().manual_seed(99)
    options = {"kind": "alternating", "jump_stride": 2, "jump_every": 2}
    return list(islice(draw_partitions(Z, 3, **options, generator=generator), 8))


def test_three_ranks_share_every_slab_and_meet_in_the_same_volume() -> None:
    """Ranks as threads of the test: each step's slices are gathered from who owns them."""
    partitions = drawn_partitions()
    for make in (coupled, slicewise):
        alone = _one_rank(partitions, make(), Ranks())
        meeting = Meeting(3)
        with ThreadPoolExecutor(3) as pool:
            work = [pool.submit(_one_rank, partitions, make(), meeting.rank(r)) for r in range(3)]
            volumes = [w.result(timeout=60) for w in work]
        for volume in volumes:
            torch.testing.assert_close(volume, alone, atol=1e-6, rtol=0)


def _one_rank(partitions: list[Partition], consistency: Shift, ranks: Ranks) -> torch.Tensor:
    times = sampling_timesteps(len(partitions), 1000)
    mine = reverse_process(
        *(GaussianPrior(), consistency, times, partitions, 0.85, 1),
        ranks=ranks,
        **KEEPING,
    )
    return mine.run(mine.start(SHAPE, torch.Generator().manual_seed(5)))


@pytest.mark.parametrize("couples_slices", [False, True])
def test_two_ranks_sample_by_langevin_what_one_does(couples_slices: bool) -> None:
    def data(x, slices, level, apart, noise):
        return 0.7 * x + level * apart + 0.1 * noise[slices, None, None]

    data.couples_slices, data.shape = couples_slices, (Z,)

    def volume_of(ranks: Ranks) -> torch.Tensor:
        prior, parts = GaussianPrior(clean_neighbours=True), groups_of(Z, 3, clean=True)
        loop = AnnealedLangevin(
            rounds_of(Langevin(rounds=2), prior.schedule), prior.schedule, 2, data
        )
        generator = torch.Generator().manual_seed(5)
        draw = lambda shape: torch.randn(shape, generator=generator)  # noqa: E731
        executor = loop.executor(prior, parts, batch_blocks=1, ranks=ranks)
        state = State(0, draw(SHAPE), generator.get_state())
        return loop.run(state, executor, draw, lambda state: None)

    alone, meeting = volume_of(Ranks()), Meeting(2)
    with ThreadPoolExecutor(2) as pool:
        for found in pool.map(lambda r: volume_of(meeting.rank(r)), range(2), timeout=60):
            torch.testing.assert_close(found, alone, atol=1e-6, rtol=0)


class Meeting:
    """Ranks in threads that exchange their slices through shared memory."""

    def __init__(self, count: int) -> None:
        self.count, self.barrier = count, threading.Barrier(count, timeout=60)
        self.volumes: dict[int, torch.Tensor] = {}

    def rank(self, number: int) -> Ranks:
        meeting = self

        class Thread(Ranks):
            def gather_slices(self, volume: torch.Tensor, owned: list[range]) -> None:
                assert sorted(i for r in owned for i in r) == list(range(len(volume)))
                meeting.volumes[self.rank] = volume
                meeting.barrier.wait()
                for rank, slices in enumerate(owned):
                    if rank != self.rank:
                        source = meeting.volumes[rank]
                        volume[slices.start : slices.stop] = source[slices.start : slices.stop]
                meeting.barrier.wait()

        return Thread(number, self.count)


@pytest.mark.parametrize("method", ["diffusionblend++", "dds"])
def test_any_number_of_threads_gives_the_same_volume(method: str) -> None:
    """Its blocks are denoised side by side then, in smaller batches."""
    volume = small_volume((9, 16, 16))
    prior = random_prior(0, replace(TINY, prior_type="slices" if method == "dds" else "joint"))
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            result = reconstruct(scan(volume), method, steps=3, prior=prior, device="cpu")
            found.append(result.volume.values)
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], atol=0.05)  # HU
