"""What a data-consistency step is, and where in a reverse step it can act."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from diffusionblend.methods.validation import Settings

if TYPE_CHECKING:
    import torch

    from diffusionblend.data.projections import Projections
    from diffusionblend.methods.problem import Problem


class ConsistencyStep:
    """A data-consistency step for one problem; this one is the identity.

    A step may act on the denoised estimate (the call itself), on the renoised state (`on_state`),
    or through the gradient of the data misfit with respect to the state (`misfit`, `moved`).
    couples_slices, couples_state: whether the result of a slice depends on others; then that step
    is given whole volumes. moves_state, needs_gradient: whether the other two places are used.
    """

    couples_slices: bool = False
    couples_state: bool = False
    moves_state: bool = False
    needs_gradient: bool = False

    def begin(self, abar: float, *, noisy: bool = False) -> None:
        """A reverse step of noise level abar begins; noisy: the step is taken on the state."""

    def __call__(self, x0: torch.Tensor, slices: slice) -> torch.Tensor:
        """The estimate (z, y, x), network range, of the given slices, made consistent."""
        return x0

    def begun_at(self, start: torch.Tensor, x0: torch.Tensor, slices: slice) -> torch.Tensor:
        """The same; a step that iterates to its result may begin at `start`, which is nearer."""
        return self(x0, slices)

    def on_state(
        self, x: torch.Tensor, slices: slice, abar: float, noise: torch.Tensor
    ) -> torch.Tensor:
        """The renoised state (z, y, x) of noise level abar, moved; noise: white, like x, fresh."""
        return x

    def misfit(self, x0: torch.Tensor, slices: slice) -> torch.Tensor:
        """|y - A x0|^2 of each of the given slices (z,), differentiable."""
        raise NotImplementedError(f"{type(self).__name__} has no misfit")

    def moved(self, x: torch.Tensor, gradient: torch.Tensor, misfit: torch.Tensor) -> torch.Tensor:
        """The state moved along the gradient of half the misfit; misfit: of all slices, a sum."""
        return x

    def facts(self) -> dict[str, object]:
        """How the run's data-consistency steps were taken, plain values for its record."""
        return {}

    def variables(self) -> dict[str, torch.Tensor]:
        """What is kept from step to step, for a run to be resumed."""
        return {}

    def restore(self, variables: dict[str, torch.Tensor]) -> None:
        """Go on from kept variables, or begin anew from none."""


@dataclass(frozen=True, kw_only=True)
class Consistency(Settings, ABC):
    """Settings of a data-consistency step.

    name: on the command line. summary: one line. on_estimate: whether it makes the denoised
    estimate itself fit the data, so that a dual variable and tail averaging make sense with it.
    on_scaled_state: whether it can be taken on the noisy state over sqrt(abar) (DiffusionMBIR).
    highest_residual: the relative residual that a run leaves at most of a noiseless scan.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    on_estimate: ClassVar[bool] = False
    on_scaled_state: ClassVar[bool] = False
    highest_residual: ClassVar[float] = math.inf

    @property
    def needs_noise(self) -> bool:
        """Whether it asks for the noise of the projections."""
        return False

    @abstractmethod
    def step(self, problem: Problem) -> ConsistencyStep:
        """The step for one problem. Raises InputError where the problem has none such."""

    def for_timing(self) -> Consistency:
        """The same for timing its steps: what is made once for all slices may be left out."""
        return self

    def setup_cost(self, scan: Projections) -> tuple[float, int]:
        """Seconds and bytes of what is made once for all slices, and `for_timing` leaves out."""
        return 0.0, 0
