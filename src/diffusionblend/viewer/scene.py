"""What the viewer shows: volumes on one grid, and the facts the page needs of them.

Values travel as whole numbers of steps: of 1 HU, or for volumes in 1/mm of a power of ten that
keeps at least three digits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

import diffusionblend
from diffusionblend.data.ensemble import check_deviation
from diffusionblend.data.planes import OBJECT_SIDES, PLANE_AXES, plane_layout
from diffusionblend.data.resample import resample_onto
from diffusionblend.data.volume import Volume
from diffusionblend.data.windows import DIFFERENCE_SHARE, ERROR_LIMIT_HU, automatic_windows
from diffusionblend.errors import InputError
from diffusionblend.geometry.grid import Grid, check_same_grid
from diffusionblend.report import colours as uncertainty
from diffusionblend.units import AIR_HU, WINDOWS_HU, Unit, unit_of

FIRST_WINDOW = "full"
CHUNK_BYTES = 4 << 20
"""About how much of a volume one request fetches."""
BYTES_PER_VOXEL = 2
MOST_STEPS = 32_000
"""Of what an int16 can hold."""


@dataclass(frozen=True, eq=False)
class Scene:
    """Volumes to be looked at side by side.

    volumes: by name, (z, y, x) little-endian int16 on `grid`, in steps of `step` in `unit`.
    reference: the name of the one that differences are taken to. deviations: standard deviations
    of some of the volumes, alike; bands: half the widths of their 90 % bands. notices:
    sentences for the user.
    """

    grid: Grid
    volumes: dict[str, np.ndarray]
    reference: str | None = None
    notices: tuple[str, ...] = ()
    deviations: dict[str, np.ndarray] = field(default_factory=dict)
    bands: dict[str, np.ndarray] = field(default_factory=dict)
    unit: Unit = "HU"
    step: float = 1.0

    @classmethod
    def of(
        cls,
        volumes: Mapping[str, Volume],
        reference: str | None = None,
        deviations: Mapping[str, Volume] | None = None,
        bands: Mapping[str, Volume] | None = None,
    ) -> Scene:
        """The volumes rounded to whole steps, those of other grids resampled onto the first's.

        deviations: by the name of the volume whose standard deviation they are; each lies on its
        volume's own grid and goes with it. bands: likewise, half the widths of bands. Raises
        InputError for no volume, an unknown reference, values that are not finite, volumes that do
        not overlap or are in different units, and for a deviation or band that is none.
        """
        deviations, bands = dict(deviations or {}), dict(bands or {})
        if not volumes:
            raise InputError("There is no volume to show.", "at least one")
        if reference is not None and reference not in volumes:
            raise InputError(f"The reference is {reference!r}.", f"one of {list(volumes)}")
        for what, widths in (("standard deviation", deviations), ("band", bands)):
            for name, width in widths.items():
                if name not in volumes:
                    raise InputError(f"A {what} is of {name!r}.", f"one of {list(volumes)}")
                check_deviation(width, volumes[name], f"The {what} of {name}")
        grid = next(iter(volumes.values())).grid
        unit, step = _unit_and_step(volumes)
        shown, notices = {}, []
        if unit == "1/mm":
            notices.append(_unit_notice(volumes))
        empty = AIR_HU if unit == "HU" else 0.0
        for name, volume in volumes.items():
            aligned = _on_grid(volume, grid, empty)
            if aligned is not volume:
                notices.append(_resampled_notice(name, volume.grid, next(iter(volumes))))
            shown[name] = _whole_steps(aligned, name, step)
        aligned_deviations, aligned_bands = (
            {name: _whole_steps(_on_grid(w, grid, 0.0), name, step) for name, w in widths.items()}
            for widths in (deviations, bands)
        )
        told = tuple(notices)
        return cls(grid, shown, reference, told, aligned_deviations, aligned_bands, unit, step)

    def with_volume(self, name: str, volume: Volume, notes: Iterable[str] = ()) -> Scene:
        """This scene and one more volume, resampled onto its grid; another name where it is taken.

        notes: sentences on it for the user. Raises InputError for another unit, values that are not
        finite, and no common part.
        """
        unit, _ = _unit_and_step({name: volume})
        if unit != self.unit:
            raise InputError(f"{name} is in {unit}.", f"{self.unit}, as the other volumes")
        number = 2
        free = name
        while free in self.volumes:
            free, number = f"{name} ({number})", number + 1
        notices = [*self.notices, *notes]
        aligned = _on_grid(volume, self.grid, AIR_HU if unit == "HU" else 0.0)
        if aligned is not volume:
            notices.append(_resampled_notice(free, volume.grid, next(iter(self.volumes))))
        largest, limit = float(np.abs(volume.values).max()), MOST_STEPS * self.step
        if largest > limit:
            notices.append(f"{free} reaches {largest:.3g} {unit}; it is shown up to {limit:.3g}.")
        shown = {**self.volumes, free: _whole_steps(aligned, free, self.step)}
        return replace(self, volumes=shown, notices=tuple(notices))

    @property
    def arrays(self) -> list[np.ndarray]:
        """All that the page fetches, in its order: the volumes, then deviations and bands."""
        return [*self.volumes.values(), *self.deviations.values(), *self.bands.values()]

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
        return values[first : first + self.chunk_slices].data.cast("B")

    def _windows(self) -> tuple[dict[str, tuple[float, float]], float]:
        """Windows by name, (black, white), and the first range of differences, in steps."""
        if self.unit == "HU":
            return WINDOWS_HU, ERROR_LIMIT_HU
        first = next(iter(self.volumes.values()))
        windows = automatic_windows(first, least=1.0)
        low, high = windows["auto"]
        return windows, max(1.0, (high - low) / DIFFERENCE_SHARE)

    def facts(self) -> dict[str, Any]:
        """What the page must know, as plain values."""
        names = list(self.volumes)
        windows, difference_limit = self._windows()
        planes = {name: asdict(plane_layout(self.grid, name)) for name in PLANE_AXES}
        if self.unit != "HU":
            for plane in planes.values():
                plane["sides"] = [OBJECT_SIDES[side] for side in plane["sides"]]
        return {
            "version": diffusionblend.__version__,
            "shape": self.grid.shape,
            "spacing_mm": self.grid.spacing_mm,
            "origin_mm": self.grid.origin_mm,
            "direction": self.grid.direction,
            "names": names,
            "reference": None if self.reference is None else names.index(self.reference),
            "planes": planes,
            "unit": self.unit,
            "step": self.step,
            "digits": max(0, -round(math.log10(self.step))),
            "empty": AIR_HU if self.unit == "HU" else 0,
            "windows": windows,
            "first_window": FIRST_WINDOW if self.unit == "HU" else "auto",
            "difference_limit_hu": difference_limit,
            "deviations": [names.index(name) for name in self.deviations],
            "bands": [names.index(name) for name in self.bands],
            "band_limit_hu": uncertainty.deviation_limit_hu(self.bands.values()),
            "deviation_limit_hu": uncertainty.deviation_limit_hu(self.deviations.values()),
            "deviation_colours": uncertainty.COLOURS,
            "deviation_solid_share": uncertainty.SOLID_SHARE,
            "deviation_opacity": uncertainty.OPACITY,
            "chunk_slices": self.chunk_slices,
            "notices": self.notices,
        }


def _unit_and_step(volumes: Mapping[str, Volume]) -> tuple[Unit, float]:
    """The unit that all volumes have, and the size of a step. Raises InputError for two units."""
    for name, volume in volumes.items():
        if not np.isfinite(volume.values).all():
            raise InputError(
                f"{name} holds values that are NaN or infinite.",
                "finite values",
                "replace them by air",
            )
    units = {name: unit_of(volume.values) for name, volume in volumes.items()}
    if len(set(units.values())) > 1:
        listing = ", ".join(f"{name} in {unit}" for name, unit in units.items())
        raise InputError(
            f"The volumes are in different units: {listing}.",
            "all in HU, or all in 1/mm",
            "'diffusionblend reconstruct --output-unit hu' for those in 1/mm",
        )
    unit = next(iter(units.values()))
    if unit == "HU":
        return unit, 1.0
    largest = max(float(np.abs(volume.values).max()) for volume in volumes.values())
    return unit, 10.0 ** math.ceil(math.log10(max(largest, 1e-9) / MOST_STEPS))


def _unit_notice(volumes: Mapping[str, Volume]) -> str:
    largest = max(float(np.abs(volume.values).max()) for volume in volumes.values())
    return (
        f"Values are shown in 1/mm, as attenuation is: none is beyond {largest:.3g}, so they are "
        "not HU."
    )


def _on_grid(volume: Volume, grid: Grid, outside_hu: float = AIR_HU) -> Volume:
    """The volume itself where it lies on the grid, else resampled onto it."""
    try:
        check_same_grid(volume.grid, grid)
    except InputError:
        return resample_onto(volume, grid, outside_hu=outside_hu)
    return volume


def _whole_steps(volume: Volume, name: str, step: float) -> np.ndarray:
    """The values as whole steps, int16, slice by slice; what lies beyond takes the end value."""
    if not np.isfinite(volume.values).all():
        raise InputError(
            f"{name} holds values that are NaN or infinite.", "finite values", "replace them by air"
        )
    limits = np.iinfo(np.int16)
    whole = np.empty(volume.values.shape, "<i2")
    for values, rounded in zip(volume.values, whole, strict=True):
        rounded[...] = np.clip(np.rint(values / step), limits.min, limits.max)
    return whole


def _resampled_notice(name: str, grid: Grid, first: str) -> str:
    size = " x ".join(map(str, grid.shape))
    mm = " x ".join(f"{s:.3g}" for s in grid.spacing_mm)
    return f"{name} ({size} voxels of {mm} mm, z y x) is shown resampled onto the grid of {first}."
