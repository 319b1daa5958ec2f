"""The volume that a helical scan measures."""

from __future__ import annotations

import math
from dataclasses import replace

from diffusionblend.data.raw_scan import RawScan
from diffusionblend.errors import InputError
from diffusionblend.geometry import Helix
from diffusionblend.geometry.grid import Grid
from diffusionblend.preprocessing.panels import check_not_stated
from diffusionblend.preprocessing.settings import PrepareSettings

TURN = 2 * math.pi


def helix_scan(scan: RawScan, settings: PrepareSettings) -> tuple[Helix, Grid]:
    """The geometry about the volume's middle, and the volume: square slices about the axis, as wide
    as all views see and as high as a row at the axis, those that half a turn and the fan measure.

    Raises InputError for settings that the scan decides, and for a helix that measures no slice.
    """
    check_not_stated(settings, ("auto",))
    helix = scan.geometry
    assert isinstance(helix, Helix)
    reach_mm, half_mm = helix.source_to_axis_mm, helix.column_mm / 2
    magnification = helix.source_to_detector_mm / reach_mm
    ends = helix.column_positions_mm[[0, -1]] + (-half_mm, half_mm) - helix.axis_position_mm
    ratio = max(min(-ends[0], ends[1]), half_mm) / helix.source_to_detector_mm
    fan_rad = ratio if helix.curved else math.atan(ratio)
    radius_mm = reach_mm * math.sin(fan_rad)
    pixel_mm = settings.pixel_mm
    if pixel_mm is None:
        own_mm = helix.column_mm / magnification
        pixel_mm = own_mm if settings.size is None else 2 * radius_mm / settings.size
    size = settings.size or max(1, math.floor(2 * radius_mm / pixel_mm + 1e-6))
    slice_mm = helix.row_mm / magnification
    lowest, highest = _measured_mm(helix, fan_rad, radius_mm)
    n_slices = math.floor((highest - lowest) / slice_mm + 1e-6) + 1
    if n_slices < 1:
        turns = abs(helix.angles_rad[-1] - helix.angles_rad[0]) / TURN
        raise InputError(
            f"The helix of {turns:.2f} turns, {abs(helix.pitch_mm):.3g} mm each, measures no slice "
            "over half a turn and the fan.",
            f"at least {0.5 + fan_rad / math.pi:.2f} turns",
            "all views of the scan",
        )
    middle_mm = (lowest + highest) / 2
    shape, spacing_mm = (n_slices, size, size), (slice_mm, pixel_mm, pixel_mm)
    corner = [-(n - 1) / 2 * s for n, s in zip(shape, spacing_mm, strict=True)]
    origin_mm = (corner[2], corner[1], corner[0] + middle_mm)
    grid = Grid(shape=shape, spacing_mm=spacing_mm, origin_mm=origin_mm)
    return replace(helix, start_mm=helix.start_mm - middle_mm), grid


def _measured_mm(helix: Helix, fan_rad: float, radius_mm: float) -> tuple[float, float]:
    """Heights of the lowest and the highest slice that are measured."""
    heights = helix.heights_mm
    margin_mm = abs(helix.pitch_mm) * (math.pi / 2 + fan_rad) / TURN
    lowest, highest = float(heights.min()) + margin_mm, float(heights.max()) - margin_mm
    if helix.pitch_mm:
        return lowest, highest
    # a circle: what the rows see of the side that is nearest to the source
    rows = helix.row_positions_mm * (helix.source_to_axis_mm - radius_mm)
    return lowest + rows[0] / helix.source_to_detector_mm, highest + (
        rows[-1] / helix.source_to_detector_mm
    )
