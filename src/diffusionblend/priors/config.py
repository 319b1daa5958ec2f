"""Size of the denoising network; no heavy imports, so that the command line can show it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from diffusionblend.errors import InputError
from diffusionblend.priors.prior_types.registry import prior_type_of

if TYPE_CHECKING:
    from diffusionblend.priors.prior_types.base import PriorType

MAY_BE_ZERO = ("attention_levels", "length_codes", "refine")


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Size of the network."""

    prior_type: str = "joint"
    """What the network sees and returns: joint, blocks of axial slices denoised together; slices,
    axial slices one by one; conditional, the middle slice of a block given its neighbours; coronal,
    coronal slices one by one; neighbours, the middle slice of a block given its clean neighbours;
    fbp-unet, axial slices of an FBP to be restored."""
    image_size: int = 128
    """Pixels of a square slice."""
    block_slices: int = 3
    """Slices of a block; ignored by prior types of single slices."""
    unshuffle: int = 2
    """Side in pixels of the tiles that become channels before the first layer (pixel-unshuffle)."""
    channels: tuple[int, ...] = (48, 96, 160, 224)
    """Channels of each level, from fine to coarse."""
    layers: int = 1
    """Residual layers of each level."""
    attention_head_channels: int = 32
    """Channels of an attention head."""
    attention_levels: int = 1
    """Number of levels with attention, counted from the coarsest; with 0 only the middle block has
    it."""
    norm_groups: int = 16
    """Number of groups of each group normalisation."""
    length_codes: int = 0
    """Length of the Fourier embeddings of pixel size and slice spacing (mm), inputs of networks for
    every pixel size; 0: neither is an input, and slices have image_size pixels."""
    refine: int = 0
    """Channels of two residual blocks at full resolution after the last layer; 0 for none."""

    def __post_init__(self) -> None:
        self._check_whole_numbers()
        if self.length_codes % 2:
            raise InputError(
                f"The Fourier code of a length has {self.length_codes} numbers.",
                "an even number, of sines and cosines, or 0",
                "--network.length-codes 32",
            )
        self.type.check(self.block_slices)
        multiple = self.pixel_multiple
        if self.image_size < multiple or self.image_size % multiple:
            raise InputError(
                f"The network's slices are {self.image_size} pixels wide.",
                f"a multiple of {multiple} (unshuffle x 2 to the number of levels less one)",
                "--network.image-size, or fewer --network.channels",
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
                "--network.attention-levels 1",
            )
        for channels in self.channels[-max(1, self.attention_levels) :]:
            if channels % self.attention_head_channels:
                raise InputError(
                    f"A level's {channels} channels do not divide into attention heads of "
                    f"{self.attention_head_channels}.",
                    f"a divisor of {channels}",
                    "--network.channels or --network.attention-head-channels",
                )

    def _check_whole_numbers(self) -> None:
        names = [f.name for f in fields(self) if f.name not in ("channels", "prior_type")]
        sizes = [getattr(self, name) for name in names]
        least = [int(name not in MAY_BE_ZERO) for name in names]
        sizes, least = [*sizes, *self.channels], [*least, *(1 for _ in self.channels)]
        bad = any(type(n) is not int or n < m for n, m in zip(sizes, least, strict=True))
        if not self.channels or bad:
            raise InputError(
                f"The network is {self}.",
                "whole numbers from 1, at least one level",
                "--network.channels 48 96 160 224; of a prior that was fetched, fetch it again",
            )

    @property
    def type(self) -> PriorType:
        """The prior type itself. Raises InputError where there is none of that name."""
        return prior_type_of(self.prior_type)

    @property
    def slices_seen(self) -> int:
        """Slices of a block, the network's input: block_slices, or 1 for slices one by one."""
        return self.type.slices_seen(self.block_slices)

    @property
    def output_slices(self) -> slice:
        """The places within a block of the slices that the network returns."""
        return self.type.output_slices(self.block_slices)

    @property
    def noisy_slices(self) -> slice:
        """The places within a block of the slices that are noisy."""
        return self.type.noisy_slices(self.block_slices)

    @property
    def n_output_slices(self) -> int:
        """How many those are."""
        return len(range(self.slices_seen)[self.output_slices])

    @property
    def unet_settings(self) -> dict[str, object]:
        """What the UNet of diffusers is made with, by its names, but for its output channels."""
        attended = self.attention_levels
        plain = len(self.channels) - attended
        return {
            "sample_size": self.image_size // self.unshuffle,
            "in_channels": self.slices_seen * self.unshuffle**2,
            "block_out_channels": self.channels,
            "layers_per_block": self.layers,
            "down_block_types": ("DownBlock2D",) * plain + ("AttnDownBlock2D",) * attended,
            "up_block_types": ("AttnUpBlock2D",) * attended + ("UpBlock2D",) * plain,
            "attention_head_dim": self.attention_head_channels,
            "norm_num_groups": self.norm_groups,
        }

    @property
    def least_weights(self) -> int:
        """Fewer weights than this no such network has: its first layer, half of each block, and
        a convolution of the refinement.
        """
        first = 9 * self.channels[0] * self.slices_seen * self.unshuffle**2
        return first + 2 * 9 * self.layers * sum(c * c for c in self.channels) + 9 * self.refine**2

    @property
    def pixel_multiple(self) -> int:
        """Slices must be a multiple of this many pixels wide and high."""
        return self.unshuffle * 2 ** (len(self.channels) - 1)


def with_prior_type(network: dict) -> dict:
    """Stored settings of a network, with `prior_type` where they have its old name, `layout`."""
    return {"prior_type" if name == "layout" else name: value for name, value in network.items()}
