"""Size of the denoising network; no heavy imports, so that the command line can show it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, Literal, get_args

import tyro

from diffusionblend.errors import InputError

Layout = Literal["joint", "slices", "conditional", "coronal", "fbp-unet"]
LAYOUTS: tuple[str, ...] = get_args(Layout)
SINGLE_SLICES = ("slices", "coronal", "fbp-unet")
"""Layouts whose blocks are of one slice."""


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Size of the network."""

    layout: Annotated[Layout, tyro.conf.arg(prefix_name=False)] = "joint"
    """What it sees and gives: a block of slices together; axial slices one by one; the middle slice
    of a block given its neighbours; coronal slices one by one; or an FBP to be restored."""
    image_size: int = 128
    """Pixels of a square slice."""
    block_slices: int = 3
    """Slices k of a block; not looked at where the layout has slices one by one."""
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
        self._check_layout()
        multiple = self.pixel_multiple
        if self.image_size < multiple or self.image_size % multiple:
            raise InputError(
                f"The network's slices are {self.image_size} pixels wide.",
                f"a multiple of {multiple} (unshuffle x 2 to the number of levels less one)",
            )
        bad = [c for c in self.channels if c % self.norm_groups]
        if bad:
            raise InputError(
                f"Channels {bad} do not divide into {self.norm_groups} groups.",
                f"multiples of {self.norm_groups}, or fewer groups",
                "--network.channels or --network.norm-groups",
            )
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
        names = [f.name for f in fields(self) if f.name not in ("channels", "layout")]
        sizes = [getattr(self, name) for name in names]
        least = [int(name != "attention_levels") for name in names]
        sizes, least = [*sizes, *self.channels], [*least, *(1 for _ in self.channels)]
        bad = any(type(n) is not int or n < m for n, m in zip(sizes, least, strict=True))
        if not self.channels or bad:
            raise InputError(f"The network is {self}.", "whole numbers from 1, at least one level")

    def _check_layout(self) -> None:
        if self.layout not in LAYOUTS:
            raise InputError(f"The layout is {self.layout!r}.", f"one of {', '.join(LAYOUTS)}")
        if self.layout == "conditional" and (self.block_slices < 3 or self.block_slices % 2 == 0):
            raise InputError(
                f"The layout conditional was given blocks of {self.block_slices} slices.",
                "an odd number from 3, a slice and its neighbours",
            )

    @property
    def slices_seen(self) -> int:
        """Slices of a block: block_slices, or 1 where the layout has slices one by one."""
        return 1 if self.layout in SINGLE_SLICES else self.block_slices

    @property
    def given(self) -> slice:
        """The places of a block whose slices the network gives back."""
        half = self.block_slices // 2
        return slice(half, half + 1) if self.layout == "conditional" else slice(0, None)

    @property
    def slices_given(self) -> int:
        """How many those are."""
        return len(range(self.slices_seen)[self.given])

    @property
    def pixel_multiple(self) -> int:
        """Slices must be a multiple of this many pixels wide and high."""
        return self.unshuffle * 2 ** (len(self.channels) - 1)
