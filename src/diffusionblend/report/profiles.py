"""HU along the three lines through a volume's middle, one in each plane, drawn as plain SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from diffusionblend.data.planes import PlaneImage, middle_slices
from diffusionblend.data.volume import Volume
from diffusionblend.data.windows import LEAST_WIDTH
from diffusionblend.units import unit_of

VERTICAL_PLANES = ("coronal",)
"""Where the line runs from top to bottom, so that the three lines run along three axes."""
CHART_WIDTH, CHART_HEIGHT = 400.0, 210.0
LEFT, RIGHT, TOP, BOTTOM = 44.0, 8.0, 8.0, 22.0
"""Margins of a chart for its labels, in its own units."""
HU_TICKS, MM_TICKS = 5, 5
LEAST_RANGE_HU = 100.0


@dataclass(frozen=True, eq=False)
class Profile:
    """HU along a line. ends: the patient's sides at its start and end; mm: the voxels' places."""

    plane: str
    ends: tuple[str, str]
    mm: np.ndarray
    hu: dict[str, np.ndarray]


@dataclass(frozen=True)
class Chart:
    """A profile as the template draws it, in units of the chart.

    curves: (name, points of a polyline). hu_ticks, mm_ticks: (place, label).
    """

    plane: str
    ends: tuple[str, str]
    width: float
    height: float
    curves: tuple[tuple[str, str], ...]
    hu_ticks: tuple[tuple[float, str], ...]
    mm_ticks: tuple[tuple[float, str], ...]
    left: float = LEFT
    right: float = CHART_WIDTH - RIGHT
    top: float = TOP
    bottom: float = CHART_HEIGHT - BOTTOM


def centre_profiles(volumes: Mapping[str, Volume]) -> list[Profile]:
    """The profile through the middle of each plane's middle slice, of volumes on one grid.

    Across in axial and sagittal slices, down in coronal ones: along x, y and z.
    """
    slices = {name: middle_slices(volume) for name, volume in volumes.items()}
    first = next(iter(slices.values()))
    profiles = []
    for plane, image in first.items():
        down = plane in VERTICAL_PLANES
        hu = {name: _line(planes[plane], down) for name, planes in slices.items()}
        n_voxels = len(next(iter(hu.values())))
        length_mm = image.height_mm if down else image.width_mm
        ends = image.sides[2:] if down else image.sides[:2]
        mm = (np.arange(n_voxels) + 0.5) * length_mm / n_voxels
        profiles.append(Profile(plane, ends, mm, hu))
    return profiles


def profile_chart(profile: Profile) -> Chart:
    """A profile's curves and ticks, scaled to the chart."""
    values = np.concatenate(list(profile.hu.values()))
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    in_hu = not finite.size or unit_of(finite) == "HU"
    least = LEAST_RANGE_HU if in_hu else LEAST_WIDTH
    slack = max(0.0, least - (high - low)) / 2
    low, high = low - slack, high + slack
    end_mm = float(profile.mm[-1] + profile.mm[0])

    def x(mm: float) -> float:
        return LEFT + mm / end_mm * (CHART_WIDTH - LEFT - RIGHT)

    def y(hu: float) -> float:
        return TOP + (high - hu) / (high - low) * (CHART_HEIGHT - TOP - BOTTOM)

    return Chart(
        plane=profile.plane,
        ends=profile.ends,
        width=CHART_WIDTH,
        height=CHART_HEIGHT,
        curves=tuple(
            (
                name,
                " ".join(
                    f"{x(mm):.1f},{y(v):.1f}"
                    for mm, v in zip(profile.mm, hu, strict=True)
                    if math.isfinite(v)
                ),
            )
            for name, hu in profile.hu.items()
        ),
        hu_ticks=tuple((round(y(t), 1), f"{t:g}") for t in round_ticks(low, high, HU_TICKS)),
        mm_ticks=tuple((round(x(t), 1), f"{t:g}") for t in round_ticks(0.0, end_mm, MM_TICKS)),
    )


def round_ticks(low: float, high: float, at_most: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten within [low, high], as many as fit `at_most`."""
    rough = (high - low) / at_most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s * power for s in (1, 2, 5, 10) if s * power >= rough)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [round(k * step, 9) + 0.0 for k in range(first, last + 1)]


def _line(image: PlaneImage, down: bool) -> np.ndarray:
    """HU along the middle column or row of a slice."""
    rows, columns = image.values.shape
    return image.values[:, columns // 2] if down else image.values[rows // 2]
