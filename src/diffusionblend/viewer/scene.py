"""What the viewer shows: volumes in whole HU on one grid, and the facts the page needs of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

import diffusionblend
from diffusionblend.errors import InputError
from diffusionblend.evaluation.figures import ERROR_LIMIT_HU
from diffusionblend.evaluation.metrics import PLANE_AXES, check_same_grid
from diffusionblend.evaluation.planes import plane_layout
from diffusionblend.units import WINDOWS_HU
from diffusionblend.volume import Grid, Volume

FIRST_WINDOW = "full"
CHUNK_BYTES = 4 << 20
"""About how much of a volume one request fetches."""
BYTES_PER_VOXEL = 2


@dataclass(frozen=True, eq=False)
class Scene:
    """Volumes to be looked at side by side.

    volumes: by name, (z, y, x) little-endian int16 in HU on `grid`. reference: the name of the one
    that differences are taken to. notices: sentences for the user.
    """

    grid: Grid
    volumes: dict[str, np.ndarray]
    reference: str | None = None
    notices: tuple[str, ...] = ()

    @classmethod
    def of(cls, volumes: Mapping[str, Volume], reference: str | None = None) -> Scene:
        """The volumes rounded to whole HU, those of other grids resampled onto the first's.

        Raises InputError for no volume, an unknown reference, values that are not finite, and for
        volumes that do not overlap.
        """
        if not volumes:
            raise InputError("There is no volume to show.", "at least one")
        if reference is not None and reference not in volumes:
            raise InputError(f"The reference is {reference!r}.", f"one of {list(volumes)}")
        grid = next(iter(volumes.values())).grid
        shown, notices = {}, []
        for name, volume in volumes.items():
            aligned = _on_grid(volume, grid)
            if aligned is not volume:
                notices.append(_resampled_notice(name, volume.grid, next(iter(volumes))))
            shown[name] = _whole_hu(aligned, name)
        return cls(grid, shown, reference, tuple(notices))

    @property
    def chunk_slices(self) -> int:
        """How many axial slices one request fetches."""
        _, ny, nx = self.grid.shape
        return max(1, CHUNK_BYTES // (ny * nx * BYTES_PER_VOXEL))

    @property
    def n_chunks(self) -> int:
        """How many requests fetch one volume."""
        return -(-self.grid.shape[0] // self.chunk_slices)

    def chunk(self, volume: int, chunk: int) -> memoryview:
        """The bytes of a part of a volume, by numbers. Raises IndexError."""
        values = list(self.volumes.values())[volume]
        if chunk >= self.n_chunks:
            raise IndexError(chunk)
        first = chunk * self.chunk_slices
        return memoryview(values[first : first + self.chunk_slices]).cast("B")

    def facts(self) -> dict[str, object]:
        """What the page must know, as plain values."""
        names = list(self.volumes)
        return {
            "version": diffusionblend.__version__,
            "shape": self.grid.shape,
            "spacing_mm": self.grid.spacing_mm,
            "origin_mm": self.grid.origin_mm,
            "direction": self.grid.direction,
            "names": names,
            "reference": None if self.reference is None else names.index(self.reference),
            "planes": {name: asdict(plane_layout(self.grid, name)) for name in PLANE_AXES},
            "windows": WINDOWS_HU,
            "first_window": FIRST_WINDOW,
            "difference_limit_hu": ERROR_LIMIT_HU,
            "chunk_slices": self.chunk_slices,
            "notices": self.notices,
        }


def _on_grid(volume: Volume, grid: Grid) -> Volume:
    """The volume itself where it lies on the grid, else resampled onto it."""
    from diffusionblend.io.resampling import resample_onto

    try:
        check_same_grid(volume.grid, grid)
    except InputError:
        return resample_onto(volume, grid)
    return volume


def _whole_hu(volume: Volume, name: str) -> np.ndarray:
    """The values rounded to int16, slice by slice; what lies beyond takes the end value."""
    if not np.isfinite(volume.values).all():
        raise InputError(
            f"{name} holds values that are NaN or infinite.", "finite values", "replace them by air"
        )
    limits = np.iinfo(np.int16)
    whole = np.empty(volume.values.shape, "<i2")
    for values, rounded in zip(volume.values, whole, strict=True):
        rounded[...] = np.clip(np.rint(values), limits.min, limits.max)
    return whole


def _resampled_notice(name: str, grid: Grid, first: str) -> str:
    size = " x ".join(map(str, grid.shape))
    mm = " x ".join(f"{s:.3g}" for s in grid.spacing_mm)
    return f"{name} ({size} voxels of {mm} mm, z y x) is shown resampled onto the grid of {first}."
