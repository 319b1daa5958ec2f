"""Where a run is: all that a reverse process goes on from."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch


@dataclass
class State:
    """Where a run is after `done` steps: all that the rest of it depends on.

    x: the noisy volume (z, y, x), network range. generator: the state of the noise's generator.
    dual: the scaled ADMM dual variable (z, y, x), where there is one. total: the sum of the
    consistent estimates of the late steps, where they are averaged. variables: what the
    data-consistency step keeps, by name. estimate: the last consistent estimate, where it is asked
    for; spent: what the steps until now cost, seconds by part and `network_evaluations`. The run
    depends on neither.
    """

    done: int
    x: torch.Tensor
    generator: torch.Tensor
    dual: torch.Tensor | None = None
    total: torch.Tensor | None = None
    variables: dict[str, torch.Tensor] = field(default_factory=dict)
    estimate: torch.Tensor | None = None
    spent: dict[str, float] = field(default_factory=dict)

    def move(self, device: torch.device) -> None:
        """Take the volumes to a device."""
        self.x = self.x.to(device)
        self.dual = None if self.dual is None else self.dual.to(device)
        self.total = None if self.total is None else self.total.to(device)
