"""The helical scan: a source on a helix and a detector of many rows, flat or curved."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from diffusionblend.errors import InputError
from diffusionblend.geometry.base import settle
from diffusionblend.geometry.fan import LARGEST_FAN_RAD
from diffusionblend.geometry.grid import Grid
from diffusionblend.geometry.turning import (
    DEFAULT_VIEWS,
    SCANNER_SOURCE_TO_AXIS_MM,
    SCANNER_SOURCE_TO_DETECTOR_MM,
    FromSource,
    half_fan_rad,
    square_pixel_mm,
)
from diffusionblend.geometry.vectors import Panels, VectorGeometry, triples

TURN = 2 * math.pi
DEFAULT_ROWS = 16
MOST_VIEWS = 10_000_000
NO_SPOTS: tuple[tuple[float, float, float], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Helix(FromSource, name="helix"):
    """Rays from a source that turns about z while it advances along it, to many detector rows.

    angles_rad: of every view, counted on over the turns. pitch_mm: advance along z in a turn of
    rising angle, negative towards lower z; 0 is a circle. start_mm: height of the source in the
    first view. n_columns, column_mm, detector_shift_mm, source_to_axis_mm, source_to_detector_mm,
    axis_shift_mm: as of FanBeam. n_rows, row_mm: detector rows along z. detector_lift_mm: how far
    their middle lies above the source. curved: the columns of a row lie on a circle about the
    source, all of one angle, so that the detector is part of a cylinder. spot_offsets_mm: of a
    flying focal spot, how far the source lies along u, n and z from where it is without, (view, 3)
    or empty; the detector stays. Raises InputError.
    """

    n_rows: int
    row_mm: float
    pitch_mm: float
    start_mm: float = 0.0
    detector_lift_mm: float = 0.0
    curved: bool = False
    spot_offsets_mm: tuple[tuple[float, float, float], ...] = NO_SPOTS
    couples_slices: ClassVar[bool] = True
    turns_often: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        lengths = dict.fromkeys(("row_mm", "pitch_mm", "start_mm", "detector_lift_mm"), float)
        settle(self, n_rows=int, curved=bool, **lengths)
        if self.n_rows < 1 or not 0 < self.row_mm < math.inf:
            raise InputError(
                f"Helix has {self.n_rows} rows of {self.row_mm} mm.",
                "at least one row of positive height",
            )
        for name in lengths:
            if not math.isfinite(getattr(self, name)):
                raise InputError(f"Helix has {name} {getattr(self, name)}.", "a finite length, mm")
        self._settle_spots()
        reach = float(np.abs(self.column_angles_rad).max())
        if reach >= LARGEST_FAN_RAD:
            raise InputError(
                f"Helix's curved detector reaches {math.degrees(reach):.0f} degrees to a side.",
                "less than 90 degrees",
                "check column_mm and source_to_detector_mm",
            )

    def _settle_spots(self) -> None:
        """Bring the focal spot's offsets into their own type. Raises InputError."""
        spots = np.asarray(self.spot_offsets_mm, dtype=float)
        if spots.size == 0:
            object.__setattr__(self, "spot_offsets_mm", NO_SPOTS)
            return
        if spots.shape != (self.n_views, 3) or not np.isfinite(spots).all():
            raise InputError(
                f"Helix.spot_offsets_mm has shape {spots.shape} or is not finite.",
                f"finite mm along u, n and z for each of the {self.n_views} views, or nothing",
            )
        if np.abs(spots).max() >= self.source_to_axis_mm:
            raise InputError(
                f"The focal spot moves by {np.abs(spots).max():g} mm.",
                f"far less than the source's distance, {self.source_to_axis_mm:g} mm",
                "give spot_offsets_mm in mm",
            )
        object.__setattr__(self, "spot_offsets_mm", triples(spots))

    @classmethod
    def fitting(
        cls,
        grid: Grid,
        views: int = DEFAULT_VIEWS,
        *,
        pitch_mm: float | None = None,
        n_rows: int = DEFAULT_ROWS,
        row_mm: float | None = None,
        start_mm: float | None = None,
        start_rad: float = 0.0,
        source_to_axis_mm: float = SCANNER_SOURCE_TO_AXIS_MM,
        source_to_detector_mm: float = SCANNER_SOURCE_TO_DETECTOR_MM,
        curved: bool = False,
        spots_mm: tuple[tuple[float, float, float], ...] = NO_SPOTS,
    ) -> Self:
        """A helix that measures every slice of `grid` over half a turn and the fan, or more.

        views: in each turn. row_mm: by default a slice high at the axis. pitch_mm: by default as
        far as all rows reach at the axis. start_mm: the source's height in the first view, by
        default as needed; it advances until the slice farthest on is measured. Columns are a pixel
        wide at the axis, and see all of a slice. spots_mm: positions along u, n and z that the
        focal spot takes in turn, view by view. Raises InputError as `FanBeam.fitting`, and for a
        pitch of 0.
        """
        if n_rows < 1:  # of which a pitch of 0 would follow
            raise InputError(f"A helix with {n_rows} rows was asked for.", "a detector row or more")
        magnification = source_to_detector_mm / source_to_axis_mm
        fan_rad = half_fan_rad(grid, source_to_axis_mm)
        column_mm = square_pixel_mm(grid) * magnification
        half_mm = source_to_detector_mm * (fan_rad if curved else math.tan(fan_rad))
        row_mm = grid.spacing_mm[0] * magnification if row_mm is None else row_mm
        pitch = n_rows * row_mm / magnification if pitch_mm is None else pitch_mm
        start, n_views = _way(grid, views, pitch, start_mm, fan_rad)
        spots = NO_SPOTS
        if spots_mm:
            spots = tuple(spots_mm[view % len(spots_mm)] for view in range(n_views))
        return cls(
            angles_rad=tuple(start_rad + TURN * i / views for i in range(n_views)),
            n_columns=math.ceil(2 * half_mm / column_mm),
            column_mm=column_mm,
            source_to_axis_mm=source_to_axis_mm,
            source_to_detector_mm=source_to_detector_mm,
            n_rows=n_rows,
            row_mm=row_mm,
            pitch_mm=pitch,
            start_mm=start,
            curved=curved,
            spot_offsets_mm=spots,
        )

    @property
    def column_angles_rad(self) -> np.ndarray:
        """Angle of every column against n, seen from the source without flying spot, (column,)."""
        ratio = self.column_positions_mm / self.source_to_detector_mm
        return ratio if self.curved else np.arctan(ratio)

    @property
    def row_positions_mm(self) -> np.ndarray:
        """Height of every row above the source without flying spot, in mm, (row,)."""
        middle = (self.n_rows - 1) / 2
        return (np.arange(self.n_rows) - middle) * self.row_mm + self.detector_lift_mm

    @property
    def heights_mm(self) -> np.ndarray:
        """Height of the source without flying spot in every view, (view,)."""
        turns = (np.array(self.angles_rad) - self.angles_rad[0]) / TURN
        return self.start_mm + self.pitch_mm * turns

    @property
    def spots_mm(self) -> np.ndarray:
        """Offsets of the focal spot along u, n and z, (view, 3); zeros where it does not fly."""
        if not self.spot_offsets_mm:
            return np.zeros((self.n_views, 3))
        return np.array(self.spot_offsets_mm)

    @property
    def axis_position_mm(self) -> float:
        """Detector position p onto which the axis of rotation projects."""
        if not self.curved:
            return super().axis_position_mm
        return self.source_to_detector_mm * math.atan(self.axis_shift_mm / self.source_to_axis_mm)

    def detector_rows(self, grid: Grid) -> int:
        """Rows of its projections: those of its detector, whatever the grid."""
        return self.n_rows

    def of_views(self, views: np.ndarray) -> Helix:
        """The same helix at some of its views, by number, in the order given."""
        picked = np.arange(self.n_views)[views]
        return replace(
            self,
            angles_rad=np.array(self.angles_rad)[picked],
            start_mm=float(self.heights_mm[picked[0]]),
            spot_offsets_mm=triples(self.spots_mm[picked]) if self.spot_offsets_mm else NO_SPOTS,
        )

    def of_detector(
        self, first: tuple[int, int], shape: tuple[int, int], taken: tuple[int, int] = (1, 1)
    ) -> Helix:
        """The geometry of a part of the detector, its pixels taken together: all (row, column).

        first: the pixel in the corner of the part. shape: of the part, in pixels as they are taken
        together. taken: how many are.
        """
        lift, shift = (
            (f + (n * t - 1) / 2 - (whole - 1) / 2) * size
            for f, n, t, whole, size in zip(
                first,
                shape,
                taken,
                (self.n_rows, self.n_columns),
                (self.row_mm, self.column_mm),
                strict=True,
            )
        )
        return replace(
            self,
            n_rows=shape[0],
            n_columns=shape[1],
            row_mm=self.row_mm * taken[0],
            column_mm=self.column_mm * taken[1],
            detector_lift_mm=self.detector_lift_mm + lift,
            detector_shift_mm=self.detector_shift_mm + shift,
        )

    def circle_mm(self) -> np.ndarray:
        """The centre about which the detector lies, without flying spot, (view, 3)."""
        circle = super().circle_mm()
        circle[:, 2] = self.heights_mm
        return circle

    def source_positions_mm(self) -> np.ndarray:
        """The focal spot's position in every view, (view, 3) in mm."""
        u, n = self.axes()
        along_u, along_n, along_z = self.spots_mm.T[..., None]
        return self.circle_mm() + along_u * u + along_n * n + along_z * np.array((0.0, 0.0, 1.0))

    def to_vectors(self) -> VectorGeometry:
        """The same rays as sources and flat panels. Raises InputError for a curved detector."""
        if self.curved:
            raise InputError(
                "A helix with a curved detector has no flat panels, one for each view.",
                "a flat detector",
                "curved=False; Helix.panels has a panel for every column",
            )
        u, n = self.axes()
        middle = self.source_to_detector_mm * n + self.detector_shift_mm * u
        return VectorGeometry(
            sources_mm=triples(self.source_positions_mm()),
            detectors_mm=triples(self.circle_mm() + middle + (0.0, 0.0, self.detector_lift_mm)),
            column_steps_mm=triples(self.column_mm * u),
            row_steps_mm=triples(np.tile((0.0, 0.0, self.row_mm), (self.n_views, 1))),
            n_rows=self.n_rows,
            n_columns=self.n_columns,
        )

    def panels(self) -> Panels:
        """Its panels: of a curved detector one for every column, upright, view after view."""
        if not self.curved:
            return super().panels()
        u, n = (axis[:, None] for axis in self.axes())
        angles = self.column_angles_rad[:, None]
        outwards = np.cos(angles) * n + np.sin(angles) * u
        middles = self.circle_mm()[:, None] + self.source_to_detector_mm * outwards
        places = np.zeros((self.n_views, self.n_columns, 4, 3))
        places[:, :, 0] = self.source_positions_mm()[:, None]
        places[:, :, 1] = middles + np.array((0.0, 0.0, self.detector_lift_mm))
        places[:, :, 2] = self.column_mm * (np.cos(angles) * u - np.sin(angles) * n)
        places[:, :, 3] = (0.0, 0.0, self.row_mm)
        return Panels(places.reshape(-1, 4, 3), self.n_rows, 1)

    def sees(self, points_mm: np.ndarray, views: np.ndarray) -> np.ndarray:
        """Which points lie between the ends of the rows in all of the views, (point,)."""
        half = self.n_columns * self.column_mm / 2
        u, n = self.axes()
        seen = np.ones(len(points_mm), dtype=bool)
        for view in views:
            seen &= np.abs(self._places_mm(points_mm, int(view), u[view], n[view])) <= half
        return seen

    def _places_mm(
        self, points_mm: np.ndarray, view: int, u: np.ndarray, n: np.ndarray
    ) -> np.ndarray:
        """Where the rays through points meet the detector of a view, in mm from its middle."""
        spot_u, spot_n, _ = self.spots_mm[view]
        from_spot = points_mm - self.source_positions_mm()[view]
        aside, ahead = from_spot @ u, from_spot @ n
        distance = self.source_to_detector_mm
        if not self.curved:
            with np.errstate(divide="ignore", invalid="ignore"):
                place = spot_u + (distance - spot_n) * aside / ahead
            return np.where(ahead > 0, place, np.inf) - self.detector_shift_mm
        # |spot + reach direction| = distance, about the centre without flying spot
        size = np.hypot(aside, ahead)
        along = (spot_u * aside + spot_n * ahead) / size
        reach = np.sqrt(along**2 + distance**2 - spot_u**2 - spot_n**2) - along
        angle = np.arctan2(spot_u + reach * aside / size, spot_n + reach * ahead / size)
        return angle * distance - self.detector_shift_mm

    def by_spot(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The views (by number) of each position of the focal spot, and that position, (3,)."""
        positions, of_view = np.unique(self.spots_mm.round(6), axis=0, return_inverse=True)
        for i, position in enumerate(positions):
            yield np.flatnonzero(of_view.ravel() == i), position


def _way(
    grid: Grid, views: int, pitch_mm: float, start_mm: float | None, fan_rad: float
) -> tuple[float, int]:
    """Where a source starts that measures all slices, and its number of views. InputError."""
    if isinstance(views, bool) or views != int(views) or views < 1:
        raise InputError(f"Asked for {views} views a turn.", "a whole number from 1")
    if not 0 < abs(pitch_mm) < math.inf:
        raise InputError(
            f"The pitch is {pitch_mm} mm.",
            "how far the source advances in a turn, other than 0",
            "a cone beam, for a circular scan",
        )
    to_end_mm = (grid.shape[0] - 1) / 2 * grid.spacing_mm[0]
    margin_mm = abs(pitch_mm) * (math.pi / 2 + fan_rad) / TURN
    sense = math.copysign(1.0, pitch_mm)
    end = sense * (to_end_mm + margin_mm)
    start = -end if start_mm is None else float(start_mm)
    turns = (end - start) / pitch_mm
    if not 0 < turns < math.inf:
        raise InputError(
            f"The source starts at {start:g} mm and advances by {pitch_mm:g} mm a turn.",
            f"a start from which it comes to {end:g} mm, where the last slice is measured",
            "leave start_mm out",
        )
    n_views = math.ceil(turns * views) + 1
    if n_views > MOST_VIEWS:
        raise InputError(
            f"A helix of {n_views} views was asked for.",
            f"up to {MOST_VIEWS:,}",
            "a larger pitch_mm: it is the advance in a whole turn",
        )
    return start, n_views
