"""The denoising network: a diffusers UNet behind a pixel-unshuffle stem."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch.nn import functional

from diffusionblend.priors.config import NetworkConfig
from diffusionblend.priors.refinement import N_FEATURES, CodeEmbedding, Refinement


def build_unet(config: NetworkConfig) -> torch.nn.Module:
    """A `diffusers.UNet2DModel` that takes the position code through a Fourier embedding.

    With length codes the embedding takes pixel size and slice spacing as well; with a refinement
    the UNet has more channels for it, and its output comes refined.
    """
    from diffusers import UNet2DModel

    given = config.n_output_slices + (N_FEATURES if config.refine else 0)
    kind: Any = _refined_unet() if config.refine else UNet2DModel
    unet = kind(
        **config.unet_settings,
        out_channels=given * config.unshuffle**2,
        class_embed_type="identity" if config.length_codes else "timestep",
    )
    width = unet.time_embedding.linear_1.out_features
    if config.length_codes:
        unet.class_embedding = CodeEmbedding(
            unet.time_proj, config.channels[0], width, config.length_codes
        )
    if config.refine:
        unet.refine = Refinement(
            config.slices_seen, config.n_output_slices, config.refine, config.unshuffle, width
        )
    return unet  # type: ignore[no-any-return]


@cache
def _refined_unet() -> Any:
    """The class of a UNet with a refinement; made when first used, since diffusers is slow."""
    from diffusers import UNet2DModel
    from diffusers.models.unets.unet_2d import UNet2DOutput

    base: Any = UNet2DModel

    class RefinedUNet2DModel(base):  # type: ignore[misc]
        """A `UNet2DModel` whose output goes through its `refine`."""

        def forward(
            self, sample: torch.Tensor, timestep: torch.Tensor, class_labels: torch.Tensor
        ) -> UNet2DOutput:
            """The output refined, in tiles; timestep: (B,), class_labels: (B,) or (B, 3)."""
            found = super().forward(sample, timestep, class_labels).sample
            codes = self.time_proj(class_labels) if class_labels.ndim == 1 else class_labels
            embedding = self.time_embedding(self.time_proj(timestep).to(self.dtype))
            embedding = embedding + self.class_embedding(codes)
            return UNet2DOutput(sample=self.refine(sample, found, embedding))

    return RefinedUNet2DModel


def apply_unet(
    unet: torch.nn.Module,
    x_t: torch.Tensor,
    t: torch.Tensor,
    code: torch.Tensor,
    *,
    unshuffle: int,
    bf16: bool,
) -> torch.Tensor:
    """The network's raw output, float32, for blocks x_t (B, k, H, W) at t (B,) with code (B,).

    (B, output slices, H, W): k, or 1 where only the middle slice is returned. code: (B, 3) where
    pixel size and slice spacing are inputs, see `CodeEmbedding`.

    `bf16` runs it under autocast; the module stays in float32, since casting diffusers' UNet whole
    fails in its class embedding.
    """
    tiles = functional.pixel_unshuffle(x_t, unshuffle)
    tiles = tiles.contiguous(memory_format=torch.channels_last)
    with torch.autocast(x_t.device.type, torch.bfloat16, enabled=bf16):
        out = unet(tiles, t, class_labels=code).sample
    return functional.pixel_shuffle(out.float(), unshuffle)
