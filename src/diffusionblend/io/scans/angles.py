"""Lists of view angles from files, and whether they are in degrees or radians."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import numpy as np

from diffusionblend.errors import InputError
from diffusionblend.io.atomic import check_readable

AngleUnit = Literal["degrees", "radians"]

ONE_TURN_RAD = 2 * math.pi
LIKELY_RADIANS_SPAN = 1.01 * ONE_TURN_RAD
"""Degrees that span less than this are likely radians: few scans turn by less than 6 degrees."""
LIKELY_DEGREES = 2 * ONE_TURN_RAD
"""Radians beyond two turns are likely degrees."""
UNIT_NAMES: dict[str, AngleUnit] = {
    "deg": "degrees",
    "degree": "degrees",
    "degrees": "degrees",
    "°": "degrees",
    "rad": "radians",
    "radian": "radians",
    "radians": "radians",
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
        )
    unit = insisted or _stated_unit(stated, source)
    if insisted is None:
        _check_unit(angles, unit, source)
    return np.radians(angles) if unit == "degrees" else angles


def read_angle_list(path: Path | str) -> np.ndarray:
    """The numbers of a text file, separated by spaces, commas or lines, or of a .npy file.

    As they are, in the file's own unit. Raises InputError.
    """
    path = Path(path)
    check_readable(path)
    try:
        if path.suffix.lower() == ".npy":
            found = np.load(path, allow_pickle=False)
            if found.dtype.kind not in "fiu":
                raise ValueError(f"an array of {found.dtype}")
            return found.ravel()
        text = path.read_text(encoding="utf-8")
        lines = (line.partition("#")[0] for line in text.splitlines())
        return np.array([float(word) for line in lines for word in line.replace(",", " ").split()])
    except (ValueError, UnicodeDecodeError, EOFError) as error:
        raise InputError(
            f"{path} is not a list of angles: {error}.",
            "one number a view in a text file, or a .npy array of numbers",
        ) from error


def _stated_unit(stated: str | None, source: Path | str) -> AngleUnit:
    """The unit by its name in a file; degrees where there is none."""
    if stated is None or not stated.strip():
        return "degrees"
    if stated.strip().lower() not in UNIT_NAMES:
        raise InputError(
            f"{source} has its angles in {stated!r}.",
            "degrees or radians",
            "--angle-unit degrees or --angle-unit radians",
        )
    return UNIT_NAMES[stated.strip().lower()]


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
    if unit == "radians" and max(abs(low), abs(high)) > LIKELY_DEGREES:
        raise InputError(
            f"{source} has {len(angles)} angles from {low:g} to {high:g}, as radians: they look "
            "like degrees, being beyond two turns.",
            "angles in radians, since that is stated",
            "--angle-unit degrees; or --angle-unit radians, if the scan really turns so far",
        )
