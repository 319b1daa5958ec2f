"""The denoising network: a diffusers UNet behind a pixel-unshuffle stem."""

from __future__ import annotations

import torch
from torch.nn import functional

from diffusionblend.priors.config import NetworkConfig


def build_unet(config: NetworkConfig) -> torch.nn.Module:
    """A `diffusers.UNet2DModel` that takes the position code through a Fourier embedding."""
    from diffusers import UNet2DModel

    attended = config.attention_levels
    plain = len(config.channels) - attended
    tiles = config.unshuffle**2
    return UNet2DModel(  # type: ignore[return-value]
        sample_size=config.image_size // config.unshuffle,
        in_channels=config.slices_seen * tiles,
        out_channels=config.n_output_slices * tiles,
        block_out_channels=config.channels,
        layers_per_block=config.layers,
        down_block_types=("DownBlock2D",) * plain + ("AttnDownBlock2D",) * attended,
        up_block_types=("AttnUpBlock2D",) * attended + ("UpBlock2D",) * plain,
        attention_head_dim=config.attention_head_channels,
        norm_num_groups=config.norm_groups,
        class_embed_type="timestep",
    )


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

    (B, output slices, H, W): k, or 1 where only the middle slice is returned.

    `bf16` runs it under autocast; the module stays in float32, since casting diffusers' UNet whole
    fails in its class embedding.
    """
    tiles = functional.pixel_unshuffle(x_t, unshuffle)
    tiles = tiles.contiguous(memory_format=torch.channels_last)
    with torch.autocast(x_t.device.type, torch.bfloat16, enabled=bf16):
        out = unet(tiles, t, class_labels=code).sample
    return functional.pixel_shuffle(out.float(), unshuffle)
