"""Blocks of slices drawn at random from a bank of training volumes, in the network's range."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError
from diffusionblend.priors.prior_types.base import PriorType
from diffusionblend.priors.prior_types.joint import Joint
from diffusionblend.training.augmentation import (
    LOWEST_HU,
    change_block,
    draw_change,
    plain_block,
)
from diffusionblend.training.settings import Augmentation

HIGHEST_HU = 32000.0
JOINT = Joint()


@dataclass(frozen=True)
class VolumeBank:
    """Training volumes held as int16 HU, each (z, size, size), with the chance of drawing each.

    The arrays may be mapped from files. slice_spacing_mm: from slice to slice, of each volume.
    pixel_mm: of each volume's slices, where it is known.
    """

    volumes: tuple[np.ndarray, ...]
    chances: np.ndarray
    slice_spacing_mm: tuple[float, ...]
    pixel_mm: tuple[float, ...] = ()

    @classmethod
    def of(cls, volumes: Sequence[Volume], *, block_slices: int) -> VolumeBank:
        """A bank of volumes of one slice size, each drawn as often as the root of its slices.

        Raises InputError for no volume, different sizes, or one with fewer slices than a block.
        """
        spacings = [v.grid.spacing_mm[0] for v in volumes]
        return cls.of_arrays(
            [whole_hu(v) for v in volumes],
            spacings,
            block_slices=block_slices,
            pixel_mm=[v.grid.pixel_mm for v in volumes],
        )

    @classmethod
    def of_arrays(
        cls,
        arrays: Sequence[np.ndarray],
        slice_spacing_mm: Sequence[float],
        *,
        block_slices: int,
        pixel_mm: Sequence[float] = (),
    ) -> VolumeBank:
        """The same of arrays (z, size, size) of int16 HU, their slice spacings and pixel sizes."""
        arrays = tuple(arrays)
        sizes = {a.shape[1:] for a in arrays}
        if len(sizes) > 1:
            raise InputError(f"The volumes have slices of {sorted(sizes)} pixels.", "one size")
        for array in arrays:
            if len(array) < block_slices:
                raise InputError(
                    f"A training volume has {len(array)} slices.", f"at least {block_slices}"
                )
        if not arrays:
            raise InputError("There are no training volumes.", "at least one")
        roots = np.sqrt([len(a) for a in arrays])
        return cls(arrays, roots / roots.sum(), tuple(slice_spacing_mm), tuple(pixel_mm))

    def mixed_with(self, other: VolumeBank, share: float) -> VolumeBank:
        """Both banks in one, `share` of the blocks drawn from the other."""
        chances = np.concatenate([self.chances * (1 - share), other.chances * share])
        spacings = self.slice_spacing_mm + other.slice_spacing_mm
        pixels = self.pixel_mm + other.pixel_mm
        return VolumeBank(self.volumes + other.volumes, chances, spacings, pixels)

    def fingerprint(self, *, with_spacing: bool = False, with_pixels: bool = False) -> str:
        """SHA-256 of the volumes and their chances: equal for equal data alone."""
        digest = hashlib.sha256(self.chances.tobytes())
        if with_spacing:
            digest.update(repr(self.slice_spacing_mm).encode())
        if with_pixels:
            digest.update(repr(self.pixel_mm).encode())
        for volume in self.volumes:
            digest.update(repr(volume.shape).encode())
            digest.update(np.ascontiguousarray(volume).data)
        return digest.hexdigest()

    def pixel_range_mm(self, augmentation: Augmentation) -> tuple[float, float] | None:
        """The smallest and the largest pixels of the bank's blocks, where pixels are known."""
        if not self.pixel_mm:
            return None
        zoom = math.exp(augmentation.log_zoom)
        return min(self.pixel_mm) / zoom, max(self.pixel_mm) * zoom

    @property
    def n_slices(self) -> int:
        """Slices in all volumes together."""
        return sum(len(v) for v in self.volumes)


def whole_hu(volume: Volume) -> np.ndarray:
    """A volume's values as whole HU, int16, within -1024 and 32000."""
    return np.round(volume.values.clip(LOWEST_HU, HIGHEST_HU)).astype(np.int16)


def draw_blocks(
    bank: VolumeBank,
    *,
    n_blocks: int,
    block_slices: int,
    strides: Sequence[int],
    rng: np.random.Generator,
    augmentation: Augmentation | None = None,
    code: str = "slices",
    prior_type: PriorType = JOINT,
    share: slice = slice(None),
    with_lengths: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Random blocks (n, k, size, size) in the network's range, and their position codes (n,).

    strides: distances between a block's slices, where the prior type uses them. The code is that
    distance: the stride, or for the code "mm" the stride times the volume's slice spacing in mm;
    with_lengths: (n, 3) with pixel size and slice spacing in mm beside it. All `n_blocks` are drawn
    from `rng`; those of the `share` alone are read and returned.
    """
    drawn = []
    for _ in range(n_blocks):
        volume = int(rng.choice(len(bank.volumes), p=bank.chances))
        place = prior_type.draw_place(bank.volumes[volume].shape, block_slices, strides, rng)
        change = draw_change(augmentation, rng) if augmentation is not None else None
        drawn.append((volume, place, change))
    blocks: list[torch.Tensor] = []
    codes: list[float | tuple[float, float, float]] = []
    for volume, place, change in drawn[share]:
        block, stride = place.read(bank.volumes[volume]), place.stride
        if augmentation is None or change is None:
            blocks.append(plain_block(block))
        else:
            blocks.append(change_block(block, change, augmentation.noise_hu))
        spacing_mm = bank.slice_spacing_mm[volume]
        position = stride if code == "slices" else stride * spacing_mm
        if with_lengths:
            zoom = 1.0 if change is None else change.zoom
            codes.append((float(position), bank.pixel_mm[volume] * zoom, spacing_mm))
        else:
            codes.append(position)
    return torch.stack(blocks), torch.tensor(codes)
