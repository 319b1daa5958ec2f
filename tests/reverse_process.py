"""The reverse loop and its executor put together by hand, for tests of its equations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from diffusionblend.methods.diffusion.consistency.base import ConsistencyStep
from diffusionblend.methods.diffusion.executor import Executor
from diffusionblend.methods.diffusion.loop import ReverseLoop
from diffusionblend.methods.diffusion.state import State
from diffusionblend.priors.partition import Partition
from diffusionblend.priors.prior import BlockDenoiser


@dataclass
class ReverseProcess:
    """A loop with what carries it out; noise of one generator, as in a run."""

    loop: ReverseLoop
    executor: Executor

    def start(
        self,
        shape: tuple[int, int, int],
        generator: torch.Generator,
        image: torch.Tensor | None = None,
    ) -> State:
        """The state before the first step: noise, or an image (z, y, x) noised."""
        x = self.loop.start(torch.randn(shape, generator=generator), image)
        dual = torch.zeros_like(x) if self.loop.dual_damping else None
        total = torch.zeros_like(x) if self.loop.averaged > 1 else None
        return State(0, x, generator.get_state(), dual, total)

    def run(self, state: State, on_step: Callable[[State], None] = lambda state: None):
        """The volume (z, y, x) from a state on."""
        generator = torch.Generator()
        generator.set_state(state.generator)
        self.loop.consistency.restore(state.variables)

        def noise() -> torch.Tensor:
            return torch.randn(state.x.shape, generator=generator)

        def after_step(state: State) -> None:
            state.generator = generator.get_state()
            on_step(state)

        return self.loop.run(state, self.executor, noise, after_step)


def reverse_process(
    prior: BlockDenoiser,
    consistency: ConsistencyStep,
    times: Sequence[int],
    partitions: Sequence[Partition],
    noise_fraction: float = 0.0,
    batch_blocks: int = 100,
    *,
    tail_average_below: int = 0,
    ddim_eta: float | None = None,
    dual_damping: float = 0.0,
    lowest: float | None = None,
    corrector_snr: float = 0.0,
    **of_executor: Any,
) -> ReverseProcess:
    """A process of given timesteps and partitions. of_executor: ranks, coronal_prior, ..."""
    loop = ReverseLoop(
        abar=[float(prior.schedule.alpha_bar[t]) for t in times],
        consistency=consistency,
        noise_fraction=noise_fraction,
        ddim_eta=ddim_eta,
        dual_damping=dual_damping,
        lowest=lowest,
        averaged=max(1, sum(t < tail_average_below for t in times)),
        corrector_snr=corrector_snr,
    )
    executor = Executor(prior, list(times), list(partitions), batch_blocks, **of_executor)
    return ReverseProcess(loop, executor)
