"""A step for estimates, taken on the noisy state instead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from diffusionblend.methods.diffusion.consistency.base import ConsistencyStep

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class OnScaledState(ConsistencyStep):
    """A step for estimates, taken on the noisy state as x / sqrt(abar).

    That is the state of the variance-exploding process that goes with ours, for which
    DiffusionMBIR was published; the data stay without noise, as there.
    """

    inner: ConsistencyStep
    moves_state = True

    @property
    def couples_state(self) -> bool:  # type: ignore[override]
        """Whether the step couples slices."""
        return self.inner.couples_slices

    def begin(self, abar: float, *, noisy: bool = False) -> None:
        """Hand it to the step, which is given the state."""
        self.inner.begin(abar, noisy=True)

    def on_state(
        self, x: torch.Tensor, slices: slice, abar: float, noise: torch.Tensor
    ) -> torch.Tensor:
        """The step's result for x / sqrt(abar), scaled back."""
        return abar**0.5 * self.inner(x / abar**0.5, slices)

    def facts(self) -> dict[str, object]:
        """Those of the step."""
        return self.inner.facts()

    def variables(self) -> dict[str, torch.Tensor]:
        """Those of the step."""
        return self.inner.variables()

    def restore(self, variables: dict[str, torch.Tensor]) -> None:
        """Hand them to the step."""
        self.inner.restore(variables)
