"""Voxels as a file has them, and the volume of them: turned to LPS, without shear.

No library decides here what a header means: the matrix of a file comes to this module as it was
written, and every volume leaves it with perpendicular axes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from diffusionblend.data.upright import upright
from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError
from diffusionblend.geometry.grid import (
    DIRECTION_TOLERANCE,
    IDENTITY_DIRECTION,
    LARGEST_MM,
    SMALLEST_MM,
    Grid,
)
from diffusionblend.units import AIR_HU, unit_of

MM_PER_UNIT = {
    "": 1.0,
    **dict.fromkeys(("mm", "millimeter", "millimeters", "millimetre", "millimetres"), 1.0),
    **dict.fromkeys(("um", "µm", "μm", "micron", "microns", "micrometer", "micrometers"), 1e-3),
    **dict.fromkeys(("micrometre", "micrometres"), 1e-3),
    **dict.fromkeys(("m", "meter", "meters", "metre", "metres"), 1e3),
    **dict.fromkeys(("cm", "centimeter", "centimeters", "centimetre", "centimetres"), 10.0),
    **dict.fromkeys(("nm", "nanometer", "nanometers", "nanometre", "nanometres"), 1e-6),
    **dict.fromkeys(("in", "inch", "inches"), 25.4),
}
"""Units of length as headers name them, in lower case."""
LEAST_SHEAR = 2e-4
MAX_DISPLACED_VOXELS = 1.0
"""Axes that are less than this off perpendicular are rounded; more off is a shear where it moves a
corner of the volume by more than a voxel."""
MATRIX_DIGITS = 9
"""Rounding of the resampling matrix, so that a slice that stays a slice is not interpolated."""


@dataclass(frozen=True, eq=False)
class Placed:
    """Voxels and the matrix that places them.

    values: (k, j, i), scaled as the header says. matrix: 4 x 4, from the index (i, j, k) to LPS mm.
    notes: whole sentences for the user, about what the header leaves open or contradicts.
    """

    values: np.ndarray
    matrix: np.ndarray
    notes: tuple[str, ...] = ()


def volume_of(placed: Placed, source: Path | str) -> tuple[Volume, tuple[str, ...]]:
    """The volume, turned to LPS by permuting and flipping axes, and the notes.

    Sheared axes, as of a tilted gantry, are made perpendicular by linear interpolation, and a note
    says so. Raises InputError for a matrix that places nothing and for voxels of another unit.
    """
    steps = np.asarray(placed.matrix, float)[:3, :3]
    _check_steps(steps, np.asarray(placed.matrix, float)[:3, 3], source)
    notes = list(placed.notes)
    shear = _shear_degrees(steps, placed.values.shape)
    if shear > 0:
        placed = _perpendicular(placed)
        notes.append(
            f"{source} has sheared axes, {shear:.1f} degrees off perpendicular, as of a tilted "
            "gantry; it was resampled within the plane of its slices."
        )
    return upright(_volume(placed)), tuple(notes)


def lengths_mm(name: str, source: Path | str) -> float:
    """How many millimetres a unit of a header has. Raises InputError for an unknown one."""
    unit = name.strip().strip('"').strip().lower()
    if unit not in MM_PER_UNIT:
        raise InputError(
            f"{source} gives lengths in {name.strip()!r}, which is no known unit of length.",
            "mm, um, cm or m",
            "write the header in mm",
        )
    return MM_PER_UNIT[unit]


def _check_steps(steps: np.ndarray, origin: np.ndarray, source: Path | str) -> None:
    """Raises InputError for axes that span no space, or steps that no CT voxel has."""
    finite = np.isfinite(steps).all() and np.isfinite(origin).all()
    with np.errstate(over="ignore", invalid="ignore"):
        sizes = np.linalg.norm(steps, axis=0)
    if not finite or not np.isfinite(sizes).all() or not sizes.min() > 0:
        raise InputError(
            f"{source} places its voxels by the steps {_rows(steps)} mm from {origin.tolist()} mm.",
            "finite steps, none of them 0",
            "the file's header: spacing and axes",
        )
    if abs(np.linalg.det(steps / sizes)) < LEAST_SHEAR:
        raise InputError(
            f"{source} has axes that lie in one plane: {_rows(steps / sizes)}.",
            "three axes that span space",
            "the file's header",
        )
    if sizes.min() < SMALLEST_MM or sizes.max() > LARGEST_MM:
        x, y, z = sizes
        raise InputError(
            f"{source} has voxels of {z:g} x {y:g} x {x:g} mm (z, y, x) by its header.",
            f"{SMALLEST_MM:g} to {LARGEST_MM:g} mm, as CT voxels have",
            "the unit of length in the header: metres and micrometres may have been mixed up",
        )


def _shear_degrees(steps: np.ndarray, shape: tuple[int, ...]) -> float:
    """How far the axes are from perpendicular, in degrees; 0 where that is mere rounding."""
    sizes = np.linalg.norm(steps, axis=0)
    axes = steps / sizes
    products = np.abs(axes.T @ axes - np.eye(3))
    off = float(products.max())
    if off <= LEAST_SHEAR:
        return 0.0
    moved = (axes - _nearest_rotation(axes)) * sizes @ (np.array(shape[::-1]) - 1)
    if off <= DIRECTION_TOLERANCE and np.linalg.norm(moved) <= MAX_DISPLACED_VOXELS * sizes.min():
        return 0.0
    return float(np.degrees(np.arcsin(min(off, 1.0))))


def _nearest_rotation(axes: np.ndarray) -> np.ndarray:
    """The perpendicular unit vectors, with or without a flip, that are nearest to `axes`."""
    left, _, right = np.linalg.svd(axes)
    return left @ right


def _perpendicular(placed: Placed) -> Placed:
    """Sheared voxels on a grid whose slices lie in the planes of the old ones.

    The first axis stays, the second stays in the plane of the slices, the third is their normal:
    slices that are stacked askew, as with a tilted gantry, are only shifted within their planes, by
    linear interpolation. The grid holds all that was there, with air around it.
    """
    from scipy.ndimage import affine_transform

    steps, origin = placed.matrix[:3, :3], placed.matrix[:3, 3]
    sizes = np.linalg.norm(steps, axis=0)
    x = steps[:, 0] / sizes[0]
    y = steps[:, 1] - (steps[:, 1] @ x) * x
    y = y / np.linalg.norm(y)
    normal = np.cross(x, y)
    normal = normal * np.sign(normal @ steps[:, 2])
    axes = np.column_stack([x, y, normal])
    new_sizes = np.array([sizes[0], sizes[1], steps[:, 2] @ normal])
    last = np.array(placed.values.shape[::-1]) - 1
    corners = np.array(np.meshgrid(*[(0, n) for n in last], indexing="ij")).reshape(3, -1)
    places = np.round((axes.T @ (steps @ corners)) / new_sizes[:, None], MATRIX_DIGITS)
    first = np.floor(places.min(axis=1))
    shape = (np.ceil(places.max(axis=1)) - first).astype(int) + 1
    new_steps = axes * new_sizes
    new_origin = origin + new_steps @ first
    back = np.round(np.linalg.solve(steps, new_steps), MATRIX_DIGITS)
    start = np.round(np.linalg.solve(steps, new_origin - origin), MATRIX_DIGITS)
    outside = AIR_HU if unit_of(placed.values) == "HU" else 0.0
    values = affine_transform(
        placed.values.astype(np.float32),
        back[::-1, ::-1],
        offset=start[::-1],
        output_shape=tuple(shape[::-1]),
        order=1,
        cval=outside,
    )
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = new_steps, new_origin
    return replace(placed, values=values, matrix=matrix)


def _volume(placed: Placed) -> Volume:
    """The voxels as a volume, with axes that are perpendicular to the last digit."""
    steps = placed.matrix[:3, :3]
    sizes = np.linalg.norm(steps, axis=0)
    axes = steps / sizes
    if np.abs(axes.T @ axes - np.eye(3)).max() > np.finfo(np.float32).eps ** 2:
        axes = _nearest_rotation(axes)
    grid = Grid(
        shape=placed.values.shape,
        spacing_mm=tuple(sizes[::-1]),
        origin_mm=tuple(placed.matrix[:3, 3]),
        direction=tuple(axes.ravel()) if axes.size else IDENTITY_DIRECTION,
    )
    return Volume(placed.values, grid)


def _rows(matrix: np.ndarray) -> list[list[float]]:
    return [[float(f"{v:.6g}") for v in row] for row in matrix]
