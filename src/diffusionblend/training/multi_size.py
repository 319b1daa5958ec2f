"""Training blocks of every pixel size and slice spacing, for a network with both as inputs.

Each batch is of one slice size: small slices, slices of about the network's image size, crops of
that size with small pixels, or whole slices of the source. So every block teaches all sizes, and
the early steps of small slices are cheap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch

from diffusionblend.training.augmentation import change_block, draw_change, plain_block
from diffusionblend.training.dataset import VolumeBank
from diffusionblend.training.settings import Augmentation, TrainSettings

CHANCES = (0.15, 0.45, 0.25, 0.15)
"""Of batches of small slices, of about the image size, of crops, and of whole slices."""
SMALL = (3 / 8, 1 / 2, 1 / 2, 1 / 2, 5 / 8)
MEDIUM = (3 / 4, 7 / 8, 1.0)
"""Slice sizes as parts of the image size, drawn evenly."""
SMALLEST_PART = min(SMALL)
MOST_SMALL_BLOCKS = 4
"""How many times as many small slices as the batch size, at most."""
NATIVE_SHARE = 0.7
"""Of the crops, those at the source's own pixels; the others' pixels are up to CROP_ZOOM larger."""
CROP_ZOOM = 1.5
LONGEST_SPACING_MM = 5.2
MOST_THINNED = 4
THINNED_SHARE = 0.35
"""Of the blocks, those of a volume with fewer slices: means of neighbours, or some left out."""
LENGTH_ERROR = 0.08
"""Standard deviation of log2 of a length given to the network over the true one."""
OMITTED_SHARE = 0.1


@dataclass(frozen=True)
class SizeDraw:
    """What the blocks of a batch have in common.

    size: pixels a side. pixels: of the source that are one, least and largest. native_share: of the
    blocks whose pixels are the least. fine: whether their pixels are fine.
    """

    size: int
    pixels: tuple[float, float]
    native_share: float = 0.0
    fine: bool = False


def draw_size(settings: TrainSettings, rng: np.random.Generator) -> SizeDraw:
    """The slice size of a batch, and how many pixels of the source become one."""
    image, source = settings.network.image_size, settings.source_size
    kind = int(rng.choice(4, p=CHANCES))
    if kind == 0:
        size = _multiple(float(rng.choice(SMALL)) * image, settings)
        return SizeDraw(size, (source / size, source / size))
    if kind == 1:
        part = 1.0 if rng.random() < 0.5 else float(rng.choice(MEDIUM))
        size = _multiple(part * image, settings)
        least = source / image if part == 1 else min(CROP_ZOOM, source / size)
        return SizeDraw(size, (least, source / size))
    if kind == 2:
        most = min(CROP_ZOOM, source / image)
        return SizeDraw(image, (1.0, most), NATIVE_SHARE, fine=True)
    return SizeDraw(source, (1.0, 1.0), fine=True)


def _multiple(pixels: float, settings: TrainSettings) -> int:
    """The nearest number of pixels that the network takes."""
    multiple = settings.network.pixel_multiple
    return multiple * max(1, round(pixels / multiple))


def blocks_of(size: int, settings: TrainSettings) -> int:
    """Blocks of a batch of slices of a size, which has about the same pixels whatever the size."""
    n = settings.batch_size * settings.network.image_size**2 / size**2
    return max(1, min(MOST_SMALL_BLOCKS * settings.batch_size, round(n)))


def draw_of_every_size(
    bank: VolumeBank,
    settings: TrainSettings,
    n_blocks: int,
    rng: np.random.Generator,
    augmentation: Augmentation | None,
) -> tuple[torch.Tensor, torch.Tensor, bool]:
    """Blocks (n, k, size, size), network range, their codes (n, 3), are pixels fine.

    Changed by the augmentation, then cut and resampled by the mean over an area; some lengths in
    the codes are a little wrong, or missing. Without augmentation: `n_blocks` whole slices of the
    image size, and their true lengths.
    """
    if augmentation is None:
        image, source = settings.network.image_size, settings.source_size
        drawn, n = SizeDraw(image, (source / image, source / image)), n_blocks
    else:
        drawn = draw_size(settings, rng)
        n = blocks_of(drawn.size, settings)
    found = [_draw_block(bank, settings, drawn, rng, augmentation) for _ in range(n)]
    x0 = torch.stack([block for block, _ in found])
    return x0, torch.tensor([codes for _, codes in found]), drawn.fine


def pixel_range_mm(bank: VolumeBank, settings: TrainSettings) -> tuple[float, float] | None:
    """The smallest and the largest pixels that a run teaches, where they are known."""
    found = bank.pixel_range_mm(settings.augmentation)
    if found is None or not settings.multi_size:
        return found
    smallest = _multiple(SMALLEST_PART * settings.network.image_size, settings)
    return found[0], found[1] * settings.source_size / smallest


def _draw_block(
    bank: VolumeBank,
    settings: TrainSettings,
    drawn: SizeDraw,
    rng: np.random.Generator,
    augmentation: Augmentation | None,
) -> tuple[torch.Tensor, tuple[float, float, float]]:
    volume = int(rng.choice(len(bank.volumes), p=bank.chances))
    pixel_mm, slice_mm = bank.pixel_mm[volume], bank.slice_spacing_mm[volume]
    thinned = Thinned(bank.volumes[volume], 1, averaged=False)
    if augmentation is not None:
        thinned = draw_thinned(thinned.volume, slice_mm, settings.network.slices_seen, rng)
    network = settings.network
    place = network.type.draw_place(thinned.shape, network.block_slices, settings.strides, rng)
    block, zoom = place.read(cast("np.ndarray", thinned)), 1.0
    if augmentation is None:
        x = plain_block(block)
    else:
        change = draw_change(augmentation, rng)
        x, zoom = change_block(block, change, augmentation.noise_hu), change.zoom
    least, most = drawn.pixels
    factor = float(np.exp(rng.uniform(np.log(least), np.log(most))))
    factor = least if rng.random() < drawn.native_share else factor
    y, x_first = rng.uniform(0, max(0.0, x.shape[-1] - drawn.size * factor), 2)
    x = resampled(x, drawn.size, factor, (float(y), float(x_first)))
    given = np.array([pixel_mm * zoom * factor, slice_mm * thinned.every])
    if augmentation is not None:
        given = given * 2 ** rng.normal(0, LENGTH_ERROR, 2) * (rng.random() >= OMITTED_SHARE)
    return x, (float(place.stride), float(given[0]), float(given[1]))


@dataclass(frozen=True)
class Thinned:
    """A volume (z, y, x) with every so manieth slice, or the mean of so many: read when asked for.

    A list of slice numbers in brackets gives those slices, as of an array.
    """

    volume: np.ndarray
    every: int
    averaged: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """(z, y, x) with the slices that are left."""
        z, y, x = self.volume.shape
        return z // self.every, y, x

    def __getitem__(self, slices: list[int]) -> np.ndarray:
        count = self.every if self.averaged else 1
        parts = [self.volume[i * self.every : i * self.every + count] for i in slices]
        return np.stack([part.mean(0, dtype=np.float32) for part in parts])


def draw_thinned(
    volume: np.ndarray, slice_mm: float, block_slices: int, rng: np.random.Generator
) -> Thinned:
    """A volume as it is, or with slices up to LONGEST_SPACING_MM apart where it has enough."""
    most = min(int(LONGEST_SPACING_MM / slice_mm), MOST_THINNED, len(volume) // block_slices)
    if most < 2 or rng.random() >= THINNED_SHARE:
        return Thinned(volume, 1, averaged=False)
    return Thinned(volume, int(rng.integers(2, most + 1)), averaged=bool(rng.random() < 0.5))


def resampled(
    block: torch.Tensor, size: int, factor: float, corner: tuple[float, float]
) -> torch.Tensor:
    """A square part (k, size, size) of a block: means over areas of factor x factor pixels.

    corner: of the part, in pixels of the block (y, x).
    """
    height, width = block.shape[-2:]
    along_y = area_means(height, size, factor, corner[0])
    along_x = area_means(width, size, factor, corner[1])
    return along_y @ block @ along_x.T


def area_means(n: int, size: int, factor: float, first: float) -> torch.Tensor:
    """(size, n): row o is the mean over [first + o factor, first + (o + 1) factor) of n numbers."""
    edges = first + factor * np.arange(size + 1)
    places = np.arange(n)
    low = np.maximum(edges[:-1, None], places[None])
    high = np.minimum(edges[1:, None], places[None] + 1)
    overlap = np.clip(high - low, 0, None)
    return torch.from_numpy((overlap / overlap.sum(1, keepdims=True)).astype(np.float32))
