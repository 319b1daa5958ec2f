"""How a raw scan becomes projections; no heavy imports, so that the command line can show it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from diffusionblend.errors import InputError

UPRIGHT_BEAM_DEGREES = 90.0
"""An axis that leans so far lies along the beam."""


@dataclass(frozen=True, kw_only=True)
class PrepareSettings:
    """What the detector, the geometry and the volume to reconstruct are, and what to correct."""

    geometry: Literal["auto", "parallel", "fan", "cone"] = "auto"
    """Geometry of the beam; auto is parallel without the source's distances, with them a fan of one
    row, or a cone of several."""
    source_to_axis_mm: float | None = None
    """Distance in mm from the source of a fan or cone to the axis of rotation, if the files lack
    it."""
    source_to_detector_mm: float | None = None
    """Distance in mm from the source of a fan or cone to the detector, if the files lack it."""
    column_mm: float | None = None
    """Width in mm of a detector column before binning, if the files lack it; 1 gives attenuation
    per column."""
    row_mm: float | None = None
    """Height in mm of a detector row before binning; by default the width of a column."""
    binning: tuple[int, int] = (1, 1)
    """Numbers of detector rows and columns to average, before the logarithm."""
    air_columns: int = 0
    """Number of outer columns at each end that see air; a line through them is subtracted from
    every view and row."""
    ring_columns: int = 0
    """Width in columns of the median over sorted sinograms that reduces rings; an odd number, or 0
    for none."""
    photons: float | None = None
    """Photons of the open beam counted by a detector pixel, after binning; by default estimated
    from the flat frames, if there are at least three."""
    centre_column: float | None = None
    """Centre of rotation as a column of the uncropped detector, counted from 0; by default that of
    the files, or for a parallel beam determined from the views."""
    centre_row: float | None = None
    """Row of the uncropped detector, counted from 0, in the plane of a cone beam's source circle;
    by default that of the files, or the middle of the detector."""
    axis_tilt_degrees: float = 0.0
    """Laminography: by how much the axis of rotation leans along the beam, about the row
    --centre-row; if positive, the beam travels towards later rows."""
    reverse_angles: bool = False
    """Reverse the sign of every angle, if the object rotates in the other direction."""
    size: int | None = None
    """Pixels along a side of the slices; by default as many as cover the part that every view
    measures."""
    pixel_mm: float | None = None
    """Width of a pixel in mm; by default that of a column at the axis, or such that --size pixels
    cover the measured part."""
    mu_water_per_mm: float | None = None
    """Attenuation in 1/mm that corresponds to 0 HU; by default that of the files, or 0.02059 (water
    at 60 keV)."""

    def __post_init__(self) -> None:
        for name in (
            "source_to_axis_mm",
            "source_to_detector_mm",
            "column_mm",
            "row_mm",
            "pixel_mm",
        ):
            length = getattr(self, name)
            if length is not None and not 0 < length < math.inf:
                raise InputError(f"{name} is {length}.", "a positive length in mm")
        for name in ("mu_water_per_mm", "photons"):
            number = getattr(self, name)
            if number is not None and not 0 < number < math.inf:
                raise InputError(f"{name} is {number}.", "a positive number")
        if self.size is not None and self.size < 1:
            raise InputError(f"size is {self.size}.", "at least 1 pixel")
        if self.air_columns < 0 or self.ring_columns < 0:
            raise InputError(
                f"air_columns is {self.air_columns}, ring_columns {self.ring_columns}.",
                "numbers from 0",
            )
        if not abs(self.axis_tilt_degrees) < UPRIGHT_BEAM_DEGREES:
            raise InputError(
                f"axis_tilt_degrees is {self.axis_tilt_degrees}.",
                "less than 90 degrees: 0 where the axis is perpendicular to the beam",
            )
        for name in ("centre_column", "centre_row"):
            place = getattr(self, name)
            if place is not None and not math.isfinite(place):
                what = name.removeprefix("centre_")
                raise InputError(f"{name} is {place}.", f"a {what} of the detector")
