"""A method of one's own, composed of parts: blocks of stride 1, 2 and 3 in turn.

Half a minute on two cores: python examples/own_method.py
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from typing import Annotated, ClassVar

import torch
import tyro

import diffusionblend as db
from diffusionblend.methods import AtLeastOne, EstimateMethod, Prox
from diffusionblend.priors import Partition, Prior, PriorSpec, make_partition, offset_count


@dataclass(frozen=True, kw_only=True)
class Strides(EstimateMethod):
    """As DiffusionBlend++, but with strides 1, 2, 3, ... in turn instead of 1 and 3."""

    name: ClassVar[str] = "strides"
    summary: ClassVar[str] = "joint block prior, blocks of stride 1, 2, 3 in turn"
    when: ClassVar[str] = "comparison with diffusionblend++"
    prior: ClassVar[PriorSpec | None] = PriorSpec("joint")

    largest_stride: Annotated[int, AtLeastOne] = 3
    """Largest distance between the slices of a block; the shipped prior was trained up to 3."""

    def partitions(self, shape: tuple[int, int, int], prior: Prior) -> Iterator[Partition]:
        """A partition for every reverse step, each from a random offset."""
        generator = torch.Generator().manual_seed(self.seed)
        for stride in cycle(range(1, self.largest_stride + 1)):
            n_offsets = offset_count(shape[0], prior.block_slices, stride)
            offset = int(torch.randint(n_offsets, (), generator=generator))
            yield make_partition(shape[0], prior.block_slices, stride, offset)


def main(
    size: int = 128, slices: int = 24, views: int = 8, steps: int = 20, prior: str = "chest"
) -> float:
    """PSNR of the volume in dB."""
    chest = db.synthetic_chest(7, shape=(slices, size, size), in_plane_mm=360.0 / size)
    scan = db.simulate(chest, db.ParallelBeam.fitting(chest.grid, views=views))
    method = Strides(steps=steps, init="fbp", noise_fraction=1.0, consistency=Prox(), seed=0)
    result = method(scan, prior=prior)
    psnr_db = db.evaluate(result.volume, chest).volume_psnr_db
    print(f"strides 1, 2, 3 in turn: {psnr_db:.2f} dB")
    return psnr_db


if __name__ == "__main__":
    tyro.cli(main)
