"""What a training run reports to its caller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class Progress:
    """What the loop reports after a step.

    loss: of the step; on a GPU, which computes ahead of the loop, the mean of the steps read last.
    validated: what the last validation gave.
    """

    step: int
    steps: int
    loss: float
    learning_rate: float
    validated: Mapping[str, float] = field(default_factory=dict)

    @property
    def validation_loss(self) -> float | None:
        """Of the last validation, None before the first."""
        return self.validated.get("validation_loss")

    @property
    def trial_psnr_db(self) -> float | None:
        """Of the small reconstruction at the last validation, None without one."""
        return self.validated.get("trial_psnr_db")
