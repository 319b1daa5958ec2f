"""Mean and spread of several samples of one scan, one volume in memory at a time."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from diffusionblend.errors import InputError
from diffusionblend.volume import Volume


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
        raise InputError(f"A spread was asked for of {count} sample(s).", "two or more")
    return first.with_values(mean), first.with_values(np.sqrt(squares / (count - 1)))
