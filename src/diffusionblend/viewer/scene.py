"""What the viewer shows: volumes in whole HU on one grid, and the facts the page needs of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import numpy as np

import diffusionblend
from diffusionblend.data.ensemble import check_deviation
from diffusionblend.data.resample import resample_onto
from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError
from diffusionblend.evaluation.metrics import PLANE_AXES
from diffusionblend.geometry.grid import Grid, check_same_grid
from diffusionblend.report import colours as uncertainty
from diffusionblend.report.figures import ERROR_LIMIT_HU
from diffusionblend.report.planes import plane_layout
from diffusionblend.units import AIR_HU, WINDOWS_HU

FIRST_WINDOW = "full"
CHUNK_BYTES = 4 << 20
"""About how much of a volume one request fetches."""
BYTES_PER_VOXEL = 2


@dataclass(frozen=True, eq=False)
class Scene:
    """Volumes to be looked at side by side.

    volumes: by name, (z, y, x) little-endian int16 in HU on `grid`. reference: the name of the one
    that differences are taken to. deviations: standard deviations of some of the volumes, alike.
    notices: sentences for the user.
    """

    grid: Grid
    volumes: dict[str, np.ndarray]
    reference: str | None = None
    notices: tuple[str, ...] = ()
    deviations: dict[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        volumes: Mapping[str, Volume],
        reference: str | None = None,
        deviations: Mapping[str, Volume] | None = None,
    ) -> Scene:
        """The volumes rounded to whole HU, those of other grids resampled onto the first's.

        deviations: by the name of the volume whose standard deviation they are; each lies on its
        volume's own grid and goes with it. Raises InputError for no volume, an unknown reference,
        values that are not finite, volumes that do not overlap, and for a deviation that is none.
        """
        deviations = dict(deviations or {})
        if not volumes:
            raise InputError("There is no volume to show.", "at least one")
        if reference is not None and reference not in volumes:
            raise InputError(f"The reference is {reference!r}.", f"one of {list(volumes)}")
        for name, deviation in deviations.items():
            if name not in volumes:
                raise InputError(f"A deviation is of {name!r}.", f"one of {list(volumes)}")
            check_deviation(deviation, volumes[name], f"The standard deviation of {name}")
        grid = next(iter(volumes.values())).grid
        shown, notices = {}, []
        for name, volume in volumes.items():
            aligned = _on_grid(volume, grid)
            if aligned is not volume:
                notices.append(_resampled_notice(name, volume.grid, next(iter(volumes))))
            shown[name] = _whole_hu(aligned, name)
        spread = {name: _whole_hu(_on_grid(d, grid, 0.0), name) for name, d in deviations.items()}
        return cls(grid, shown, reference, tuple(notices), spread)

    @property
    def arrays(self) -> list[np.ndarray]:
        """All that the page fetches, in its order: the volumes, then the deviations."""
        return [*self.volumes.values(), *self.deviations.values()]

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
        """The bytes of a part of one of the arrays, by numbers. Raises IndexError."""
        values = self.arrays[volume]
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
            "deviations": [names.index(name) for name in self.deviations],
            "deviation_limit_hu": uncertainty.deviation_limit_hu(self.deviations.values()),
            "deviation_colours": uncertainty.COLOURS,
            "deviation_solid_share": uncertainty.SOLID_SHARE,
            "deviation_opacity": uncertainty.OPACITY,
            "chunk_slices": self.chunk_slices,
            "notices": self.notices,
        }


def _on_grid(volume: Volume, grid: Grid, outside_hu: float = AIR_HU) -> Volume:
    """The volume itself where it lies on the grid, else resampled onto it."""
    try:
        check_same_grid(volume.grid, grid)
    except InputError:
        return resample_onto(volume, grid, outside_hu=outside_hu)
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
