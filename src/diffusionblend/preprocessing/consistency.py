"""Whether views, angles, axis and lengths agree: what a wrong one leaves in valid numbers."""

from __future__ import annotations

import math

import numpy as np

from diffusionblend.data.raw_scan import RawScan
from diffusionblend.errors import InputError
from diffusionblend.geometry import FanBeam, ParallelBeam
from diffusionblend.geometry.grid import LARGEST_MM, SMALLEST_MM, Grid
from diffusionblend.geometry.turning import Turning
from diffusionblend.preprocessing.centre import column_of_opposite_views, is_cut, sine_of_mass
from diffusionblend.units import MU_WATER_PER_MM

NEGATIVE = 4.0
"""Line integrals that go so many times further below 0 than above it have the wrong sign."""
BRIGHTEST_TRANSMISSION, AIR_TRANSMISSION = 1.2, (0.85, 1.15)
HIGHEST_LINE = 30.0
FEWEST_VIEWS = 12
LEAST_OFF_COLUMNS, UNEXPLAINED, SMOOTH = 0.1, 0.05, 0.35
"""A centre of mass off its sine by so many columns, by this share of its variance, and changing
from view to view by no more than this share, is no noise."""
FROM_A_SOURCE = (0.3, 0.2)
"""The same two of the views of a fan or a cone."""
FAR_OFF_COLUMNS = 2.0
FEW_STEPS = 2.0
WATER_FACTOR = 5.0
NO_LENGTH_MM = 1.0
"""The width of a column that stands for "not known"."""
ODD_MU_PER_MM = (3e-4, 100.0)


def check_distances(scan: RawScan) -> None:
    """Raises InputError for a detector nearer to the source than the axis is."""
    to_axis, to_detector = scan.source_to_axis_mm, scan.source_to_detector_mm
    if to_axis is not None and to_detector is not None and to_detector < to_axis:
        raise InputError(
            f"The detector lies {to_detector:g} mm from the source, nearer than the axis of "
            f"rotation, {to_axis:g} mm.",
            "the distance from the source to the axis, and the longer one to the detector",
            "exchange --source-to-axis-mm and --source-to-detector-mm; the latter counts from the "
            "source, not from the axis",
        )


def check_lengths(grid: Grid) -> None:
    """Raises InputError for voxels of a size that no file of a volume may have."""
    if min(grid.spacing_mm) < SMALLEST_MM or max(grid.spacing_mm) > LARGEST_MM:
        z, y, x = grid.spacing_mm
        raise InputError(
            f"The voxels would be {z:g} x {y:g} x {x:g} mm (z, y, x).",
            f"{SMALLEST_MM:g} to {LARGEST_MM:g} mm",
            "--column-mm and --row-mm in mm: 0.0065 for 6.5 micrometres",
        )


def check_lines(lines: np.ndarray, scan: RawScan) -> None:
    """Raises InputError for numbers that were given as line integrals and plainly are none."""
    if scan.values != "lines":
        return
    low, middle, high = np.percentile(lines, (1, 50, 99))
    if low < 0 and -low > NEGATIVE * max(high, 0.0):
        raise InputError(
            f"The line integrals are negative, down to {lines.min():.3g}.",
            "-ln(I / I0), which is positive where something attenuates",
            "change their sign, if they are ln(I / I0)",
        )
    if high > HIGHEST_LINE:
        raise InputError(
            f"The line integrals reach {high:.3g}, which no light passes (exp(-{high:.3g})).",
            f"-ln(I / I0), below {HIGHEST_LINE:g}",
            "divide stored numbers by what they were multiplied with; or --values counts, with "
            "--flats",
        )
    ends = float(np.median(lines[:, :, [0, 1, -2, -1]])) if lines.shape[2] > 3 else 0.0
    is_air = AIR_TRANSMISSION[0] < ends < AIR_TRANSMISSION[1]
    if is_air and 0 <= low < middle <= ends * 1.01 and high < BRIGHTEST_TRANSMISSION:
        raise InputError(
            f"The line integrals are {ends:.2f} at the detector's ends and fall to {low:.2f}: they "
            "look like transmission I / I0, which is 1 in air.",
            "-ln(I / I0), which is 0 in air",
            "--values transmission",
        )


def consistency_notes(
    lines: np.ndarray,
    angles_rad: np.ndarray,
    geometry: Turning,
    grid: Grid,
    stated_column: float | None,
) -> list[str]:
    """Sentences on angles, an axis or a geometry that the views (view, row, column) contradict.

    stated_column: of the axis, among these columns, where it was not found in them.
    """
    parallel = isinstance(geometry, ParallelBeam)
    found = [
        _mass_note(lines, angles_rad, parallel=parallel),
        _arc_note(geometry, grid),
        _rows_note(geometry, grid),
    ]
    if isinstance(geometry, ParallelBeam) and stated_column is not None:
        found.append(_axis_note(lines, angles_rad, stated_column))
    return [note for note in found if note is not None]


