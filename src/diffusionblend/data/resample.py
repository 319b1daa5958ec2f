"""Volumes on another grid: the same field of view, other voxels.

Where voxels grow, the volume is first blurred by the Gaussian that takes one voxel's width to the
other's (Cardoso et al., "Scale factor point spread function matching", MICCAI 2015); a whole factor
in the plane is a plain mean of pixels instead. What lies outside the scan becomes air.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from diffusionblend.data.sitk import image_from_volume
from diffusionblend.data.volume import Volume, downsample_in_plane
from diffusionblend.errors import InputError
from diffusionblend.geometry.grid import Grid, grids_overlap
from diffusionblend.memory import total_memory_bytes
from diffusionblend.units import AIR_HU

SIGMAS_PER_FWHM = 1 / (2 * math.sqrt(2 * math.log(2)))
SAME_SPACING = 1e-6
"""Spacings whose ratio differs less than this from a whole number count as equal to it."""
KERNEL_ERROR = 0.005
"""Share of the blur's weight that its kernel may leave out at its ends."""
MAX_KERNEL_VOXELS = 64
HELD_BYTES_PER_VOXEL = 8
"""Of a new volume: float32, and once more while it is taken over."""


def resample(
    volume: Volume,
    *,
    spacing_mm: tuple[float, float, float] | None = None,
    shape: tuple[int, int, int] | None = None,
) -> Volume:
    """The volume on a grid of another spacing (z, y, x) in mm, or another shape (z, y, x), or both.

    With one of them the field of view stays (to the nearest voxel); with both it is cropped or
    filled with air (-1000 HU) around its centre. Values are linear in between. Raises InputError.
    """
    grid = resampled_grid(volume.grid, spacing_mm=spacing_mm, shape=shape)
    _check_fits(grid)
    factors = np.array(grid.spacing_mm) / np.array(volume.grid.spacing_mm)
    whole = _whole_in_plane_factor(volume.grid, factors)
    if whole > 1:
        volume = downsample_in_plane(volume, whole)
        factors[1:] = 1.0
    if _same_grid(volume.grid, grid):
        return Volume(volume.values, grid)
    return _interpolate(volume, grid, factors)


def _check_fits(grid: Grid) -> None:
    """Raises InputError for more voxels than the machine has memory for."""
    needed, there = HELD_BYTES_PER_VOXEL * math.prod(grid.shape), total_memory_bytes()
    if there and needed > there:
        raise InputError(
            f"A volume of {' x '.join(map(str, grid.shape))} voxels (z, y, x) was asked for, which "
            f"takes {needed / 1e9:.3g} GB.",
            f"what fits into {there / 1e9:.3g} GB of memory",
            "fewer pixels a slice, or larger ones",
        )


def resample_onto(volume: Volume, grid: Grid, *, outside_hu: float = AIR_HU) -> Volume:
    """The volume on another grid (z, y, x) in patient space, with air (or another HU) around it.

    Raises InputError where the two have no part of the patient in common.
    """
    if not grids_overlap(volume.grid, grid):
        raise InputError(
            f"Two volumes do not overlap: one lies on {volume.grid}, the other on {grid}.",
            "volumes of one patient in one coordinate system",
            "looking at each by itself",
        )
    factors = np.array(grid.spacing_mm) / np.array(volume.grid.spacing_mm)
    return _interpolate(volume, grid, factors, outside_hu)


def regridded(volume: Volume, grid: Grid) -> Volume:
    """The volume (HU) on another grid over the same field of view, air around it.

    Cubic B-splines where voxels shrink, which keep what is as fine as the volume's; the blur of
    `resample` where they grow.
    """
    import SimpleITK

    factors = np.array(grid.spacing_mm) / np.array(volume.grid.spacing_mm)
    return _interpolate(volume, grid, factors, interpolator=SimpleITK.sitkBSpline)


