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
    """Channels of an attention head, in the coarsest level."""
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
        if self.channels[-1] % self.attention_head_channels:
            raise InputError(
                f"The lowest level's {self.channels[-1]} channels do not divide into attention "
                f"heads of {self.attention_head_channels}."
            )

    def _check_whole_numbers(self) -> None:
        sizes = [getattr(self, f.name) for f in fields(self) if f.name != "channels"]
        if not self.channels or any(type(n) is not int or n < 1 for n in (*sizes, *self.channels)):
            raise InputError(f"The network is {self}.", "whole numbers from 1, at least one level")

    @property
    def pixel_multiple(self) -> int:
        """Slices must be a multiple of this many pixels wide and high."""
        return self.unshuffle * 2 ** (len(self.channels) - 1)
