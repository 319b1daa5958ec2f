"""A network trained on CT slices, with its facts: what priors and restorers have in common."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from diffusionblend.errors import InputError
from diffusionblend.io.atomic import atomic_output
from diffusionblend.priors.description import (
    CONFIG_FILE,
    FORMAT_VERSION,
    PRIOR_FILE,
    RANGE,
    WEIGHTS_FILE,
)
from diffusionblend.priors.network import NetworkConfig, apply_unet, build_unet
from diffusionblend.priors.precision import Precision, check_precision, runs_bfloat16
from diffusionblend.priors.reach import Reach

if TYPE_CHECKING:
    from typing import Self

    from diffusionblend.geometry.grid import Grid
    from diffusionblend.priors.integer import IntegerNetwork

SAFETENSORS_METADATA = {"format": "pt"}
"""What diffusers and transformers want to read in a file of weights."""


@dataclass(repr=False)
class TrainedNetwork:
    """A trained network and its facts.

    unet: the network, in float32. config: its size and prior type. trained: facts of its training
    (data, steps, validation loss), for the record. precision: of the network's arithmetic; "auto"
    is bfloat16 where the device has it in hardware; int8 by `use_precision`. source: the name,
    folder or hub id that it was loaded by, None for one made in memory. pixel_range_mm: smallest
    and largest pixels that a network for every pixel size was trained for; None where that is not
    known. lengths_mm: pixel size and slice spacing, the inputs of such a network; 0 for one that is
    not known.
    """

    unet: torch.nn.Module
    config: NetworkConfig
    trained: dict[str, object] = field(default_factory=dict)
    precision: Precision = "auto"
    weights_sha256: str = ""
    source: str | None = None
    pixel_range_mm: tuple[float, float] | None = None
    lengths_mm: tuple[float, float] | None = None

    def __repr__(self) -> str:
        millions = sum(p.numel() for p in self.unet.parameters()) / 1e6
        size = "any size" if self.config.length_codes else f"{self.config.image_size} pixels"
        return (
            f"{type(self).__name__}({self.source or 'made in memory'}): {self.config.prior_type}, "
            f"blocks of {self.block_slices}, slices of {size}, {millions:.1f} million parameters, "
            f"on {self.device}"
        )

    def for_grid(self, grid: Grid) -> Self:
        """The same network with a grid's lengths as inputs; itself where it takes none."""
        if not self.config.length_codes:
            return self
        return replace(self, lengths_mm=(grid.pixel_mm, grid.spacing_mm[0]))

    def serves(self, grid: Grid) -> bool:
        """Whether it is for slices of a grid: by pixel size where that is an input."""
        return Reach.of(self).serves(grid)

    @property
    def block_slices(self) -> int:
        """Slices k in a block."""
        return self.config.slices_seen

    @property
    def device(self) -> torch.device:
        """Where the network's weights are."""
        return next(self.unet.parameters()).device

    def to(self, device: torch.device | str) -> Self:
        """Move the network to a device, in place, ready for inference; returns this same object.

        As with `torch.nn.Module.to` there is no copy: whoever else has the object finds it moved.
        """
        self.unet.to(device)
        self.unet.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # not in its stubs
        self.unet.eval().requires_grad_(False)
        return self

    def use_precision(
        self, precision: Precision, tell: Callable[[str], None] | None = None
    ) -> Self:
        """Set the number format, in place; returns this same object.

        Where it is int8 its graph is read from the cache folder, or made, which takes a minute or
        two. tell: is called with a line of text before that. Raises InputError where it is none of
        PRECISIONS, and for int8 without its engine, on a GPU or for an FBP-UNet.
        """
        check_precision(precision)
        if precision == "int8":
            self._integer(tell)
        self.precision = precision
        return self

    def _integer(self, tell: Callable[[str], None] | None = None) -> IntegerNetwork:
        from diffusionblend.priors.integer import integer_network

        return integer_network(self.unet, self.config, tell)

    def _predicted(self, x: torch.Tensor, times: torch.Tensor, code: float) -> torch.Tensor:
        """The network's output for blocks (B, k, H, W). Raises InputError on their size."""
        multiple = self.config.pixel_multiple
        if x.shape[-1] % multiple or x.shape[-2] % multiple:
            raise InputError(
                f"The prior was given slices of {x.shape[-2]} x {x.shape[-1]} pixels.",
                f"multiples of {multiple} pixels (it was trained at {self.config.image_size})",
            )
        codes = self.codes(code, len(x), x.device)
        if self.precision == "int8":
            return self._integer()(x, times, codes)
        return apply_unet(
            self.unet,
            x,
            times,
            codes,
            unshuffle=self.config.unshuffle,
            bf16=runs_bfloat16(self.precision, x.device),
        )

    def codes(self, code: float, n_blocks: int, device: torch.device) -> torch.Tensor:
        """The network's inputs for blocks with a position code: (n,), or (n, 3) with lengths.

        Raises InputError where it lacks the lengths.
        """
        if not self.config.length_codes:
            return torch.full((n_blocks,), code, device=device)
        return torch.tensor([[code, *self._lengths()]], device=device).expand(n_blocks, -1)

    def _lengths(self) -> tuple[float, float]:
        """Pixel size and slice spacing in mm. Raises InputError where they are not known."""
        if self.lengths_mm is None:
            raise InputError(
                "The prior serves every pixel size and was given neither pixel size nor slice "
                "spacing.",
                "the grid that its slices are of",
                "prior.for_grid(grid).denoise(...)",
            )
        return self.lengths_mm

    def save(self, folder: Path) -> None:
        """Write network and facts to a folder: as diffusers does, float16 safetensors.

        Each file appears whole or not at all, prior.json last, since it marks a finished prior.
        Raises OutputWriteError.
        """
        from safetensors.torch import save

        folder = Path(folder)
        half = build_unet(self.config).half()
        half.load_state_dict(self.unet.state_dict())
        with ExitStack() as files:  # which take their places in the reverse of this order
            facts, config, weights = (
                files.enter_context(atomic_output(folder / name, force=True))
                for name in (PRIOR_FILE, CONFIG_FILE, WEIGHTS_FILE)
            )
            content = save(half.state_dict(), metadata=SAFETENSORS_METADATA)
            weights.write_bytes(content)
            config.write_text(half.to_json_string())  # type: ignore[operator]
            self.weights_sha256 = hashlib.sha256(content).hexdigest()
            facts.write_text(json.dumps(self._facts(), indent=2) + "\n")

    def _facts(self) -> dict[str, object]:
        """The content of prior.json."""
        facts = {
            "format": FORMAT_VERSION,
            "range": RANGE,
            "network": asdict(self.config),
            "trained": self.trained,
            "weights_sha256": self.weights_sha256,
        }
        any_size = self.config.length_codes and self.pixel_range_mm
        return facts | ({"pixel_range_mm": self.pixel_range_mm} if any_size else {})
