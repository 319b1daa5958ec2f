"""A CT volume: values in HU on a grid in patient space."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from types import EllipsisType
from typing import TYPE_CHECKING

import numpy as np

from diffusionblend.data.picture import grey_png
from diffusionblend.errors import InputError, check_kind
from diffusionblend.geometry.grid import Grid
from diffusionblend.units import unit_of

if TYPE_CHECKING:
    from diffusionblend.data.plot import Picture

SHOWN_HU = (-1000.0, 1000.0)
"""Black and white of the picture in a notebook."""
SHOWN_PIXELS = 256
"""Width of that picture on the screen."""


@dataclass(frozen=True, eq=False, repr=False)
class Volume:
    """A CT volume: `values` (z, y, x) float32 in HU on `grid`. Raises InputError on a mismatch.

    `volume[10:20]` is a volume of some slices, `volume[10:20, :, 5:50]` or `volume[..., 5:50]` a
    part of them, all in their place in patient space; `volume[3]` is a volume of one slice.
    `np.asarray(volume)` is its array.
    """

    values: np.ndarray
    grid: Grid

    def __post_init__(self) -> None:
        check_kind(self.grid, Grid, "The grid of a volume")
        values = np.ascontiguousarray(self.values, dtype=np.float32)
        if values.shape != self.grid.shape:
            raise InputError(
                f"The volume's array has shape {values.shape}.", f"its grid's, {self.grid.shape}"
            )
        object.__setattr__(self, "values", values)

    def with_values(self, values: np.ndarray) -> Volume:
        """Other values (z, y, x), in HU, on the same grid."""
        return Volume(values, self.grid)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(z, y, x) voxels."""
        return self.grid.shape

    def __len__(self) -> int:
        """Slices."""
        return self.grid.shape[0]

    def __iter__(self) -> Iterator[Volume]:
        """Its slices, each a volume."""
        return (self[i] for i in range(len(self)))

    def __getitem__(
        self, part: int | slice | EllipsisType | tuple[int | slice | EllipsisType, ...]
    ) -> Volume:
        """The volume of some slices, rows and columns, where they lie in patient space.

        `...` stands for the axes that are left out. Raises InputError for other indices than
        numbers and slices in rising order, and IndexError for a number outside the volume.
        """
        indices = _without_ellipsis(part if isinstance(part, tuple) else (part,), len(self.shape))
        slices = tuple(_as_slice(i, n) for i, n in zip(indices, self.shape, strict=False))
        return Volume(self.values[slices], self.grid.part(*slices))

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        """Its values in HU, (z, y, x); not copied unless asked for or needed for the dtype."""
        return as_asked(self.values, dtype, copy)

    def plot(self, window: tuple[float, float] | str | None = None) -> Picture:
        """A picture of the three middle slices, shown by a notebook, as `Picture.figure`.

        window: (black, white), or "lung", "mediastinum", "bone", "full" in HU, "auto" or "full" in
        1/mm. Raises InputError for an unknown one.
        """
        from diffusionblend.data.plot import plotted

        return plotted(self, window)

    def __repr__(self) -> str:
        return f"Volume{self.shape} {self._size()}, {self._range()}"

    def _repr_html_(self) -> str:
        """What a notebook shows: sizes, and the middle slice as it lies in space."""
        middle = self.values[len(self) // 2]
        ends, unit = SHOWN_HU, " HU"
        if np.isfinite(self.values).all() and unit_of(self.values) == "1/mm":
            ends, unit = (float(self.values.min()), float(self.values.max())), ""
        picture = base64.b64encode(grey_png(middle, *ends)).decode()
        width_mm, height_mm = (
            n * mm for n, mm in zip(self.shape[:0:-1], self.grid.spacing_mm[:0:-1], strict=True)
        )
        height = max(1, round(SHOWN_PIXELS * height_mm / width_mm))
        facts = {
            "voxels (z, y, x)": " x ".join(map(str, self.shape)),
            "spacing (z, y, x)": self._size(),
            "values": self._range(),
            "picture": f"slice {len(self) // 2}, {ends[0]:g} to {ends[1]:g}{unit}",
        }
        rows = "".join(f"<tr><th>{name}</th><td>{fact}</td></tr>" for name, fact in facts.items())
        return (
            f"<table>{rows}</table>"
            f'<img src="data:image/png;base64,{picture}" width="{SHOWN_PIXELS}" height="{height}" '
            'alt="middle slice">'
        )

    def _size(self) -> str:
        return " x ".join(f"{mm:.3g}" for mm in self.grid.spacing_mm) + " mm"

    def _range(self) -> str:
        if not np.isfinite(self.values).any():
            return "no finite values"
        low, high = np.nanmin(self.values), np.nanmax(self.values)
        if unit_of(np.array([low, high])) == "1/mm":
            return f"{low:.3g} to {high:.3g} (fractions or 1/mm, not HU)"
        return f"{low:.0f} to {high:.0f} HU"


def as_asked(
    values: np.ndarray, dtype: np.dtype | None = None, copy: bool | None = None
) -> np.ndarray:
    """What `__array__` returns of float32 values. Raises ValueError where no copy is allowed."""
    if copy is None:
        return values.astype(dtype or np.float32, copy=False)
    if not copy and dtype is not None and np.dtype(dtype) != values.dtype:
        raise ValueError(f"values of {values.dtype} cannot be {dtype} without a copy")
    return np.array(values, dtype=dtype) if copy else values


def _without_ellipsis(indices: tuple[object, ...], n_axes: int) -> tuple[object, ...]:
    """Indices of the axes from the first on, the axes that an ellipsis stands for taken whole."""
    places = [i for i, index in enumerate(indices) if index is ...]
    if len(indices) - len(places) > n_axes:
        raise InputError(f"{len(indices)} indices were given.", "up to three: z, y, x")
    if len(places) > 1:
        raise InputError("An ellipsis, ..., was given more than once.", "one, or none")
    if not places:
        return indices
    whole = (slice(None),) * (n_axes - len(indices) + 1)
    return (*indices[: places[0]], *whole, *indices[places[0] + 1 :])


def _as_slice(index: object, n: int) -> slice:
    """An index along an axis of n voxels as a slice; a number takes one voxel."""
    if isinstance(index, slice):
        return index
    if not isinstance(index, int | np.integer) or isinstance(index, bool):
        raise InputError(
            f"An index of a volume is of the class {type(index).__name__}.",
            "whole numbers and slices, such as volume[10:20]",
            "volume.values for the array's own indexing",
        )
    if not -n <= index < n:
        raise IndexError(f"index {index} lies outside an axis of {n} voxels")
    first = int(index) % n
    return slice(first, first + 1)


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
