"""The denoising network: a diffusers UNet behind a pixel-unshuffle stem."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from diffusionblend.errors import InputError


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Size of the network.

    image_size: pixels of a square slice it is trained on. block_slices: slices k denoised together.
    unshuffle: pixels of an unshuffle x unshuffle tile become channels. channels: per level.
    layers: residual layers a level. attention_head_channels: in the lowest level.
    """

    image_size: int = 128
    block_slices: int = 3
    unshuffle: int = 2
    channels: tuple[int, ...] = (48, 96, 160, 224)
    layers: int = 1
    attention_head_channels: int = 32
    norm_groups: int = 16

    def __post_init__(self) -> None:
        multiple = self.unshuffle * 2 ** (len(self.channels) - 1)
        if self.image_size < multiple or self.image_size % multiple:
            raise InputError(
                f"The network's slices are {self.image_size} pixels wide.",
                f"a multiple of {multiple} (unshuffle x 2 to the number of levels less one)",
            )
        bad = [c for c in self.channels if c % self.norm_groups]
        if bad:
            raise InputError(f"Channels {bad} do not divide into {self.norm_groups} groups.")

    @property
    def pixel_multiple(self) -> int:
        """Slices must be a multiple of this many pixels wide and high."""
        return self.unshuffle * 2 ** (len(self.channels) - 1)


def build_unet(config: NetworkConfig) -> torch.nn.Module:
    """A `diffusers.UNet2DModel` whose class embedding is the Fourier embedding of the position code."""
    from diffusers import UNet2DModel

    levels = len(config.channels)
    tile_channels = config.block_slices * config.unshuffle**2
    return UNet2DModel(
        sample_size=config.image_size // config.unshuffle,
        in_channels=tile_channels,
        out_channels=tile_channels,
        block_out_channels=config.channels,
        layers_per_block=config.layers,
        down_block_types=("DownBlock2D",) * (levels - 1) + ("AttnDownBlock2D",),
        up_block_types=("AttnUpBlock2D",) + ("UpBlock2D",) * (levels - 1),
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
    """The network's raw output for blocks x_t (B, k, H, W) at t (B,) and code (B,), float32, same shape.

    `bf16` runs it under autocast; the module stays in float32, since casting diffusers' UNet whole
    fails in its class embedding.
    """
    tiles = functional.pixel_unshuffle(x_t, unshuffle)
    tiles = tiles.contiguous(memory_format=torch.channels_last)
    with torch.autocast(x_t.device.type, torch.bfloat16, enabled=bf16):
        out = unet(tiles, t, class_labels=code).sample
    return functional.pixel_shuffle(out.float(), unshuffle)
