"""A measured scan as its files hold it, before any correction."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np

from diffusionblend.errors import InputError
from diffusionblend.geometry.helix import Helix
from diffusionblend.geometry.vectors import VectorGeometry

Values = Literal["counts", "transmission", "lines"]
"""Photon counts or grey values; I / I0; or line integrals -ln(I / I0)."""

WHITE_LEVEL = "white_level"
"""Under this name a scan's facts have the open beam that stands in for flats."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """The part of a scan to take: detector rows and columns (first, stop), and every N-th view."""

    rows: tuple[int, int] | None = None
    columns: tuple[int, int] | None = None
    every: int = 1

    def __post_init__(self) -> None:
        for name in ("rows", "columns"):
            ends = getattr(self, name)
            if ends is not None and not 0 <= ends[0] < ends[1]:
                raise InputError(
                    f"The {name} to take are {ends[0]} to {ends[1]}.",
                    "the first, from 0, and one behind the last",
                )
        if self.every < 1:
            raise InputError(f"Every {self.every}-th view was asked for.", "a whole number from 1")

    def of_detector(self, n_rows: int, n_columns: int) -> tuple[slice, slice]:
        """Slices of rows and of columns. Raises InputError where the detector has fewer."""
        found = []
        for name, ends, size in (("rows", self.rows, n_rows), ("columns", self.columns, n_columns)):
            first, stop = ends or (0, size)
            if stop > size:
                raise InputError(
                    f"The {name} {first} to {stop} were asked for, of a detector of {size}.",
                    f"{name} from 0 to {size}",
                )
            found.append(slice(first, stop))
        return found[0], found[1]

    @property
    def views(self) -> slice:
        """The views that are taken, of those in the source."""
        return slice(None, None, self.every)

    @property
    def first_column(self) -> int:
        """The first column that is taken."""
        return self.columns[0] if self.columns else 0

    @property
    def first_row(self) -> int:
        """The first row that is taken."""
        return self.rows[0] if self.rows else 0

    def place(self, n_rows: int, n_columns: int) -> dict[str, Any]:
        """Where the part lies on a detector, as the fields of a RawScan name it."""
        return {
            "first_row": self.first_row,
            "first_column": self.first_column,
            "detector_shape": (n_rows, n_columns),
        }


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class RawScan:
    """What a detector measured, view by view, with its flat and dark frames.

    data: (view, row, column) float32, `values` says of what; may hold NaN and zeros. angles_rad:
    (view,). flats, darks: (frame, row, column), the open beam and no beam; (row, column) is one
    frame. column_mm, row_mm: width and height of a pixel on the detector, where known.
    centre_column, centre_row: where the axis of rotation is seen, and the plane of a cone's source,
    in columns and rows of `data`, where known. source_to_axis_mm, source_to_detector_mm: of a fan
    or cone, where known; axis_shift_mm: how far their axis lies beside the line through the source
    that stands on the detector. geometry: in place of all these lengths and centres, a helix, or
    the source and the panel of `data` in every view where no circle describes them, from the axis
    of rotation (at height 0 of the files). photons: incident on every pixel, (view, 1, column) or
    (view, row, column), where known. mu_water_per_mm: that of water, where the files say.
    first_row, first_column: rows and columns of the detector cropped before the first of `data`.
    detector_shape: rows and columns of the whole detector; by default none were cropped behind the
    last. facts: plain values of what else the files contain. notes: what a person should know of
    the reading, a sentence each. Raises InputError.
    """

    data: np.ndarray
    values: Values
    angles_rad: np.ndarray
    flats: np.ndarray | None = None
    darks: np.ndarray | None = None
    column_mm: float | None = None
    row_mm: float | None = None
    centre_column: float | None = None
    centre_row: float | None = None
    source_to_axis_mm: float | None = None
    source_to_detector_mm: float | None = None
    axis_shift_mm: float = 0.0
    geometry: VectorGeometry | Helix | None = None
    photons: np.ndarray | None = None
    mu_water_per_mm: float | None = None
    first_row: int = 0
    first_column: int = 0
    detector_shape: tuple[int, int] = (0, 0)
    facts: dict[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.values not in get_args(Values):
            raise InputError(f"The values are {self.values!r}.", ", ".join(get_args(Values)))
        object.__setattr__(self, "data", _frames(self.data, "data"))
        for name in ("flats", "darks"):
            frames = getattr(self, name)
            if frames is not None:
                frames = frames[None] if frames.shape == self.data.shape[1:] else frames
                object.__setattr__(self, name, _frames(frames, name))
        if self.detector_shape == (0, 0):
            cropped = self.first_row, self.first_column
            whole = tuple(a + b for a, b in zip(cropped, self.data.shape[1:], strict=True))
            object.__setattr__(self, "detector_shape", whole)
        angles = np.asarray(self.angles_rad, dtype=np.float64).ravel()
        object.__setattr__(self, "angles_rad", angles)
        if len(angles) != len(self.data):
            frames = (0 if part is None else len(part) for part in (self.flats, self.darks))
            raise InputError(
                f"There are {len(self.data)} views and {len(angles)} angles"
                f"{of_frames_too(len(angles), len(self.data), *frames)}.",
                "an angle for every view, the views along the first axis",
                "check the order of the axes; --image-key FILE picks the views out of a list that "
                "has flat and dark frames too",
            )
        placed = self.geometry
        if placed is not None and (
            (placed.n_views, placed.n_rows, placed.n_columns) != self.data.shape
        ):
            raise InputError(
                f"The geometry has {placed.n_views} views of {placed.n_rows} rows and "
                f"{placed.n_columns} columns, the data {self.data.shape}.",
                "a place for every view, of its rows and columns",
            )
        for name in ("flats", "darks"):
            frames = getattr(self, name)
            if frames is not None and frames.shape[1:] != self.data.shape[1:]:
                raise InputError(
                    f"The {name} have {frames.shape[1:]} rows and columns.",
                    f"{self.data.shape[1:]}, as the views have",
                    f"{name} of the same scan, with the same binning; --sinograms, if arrays are "
                    "(row, view, column)",
                )

    def turned(self) -> RawScan:
        """The scan with its frames turned by 90 degrees, so that rows become columns.

        Counterclockwise: what was the last column is the first row. Before any cropping.
        """
        if self.geometry is not None:
            raise InputError(
                "Frames whose geometry is known view by view cannot be turned.",
                "columns across the axis of rotation",
                "leave out --horizontal-axis",
            )

        def turn(frames: np.ndarray | None) -> np.ndarray | None:
            return None if frames is None else np.rot90(frames, axes=(1, 2))

        return replace(
            self,
            data=np.rot90(self.data, axes=(1, 2)),
            flats=turn(self.flats),
            darks=turn(self.darks),
            column_mm=self.row_mm,
            row_mm=self.column_mm,
            centre_column=None,
            centre_row=None,
            detector_shape=(0, 0),
        )

    def cropped(self, window: Window) -> RawScan:
        """The scan in a window's rows and columns, of a whole detector. Raises InputError."""
        n_rows, n_columns = self.data.shape[1:]
        rows, columns = window.of_detector(n_rows, n_columns)

        def part(frames: np.ndarray | None) -> np.ndarray | None:
            return None if frames is None else frames[:, rows, columns]

        return replace(
            self,
            data=self.data[:, rows, columns],
            flats=part(self.flats),
            darks=part(self.darks),
            **window.place(n_rows, n_columns),
        )

    def __repr__(self) -> str:
        flats, darks = (0 if part is None else len(part) for part in (self.flats, self.darks))
        return (
            f"RawScan{self.data.shape} (views, rows, columns) of {self.values}, "
            f"{flats} flat and {darks} dark frames"
        )


def _frames(frames: np.ndarray, name: str) -> np.ndarray:
    """Frames (frame, row, column) as float32; raises InputError for another number of axes."""
    if frames.ndim != 3 or 0 in frames.shape:
        raise InputError(f"The {name} have the shape {frames.shape}.", "(view, row, column)")
    return np.ascontiguousarray(frames, dtype=np.float32)


def of_frames_too(n_angles: int, n_views: int, n_flats: int, n_darks: int) -> str:
    """What to add where a list has angles of flats and darks, too; else nothing."""
    if n_angles == n_views or n_angles - n_views not in {n_flats, n_darks, n_flats + n_darks}:
        return ""
    return f", as many as with those of {n_flats} flats and {n_darks} darks: take these out"
