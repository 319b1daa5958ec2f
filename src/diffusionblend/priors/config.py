"""Size of the denoising network; no heavy imports, so that the command line can show it."""

from __future__ import annotations

from dataclasses import dataclass, fields

from diffusionblend.errors import InputError


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Size of the network."""

    image_size: int = 128
    """Pixels of a square slice."""
    block_slices: int = 3
    """Slices k denoised together."""
    unshuffle: int = 2
    """Tiles of this many pixels a side become channels before the first layer."""
    channels: tuple[int, ...] = (48, 96, 160, 224)
    """Channels of each level, from fine to coarse."""
    layers: int = 1
    """Residual layers of each level."""
    attention_head_channels: int = 32
    """Channels of an attention head."""
    attention_levels: int = 1
    """Levels with attention, counted from the coarsest; 0 leaves only that below all levels."""
    norm_groups: int = 16
    """Groups of each group normalisation."""

    def __post_init__(self) -> None:
        self._check_whole_numbers()
        multiple = self.pixel_multiple
        if self.image_size < multiple or self.image_size % multiple:
            raise InputError(
                f"The network's slices are {self.image_size} pixels wide.",
                f"a multiple of {multiple} (unshuffle x 2 to the number of levels less one)",
            )
        bad = [c for c in self.channels if c % self.norm_groups]
        if bad:
            raise InputError(f"Channels {bad} do not divide into {self.norm_groups} groups.")
        if self.attention_levels > len(self.channels):
            raise InputError(
                f"Attention is asked for in {self.attention_levels} levels.",
                f"0 to {len(self.channels)}, the levels of the network",
            )
        for channels in self.channels[-max(1, self.attention_levels) :]:
            if channels % self.attention_head_channels:
                raise InputError(
                    f"A level's {channels} channels do not divide into attention heads of "
                    f"{self.attention_head_channels}."
                )

    def _check_whole_numbers(self) -> None:
        sizes = [getattr(self, f.name) for f in fields(self) if f.name != "channels"]
        least = [int(f.name != "attention_levels") for f in fields(self) if f.name != "channels"]
        sizes, least = [*sizes, *self.channels], [*least, *(1 for _ in self.channels)]
        bad = any(type(n) is not int or n < m for n, m in zip(sizes, least, strict=True))
        if not self.channels or bad:
            raise InputError(f"The network is {self}.", "whole numbers from 1, at least one level")

    @property
    def pixel_multiple(self) -> int:
        """Slices must be a multiple of this many pixels wide and high."""
        return self.unshuffle * 2 ** (len(self.channels) - 1)
