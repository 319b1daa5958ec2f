"""How a raw scan becomes projections; no heavy imports, so that the command line can show it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from diffusionblend.errors import InputError
from diffusionblend.units import MU_WATER_PER_MM


@dataclass(frozen=True, kw_only=True)
class PrepareSettings:
    """What the detector, the geometry and the volume to reconstruct are, and what to correct."""

    geometry: Literal["auto", "parallel", "fan", "cone"] = "auto"
    """Beam; auto: a fan where the distances of the source are known, else parallel."""
    source_to_axis_mm: float | None = None
    """Of a fan or cone: from the source to the axis of rotation, if the files lack it."""
    source_to_detector_mm: float | None = None
    """Of a fan or cone: from the source to the detector."""
    column_mm: float | None = None
    """Width of a detector column before binning, if the files lack it; 1 leaves attenuation per
    column."""
    row_mm: float | None = None
    """Height of a detector row; by default that of a column."""
    binning: tuple[int, int] = (1, 1)
    """Rows and columns of the detector to take together, before the logarithm."""
    air_columns: int = 0
    """Outer columns at each end that see air: a line through them is taken off every view and
    row."""
    ring_columns: int = 0
    """Reduce rings, by a median over so many columns of sorted sinograms; an odd number, 0:
    leave."""
    photons: float | None = None
    """Counted by a detector pixel, as taken together, of the open beam; by default estimated from
    the flat frames, if there are at least three."""
    centre_column: float | None = None
    """Centre of rotation as a column of the uncropped detector, from 0; by default that of the
    files, or for a parallel beam the one that is found."""
    centre_row: float | None = None
    """Of a cone: the row that the plane of the source's circle meets, of the uncropped detector,
    from 0; by default that of the files, or the detector's middle."""
    reverse_angles: bool = False
    """The object turns the other way: take every angle with the other sign."""
    size: int | None = None
    """Pixels along a side of the slices; by default what every view sees whole."""
    pixel_mm: float | None = None
    """Width of a pixel; by default a column's at the axis, or what fits --size into what is
    seen."""
    mu_water_per_mm: float = MU_WATER_PER_MM
    """Attenuation in 1/mm that stands at 0 HU; by default that of water at 60 keV."""

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
        if not 0 < self.mu_water_per_mm < math.inf:
            raise InputError(f"mu_water_per_mm is {self.mu_water_per_mm}.", "a positive number")
        if self.photons is not None and not 0 < self.photons < math.inf:
            raise InputError(f"photons is {self.photons}.", "a positive number")
        if self.size is not None and self.size < 1:
            raise InputError(f"size is {self.size}.", "at least 1 pixel")
        if self.air_columns < 0 or self.ring_columns < 0:
            raise InputError(
                f"air_columns is {self.air_columns}, ring_columns {self.ring_columns}.",
                "numbers from 0",
            )
        for name in ("centre_column", "centre_row"):
            place = getattr(self, name)
            if place is not None and not math.isfinite(place):
                what = name.removeprefix("centre_")
                raise InputError(f"{name} is {place}.", f"a {what} of the detector")
