"""A measured scan as its files hold it, before any correction."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from diffusionblend.errors import InputError

Values = Literal["counts", "transmission", "lines"]
"""Photon counts or grey values; I / I0; or line integrals -ln(I / I0)."""


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


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class RawScan:
    """What a detector measured, view by view, with its flat and dark frames.

    data: (view, row, column) float32, `values` says of what; may hold NaN and zeros. angles_rad:
    (view,). flats, darks: (frame, row, column), the open beam and no beam. column_mm, row_mm: width
    and height of a pixel on the detector, where known. centre_column: where the axis of rotation is
    seen, in columns of `data`, where known. source_to_axis_mm, source_to_detector_mm: of a fan or
    cone, where known. first_column: columns of the detector cropped before the first, `window` did.
    facts: plain values of what else the files contain. Raises InputError.
    """

    data: np.ndarray
    values: Values
    angles_rad: np.ndarray
    flats: np.ndarray | None = None
    darks: np.ndarray | None = None
    column_mm: float | None = None
    row_mm: float | None = None
    centre_column: float | None = None
    source_to_axis_mm: float | None = None
    source_to_detector_mm: float | None = None
    first_column: int = 0
    facts: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.values not in get_args(Values):
            raise InputError(f"The values are {self.values!r}.", ", ".join(get_args(Values)))
        for name in ("data", "flats", "darks"):
            frames = getattr(self, name)
            if frames is not None:
                object.__setattr__(self, name, _frames(frames, name))
        angles = np.asarray(self.angles_rad, dtype=np.float64).ravel()
        object.__setattr__(self, "angles_rad", angles)
        if len(angles) != len(self.data):
            raise InputError(
                f"There are {len(self.data)} views and {len(angles)} angles.",
                "an angle for every view, the views along the first axis",
                "check the order of the axes; --image-key FILE picks the views out of a list that "
                "has flat and dark frames too",
            )
        for name in ("flats", "darks"):
            frames = getattr(self, name)
            if frames is not None and frames.shape[1:] != self.data.shape[1:]:
                raise InputError(
                    f"The {name} have {frames.shape[1:]} rows and columns.",
                    f"{self.data.shape[1:]}, as the views have",
                    f"{name} of the same scan, with the same binning",
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
