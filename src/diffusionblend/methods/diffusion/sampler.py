"""The reverse loop that every diffusion method shares (Algorithm 1 of DiffusionBlend++)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch.utils.checkpoint import checkpoint

from diffusionblend.methods.diffusion.consistency import Consistency
from diffusionblend.methods.diffusion.stopwatch import Stopwatch
from diffusionblend.priors.partition import AXIAL, Partition, Slab
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
    consistent estimates of the late steps, where they are averaged. variables: what the data step
    keeps, by name.
    """

    done: int
    x: torch.Tensor
    generator: torch.Tensor
    dual: torch.Tensor | None = None
    total: torch.Tensor | None = None
    variables: dict[str, torch.Tensor] = field(default_factory=dict)

    def move(self, device: torch.device) -> None:
        """Take the volumes to where a run wants them."""
        self.x = self.x.to(device)
        self.dual = None if self.dual is None else self.dual.to(device)
        self.total = None if self.total is None else self.total.to(device)


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

    x_{t'} = sqrt(abar') x0' + sqrt(1 - abar') (sqrt(1 - s^2) eps + s z), where s is the share of
    the noise renewed: eta itself with renewal "share", as in the authors' loop, whatever the step;
    with "ddim" that of DDIM's own sigma (Song, Meng and Ermon 2021, Eq. 16), which shrinks with the
    step: s^2 = eta^2 (1 - abar / abar') / (1 - abar), so that eta 1 is the ancestral sampler. With
    a dual variable u, prior and data meet as in scaled ADMM (Boyd et al. 2011, section 3.1.1),
    damped by d: x0' = C(x0 + u), u' = d (x0 + u - x0'), and x_{t'} starts from x0' - u'.

    prior, consistency: what is sampled. times: timesteps, falling. partitions: one for each of
    them. batch_blocks: blocks a network call. device: where the network runs; the volume may lie
    elsewhere, and comes slab by slab then. ranks: processes that share the blocks; each ends every
    step with the whole volume. code_scale: of a position code of one slice, as the prior counts it.
    perpendicular: the prior of coronal slices, for partitions into those. corrector_snr: of a
    Langevin step after each but the last (Song et al. 2021, Alg. 3), 0 for none. dual_decay: d, the
    share of the dual variable that is kept; 0 for none. lowest: x0 is raised to it before the data
    step. average_below: the result is the mean of the consistent estimates of the timesteps below
    it (and of the last in any case), which all fit the data.
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
    renewal: str = "share"
    perpendicular: BlockDenoiser | None = None
    corrector_snr: float = 0.0
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
        self.consistency.restore(state.variables)
        for i in range(first, len(self.times)):
            self._step(state, i, generator, stopwatch)
            state.done, state.generator = i + 1, generator.get_state()
            state.variables = self.consistency.variables()
            on_step(state)
        calls = len(self.times) - first
        calls += max(0, calls - 1) if self.corrector_snr else 0
        result = state.x if state.total is None else state.total / self._late_steps
        return result, SamplerCost(calls, stopwatch.seconds())

    def _step(
        self, state: SamplerState, i: int, generator: torch.Generator, stopwatch: Stopwatch
    ) -> None:
        """Reverse step number i, in place."""
        x, last = state.x, i + 1 == len(self.times)
        slabs = self.partitions[i].slabs(self.batch_blocks)
        shares = self.ranks.share(slabs, [len(s.partition.blocks) for s in slabs])

        def noise() -> torch.Tensor:
            with stopwatch.part("rest"):
                return torch.randn(x.shape, generator=generator, device=x.device)

        guidance = Guidance.none_yet(x) if self.consistency.needs_gradient else None
        self._predict(state, i, shares, None if last else noise(), guidance, stopwatch)
        if self.corrector_snr and not last:
            self._correct(x, i + 1, shares, noise(), stopwatch)
        if guidance is not None:
            with stopwatch.part("consistency"):
                x[:] = self.consistency.moved(x, guidance.gradient, guidance.misfit.sum())
        if self.consistency.moves_state:
            self._move_state(x, self._abar_after(i), shares, noise(), stopwatch)

    def _predict(
        self,
        state: SamplerState,
        i: int,
        shares: list[list[Slab]],
        z: torch.Tensor | None,
        guidance: Guidance | None,
        stopwatch: Stopwatch,
    ) -> None:
        """x at the next timestep, with the data step on the estimate; fills in the guidance."""
        x, coupled = state.x, self.consistency.couples_slices
        late = state.total is not None and i >= len(self.times) - self._late_steps
        x0_all = torch.empty_like(x) if coupled or late else None
        eps_all = torch.empty_like(x) if coupled else None
        for slab in shares[self.ranks.rank]:
            part = slab.slices
            with stopwatch.part("network"):
                x_t = x[part].to(self.device)
                if guidance is None:
                    x0, eps = self._denoise(x_t, i, slab.partition)
                else:
                    x0, eps = self._denoise_and_guide(x_t, i, slab, guidance)
            if coupled:
                x0_all[part], eps_all[part] = x0, eps
                continue
            with stopwatch.part("consistency"):
                x0, kept = self._consistent(x0, part, state.dual)
            with stopwatch.part("rest"):
                x[part] = self._renoise(x0, kept, eps, i, None if z is None else z[part])
                if late:
                    x0_all[part] = x0
        with stopwatch.part("rest"):
            owned = [_range_of(share) for share in shares]
            shared = (x0_all, eps_all) if coupled else (x, state.dual, x0_all)
            for volume in (*shared, *(guidance.volumes() if guidance else ())):
                if volume is not None:
                    self.ranks.gather_slices(volume, owned)
        if coupled:
            with stopwatch.part("consistency"):
                x0, kept = self._consistent(x0_all.to(self.device), slice(0, len(x)), state.dual)
            with stopwatch.part("rest"):
                x[:] = self._renoise(x0, kept, eps_all, i, z)
                x0_all[:] = x0
        if late:
            state.total += x0_all

    def _consistent(
        self, x0: torch.Tensor, slices: slice, dual: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | float]:
        """The estimate of some slices made consistent, and the dual variable after it."""
        x0 = self._raised(x0)
        if dual is None:
            return self.consistency(x0, slices), 0.0
        wanted = x0 + dual[slices].to(x0.device)
        consistent = self.consistency(wanted, slices)
        kept = self.dual_decay * (wanted - consistent)
        dual[slices] = kept
        return consistent, kept

    def _raised(self, x0: torch.Tensor) -> torch.Tensor:
        return x0 if self.lowest is None else x0.clamp(min=self.lowest)

    def _correct(
        self,
        x: torch.Tensor,
        i: int,
        shares: list[list[Slab]],
        z: torch.Tensor,
        stopwatch: Stopwatch,
    ) -> None:
        """A Langevin step at timestep number i: x + sqrt(1 - abar) 2 r (z - r eps), r the ratio.

        That is x + h score + sqrt(2 h) z with h = 2 r^2 (1 - abar): the published step size, whose
        ratio of the norms of noise and score is taken as expected, for the process of exploding
        variance that goes with ours (Song et al. 2021, Alg. 4).
        """
        r = self.corrector_snr
        width = (1 - float(self.prior.schedule.alpha_bar[self.times[i]])) ** 0.5
        for slab in shares[self.ranks.rank]:
            with stopwatch.part("network"):
                x_t = x[slab.slices].to(self.device)
                _, eps = self._denoise(x_t, i, slab.partition)
            with stopwatch.part("rest"):
                fresh = z[slab.slices].to(self.device)
                x[slab.slices] = x_t + 2 * r * width * (fresh - r * eps)
        with stopwatch.part("rest"):
            self.ranks.gather_slices(x, [_range_of(share) for share in shares])

    def _move_state(
        self,
        x: torch.Tensor,
        abar: float,
        shares: list[list[Slab]],
        noise: torch.Tensor,
        stopwatch: Stopwatch,
    ) -> None:
        """The data step on the renoised state, slab by slab or of the whole volume."""
        coupled = self.consistency.couples_state
        mine = [slab.slices for slab in shares[self.ranks.rank]]
        with stopwatch.part("consistency"):
            for slices in [slice(0, len(x))] if coupled else mine:
                x[slices] = self.consistency.on_state(
                    x[slices].to(self.device), slices, abar, noise[slices].to(self.device)
                )
        if not coupled:
            with stopwatch.part("rest"):
                self.ranks.gather_slices(x, [_range_of(share) for share in shares])

    def _denoise(
        self, x_t: torch.Tensor, i: int, partition: Partition
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """x0 and eps (z, y, x) of a slab, its blocks in batches of `batch_blocks`."""
        prior = self.prior if partition.axis == AXIAL else self.perpendicular
        batches = partition.blocks.split(self.batch_blocks)
        parts = []
        for blocks in batches:
            arguments = partition.gather(x_t, blocks), self.times[i], self._code(partition)
            if x_t.requires_grad and len(batches) > 1:  # keep one batch's layers at a time
                options = {"use_reentrant": False, "preserve_rng_state": False}
                parts.append(checkpoint(prior.denoise, *arguments, **options))
            else:
                parts.append(prior.denoise(*arguments))
        x0, eps = (torch.cat(part) for part in zip(*parts, strict=True))
        n_slices = x_t.shape[partition.axis]
        return partition.scatter(x0, n_slices), partition.scatter(eps, n_slices)

    def _denoise_and_guide(
        self, x_t: torch.Tensor, i: int, slab: Slab, guidance: Guidance
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The same, with the gradient of half the slab's misfit with respect to x_t noted."""
        with torch.enable_grad():
            x_t = x_t.detach().clone().requires_grad_()
            x0, eps = self._denoise(x_t, i, slab.partition)
            misfit = self.consistency.misfit(self._raised(x0), slab.slices)
            (gradient,) = torch.autograd.grad(0.5 * misfit.sum(), x_t)
        guidance.gradient[slab.slices] = gradient.to(guidance.gradient)
        guidance.misfit[slab.slices] = misfit.detach().to(guidance.misfit)
        return x0.detach(), eps.detach()

    def _code(self, partition: Partition) -> float:
        return partition.code * self.code_scale

    def _abar_after(self, i: int) -> float:
        """abar once step i is done: that of the next timestep, or 1 for the clean volume."""
        if i + 1 == len(self.times):
            return 1.0
        return float(self.prior.schedule.alpha_bar[self.times[i + 1]])

    def _share(self, i: int) -> float:
        """The share s of the noise that step i renews, 0 to 1."""
        if self.renewal == "share":
            return self.eta
        abar = float(self.prior.schedule.alpha_bar[self.times[i]])
        return self.eta * ((1 - abar / self._abar_after(i)) / (1 - abar)) ** 0.5

    def _renoise(
        self,
        x0: torch.Tensor,
        dual: torch.Tensor | float,
        eps: torch.Tensor,
        i: int,
        z: torch.Tensor | None,
    ) -> torch.Tensor:
        """x at the next timestep from x0 - dual and eps with fresh noise z; x0 after the last."""
        if z is None:
            return x0
        abar, share = self._abar_after(i), self._share(i)
        noise = (1 - share**2) ** 0.5 * eps.to(x0.device) + share * z.to(x0.device)
        return abar**0.5 * (x0 - dual) + (1 - abar) ** 0.5 * noise


@dataclass
class Guidance:
    """The gradient (z, y, x) of half the misfit, and the misfit of each slice (z,)."""

    gradient: torch.Tensor
    misfit: torch.Tensor

    @classmethod
    def none_yet(cls, x: torch.Tensor) -> Guidance:
        """For a volume like x, to be filled in."""
        return cls(torch.zeros_like(x), x.new_zeros(len(x)))

    def volumes(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Both, slices first."""
        return self.gradient, self.misfit


def _range_of(slabs: Sequence[Slab]) -> range:
    """The slices of neighbouring slabs."""
    return range(slabs[0].slices.start, slabs[-1].slices.stop) if slabs else range(0)
