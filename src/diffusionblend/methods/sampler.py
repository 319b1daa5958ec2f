"""The reverse loop that every diffusion method shares (Algorithm 1 of DiffusionBlend++)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from diffusionblend.errors import InputError
from diffusionblend.methods.consistency import Consistency
from diffusionblend.methods.stopwatch import Stopwatch
from diffusionblend.priors.partition import Partition, Slab
from diffusionblend.priors.prior import BlockDenoiser
from diffusionblend.ranks import Ranks


@dataclass(frozen=True)
class SamplerCost:
    """What a run cost: network calls on the whole volume, and seconds of each part."""

    network_calls: int
    seconds: dict[str, float]


@dataclass
class SamplerState:
    """Where a run stands after `done` steps: all that the rest of it depends on.

    x: the noisy volume (z, y, x), network range. generator: the state of the noise's generator.
    dual: ADMM's dual variable (z, y, x), where it is kept from step to step. total: the sum of the
    consistent estimates of the late steps, where they are averaged.
    """

    done: int
    x: torch.Tensor
    generator: torch.Tensor
    dual: torch.Tensor | None = None
    total: torch.Tensor | None = None


def ignore_state(state: SamplerState) -> None:
    """The keeper of a caller who keeps no states."""


@dataclass(frozen=True)
class Execution:
    """How a run is carried out, which its result does not depend on.

    resume: the state to go on from. on_state: told the state after each step; it may keep a copy.
    ranks: processes that share the work, each of which ends with the whole volume.
    """

    resume: SamplerState | None = None
    on_state: Callable[[SamplerState], None] = ignore_state
    ranks: Ranks = field(default_factory=Ranks)


@dataclass(frozen=True)
class Sampler:
    """DDIM with data consistency inside the loop, block by block.

    x_{t'} = sqrt(abar') x0' + sqrt(1 - abar') (sqrt(1 - eta^2) eps + eta z), where eta is the share
    of the noise renewed at every step, as in the authors' loop; it is not the eta of DDIM's own
    sigma. With a dual variable u, prior and data meet as in scaled ADMM (Boyd et al. 2011, section
    3.1.1), damped by d: x0' = C(x0 + u), u' = d (x0 + u - x0'), and x_{t'} starts from x0' - u'.

    prior, consistency: what is sampled. times: timesteps, falling. partitions: one for each of
    them. batch_blocks: blocks a network call. device: where the network runs; the volume may lie
    elsewhere, and comes slab by slab then. ranks: processes that share the blocks; each ends every
    step with the whole volume. code_scale: of a position code of one slice, as the prior counts it.
    dual_decay: d, the share of the dual variable that is kept; 0 for none. lowest: x0 is raised to
    it before the data step. average_below: the result is the mean of the consistent estimates of
    the timesteps below it (and of the last in any case), which all fit the data.
    """

    prior: BlockDenoiser
    consistency: Consistency
    times: Sequence[int]
    partitions: Sequence[Partition]
    eta: float
    batch_blocks: int
    device: torch.device | str = "cpu"
    ranks: Ranks = field(default_factory=Ranks)
    code_scale: float = 1.0
    dual_decay: float = 0.0
    lowest: float | None = None
    average_below: int = 0

    def start(
        self,
        shape: tuple[int, int, int],
        generator: torch.Generator,
        warm: torch.Tensor | None = None,
    ) -> SamplerState:
        """Noise, or a `warm` volume noised to the first timestep, on the generator's device."""
        x = torch.randn(shape, generator=generator, device=generator.device)
        if warm is not None:
            abar = float(self.prior.schedule.alpha_bar[self.times[0]])
            x = abar**0.5 * warm.to(x) + (1 - abar) ** 0.5 * x
        dual = torch.zeros_like(x) if self.dual_decay else None
        total = torch.zeros_like(x) if self._late_steps > 1 else None
        return SamplerState(0, x, generator.get_state(), dual, total)

    @property
    def _late_steps(self) -> int:
        """Steps whose estimates are averaged: at least the last."""
        return max(1, sum(t < self.average_below for t in self.times))

    def run(
        self,
        state: SamplerState,
        on_step: Callable[[SamplerState], None] = ignore_state,
    ) -> tuple[torch.Tensor, SamplerCost]:
        """One volume (z, y, x), network range, from a state on; told the state after each step.

        The state's volume is changed in place. A seed gives the same volume for every batch size
        and number of ranks; a GPU draws other noise than a CPU.
        """
        generator = torch.Generator(state.x.device)
        generator.set_state(state.generator.cpu())
        stopwatch, first = Stopwatch(self.device), state.done
        for i in range(first, len(self.times)):
            self._step(state, i, generator, stopwatch)
            state.done, state.generator = i + 1, generator.get_state()
            on_step(state)
        result = state.x if state.total is None else state.total / self._late_steps
        return result, SamplerCost(len(self.times) - first, stopwatch.seconds())

    def _step(
        self, state: SamplerState, i: int, generator: torch.Generator, stopwatch: Stopwatch
    ) -> None:
        """Reverse step number i, in place."""
        x, last = state.x, i + 1 == len(self.times)
        slabs = self.partitions[i].slabs(self.batch_blocks)
        shares = self.ranks.share(slabs, [len(s.partition.blocks) for s in slabs])
        owned = [_range_of(share) for share in shares]
        coupled = self.consistency.couples_slices
        late = state.total is not None and i >= len(self.times) - self._late_steps
        with stopwatch.part("rest"):
            z = None if last else torch.randn(x.shape, generator=generator, device=x.device)
        x0_all = torch.empty_like(x) if coupled or late else None
        eps_all = torch.empty_like(x) if coupled else None
        for slab in shares[self.ranks.rank]:
            part = slab.slices
            with stopwatch.part("network"):
                x0, eps = self._denoise(x[part].to(self.device), i, slab)
            if coupled:
                x0_all[part], eps_all[part] = x0, eps
                continue
            with stopwatch.part("consistency"):
                x0, kept = self._consistent(x0, part, state.dual)
            with stopwatch.part("rest"):
                x[part] = self._renoise(x0 - kept, eps, i, z[part]) if not last else x0
                if late:
                    x0_all[part] = x0
        with stopwatch.part("rest"):
            shared = (x0_all, eps_all) if coupled else (x, state.dual, x0_all)
            for volume in shared:
                if volume is not None:
                    self.ranks.gather_slices(volume, owned)
        if coupled:
            with stopwatch.part("consistency"):
                x0, kept = self._consistent(x0_all.to(self.device), slice(0, len(x)), state.dual)
            with stopwatch.part("rest"):
                x[:] = self._renoise(x0 - kept, eps_all, i, z) if not last else x0
                x0_all[:] = x0
        if late:
            state.total += x0_all

    def _consistent(
        self, x0: torch.Tensor, slices: slice, dual: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | float]:
        """The estimate of some slices made consistent, and the dual variable after it."""
        if self.lowest is not None:
            x0 = x0.clamp(min=self.lowest)
        if dual is None:
            return self.consistency(x0, slices), 0.0
        wanted = x0 + dual[slices].to(x0.device)
        consistent = self.consistency(wanted, slices)
        kept = self.dual_decay * (wanted - consistent)
        dual[slices] = kept
        return consistent, kept

    def _denoise(self, x_t: torch.Tensor, i: int, slab: Slab) -> tuple[torch.Tensor, torch.Tensor]:
        """x0 and eps (z, y, x) of a slab, its blocks in batches of `batch_blocks`."""
        partition = slab.partition
        parts = [
            self.prior.denoise(batch, self.times[i], partition.code * self.code_scale)
            for batch in partition.gather(x_t).split(self.batch_blocks)
        ]
        x0, eps = (torch.cat(part) for part in zip(*parts, strict=True))
        return partition.scatter(x0, len(x_t)), partition.scatter(eps, len(x_t))

    def _renoise(
        self, x0: torch.Tensor, eps: torch.Tensor, i: int, z: torch.Tensor
    ) -> torch.Tensor:
        """x at the next timestep from x0 and eps with fresh noise z."""
        abar = float(self.prior.schedule.alpha_bar[self.times[i + 1]])
        noise = (1 - self.eta**2) ** 0.5 * eps.to(x0.device) + self.eta * z.to(x0.device)
        return abar**0.5 * x0 + (1 - abar) ** 0.5 * noise