def water_note(mu_water_per_mm: float) -> str | None:
    """A sentence on water that attenuates far more or less than to X-rays of CT."""
    factor = mu_water_per_mm / MU_WATER_PER_MM
    if 1 / WATER_FACTOR < factor < WATER_FACTOR:
        return None
    return (
        f"water is said to attenuate {mu_water_per_mm:g} per mm, {factor:.2g} times as much as at "
        "60 keV, and HU follow it: was it given per cm?"
    )


def length_note(lines: np.ndarray, column_mm: float) -> str | None:
    """A sentence on columns of such a width that the object attenuates as nothing does."""
    filled = lines > 0.5 * max(float(np.percentile(lines, 99)), 1e-9)
    if column_mm == NO_LENGTH_MM or not filled.any():
        return None
    width_mm = float(np.median(filled.sum(axis=2)[filled.any(axis=2)])) * column_mm
    mu = float(np.median(lines[filled])) / max(width_mm, 1e-12)
    if ODD_MU_PER_MM[0] < mu < ODD_MU_PER_MM[1]:
        return None
    return (
        f"the object attenuates about {mu:.2g} per mm, as columns of {column_mm:g} mm make it: "
        "water attenuates 0.02 to 0.5, foams 0.0005 and more, and metals up to 50; is the width of "
        "a column in mm, and as at the axis?"
    )


def _mass_note(lines: np.ndarray, angles_rad: np.ndarray, *, parallel: bool) -> str | None:
    """Whether the centre of mass leaves its sine smoothly, as with wrong angles.

    From a point source, which sees near parts larger, it leaves it a little in any case.
    """
    if len(lines) < FEWEST_VIEWS or is_cut(lines):
        return None
    fit = sine_of_mass(lines, angles_rad)
    if fit is None:
        return None
    moments, sine = fit
    off = moments - sine
    rough = float(np.diff(off).std()) / max(float(off.std()), 1e-12)
    least, share = (LEAST_OFF_COLUMNS, UNEXPLAINED) if parallel else FROM_A_SOURCE
    if off.std() < least or off.var() < share * moments.var() or rough > SMOOTH:
        return None
    return (
        f"the object's centre of mass leaves the sine that these angles call for, by up to "
        f"{np.abs(off).max():.2g} columns: angles over another arc, in another order or of another "
        "unit than the views', or an object that moved"
    )


def _arc_note(geometry: Turning, grid: Grid) -> str | None:
    """Whether the views cover less than every line through the slices needs."""
    half_fan = 0.0
    whole = math.pi
    if not isinstance(geometry, ParallelBeam):
        radius = max(n * s for n, s in zip(grid.shape[1:], grid.spacing_mm[1:], strict=True)) / 2
        half_fan = math.asin(min(1.0, radius / geometry.source_to_axis_mm))  # type: ignore[attr-defined]
        whole = 2 * math.pi
    directions = np.unique(np.round(np.mod(geometry.angles_rad, whole), 9))
    gaps = np.diff(directions, append=directions[0] + whole)
    if len(gaps) < 3:
        return None
    step, missing = (float(gap) for gap in np.sort(gaps)[-2:])
    covered, needed = whole - missing + step, math.pi + 2 * half_fan
    if covered > needed - FEW_STEPS * step:
        return None
    return (
        f"the views cover {math.degrees(covered):.0f} degrees, and every line through the slices "
        f"needs {math.degrees(needed):.0f}: fbp is off for that, iterative methods less so"
    )


def _rows_note(geometry: Turning, grid: Grid) -> str | None:
    """Whether rows of a point source, taken as fans side by side, lie a row off at the rim."""
    if not isinstance(geometry, FanBeam) or grid.shape[0] < 2:
        return None
    height = (grid.shape[0] - 1) / 2 * grid.spacing_mm[0]
    radius = max(n * s for n, s in zip(grid.shape[1:], grid.spacing_mm[1:], strict=True)) / 2
    off_mm = height * radius / geometry.source_to_axis_mm
    if off_mm < grid.spacing_mm[0] / 2:
        return None
    return (
        f"{grid.shape[0]} rows are taken as fans side by side: of a point source the outer ones "
        f"lie up to {off_mm:.2g} mm off at the rim of the slices (geometry cone)"
    )


def _axis_note(lines: np.ndarray, angles_rad: np.ndarray, stated_column: float) -> str | None:
    """Whether opposite views mirror each other about another column than the stated one."""
    column = column_of_opposite_views(lines, angles_rad)
    if column is None or abs(column - stated_column) <= FAR_OFF_COLUMNS:
        return None
    return (
        f"the centre of rotation is stated to be {abs(column - stated_column):.1f} columns from "
        "where opposite views mirror each other: columns count from 0 on the whole detector, "
        "before cropping and binning"
    )
