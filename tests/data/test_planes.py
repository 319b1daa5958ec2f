"""Orientation of the shown slices, checked with a marked voxel at a known place in the patient."""

from __future__ import annotations

import numpy as np
import pytest

from diffusionblend.data.planes import middle_slices, plane_slice
from diffusionblend.data.volume import Volume
from diffusionblend.geometry.grid import Grid

SHAPE = (4, 6, 8)
SPACING_MM = (3.0, 2.0, 1.0)


def marked(corner: tuple[int, int, int], signs: tuple[int, int, int] = (1, 1, 1)) -> Volume:
    """Zeros with 100 HU at an array corner (z, y, x); signs: direction of the LPS x, y, z axes."""
    values = np.zeros(SHAPE)
    values[corner] = 100.0
    direction = tuple(np.diag(signs).astype(float).ravel())
    return Volume(values, Grid(shape=SHAPE, spacing_mm=SPACING_MM, direction=direction))


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, 1), (1, -1, -1), (-1, -1, -1)])
def test_right_front_head_is_always_the_upper_left_corner(signs: tuple[int, int, int]) -> None:
    # the patient's right, front and head end: low LPS x, low y, high z
    x = 0 if signs[0] > 0 else SHAPE[2] - 1
    y = 0 if signs[1] > 0 else SHAPE[1] - 1
    z = SHAPE[0] - 1 if signs[2] > 0 else 0
    volume = marked((z, y, x), signs)
    for plane, index, sides in (
        ("axial", z, ("R", "L", "A", "P")),
        ("coronal", y, ("R", "L", "H", "F")),
        ("sagittal", x, ("A", "P", "H", "F")),
    ):
        image = plane_slice(volume, plane, index)
        assert image.values[0, 0] == 100.0
        assert image.values.sum() == 100.0
        assert image.sides == sides


def test_middle_slices_have_their_size_in_millimetres() -> None:
    images = middle_slices(marked((0, 0, 0)))
    sizes = {n: (i.values.shape, i.height_mm, i.width_mm, i.index) for n, i in images.items()}
    assert sizes == {
        "axial": ((6, 8), 12.0, 8.0, 2),
        "coronal": ((4, 8), 12.0, 8.0, 3),
        "sagittal": ((4, 6), 12.0, 12.0, 4),
    }


def test_a_volume_stored_sagittally_still_names_its_sides() -> None:
    # array axes (z, y, x) run to the left, to the head and to the back
    direction = (0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    grid = Grid(shape=SHAPE, spacing_mm=SPACING_MM, direction=direction)
    image = plane_slice(Volume(np.full(SHAPE, -1000.0), grid), "axial", 0)
    assert image.sides == ("A", "P", "H", "F")


def test_an_object_has_axes_in_place_of_a_patients_sides() -> None:
    volume = marked((0, 0, 0)).with_values(np.full(SHAPE, 0.02))
    assert plane_slice(volume, "axial", 0).sides == ("−x", "+x", "−y", "+y")
    assert plane_slice(volume, "coronal", 0).sides == ("−x", "+x", "+z", "−z")
