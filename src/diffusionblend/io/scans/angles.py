"""View angles of files and lists in radians, whatever their unit."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import numpy as np

from diffusionblend.errors import InputError

AngleUnit = Literal["degrees", "radians", "millidegrees", "milliradians"]

ONE_TURN_RAD = 2 * math.pi
LIKELY_RADIANS_SPAN = 1.01 * ONE_TURN_RAD
"""Degrees that span less than this are likely radians: few scans turn by less than 6 degrees."""
LIKELY_DEGREES = 2 * ONE_TURN_RAD
"""Radians beyond two turns are likely degrees."""
LONGEST_STEP_DEGREES = 360.0
MOST_TURNS = 100
"""Degrees whose median step is longer, or whole numbers beyond so many turns, are likely smaller
units."""
RADIANS: dict[AngleUnit, float] = {
    "degrees": math.pi / 180,
    "radians": 1.0,
    "millidegrees": math.pi / 180e3,
    "milliradians": 1e-3,
}
UNIT_NAMES: dict[AngleUnit, tuple[str, ...]] = {
    "degrees": ("deg", "degs", "degree", "degrees", "°", "degrees_arc"),
    "radians": ("rad", "rads", "radian", "radians"),
    "millidegrees": ("mdeg", "mdegs", "millidegree", "millidegrees"),
    "milliradians": ("mrad", "mrads", "milliradian", "milliradians"),
}


def angles_in_radians(
    angles: np.ndarray,
    source: Path | str,
    *,
    stated: str | None = None,
    insisted: AngleUnit | None = None,
) -> np.ndarray:
    """Angles in radians, (view,) float64.

    stated: the unit that the file states, if any; degrees where nothing does. insisted: the unit
    that a person gave, which is believed. Raises InputError for angles that are not finite, an
    unknown unit, and numbers that look like the other unit unless it was insisted on.
    """
    angles = np.asarray(angles, dtype=np.float64).ravel()
    if not len(angles) or not np.isfinite(angles).all():
        bad = int((~np.isfinite(angles)).sum())
        raise InputError(
            f"{source} has {len(angles)} angles, {bad} of them NaN or infinite.",
            "a finite angle for every view",
            "a list of your own by --angles, or an arc by --arc-degrees",
        )
    unit = insisted or _stated_unit(stated, source)
    if insisted is None:
        _check_unit(angles, unit, source)
    if len(angles) > 1 and np.ptp(angles) == 0:
        raise InputError(
            f"{source} has {len(angles)} angles that are all {angles[0]:g}.",
            "an angle for every view",
            "--angles FILE with one number a view, or --arc-degrees 180 for equally spaced views",
        )
    return np.radians(angles) if unit == "degrees" else angles * RADIANS[unit]


def _stated_unit(stated: str | None, source: Path | str) -> AngleUnit:
    """The unit by its name in a file; degrees where there is none."""
    if stated is None or not stated.strip():
        return "degrees"
    plain = stated.strip().lower()
    unit = next((unit for unit, names in UNIT_NAMES.items() if plain in names), None)
    if unit is None:
        raise InputError(
            f"{source} has its angles in {stated!r}.",
            "degrees or radians",
            "--angle-unit degrees or --angle-unit radians",
        )
    return unit


def _check_unit(angles: np.ndarray, unit: AngleUnit, source: Path | str) -> None:
    """Raises InputError where several angles look like the other unit."""
    low, high = float(angles.min()), float(angles.max())
    if unit == "degrees" and 0 < high - low < LIKELY_RADIANS_SPAN:
        raise InputError(
            f"{source} has {len(angles)} angles from {low:g} to {high:g}, as degrees: they look "
            f"like radians, since {high - low:g} rad are {math.degrees(high - low):.0f} degrees.",
            "angles in degrees, where no unit or degrees are stated",
            "--angle-unit radians; or --angle-unit degrees, if the scan really turns so little",
        )
    steps = np.abs(np.diff(angles))
    whole = (angles == np.round(angles)).all() and high - low > 360 * MOST_TURNS
    if unit == "degrees" and len(steps) and (np.median(steps) > LONGEST_STEP_DEGREES or whole):
        raise InputError(
            f"{source} has {len(angles)} angles from {low:g} to {high:g}, as degrees: they look "
            "like a smaller unit, being so many turns.",
            "angles in degrees, where no unit or degrees are stated",
            "--angle-unit millidegrees; or --angle-unit degrees, if the scan really turns so far",
        )
    if unit == "radians" and max(abs(low), abs(high)) > LIKELY_DEGREES:
        raise InputError(
            f"{source} has {len(angles)} angles from {low:g} to {high:g}, as radians: they look "
            "like degrees, being beyond two turns.",
            "angles in radians, since that is stated",
            "--angle-unit degrees; or --angle-unit radians, if the scan really turns so far",
        )
