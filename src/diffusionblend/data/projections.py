"""Measured line integrals with their geometry and grid."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from numbers import Real

import numpy as np

from diffusionblend.data.picture import grey_png
from diffusionblend.data.volume import SHOWN_PIXELS, as_asked
from diffusionblend.errors import InputError, check_kind
from diffusionblend.geometry.base import Geometry
from diffusionblend.geometry.grid import Grid, grid_with_pixels, widened

HIGHEST_LINE_INTEGRAL = 100.0
"""Above this no photon passes: values are counts, or in another unit."""


@dataclass(frozen=True, eq=False, repr=False)
class Projections:
    """Measured line integrals with all that is needed to reconstruct them.

    values: (view, row, column) float32, dimensionless (1/mm times mm); in parallel and fan beams
    row r belongs to slice r. geometry: how they were taken. grid: the volume to reconstruct,
    centred on the geometry's origin. mu_water_per_mm: ties 1/mm to HU. notes: how they came about
    (simulation settings, source), no patient data. measured: which rays count, bool (view, row,
    column), None for all; what stands in for the others FBP reads, all else leaves out. photons:
    incident on every pixel where they differ, (view, 1, column) or (view, row, column), in place of
    the one number in the notes.
    `scan[::2]` and `scan[[0, 3]]` are the scan of some of its views. Raises InputError.
    """

    values: np.ndarray
    geometry: Geometry
    grid: Grid
    mu_water_per_mm: float
    notes: dict[str, object] = field(default_factory=dict)
    measured: np.ndarray | None = None
    photons: np.ndarray | None = None

    def __post_init__(self) -> None:
        check_kind(self.geometry, Geometry, "The geometry of projections")
        check_kind(self.grid, Grid, "The grid of projections")
        values = np.ascontiguousarray(self.values, dtype=np.float32)
        rows = self.geometry.detector_rows(self.grid)
        if values.shape != (self.geometry.n_views, rows, self.geometry.n_columns):
            raise shape_error(values.shape, self.geometry, self.grid)
        if not np.isfinite(values).all():
            bad = int((~np.isfinite(values)).sum())
            raise InputError(
                f"The projections hold {bad} values that are NaN or infinite.",
                "finite line integrals",
                "look for zero counts before the logarithm",
            )
        check_photons(self.notes.get("photons"))
        if not 0 < self.mu_water_per_mm < np.inf:
            raise InputError(f"mu_water_per_mm is {self.mu_water_per_mm}.", "a positive number")
        check_line_integrals(values)
        object.__setattr__(self, "values", values)
        if self.measured is not None:
            object.__setattr__(self, "measured", which_count(self.measured, values.shape))
        if self.photons is not None:
            object.__setattr__(self, "photons", photon_counts(self.photons, values.shape))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(view, row, column)."""
        views, rows, columns = self.values.shape
        return views, rows, columns

    def __len__(self) -> int:
        """Views."""
        return len(self.values)

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        """Its line integrals, (view, row, column), as those of a volume."""
        return as_asked(self.values, dtype, copy)

    def __getitem__(self, views: slice | Sequence[int] | np.ndarray) -> Projections:
        """The scan of some of its views, in the order given: a slice, numbers, or True and False.

        Raises InputError for any other index, and where no view is left.
        """
        if isinstance(views, tuple | int | np.integer):
            raise InputError(
                f"Projections were indexed by {views!r}.",
                "a slice or a list of views, such as scan[::2] or scan[[0, 3]]",
                "scan.values for the array's own indexing",
            )
        try:
            taken = np.arange(len(self))[views]
        except (IndexError, TypeError, ValueError) as error:
            raise InputError(f"Some views were asked for: {error}.", "views of the scan") from error
        if not taken.size:
            raise InputError("No view is left of the scan.", "at least one view")
        return replace(
            self,
            values=self.values[taken],
            geometry=self.geometry.of_views(taken),
            measured=None if self.measured is None else self.measured[taken],
            photons=None if self.photons is None else self.photons[taken],
        )

    def with_pixels(self, *, size: int | None = None, pixel_mm: float | None = None) -> Projections:
        """The same projections, to be reconstructed with other pixels; slices along z stay.

        size: pixels along the longer side of a slice. pixel_mm: their width. With one of them the
        field of view stays, with both it is cut or filled around its centre. The projections do not
        fix the pixels. Raises InputError.
        """
        return replace(self, grid=grid_with_pixels(self.grid, size=size, pixel_mm=pixel_mm))

    def with_margin(self, margin_mm: float) -> tuple[Projections, tuple[slice, slice, slice]]:
        """The same projections for a volume with so much more around it, and what to take of that.

        For objects that are wider than the volume, or longer, where rays pass from slice to slice:
        iterative and diffusion methods place what lies outside there, and the inside keeps its HU.
        `volume[inside]` is then the volume asked for. Raises InputError.
        """
        wide, added = widened(self.grid, margin_mm, slices_too=self.geometry.couples_slices)
        inside = tuple(slice(n, size - n) for n, size in zip(added, wide.shape, strict=True))
        return replace(self, grid=wide), (inside[0], inside[1], inside[2])

    def __repr__(self) -> str:
        low, high = float(self.values.min()), float(self.values.max())
        volume = " x ".join(map(str, self.grid.shape))
        return (
            f"Projections{self.values.shape} (views, rows, columns) of a "
            f"{type(self.geometry).__name__}, line integrals {low:.3g} to {high:.3g}, "
            f"for a volume of {volume} voxels"
        )

    def _repr_html_(self) -> str:
        """What a notebook shows: sizes, and the middle row of every view, a sinogram."""
        low, high = float(self.values.min()), float(self.values.max())
        rows = self.values[:, self.shape[1] // 2]
        picture = base64.b64encode(grey_png(rows, low, max(high, low + 1e-6))).decode()
        facts = {
            "views, rows, columns": " x ".join(map(str, self.shape)),
            "geometry": type(self.geometry).__name__,
            "line integrals": f"{low:.3g} to {high:.3g}",
            "volume (z, y, x)": " x ".join(map(str, self.grid.shape)),
            "picture": f"row {self.shape[1] // 2} of every view, downwards",
        }
        table = "".join(f"<tr><th>{name}</th><td>{fact}</td></tr>" for name, fact in facts.items())
        return (
            f'<table>{table}</table><img src="data:image/png;base64,{picture}" '
            f'width="{SHOWN_PIXELS}" height="{SHOWN_PIXELS}" alt="sinogram">'
        )


def shape_error(shape: tuple[int, ...], geometry: Geometry, grid: Grid) -> InputError:
    """The error of projections whose shape is not the one that their geometry has on their grid."""
    rows = geometry.detector_rows(grid)
    return InputError(
        f"The projections have shape {shape}.",
        f"{(geometry.n_views, rows, geometry.n_columns)} (views, rows, columns), from "
        f"{geometry.n_views} angles, {rows} "
        f"{'detector rows' if geometry.couples_slices else 'slices'} and {geometry.n_columns} "
        "columns",
        "check that the axes are (view, row, column) and that every view has its angle",
    )


def which_count(measured: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """Which rays count as booleans, None where all do. Raises InputError for another shape, and
    where none counts.
    """
    counting = np.ascontiguousarray(measured, dtype=bool)
    if counting.shape != tuple(shape) or not counting.any():
        raise InputError(
            f"The rays that count have shape {counting.shape}, and {int(counting.sum())} do.",
            f"{tuple(shape)}, as the line integrals, and at least one",
        )
    return None if counting.all() else counting


def photon_counts(photons: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Incident photons as float32. Raises InputError for another shape, and for none or NaN."""
    counts = np.ascontiguousarray(photons, dtype=np.float32)
    views, rows, columns = shape
    if counts.shape not in ((views, 1, columns), (views, rows, columns)):
        raise InputError(
            f"The photons have shape {counts.shape}.",
            f"{(views, 1, columns)}, or {(views, rows, columns)} as the line integrals",
        )
    if not (np.isfinite(counts).all() and (counts > 0).all()):
        raise InputError("The photons hold values that are 0, negative or not finite.", "counts")
    return counts


def check_photons(photons: object) -> None:
    """Raise InputError where the notes' photon count is there, but is no count."""
    number = isinstance(photons, Real) and not isinstance(photons, bool)
    if photons is not None and not (number and 0 < float(str(photons)) < np.inf):
        raise InputError(
            f"The scan's notes say {photons!r} photons.",
            "the count of an unattenuated detector pixel, a number above 0",
            "import or simulate again with --photons, or without it where the count is not known",
        )


def check_line_integrals(values: np.ndarray) -> None:
    """Raises InputError for values that are all 0, or higher than any line integral is."""
    highest = float(np.abs(values).max())
    if not 0 < highest <= HIGHEST_LINE_INTEGRAL:
        raise InputError(
            f"The projections go up to {highest:g}.",
            f"line integrals -ln(I / I0), not all 0 and at most {HIGHEST_LINE_INTEGRAL:g}",
            "take the logarithm of counts over the flat field first",
        )
