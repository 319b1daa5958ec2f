"""The type of the network of FBP-UNet, which restores slices of an FBP (Jin et al. 2017)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffusionblend.priors.prior_types.slices import Slices

if TYPE_CHECKING:
    import torch

    from diffusionblend.priors.prior_types.batches import Draw, RestorationBatch
    from diffusionblend.priors.schedule import NoiseSchedule


class FbpUnet(Slices):
    """Axial slices of an FBP, restored one by one: no diffusion, one network evaluation.

    The network predicts the residual, the clean slice less its FBP.
    """

    name = "fbp-unet"
    summary = "axial slices of an FBP, restored one by one; no diffusion"
    is_diffusion = False
    samples_by_itself = False

    def prediction(self, predict: str) -> str:
        """The residual, whatever a diffusion prior would predict."""
        return "residual"

    def draw_batch(self, x0: torch.Tensor, codes: torch.Tensor, draw: Draw) -> RestorationBatch:
        """The FBP of the run's scans beside the clean slices; nothing is drawn."""
        import torch

        from diffusionblend.priors.prior_types.batches import RestorationBatch

        no_code = torch.zeros(len(x0), dtype=torch.long)
        if codes.ndim > 1:  # of position; lengths are told
            no_code = torch.cat([no_code[:, None], codes[:, 1:]], 1)
        return RestorationBatch(x0, no_code, draw.fbp(x0[:, 0])[:, None])

    def network_input(
        self, batch: RestorationBatch, schedule: NoiseSchedule
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The FBP, at timestep 0."""
        import torch

        return batch.image, torch.zeros(len(batch), dtype=torch.long, device=batch.image.device)

    def target(
        self, batch: RestorationBatch, schedule: NoiseSchedule, prediction: str, output: slice
    ) -> torch.Tensor:
        """What the FBP lacks."""
        return batch.x0[:, output] - batch.image[:, output]
