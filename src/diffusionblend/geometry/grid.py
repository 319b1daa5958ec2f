"""Where the voxels of a volume lie in patient space.

Axes are (z, y, x). World coordinates are DICOM's and SimpleITK's LPS millimetres: x grows to the
patient's Left, y to the back (Posterior), z to the head (Superior). `direction` holds SimpleITK's
direction cosines, one row per world axis (x, y, z), one column per array axis in the order
(x, y, z); for an upright volume it is the identity. NIfTI files store RAS, that is diag(-1, -1, 1)
times LPS; SimpleITK converts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from diffusionblend.errors import InputError

Margin = tuple[int, int, int]
SMALLEST_MM, LARGEST_MM = 1e-5, 100.0
"""No voxel of a CT scan has a smaller or larger side; what has is in another unit than it says."""
IDENTITY_DIRECTION = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)

DIRECTION_TOLERANCE = 0.01
"""How far the axes' lengths and scalar products may lie from those of perpendicular unit vectors;
rounded headers reach about 0.001."""
SAME_SPACING = 1e-3
"""Largest relative difference of two grids' spacings that passes for rounding."""
SAME_ORIGIN_VOXELS = 0.01
"""Largest distance of two grids' first voxels, in the smallest spacing."""
SAME_DIRECTION = 1e-3
"""Largest difference of two grids' direction cosines."""
LEAST_MM, MOST_MM = 1e-9, 1e6
"""Sides of a voxel: far below and far above what any scanner has."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Where a volume's voxels lie; equality is exact and `repr` evaluates back.

    shape: (z, y, x) voxels. spacing_mm: (z, y, x). origin_mm: LPS (x, y, z) of the centre of voxel
    [0, 0, 0]. direction: 3 x 3 cosines, row by row (see the module). Raises InputError.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction: tuple[float, ...] = IDENTITY_DIRECTION

    def __post_init__(self) -> None:
        for name, kind, n in (
            ("shape", int, 3),
            ("spacing_mm", float, 3),
            ("origin_mm", float, 3),
            ("direction", float, 9),
        ):
            values = tuple(kind(v) for v in getattr(self, name))
            if len(values) != n:
                raise InputError(
                    f"Grid.{name} has {len(values)} numbers.", f"{n} numbers, {name} = {values}"
                )
            object.__setattr__(self, name, values)
        if min(self.shape) < 1:
            raise InputError(f"Grid.shape is {self.shape}.", "at least one voxel along each axis")
        if not all(LEAST_MM <= s <= MOST_MM for s in self.spacing_mm):
            raise InputError(
                f"Grid.spacing_mm is {self.spacing_mm}.",
                f"three positive millimetres, from {LEAST_MM:g} to {MOST_MM:g}",
            )
        if not np.isfinite(self.origin_mm).all():
            raise InputError(f"Grid.origin_mm is {self.origin_mm}.", "three finite millimetres")
        axes = np.array(self.direction).reshape(3, 3)
        off = np.abs(axes.T @ axes - np.eye(3)).max() if np.isfinite(axes).all() else math.inf
        if off > DIRECTION_TOLERANCE:
            raise InputError(
                f"Grid.direction is {self.direction}.",
                "direction cosines row by row, whose columns are perpendicular unit vectors",
                f"{IDENTITY_DIRECTION} for an upright volume",
            )

    @property
    def in_plane_shape(self) -> tuple[int, int]:
        """(y, x) voxels of an axial slice."""
        return self.shape[1:]

    @property
    def pixel_mm(self) -> float:
        """The size of an axial slice's pixels: the root of their area."""
        return math.sqrt(self.spacing_mm[1] * self.spacing_mm[2])

    def with_slices(self, n_slices: int) -> Grid:
        """The same grid with another number of slices, starting at the same first slice."""
        return replace(self, shape=(n_slices, *self.shape[1:]))

    def part(self, *parts: slice) -> Grid:
        """The grid of some voxels, by a slice for z, y and x (all of an axis that is left out).

        Its origin is the first voxel taken, its spacing that of the voxels taken. Raises InputError
        for a step below 1 and where nothing is left.
        """
        first: list[float] = []
        shape: list[int] = []
        spacing_mm: list[float] = []
        for n, mm, taken in zip(
            self.shape, self.spacing_mm, (*parts, *[slice(None)] * (3 - len(parts))), strict=True
        ):
            start, stop, step = taken.indices(n)
            count = len(range(start, stop, step))
            if step < 1 or not count:
                raise InputError(
                    f"Voxels {start} to {stop} in steps of {step} were asked for, of {n}.",
                    "at least one voxel, in rising order",
                )
            first.append(start * mm)
            shape.append(count)
            spacing_mm.append(mm * step)
        direction = np.array(self.direction).reshape(3, 3)
        origin = np.array(self.origin_mm) + direction @ first[::-1]
        (n_z, n_y, n_x), (mm_z, mm_y, mm_x) = shape, spacing_mm
        return replace(
            self,
            shape=(n_z, n_y, n_x),
            spacing_mm=(mm_z, mm_y, mm_x),
            origin_mm=tuple(origin),
        )

    def coarser(self, factor: int) -> Grid:
        """The grid whose voxels are `factor` x `factor` pixels of every slice from the first one.

        Rows and columns left over are dropped. Raises InputError where nothing is left, and for a
        factor below 1.
        """
        if factor < 1:
            raise InputError(f"A grid is to be {factor} times as coarse.", "a whole number from 1")
        (z, y, x), (sz, sy, sx) = self.shape, self.spacing_mm
        shift = (factor - 1) / 2
        direction = np.array(self.direction).reshape(3, 3)
        return replace(
            self,
            shape=(z, y // factor, x // factor),
            spacing_mm=(sz, sy * factor, sx * factor),
            origin_mm=tuple(np.array(self.origin_mm) + direction @ (shift * sx, shift * sy, 0.0)),
        )


def widened(grid: Grid, margin_mm: float, *, slices_too: bool = False) -> tuple[Grid, Margin]:
    """The grid with whole voxels more around it, at least margin_mm, and their numbers (z, y, x).

    slices_too: above and below, too. Raises InputError.
    """
    if not 0 <= margin_mm < math.inf:
        raise InputError(f"The margin is {margin_mm} mm.", "millimetres from 0", "0 for none")
    z, y, x = (math.ceil(margin_mm / mm - 1e-6) for mm in grid.spacing_mm)
    added = (z if slices_too else 0, y, x)
    direction = np.array(grid.direction).reshape(3, 3)
    back = np.array([n * mm for n, mm in zip(added, grid.spacing_mm, strict=True)][::-1])
    n_z, n_y, n_x = grid.shape
    shape = (n_z + 2 * added[0], n_y + 2 * y, n_x + 2 * x)
    origin = np.array(grid.origin_mm) - direction @ back
    return replace(grid, shape=shape, origin_mm=tuple(origin)), added


def grid_with_pixels(grid: Grid, *, size: int | None = None, pixel_mm: float | None = None) -> Grid:
    """The grid around the same centre whose slices have other, square pixels.

    size: pixels along the longer side. pixel_mm: their width. With one of them the field of view
    stays, to the nearest pixel. Raises InputError.
    """
    sides_mm = [n * mm for n, mm in zip(grid.shape[1:], grid.spacing_mm[1:], strict=True)]
    if size is not None and size < 1:
        raise InputError(f"Slices of {size} pixels were asked for.", "at least 1 pixel")
    if pixel_mm is not None and not 0 < pixel_mm < math.inf:
        raise InputError(f"pixel_mm is {pixel_mm}.", "a positive width in mm")
    if size is None and pixel_mm is None:
        return grid
    width = pixel_mm if pixel_mm is not None else max(sides_mm) / (size or 1)
    if not SMALLEST_MM <= width <= LARGEST_MM:
        raise InputError(
            f"The pixels would be {width:g} mm wide.", f"{SMALLEST_MM:g} to {LARGEST_MM:g} mm"
        )
    scale = 1.0 if size is None else size * width / max(sides_mm)
    y, x = (max(1, round(side * scale / width)) for side in sides_mm)
    offsets = [
        ((n - 1) * mm - (m - 1) * width) / 2
        for n, mm, m in zip(grid.shape[1:], grid.spacing_mm[1:], (y, x), strict=True)
    ]
    direction = np.array(grid.direction).reshape(3, 3)
    origin = np.array(grid.origin_mm) + direction @ (offsets[1], offsets[0], 0.0)
    return replace(
        grid,
        shape=(grid.shape[0], y, x),
        spacing_mm=(grid.spacing_mm[0], width, width),
        origin_mm=tuple(origin),
    )


def bounding_box_mm(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and highest LPS x, y and z, in mm, that a grid's voxels reach."""
    sides = np.array(grid.direction).reshape(3, 3) * np.array(grid.spacing_mm[::-1])
    ends = np.array([(-0.5, n - 0.5) for n in grid.shape[::-1]])
    corners = np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, 3)
    places_mm = np.array(grid.origin_mm) + corners @ sides.T
    return places_mm.min(axis=0), places_mm.max(axis=0)


def grids_overlap(a: Grid, b: Grid) -> bool:
    """Whether the upright boxes around two grids have a part of the patient in common."""
    (low_a, high_a), (low_b, high_b) = bounding_box_mm(a), bounding_box_mm(b)
    return bool((np.maximum(low_a, low_b) < np.minimum(high_a, high_b)).all())


def check_same_grid(grid: Grid, reference: Grid) -> None:
    """Raise InputError unless both grids have the same voxels in space, within the tolerances."""
    voxels = "the same voxels in space for both"
    if grid.shape != reference.shape:
        raise InputError(
            f"The volumes have {grid.shape} and {reference.shape} voxels (z, y, x).",
            voxels,
            "bring both to one size and spacing, or cut both to the same slices",
        )
    spacing = np.array(reference.spacing_mm)
    if (np.abs(np.array(grid.spacing_mm) - spacing) > SAME_SPACING * spacing).any():
        raise InputError(
            f"The volumes' spacings are {grid.spacing_mm} and {reference.spacing_mm} mm (z, y, x).",
            voxels,
            "resample one to the spacing of the other",
        )
    apart_mm = float(np.linalg.norm(np.subtract(grid.origin_mm, reference.origin_mm)))
    if apart_mm > SAME_ORIGIN_VOXELS * spacing.min():
        raise InputError(
            f"The volumes' origins lie {apart_mm:.3g} mm apart: {grid.origin_mm} and "
            f"{reference.origin_mm} mm.",
            voxels,
            "make sure that both come from the same scan",
        )
    if np.abs(np.subtract(grid.direction, reference.direction)).max() > SAME_DIRECTION:
        raise InputError(
            f"The volumes' axes point in different directions: {grid.direction} and "
            f"{reference.direction}.",
            voxels,
            "import both in the same orientation",
        )
