"""Averages of the weights over the steps: that which is kept as the prior, and further ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

LARGEST_DECAY = 0.99999
"""Of averages over a share of the steps: of runs that long it is the last."""


class Averages:
    """Exponential moving averages of a network's weights; the first is the run's own.

    Of that one the decay rises with the steps to `decay`. Further ones have the decay
    s / (1 / share + s) at step s, so that they are always over about that share of all steps.
    """

    def __init__(self, network: torch.nn.Module, decay: float, shares: Sequence[float]) -> None:
        from diffusers.training_utils import EMAModel

        self._network = network
        self.names = ["", *(f"{share:g}" for share in shares)]
        own = EMAModel(network.parameters(), decay=decay, use_ema_warmup=True)
        further = [
            EMAModel(
                network.parameters(),
                decay=LARGEST_DECAY,
                use_ema_warmup=True,
                inv_gamma=1 / share,
                power=1.0,
            )
            for share in shares
        ]
        self.models = [own, *further]

    def step(self) -> None:
        """Take in the weights after a step."""
        for model in self.models:
            model.step(self._network.parameters())

    def copy_to(self, network: torch.nn.Module, which: int = 0) -> None:
        """Give another network of the same layers the averaged weights."""
        self.models[which].copy_to(network.parameters())

    @contextmanager
    def in_place(self, which: int = 0) -> Iterator[None]:
        """The network itself with its averaged weights."""
        model, parameters = self.models[which], list(self._network.parameters())
        model.store(parameters)
        model.copy_to(parameters)
        try:
            yield
        finally:
            model.restore(parameters)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of them."""
        first, *further = (model.state_dict() for model in self.models)
        return {"ema": first, "further_emas": further}

    def load(self, state: dict[str, Any]) -> None:
        """As `state` gave it, in a checkpoint that may be older than further averages."""
        stored = [state["ema"], *state.get("further_emas", [])]
        for model, its in zip(self.models, stored, strict=True):
            model.load_state_dict(its)
