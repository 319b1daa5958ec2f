"""The prior type of Langevin sampling: a noisy slice given its clean neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from diffusionblend.priors.prior_types.conditional import Conditional

if TYPE_CHECKING:
    import torch

    from diffusionblend.priors.schedule import NoiseSchedule


class Neighbours(Conditional):
    """The middle slice of a block of axial neighbours, denoised given the others without noise.

    Beyond the first and the last slice of a volume the neighbours are mirrored: two equal ones
    stand for one alone.
    """

    name = "neighbours"
    summary = "the middle axial slice of a block, denoised given its clean neighbours"

    def noisy_slices(self, block_slices: int) -> slice:
        """The middle slice alone."""
        return self.output_slices(block_slices)

    def network_input(
        self, batch: Any, schedule: NoiseSchedule
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Blocks (n, k, H, W) whose middle slice is noisy, and its timesteps (n,)."""
        middle = self.output_slices(batch.x0.shape[1])
        blocks = batch.x0.clone()
        blocks[:, middle] = schedule.add_noise(batch.x0, batch.eps, batch.t)[:, middle]
        return blocks, batch.t
