"""The windows and ranges in which volumes are shown, in their unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from diffusionblend.errors import InputError
from diffusionblend.units import WINDOWS_HU, Unit, unit_of

if TYPE_CHECKING:
    from diffusionblend.data.volume import Volume

ERROR_LIMIT_HU = 300.0
"""Half the range of the error maps' colours: larger errors take the end colours."""
WINDOW_PERCENTILES = (0.5, 99.8)
"""Of a volume in 1/mm: the ends of its automatic window."""
DIFFERENCE_SHARE = 5
"""The first range of differences is that window's width by this."""
LEAST_WIDTH = 1e-6
"""Of a window in 1/mm."""


@dataclass(frozen=True)
class Windows:
    """How volumes are shown.

    unit: theirs. limits: (black, white) by the name of a window. first: the one to begin with.
    error_limit: half the range of errors' colours.
    """

    unit: Unit
    limits: Mapping[str, tuple[float, float]]
    first: str
    error_limit: float

    @classmethod
    def of(cls, volumes: Mapping[str, Volume]) -> Windows:
        """Those of the first of some volumes: the usual ones in HU, in 1/mm by its values."""
        values = next(iter(volumes.values())).values
        if unit_of(values) == "HU":
            return cls("HU", WINDOWS_HU, "full", ERROR_LIMIT_HU)
        limits = automatic_windows(values)
        low, high = limits["auto"]
        return cls("1/mm", limits, "auto", (high - low) / DIFFERENCE_SHARE)


def window_limits(
    window: tuple[float, float] | str, shown: Windows | None = None
) -> tuple[float, float]:
    """(black, white) from a window's name or a pair, by default in HU. Raises InputError."""
    named, unit = (WINDOWS_HU, "HU") if shown is None else (shown.limits, shown.unit)
    if isinstance(window, str):
        if window not in named:
            raise InputError(f"The window is {window!r}.", f"one of {', '.join(named)}")
        return named[window]
    try:
        low, high = (float(value) for value in window)
    except (TypeError, ValueError):
        raise InputError(
            f"The window is {window!r}.",
            f"two numbers in {unit}, black and white, or one of {', '.join(named)}",
        ) from None
    if not low < high:
        raise InputError(f"The window is {low:g} to {high:g} {unit}.", "black below white")
    return low, high


def automatic_windows(
    values: np.ndarray, least: float = LEAST_WIDTH
) -> dict[str, tuple[float, float]]:
    """A window by percentiles, "auto", and one of all values, "full"; each at least so wide."""
    low, high = (float(v) for v in np.percentile(values, WINDOW_PERCENTILES))
    lowest, highest = float(values.min()), float(values.max())
    return {
        "auto": (low, max(high, low + least)),
        "full": (lowest, max(highest, lowest + least)),
    }