def resampled_grid(
    grid: Grid,
    *,
    spacing_mm: tuple[float, float, float] | None = None,
    shape: tuple[int, int, int] | None = None,
) -> Grid:
    """The grid around the same centre with another spacing or shape, (z, y, x); see `resample`."""
    extent = np.array(grid.shape) * np.array(grid.spacing_mm)
    if spacing_mm is None:
        if shape is None:
            return grid
        if min(shape) < 1:
            raise InputError(f"The shape asked for is {shape}.", "at least one voxel per axis")
        spacing_mm = extent / shape
    if not (np.isfinite(spacing_mm).all() and np.min(spacing_mm) > 0):
        raise InputError(f"The spacing asked for is {spacing_mm}.", "three positive millimetres")
    if shape is None:
        shape = np.maximum(np.round(extent / spacing_mm), 1).astype(int)
    old_middle = (np.array(grid.shape) - 1) / 2 * np.array(grid.spacing_mm)
    new_middle = (np.array(shape) - 1) / 2 * np.array(spacing_mm)
    direction = np.array(grid.direction).reshape(3, 3)
    origin = np.array(grid.origin_mm) + direction @ (old_middle - new_middle)[::-1]
    return replace(grid, shape=tuple(shape), spacing_mm=tuple(spacing_mm), origin_mm=tuple(origin))


def _whole_in_plane_factor(grid: Grid, factors: np.ndarray) -> int:
    """The whole number of pixels that one new pixel covers both ways; 1 where there is none."""
    whole = round(float(factors[1]))
    fits = np.allclose(factors[1:], whole, rtol=SAME_SPACING, atol=0)
    divides = whole > 1 and all(n % whole == 0 for n in grid.in_plane_shape)
    return whole if fits and divides else 1


def _same_grid(a: Grid, b: Grid) -> bool:
    return (
        a.shape == b.shape
        and np.allclose(a.spacing_mm, b.spacing_mm, rtol=SAME_SPACING, atol=0)
        and np.allclose(a.origin_mm, b.origin_mm, rtol=0, atol=SAME_SPACING)
    )


def _interpolate(
    volume: Volume,
    grid: Grid,
    factors: np.ndarray,
    outside_hu: float = AIR_HU,
    interpolator: int | None = None,
) -> Volume:
    """Blur along the axes whose voxels grow by `factors` (z, y, x), then interpolate.

    interpolator: SimpleITK's; linear by default.
    """
    import SimpleITK

    sitk: Any = SimpleITK  # its stubs have no lists
    image = image_from_volume(volume)
    sigma_voxels = np.sqrt(np.maximum(factors**2 - 1, 0)) * SIGMAS_PER_FWHM
    if sigma_voxels.max() > 0:
        image = sitk.DiscreteGaussian(
            image,
            variance=(sigma_voxels[::-1] ** 2).tolist(),
            maximumKernelWidth=MAX_KERNEL_VOXELS,
            maximumError=[KERNEL_ERROR] * 3,
            useImageSpacing=False,
        )
    image = sitk.Resample(
        image,
        size=grid.shape[::-1],
        outputOrigin=grid.origin_mm,
        outputSpacing=grid.spacing_mm[::-1],
        outputDirection=grid.direction,
        interpolator=sitk.sitkLinear if interpolator is None else interpolator,
        defaultPixelValue=outside_hu,
    )
    return Volume(sitk.GetArrayFromImage(image), grid)


def to_square_slices(volume: Volume, size: int) -> Volume:
    """The volume with slices of size x size square pixels that hold its whole field of view.

    The longer side of a slice fills the width, air fills the rest; slices along z stay. Raises
    InputError.
    """
    slices, *in_plane = volume.grid.shape
    spacing_z, *pixel_mm = volume.grid.spacing_mm
    if size < 1:
        raise InputError(f"The size asked for is {size} pixels.", "at least 1")
    width_mm = max(n * mm for n, mm in zip(in_plane, pixel_mm, strict=True))
    return resample(
        volume,
        spacing_mm=(spacing_z, width_mm / size, width_mm / size),
        shape=(slices, size, size),
    )