def sampling_timesteps(
    steps: int, n_timesteps: int, *, first: int | None = None, power: float = 1.0
) -> list[int]:
    """`steps` timesteps from `first` (by default T - 1) down; after the last the volume is clean.

    Timestep i is (first + 1) (1 - i / steps)^power - 1, rounded: equally spaced with power 1, and
    denser towards the end with a higher one. Raises InputError where timesteps would repeat.
    """
    first = n_timesteps - 1 if first is None else first
    if not 0 <= first < n_timesteps:
        raise InputError(
            f"The first timestep is {first}.", f"0 to {n_timesteps - 1}, one of the prior's"
        )
    if not 1 <= steps <= first + 1:
        raise InputError(f"steps is {steps}.", f"1 to {first + 1}, the timesteps there are")
    if not power >= 1:
        raise InputError(f"The timesteps' power is {power}.", "at least 1")
    times: list[int] = []
    for i in range(steps):
        t = round((first + 1) * (1 - i / steps) ** power - 1)
        times.append(min(t, times[-1] - 1) if times else t)
    return [max(t, steps - 1 - i) for i, t in enumerate(times)]


def _range_of(slabs: Sequence[Slab]) -> range:
    """The slices of neighbouring slabs."""
    return range(slabs[0].slices.start, slabs[-1].slices.stop) if slabs else range(0)
