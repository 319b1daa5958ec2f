"""Random flips, turns, zooms, shifts, stretches, warps and noise of a block of slices."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from diffusionblend.training.settings import Augmentation
from diffusionblend.units import hu_to_network

AIR = -1.0
LOWEST_HU = -1024.0
WARP_NODES = 4
"""Of the random field along each axis: its structures are about a third of the width."""


@dataclass(frozen=True)
class BlockChange:
    """What is done to one block: axes flipped, a map of the plane or none, noise or none.

    flips: of the axes (z, y, x). theta: 2 x 3, as `torch.nn.functional.affine_grid` takes it.
    noise_seed: of the noise. warp: (2, n, n), displacements along x and y at n x n places from edge
    to edge, in halves of the width.
    """

    flips: tuple[bool, bool, bool]
    theta: np.ndarray | None
    noise_seed: int | None
    warp: np.ndarray | None = None

    @property
    def zoom(self) -> float:
        """How many times as large the pixels become."""
        return 1.0 if self.theta is None else math.sqrt(abs(np.linalg.det(self.theta[:, :2])))


def draw_change(settings: Augmentation, rng: np.random.Generator) -> BlockChange:
    """A random change; what it draws from `rng` does not depend on the block."""
    mirrored_x = bool(rng.random() < settings.mirror_x)
    mirrored_y = bool(rng.random() < settings.mirror_y)
    reversed_z = bool(rng.random() < settings.reverse_z)
    theta = warp = None
    if rng.random() < settings.moved:
        limit_rad = np.deg2rad(settings.rotation_degrees)
        angle_rad = rng.uniform(-limit_rad, limit_rad)
        zoom = np.exp(rng.uniform(-settings.log_zoom, settings.log_zoom))
        shift_x, shift_y = 2 * rng.uniform(-settings.shift, settings.shift, size=2)
        c, s = np.cos(angle_rad) * zoom, np.sin(angle_rad) * zoom
        theta = np.array([[c, -s, shift_x], [s, c, shift_y]])
        if settings.log_stretch:
            along_x = np.exp(rng.uniform(-settings.log_stretch, settings.log_stretch) / 2)
            theta[:, :2] *= (along_x, 1 / along_x)
        if settings.warp:
            nodes = (2, WARP_NODES, WARP_NODES)
            warp = 2 * rng.uniform(-settings.warp, settings.warp, size=nodes)
    noise_seed = int(rng.integers(2**62)) if settings.noise_hu else None
    return BlockChange((reversed_z, mirrored_y, mirrored_x), theta, noise_seed, warp)


def change_block(block: np.ndarray, change: BlockChange, noise_hu: float = 0.0) -> torch.Tensor:
    """A block (k, y, x) in HU, changed, float32 in the network's range."""
    axes = tuple(axis for axis, flipped in enumerate(change.flips) if flipped)
    x = plain_block(np.flip(block, axes))
    if change.theta is not None:
        theta = torch.tensor(change.theta, dtype=torch.float32)
        sampling = functional.affine_grid(theta[None], [1, *x.shape], align_corners=False)
        if change.warp is not None:
            nodes = torch.tensor(change.warp, dtype=torch.float32)[None]
            field = functional.interpolate(nodes, x.shape[1:], mode="bicubic", align_corners=True)
            sampling = sampling + field.movedim(1, -1)
        moved = functional.grid_sample(x[None] - AIR, sampling, mode="bicubic", align_corners=False)
        x = (moved[0] + AIR).clamp(min=hu_to_network(LOWEST_HU))
    if change.noise_seed is not None:
        generator = torch.Generator().manual_seed(change.noise_seed)
        x = x + hu_to_network(noise_hu) * torch.randn(x.shape, generator=generator)
    return x


def plain_block(block: np.ndarray) -> torch.Tensor:
    """A block in HU as it is, float32 in the network's range."""
    return hu_to_network(torch.from_numpy(np.array(block, dtype=np.float32, order="C")))
