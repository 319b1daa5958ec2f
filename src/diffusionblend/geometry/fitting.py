"""Geometries made to fit a volume: a detector that sees all of a slice."""

from __future__ import annotations

import math

from diffusionblend.errors import InputError
from diffusionblend.geometry.beams import ConeBeam, FanBeam, ParallelBeam
from diffusionblend.geometry.grid import Grid

SQUARE_PIXELS = 1e-3


def full_detector(in_plane_shape: tuple[int, int]) -> int:
    """The number of one-pixel bins that measure a whole slice with its corners: its diagonal.

    363 bins for 256 x 256 pixels, as in the paper.
    """
    return math.ceil(math.hypot(*in_plane_shape))


def parallel_beam_for(grid: Grid, angles_rad: tuple[float, ...]) -> ParallelBeam:
    """A parallel beam whose bins are one pixel wide and measure the whole slice of `grid`.

    Raises InputError where pixels are not square.
    """
    pixel_mm = _square_pixel_mm(grid)
    n_bins = full_detector(grid.in_plane_shape)
    return ParallelBeam(angles_rad=angles_rad, n_bins=n_bins, bin_mm=pixel_mm)


def fan_beam_for(
    grid: Grid,
    angles_rad: tuple[float, ...],
    *,
    source_to_axis_mm: float,
    source_to_detector_mm: float,
    curved: bool = False,
) -> FanBeam:
    """A fan beam whose bins are one pixel wide at the axis and measure the whole slice of `grid`.

    Raises InputError where pixels are not square or the source's circle cuts the slice's.
    """
    bin_mm = _square_pixel_mm(grid) * source_to_detector_mm / source_to_axis_mm
    fan_rad = _fan_rad(grid, source_to_axis_mm)
    half_mm = source_to_detector_mm * (fan_rad if curved else math.tan(fan_rad))
    return FanBeam(
        angles_rad=angles_rad,
        n_bins=math.ceil(2 * half_mm / bin_mm),
        bin_mm=bin_mm,
        source_to_axis_mm=source_to_axis_mm,
        source_to_detector_mm=source_to_detector_mm,
        curved=curved,
    )


def cone_beam_for(
    grid: Grid,
    angles_rad: tuple[float, ...],
    *,
    source_to_axis_mm: float,
    source_to_detector_mm: float,
) -> ConeBeam:
    """A cone beam whose panel sees all of `grid`, its bins one pixel wide at the axis.

    Rows are one slice high at the axis. Raises InputError as `fan_beam_for`.
    """
    bin_mm = _square_pixel_mm(grid) * source_to_detector_mm / source_to_axis_mm
    row_mm = grid.spacing_mm[0] * source_to_detector_mm / source_to_axis_mm
    half_mm = source_to_detector_mm * math.tan(_fan_rad(grid, source_to_axis_mm))
    nearest_mm = source_to_axis_mm - _radius_mm(grid)
    height_mm = grid.shape[0] * grid.spacing_mm[0] * source_to_detector_mm / nearest_mm
    return ConeBeam(
        angles_rad=angles_rad,
        n_rows=math.ceil(height_mm / row_mm),
        row_mm=row_mm,
        n_bins=math.ceil(2 * half_mm / bin_mm),
        bin_mm=bin_mm,
        source_to_axis_mm=source_to_axis_mm,
        source_to_detector_mm=source_to_detector_mm,
    )


def _square_pixel_mm(grid: Grid) -> float:
    """The width of square pixels; raises InputError where they are not square."""
    _, sy, sx = grid.spacing_mm
    if abs(sy - sx) > SQUARE_PIXELS * sx:
        raise InputError(
            f"The pixels are {sy} x {sx} mm.", "square pixels", "import with --spacing-mm"
        )
    return sx


def _radius_mm(grid: Grid) -> float:
    """Distance of a slice's corners from its centre."""
    return (
        math.hypot(*(n * s for n, s in zip(grid.shape[1:], grid.spacing_mm[1:], strict=True))) / 2
    )


def _fan_rad(grid: Grid, source_to_axis_mm: float) -> float:
    """Half the angle under which the source sees the circle about a slice. Raises InputError."""
    radius_mm = _radius_mm(grid)
    if not source_to_axis_mm > radius_mm:
        raise InputError(
            f"The source is {source_to_axis_mm} mm from the axis.",
            f"more than {radius_mm:.1f} mm, where the slice's corners are",
            "a larger source_to_axis_mm",
        )
    return math.asin(radius_mm / source_to_axis_mm)
