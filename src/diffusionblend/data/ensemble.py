"""Mean and standard deviation of several samples of one scan, one volume in memory at a time."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError
from diffusionblend.geometry.grid import check_same_grid


def mean_and_deviation(samples: Iterable[Volume]) -> tuple[Volume, Volume]:
    """Mean and standard deviation of every voxel, in HU, of volumes of one grid.

    The variance has n - 1 in its denominator; by Welford's recursion (1962). Raises InputError for
    fewer than two, or other grids.
    """
    count, mean, squares, first = 0, np.zeros(()), np.zeros(()), None
    for volume in samples:
        first = volume if first is None else first
        if volume.grid != first.grid:
            raise InputError("The samples lie on different grids.", "samples of one scan")
        count += 1
        difference = volume.values.astype(np.float64) - mean
        mean = mean + difference / count
        squares = squares + difference * (volume.values - mean)
    if first is None or count < 2:
        raise InputError(f"A standard deviation was requested of {count} sample(s).", "two or more")
    return first.with_values(mean), first.with_values(np.sqrt(squares / (count - 1)))


def check_deviation(deviation: Volume, mean: Volume, name: str = "The standard deviation") -> None:
    """Raises InputError unless `deviation` can be the standard deviation of `mean`, voxel by voxel.

    It lies on the same grid, and its values in HU are finite, none below 0, and not all 0.
    """
    try:
        check_same_grid(deviation.grid, mean.grid)
    except InputError as error:
        raise InputError(
            f"{name} and its volume do not belong together. {error.got}",
            "both of one run of 'diffusionblend reconstruct --samples N'",
            "the file NAME.sd.nii.gz that lies beside the volume NAME.nii.gz",
        ) from error
    if not np.isfinite(deviation.values).all():
        raise InputError(f"{name} holds values that are NaN or infinite.", "finite values in HU")
    lowest, highest = float(deviation.values.min()), float(deviation.values.max())
    if lowest < 0 or highest == 0:
        raise InputError(
            f"{name} goes from {lowest:g} to {highest:g} HU.",
            "a standard deviation: nowhere below 0, and not 0 everywhere",
            "the file NAME.sd.nii.gz that 'diffusionblend reconstruct --samples N' wrote",
        )
