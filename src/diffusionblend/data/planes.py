"""The three middle slices of a volume as a radiologist expects them.

The patient's right is on the left of axial and coronal images, the front is on top of axial and on
the left of sagittal images, the head is up. Axes are turned by the grid's direction cosines, so
that a volume stored feet-last or mirrored shows the right way round. Planes go by array axes, as in
the metrics: an axial image is values[k].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from diffusionblend.geometry.grid import Grid
from diffusionblend.units import unit_of

if TYPE_CHECKING:
    from diffusionblend.data.volume import Volume

PLANE_AXES = {"axial": 0, "coronal": 1, "sagittal": 2}
"""The array axis along which the slices of each plane are counted."""
WORLD_ENDS = (("R", "L"), ("A", "P"), ("F", "H"))
"""The letters at the low and the high end of LPS x, y and z."""

OBJECT_SIDES = {"L": "+x", "R": "−x", "P": "+y", "A": "−y", "H": "+z", "F": "−z"}
"""What stands at the sides of a volume in 1/mm, which need not be a patient."""

STARTS = ("R", "A", "H")
"""The ends at which an image starts, at its left or its top."""


@dataclass(frozen=True, eq=False)
class PlaneImage:
    """One slice, ready to show: row 0 at the top, column 0 at the left.

    values: (row, column) in HU or 1/mm. height_mm, width_mm: its size. sides: letters (left, right,
    top, bottom) of the patient's R, L, A, P, H, F, or +x to -z of an object in 1/mm. index: the
    slice's index along its array axis.
    """

    values: np.ndarray
    height_mm: float
    width_mm: float
    sides: tuple[str, str, str, str]
    index: int


@dataclass(frozen=True, kw_only=True)
class PlaneLayout:
    """How a plane's slices are turned to be shown.

    axis: the array axis along which slices are counted. row_axis, column_axis: those that run down
    and to the right, backwards where flipped. sides: as in `PlaneImage`.
    """

    axis: int
    row_axis: int
    column_axis: int
    flip_rows: bool
    flip_columns: bool
    sides: tuple[str, str, str, str]


def middle_slices(volume: Volume) -> dict[str, PlaneImage]:
    """The middle slice of each plane, by name: axial, coronal, sagittal."""
    return {
        name: plane_slice(volume, name, volume.grid.shape[axis] // 2)
        for name, axis in PLANE_AXES.items()
    }


def plane_slice(volume: Volume, plane: str, index: int) -> PlaneImage:
    """Slice `index` of a plane, turned to the convention of this module."""
    layout, grid = plane_layout(volume.grid, plane), volume.grid
    values = np.take(volume.values, index, axis=layout.axis)
    if layout.flip_rows:
        values = values[::-1]
    if layout.flip_columns:
        values = values[:, ::-1]
    sides = layout.sides
    if unit_of(volume.values) != "HU":
        left, right, top, bottom = (OBJECT_SIDES[side] for side in sides)
        sides = (left, right, top, bottom)
    return PlaneImage(
        values=values,
        height_mm=grid.shape[layout.row_axis] * grid.spacing_mm[layout.row_axis],
        width_mm=grid.shape[layout.column_axis] * grid.spacing_mm[layout.column_axis],
        sides=sides,
        index=index,
    )


def plane_layout(grid: Grid, plane: str) -> PlaneLayout:
    """How the slices of a plane are turned to the convention of this module."""
    axis = PLANE_AXES[plane]
    row_axis, column_axis = (a for a in range(3) if a != axis)
    top, bottom = _ends(grid, row_axis)
    left, right = _ends(grid, column_axis)
    flip_rows, flip_columns = top not in STARTS, left not in STARTS
    if flip_rows:
        top, bottom = bottom, top
    if flip_columns:
        left, right = right, left
    return PlaneLayout(
        axis=axis,
        row_axis=row_axis,
        column_axis=column_axis,
        flip_rows=flip_rows,
        flip_columns=flip_columns,
        sides=(left, right, top, bottom),
    )


def _ends(grid: Grid, array_axis: int) -> tuple[str, str]:
    """The patient letters at the first and the last voxel of an array axis (0 is z)."""
    cosines = np.array(grid.direction).reshape(3, 3)[:, 2 - array_axis]
    world = int(np.abs(cosines).argmax())
    low, high = WORLD_ENDS[world]
    return (low, high) if cosines[world] > 0 else (high, low)
