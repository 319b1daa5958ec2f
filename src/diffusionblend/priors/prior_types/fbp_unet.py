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

    The network predicts the residual, the clean slice less its FBP. One for any scan takes
    the views in place of a timestep, and the arc in degrees in place of a position.
    """

    name = "fbp-unet"
    summary = "axial slices of an FBP, restored one by one; no diffusion"
    is_diffusion = False
    samples_by_itself = False

    def prediction(self, predict: str) -> str:
        """The residual, whatever a diffusion prior would predict."""
        return "residual"

    def draw_batch(self, x0: torch.Tensor, codes: torch.Tensor, draw: Draw) -> RestorationBatch:
        """The FBP of the batch's scans beside the clean slices; nothing is drawn."""
        import torch

        from diffusionblend.priors.prior_types.batches import RestorationBatch

        scans = draw.scans[draw.share]
        inputs = torch.tensor(scans) if draw.tells_scans else torch.zeros(len(scans), 2)
        arcs = inputs[:, 1].to(codes.dtype)
        if codes.ndim > 1:  # of position and lengths
            arcs = torch.cat([arcs[:, None], codes[:, 1:]], 1)
        fbp = draw.fbp(x0[:, 0], scans)[:, None]
        return RestorationBatch(x0, arcs, fbp, inputs[:, 0].long())

    def network_input(
        self, batch: RestorationBatch, schedule: NoiseSchedule
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The FBP, and the views of its scan."""
        return batch.image, batch.views

    def target(
        self, batch: RestorationBatch, schedule: NoiseSchedule, prediction: str, output: slice
    ) -> torch.Tensor:
        """What the FBP lacks."""
        return batch.x0[:, output] - batch.image[:, output]
