"""Blocks of slices drawn at random from a bank of training volumes, in the network's range."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from diffusionblend.errors import InputError
from diffusionblend.units import hu_to_network
from diffusionblend.volume import Volume

AIR = -1.0
LOWEST_HU, HIGHEST_HU = -1024.0, 32000.0
AFFINE_SHARE = 0.5
MAX_ROTATION_RAD = np.deg2rad(6.0)
MAX_LOG_ZOOM = 0.14
MAX_SHIFT = 0.06
"""Augmentation: share of blocks turned, zoomed (at most 15%) and shifted (share of the width)."""


@dataclass(frozen=True)
class VolumeBank:
    """Training volumes held as int16 HU, each (z, size, size), with the chance of drawing each."""

    volumes: tuple[np.ndarray, ...]
    chances: np.ndarray

    @classmethod
    def of(cls, volumes: Sequence[Volume], *, block_slices: int) -> VolumeBank:
        """A bank of volumes of one slice size, each drawn as often as the root of its slices.

        Raises InputError for no volume, different sizes, or one with fewer slices than a block.
        """
        arrays = tuple(_as_int16(v) for v in volumes)
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
        return cls(arrays, roots / roots.sum())

    def mixed_with(self, other: VolumeBank, share: float) -> VolumeBank:
        """Both banks in one, `share` of the blocks drawn from the other."""
        chances = np.concatenate([self.chances * (1 - share), other.chances * share])
        return VolumeBank(self.volumes + other.volumes, chances)

    def fingerprint(self) -> str:
        """SHA-256 of the volumes and their chances: equal for equal data alone."""
        digest = hashlib.sha256(self.chances.tobytes())
        for volume in self.volumes:
            digest.update(repr(volume.shape).encode())
            digest.update(np.ascontiguousarray(volume))
        return digest.hexdigest()

    @property
    def n_slices(self) -> int:
        """Slices in all volumes together."""
        return sum(len(v) for v in self.volumes)


def _as_int16(volume: Volume) -> np.ndarray:
    """A volume's values as whole HU."""
    return np.round(volume.values.clip(LOWEST_HU, HIGHEST_HU)).astype(np.int16)


def read_square_volumes(folder: Path, size: int) -> dict[str, Volume]:
    """Every volume of a folder by its file name, its slices resampled to size x size pixels.

    A volume is a file, or a subfolder with a DICOM series. Raises InputError if there is none.
    """
    from diffusionblend.io.files import file_suffix
    from diffusionblend.io.resampling import to_square_slices
    from diffusionblend.io.volumes import READ_SUFFIXES, read_volume

    folder = Path(folder)
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    paths = [p for p in paths if not p.name.startswith(".")]
    paths = [p for p in paths if p.is_dir() or file_suffix(p) in READ_SUFFIXES]
    if not paths:
        raise InputError(
            f"There are no volumes in {folder}.",
            f"a folder of files ending in {', '.join(READ_SUFFIXES)}, or of DICOM folders",
        )
    return {p.name: to_square_slices(read_volume(p), size) for p in paths}


def draw_blocks(
    bank: VolumeBank,
    *,
    n_blocks: int,
    block_slices: int,
    strides: Sequence[int],
    rng: np.random.Generator,
    augment: bool = True,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Random blocks (n, k, size, size) in the network's range, and their position codes (n,).

    The code is the stride: the distance between neighbouring slices of the block.
    """
    blocks, codes = [], []
    for _ in range(n_blocks):
        volume = bank.volumes[rng.choice(len(bank.volumes), p=bank.chances)]
        longest = max(1, (len(volume) - 1) // max(1, block_slices - 1))
        stride = min(int(rng.choice(strides)), longest)
        first = int(rng.integers(len(volume) - stride * (block_slices - 1)))
        block = volume[first : first + stride * (block_slices - 1) + 1 : stride]
        blocks.append(_augmented(block, rng) if augment else _as_tensor(block))
        codes.append(stride)
    return torch.stack(blocks), torch.tensor(codes)


def _as_tensor(block: np.ndarray) -> torch.Tensor:
    return hu_to_network(torch.from_numpy(np.ascontiguousarray(block)).float())


def _augmented(block: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
    """A block flipped left to right, front to back (seldom) and along z; half of them moved too."""
    if rng.random() < 0.5:
        block = block[:, :, ::-1]
    if rng.random() < 0.1:
        block = block[:, ::-1, :]
    if rng.random() < 0.5:
        block = block[::-1]
    x = _as_tensor(block)
    if rng.random() >= AFFINE_SHARE:
        return x
    angle = rng.uniform(-MAX_ROTATION_RAD, MAX_ROTATION_RAD)
    zoom = np.exp(rng.uniform(-MAX_LOG_ZOOM, MAX_LOG_ZOOM))
    shift_x, shift_y = 2 * rng.uniform(-MAX_SHIFT, MAX_SHIFT, size=2)
    c, s = np.cos(angle) * zoom, np.sin(angle) * zoom
    theta = torch.tensor([[c, -s, shift_x], [s, c, shift_y]], dtype=torch.float32)
    sampling = functional.affine_grid(theta[None], [1, *x.shape], align_corners=False)
    moved = functional.grid_sample(x[None] - AIR, sampling, mode="bicubic", align_corners=False)
    return (moved[0] + AIR).clamp(min=hu_to_network(LOWEST_HU))
