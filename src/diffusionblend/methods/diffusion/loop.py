"""The reverse loop that every diffusion method shares: its equations alone.

Algorithm 1 of DiffusionBlend++ (Song et al. 2024): denoise, make the estimate consistent with the
data, renoise. Noise comes in as an argument. Slabs, devices, processes and timing are the
executor's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from diffusionblend.methods.diffusion.consistency.base import ConsistencyStep

if TYPE_CHECKING:
    from diffusionblend.methods.diffusion.executor import Executor
    from diffusionblend.methods.diffusion.state import State

Noise = Callable[[], torch.Tensor]
"""White noise (z, y, x), fresh at every call."""


@dataclass(frozen=True)
class ReverseLoop:
    """The reverse process from noise to a volume, data consistency inside.

    abar: alpha-bar of the timestep of each step, rising. consistency: the data-consistency step.
    noise_fraction: the fraction s of the noise that every step renews (DDS, DiffusionBlend), unless
    ddim_eta is set: then s is that of DDIM's sigma. dual_damping: d of the dual variable, 0 for
    none. lowest: the denoised estimate is clipped at it. averaged: the last steps whose consistent
    estimates are averaged. corrector_snr: of a Langevin step after each but the last, 0 for none.
    """

    abar: Sequence[float]
    consistency: ConsistencyStep
    noise_fraction: float = 0.0
    ddim_eta: float | None = None
    dual_damping: float = 0.0
    lowest: float | None = None
    averaged: int = 1
    corrector_snr: float = 0.0

    def start(self, z: torch.Tensor, init: torch.Tensor | None = None) -> torch.Tensor:
        """Pure noise, or x_t = sqrt(abar) init + sqrt(1 - abar) z (Ho et al. 2020, Eq. 4)."""
        return z if init is None else self._mixed(self.abar[0], init.to(z), z)

    def run(
        self, state: State, executor: Executor, noise: Noise, on_step: Callable[[State], None]
    ) -> torch.Tensor:
        """The volume (z, y, x), network range, from a state on, which is changed in place."""
        for i in range(state.done, len(self.abar)):
            last = i + 1 == len(self.abar)
            self.consistency.begin(self.abar[i])
            self._denoise(state, i, executor, None if last else noise())
            if self.corrector_snr and not last:
                self._correct(state.x, i + 1, executor, noise())
            if self.consistency.moves_state:
                self._project(state.x, self._abar_after(i), executor, noise())
            state.done, state.variables = i + 1, self.consistency.variables()
            on_step(state)
        return state.x if state.total is None else state.total / self.averaged

    def _denoise(self, state: State, i: int, executor: Executor, z: torch.Tensor | None) -> None:
        """x at the next timestep: x0 and eps by the prior, x0' by the data, then renoised."""
        averaged = state.total is not None and i >= len(self.abar) - self.averaged

        def advance(x0: torch.Tensor, eps: torch.Tensor, part: slice) -> torch.Tensor:
            x0, dual = self._consistent(x0, part, state.dual)
            if state.total is not None and averaged:
                state.total[part] += x0.to(state.total)
            if state.estimate is not None:
                state.estimate[part] = x0.to(state.estimate)
            return self.renoised(x0, dual, eps, i, None if z is None else z[part])

        kept = [state.dual, state.total if averaged else None, state.estimate]
        whole = self.consistency.couples_slices
        if not self.consistency.needs_gradient:
            executor.denoise(state.x, i, advance, whole=whole, also=kept)
            return
        gradient, misfit = executor.denoise_with_gradient(state.x, i, advance, self._misfit, kept)
        executor.move_whole(state.x, lambda x: self.consistency.moved(x, gradient, misfit.sum()))

    def _misfit(self, x0: torch.Tensor, part: slice) -> torch.Tensor:
        return self.consistency.misfit(self.clipped(x0), part)

    def _consistent(
        self, x0: torch.Tensor, part: slice, dual: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | float]:
        """x0' = C(x0 + u) and u' = d (x0 + u - x0'), scaled ADMM (Boyd et al. 2011, 3.1.1)."""
        x0 = self.clipped(x0)
        if dual is None:
            return self.consistency(x0, part), 0.0
        wanted = x0 + dual[part].to(x0.device)
        consistent = self.consistency.begun_at(x0, wanted, part)
        damped = self.dual_damping * (wanted - consistent)
        dual[part] = damped
        return consistent, damped

    def clipped(self, x0: torch.Tensor) -> torch.Tensor:
        """x0, not below the lowest value."""
        return x0 if self.lowest is None else x0.clamp(min=self.lowest)

    def renoised(
        self,
        x0: torch.Tensor,
        dual: torch.Tensor | float,
        eps: torch.Tensor,
        i: int,
        z: torch.Tensor | None,
    ) -> torch.Tensor:
        """sqrt(abar') (x0' - u') + sqrt(1 - abar') (sqrt(1 - s^2) eps + s z); at last x0'."""
        if z is None:
            return x0
        s = self.renewed(i)
        noise = (1 - s**2) ** 0.5 * eps.to(x0.device) + s * z.to(x0.device)
        return self._mixed(self._abar_after(i), x0 - dual, noise)

    def renewed(self, i: int) -> float:
        """The fraction s of the noise that step i renews.

        DDIM: s^2 = eta^2 (1 - abar / abar') / (1 - abar) (Song, Meng and Ermon 2021, Eq. 16), so
        that eta 1 is the ancestral sampler.
        """
        if self.ddim_eta is None:
            return self.noise_fraction
        abar = self.abar[i]
        return self.ddim_eta * ((1 - abar / self._abar_after(i)) / (1 - abar)) ** 0.5

    def _correct(self, x: torch.Tensor, i: int, executor: Executor, z: torch.Tensor) -> None:
        """x + sqrt(1 - abar) 2 r (z - r eps), r the ratio: a Langevin step (Song et al. 2021).

        That is x + h score + sqrt(2 h) z with h = 2 r^2 (1 - abar): the published step size, whose
        ratio of the norms of noise and score is taken as expected, for the process of exploding
        variance that goes with ours (Alg. 4).
        """
        r, width = self.corrector_snr, (1 - self.abar[i]) ** 0.5

        def advance(_x0: torch.Tensor, eps: torch.Tensor, part: slice) -> torch.Tensor:
            fresh = z[part].to(eps.device)
            return x[part].to(eps.device) + 2 * r * width * (fresh - r * eps)

        executor.denoise(x, i, advance)

    def _project(self, x: torch.Tensor, abar: float, executor: Executor, z: torch.Tensor) -> None:
        """The data-consistency step on the renoised state."""

        def moved(x_part: torch.Tensor, part: slice) -> torch.Tensor:
            return self.consistency.on_state(x_part, part, abar, z[part].to(x_part.device))

        executor.move_slices(x, moved, whole=self.consistency.couples_state)

    def _abar_after(self, i: int) -> float:
        """abar once step i is done: that of the next timestep, or 1 for the clean volume."""
        return self.abar[i + 1] if i + 1 < len(self.abar) else 1.0

    @staticmethod
    def _mixed(abar: float, signal: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        return abar**0.5 * signal + (1 - abar) ** 0.5 * noise
