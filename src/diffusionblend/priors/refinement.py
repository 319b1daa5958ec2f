"""What a network for every pixel size has beside its UNet: the code of lengths, and a refinement.

The refinement works on the pixels themselves, which the stem's tiles of pixels blur.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

KERNEL = 3
N_BLOCKS = 2
N_FEATURES = 10
"""Full-resolution channels that the UNet hands to the refinement beside its own output."""
LOWEST_OCTAVE = -4.0
"""log2 of the lowest frequency of a length's Fourier code, in turns for each doubling."""
SHORTEST_MM = 1e-3


class CodeEmbedding(nn.Module):
    """The embedding (B, width) of position code, pixel size and slice spacing in mm, (B, 3).

    The position code goes through `embed` (Fourier features) and two layers, as in diffusers; sine
    and cosine of 2 pi f log2(mm), f from 1/16 to 1, through two others, whose last begins at zero.
    A length of 0 is one that is not known, and adds nothing of its own.
    """

    def __init__(self, embed: nn.Module, n_features: int, width: int, length_codes: int) -> None:
        super().__init__()
        self.embed = embed
        self.linear_1, self.linear_2 = nn.Linear(n_features, width), nn.Linear(width, width)
        self.n_frequencies = length_codes // 2
        self.size_1 = nn.Linear(2 * (length_codes + 1), width)
        self.size_2 = nn.Linear(width, width)
        _zero(self.size_2)

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """See the class."""
        dtype = self.linear_1.weight.dtype
        position, lengths = self.embed(codes[:, 0]).to(dtype), self.lengths(codes[:, 1:]).to(dtype)
        sizes = self.size_2(functional.silu(self.size_1(lengths)))
        return self.linear_2(functional.silu(self.linear_1(position))) + sizes

    def lengths(self, mm: torch.Tensor) -> torch.Tensor:
        """The code (B, 2 (length_codes + 1)) of two lengths: for each 1, its sines and cosines."""
        mm = mm.to(torch.float32)
        known = (mm > 0)[..., None].to(mm)
        octaves = torch.linspace(LOWEST_OCTAVE, 0, self.n_frequencies, device=mm.device)
        frequencies = 2.0**octaves  # as torch.exp2, which OpenVINO does not know
        phase = 2 * math.pi * frequencies * torch.log2(mm.clamp(min=SHORTEST_MM))[..., None]
        waves = torch.cat([torch.ones_like(known), phase.sin(), phase.cos()], -1)
        return (waves * known).flatten(1)


class Refinement(nn.Module):
    """Residual blocks at full resolution that add to the UNet's output, at first nothing.

    slices_seen, slices_given: of the network's input and output. width: of the embedding.
    """

    def __init__(
        self, slices_seen: int, slices_given: int, channels: int, unshuffle: int, width: int
    ) -> None:
        super().__init__()
        self.slices_given, self.unshuffle = slices_given, unshuffle
        self.conv_in = _convolution(slices_seen + slices_given + N_FEATURES, channels)
        self.blocks = nn.ModuleList(_Block(channels, width) for _ in range(N_BLOCKS))
        self.conv_out = _convolution(channels, slices_given)
        _zero(self.conv_out)

    def forward(
        self, tiles: torch.Tensor, found: torch.Tensor, embedding: torch.Tensor
    ) -> torch.Tensor:
        """The refined output, in tiles, of the network's input and the UNet's output, in tiles."""
        full = functional.pixel_shuffle(found, self.unshuffle)
        x = torch.cat([functional.pixel_shuffle(tiles, self.unshuffle).to(full), full], 1)
        h = self.conv_in(x.contiguous(memory_format=torch.channels_last))
        embedding = functional.silu(embedding)
        for block in self.blocks:
            h = block(h, embedding)
        refined = full[:, : self.slices_given] + self.conv_out(functional.silu(h))
        return functional.pixel_unshuffle(refined, self.unshuffle)


class _Block(nn.Module):
    """h + conv(SiLU(conv(SiLU(h)) (1 + scale) + shift)), scale and shift from the embedding."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = _convolution(channels, channels), _convolution(channels, channels)
        self.emb = nn.Linear(width, 2 * channels)
        _zero(self.emb)

    def forward(self, h: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        scale, shift = self.emb(embedding)[:, :, None, None].chunk(2, 1)
        changed = torch.addcmul(shift, self.conv1(functional.silu(h)), 1 + scale)
        return h + self.conv2(functional.silu(changed))


def _convolution(n_in: int, n_out: int) -> nn.Conv2d:
    return nn.Conv2d(n_in, n_out, KERNEL, padding=KERNEL // 2)


def _zero(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
