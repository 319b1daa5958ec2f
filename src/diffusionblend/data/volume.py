"""A CT volume: values in HU on a grid in patient space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from diffusionblend.errors import InputError
from diffusionblend.geometry.grid import Grid


@dataclass(frozen=True, eq=False)
class Volume:
    """A CT volume: `values` (z, y, x) float32 in HU on `grid`. Raises InputError on a mismatch."""

    values: np.ndarray
    grid: Grid

    def __post_init__(self) -> None:
        values = np.ascontiguousarray(self.values, dtype=np.float32)
        if values.shape != self.grid.shape:
            raise InputError(
                f"The volume's array has shape {values.shape}.", f"its grid's, {self.grid.shape}"
            )
        object.__setattr__(self, "values", values)

    def with_values(self, values: np.ndarray) -> Volume:
        """Other values (z, y, x), in HU, on the same grid."""
        return Volume(values, self.grid)


def downsample_in_plane(volume: Volume, factor: int) -> Volume:
    """Mean over factor x factor pixels of every slice; rows and columns left over are dropped.

    (z, y, x) to (z, y // factor, x // factor), HU; the grid's spacing and origin follow.
    """
    if factor < 1:
        raise InputError(f"The reduction factor is {factor}.", "a whole number from 1")
    if factor == 1:
        return volume
    z, y, x = volume.grid.shape
    ny, nx = y // factor, x // factor
    if min(ny, nx) < 1:
        raise InputError(f"A {y} x {x} slice cannot be reduced {factor} times.")
    trimmed = volume.values[:, : ny * factor, : nx * factor]
    values = trimmed.reshape(z, ny, factor, nx, factor).mean(axis=(2, 4), dtype=np.float64)
    return Volume(values, volume.grid.coarser(factor))
