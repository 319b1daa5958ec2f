"""What every method returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from diffusionblend.data.volume import Volume

OnStep = Callable[[int, int], None]
"""Called with the steps done and the steps in all."""


def ignore_progress(done: int, total: int) -> None:
    """The progress report of a caller who wants none."""


@dataclass(frozen=True)
class Reconstruction:
    """A reconstructed volume in HU with what it cost.

    relative_residual: |Ax - y| / |y|. network_calls: passes of the whole volume through the
    network. seconds: of each part and in total.
    """

    volume: Volume
    relative_residual: float
    network_calls: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def network_share(self) -> float:
        """The network's share of the run time, 0 to 1."""
        return self.seconds.get("network", 0.0) / max(self.seconds.get("total", 0.0), 1e-9)
