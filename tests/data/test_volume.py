"""Grids, volumes and in-plane reduction, against SimpleITK's own geometry."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffusionblend.data.volume import Volume, downsample_in_plane
from diffusionblend.errors import InputError
from diffusionblend.geometry.grid import IDENTITY_DIRECTION, Grid, bounding_box_mm, grids_overlap


def oblique(seed: int, flip: bool = False) -> tuple[float, ...]:
    """A random rotation, with one axis reversed where asked."""
    matrix = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    matrix[:, 0] *= np.linalg.det(matrix) * (-1 if flip else 1)
    return tuple(matrix.ravel())


DIRECTIONS = {
    "upright": IDENTITY_DIRECTION,
    "flipped": (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0),
    "axes swapped": (0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0),
    "oblique": oblique(0),
    "oblique and flipped": oblique(1, flip=True),
}


def world(grid: Grid, index: tuple[float, float, float]) -> np.ndarray:
    """Where SimpleITK puts the index (z, y, x), in LPS millimetres."""
    import SimpleITK as sitk

    image = sitk.Image([int(n) for n in grid.shape[::-1]], sitk.sitkUInt8)
    image.SetSpacing(grid.spacing_mm[::-1])
    image.SetOrigin(grid.origin_mm)
    image.SetDirection(grid.direction)
    return np.array(image.TransformContinuousIndexToPhysicalPoint([float(i) for i in index[::-1]]))


@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS.keys())
@pytest.mark.parametrize("factor", [2, 3])
def test_reduced_voxels_lie_at_the_mean_of_their_parts(direction, factor):
    grid = Grid(
        shape=(3, 8, 11),
        spacing_mm=(2.5, 0.7, 0.9),
        origin_mm=(12.0, -30.0, 400.0),
        direction=direction,
    )
    reduced = downsample_in_plane(Volume(np.zeros(grid.shape), grid), factor).grid
    assert reduced.shape == (3, 8 // factor, 11 // factor)
    assert reduced.direction == grid.direction
    for index in ((0, 0, 0), (2, 1, 0), (1, 0, 2), (0, 1, 2)):
        z, y, x = index
        parts = [
            world(grid, (z, factor * y + i, factor * x + j))
            for i in range(factor)
            for j in range(factor)
        ]
        np.testing.assert_allclose(world(reduced, index), np.mean(parts, axis=0), atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 4), st.integers(4, 17), st.integers(4, 17)),
    factor=st.integers(1, 4),
    seed=st.integers(0, 100),
)
def test_reduced_values_are_the_means_of_their_parts(shape, factor, seed):
    values = np.random.default_rng(seed).normal(40, 300, shape).astype(np.float32)
    reduced = downsample_in_plane(Volume(values, Grid(shape=shape, spacing_mm=(1, 1, 1))), factor)
    ny, nx = shape[1] // factor, shape[2] // factor
    kept = values[:, : ny * factor, : nx * factor]
    assert reduced.values.dtype == np.float32
    assert reduced.values.mean() == pytest.approx(kept.mean(), abs=1e-2)
    for y in range(ny):
        for x in range(nx):
            part = values[:, y * factor : (y + 1) * factor, x * factor : (x + 1) * factor]
            np.testing.assert_allclose(reduced.values[:, y, x], part.mean(axis=(1, 2)), atol=1e-2)


def test_factor_one_changes_nothing_and_bad_factors_are_errors():
    volume = Volume(np.ones((2, 4, 5)), Grid(shape=(2, 4, 5), spacing_mm=(1, 1, 1)))
    assert downsample_in_plane(volume, 1) is volume
    for factor in (0, -2, 5):
        with pytest.raises(InputError):
            downsample_in_plane(volume, factor)


def test_a_grid_prints_itself_and_compares():
    grid = Grid(
        shape=np.array([2, 3, 4]),
        spacing_mm=np.array([2.5, 0.1, 1 / 3], dtype=np.float32),
        origin_mm=np.array([1e-9, -2, 3e5]),
        direction=np.array(oblique(3)),
    )
    assert eval(repr(grid), {"Grid": Grid}) == grid
    assert hash(eval(repr(grid), {"Grid": Grid})) == hash(grid)
    assert grid.in_plane_shape == (3, 4)
    assert grid.with_slices(9).shape == (9, 3, 4)
    assert grid.with_slices(9) != grid
    assert grid.with_slices(9).with_slices(2) == grid


@pytest.mark.parametrize(
    "wrong",
    [
        {"shape": (2, 3)},
        {"shape": (2, 0, 3)},
        {"spacing_mm": (1, 1)},
        {"spacing_mm": (1, 0, 1)},
        {"spacing_mm": (1, 1, -1)},
        {"spacing_mm": (1, math.nan, 1)},
        {"spacing_mm": (1, 1e300, 1)},
        {"spacing_mm": (1, 1, math.inf)},
        {"origin_mm": (0, 0)},
        {"origin_mm": (0, 0, math.nan)},
        {"direction": (1, 0, 0, 1)},
        {"direction": (0,) * 9},
        {"direction": (1, 0, 0, 0, 1, 0, 0, 0, 0)},
        {"direction": (1, 0, 0, 0, 1, 0, 0, 0, 2)},
        {"direction": (1, 0, 0, 0, 1, 0.1, 0, 0, 1)},
        {"direction": (1, 0, 0, 1, 0, 0, 0, 0, 1)},
        {"direction": (math.nan, 0, 0, 0, 1, 0, 0, 0, 1)},
    ],
)
def test_a_bad_grid_is_an_error(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        Grid(**({"shape": (2, 3, 4), "spacing_mm": (1, 1, 1)} | wrong))


def test_a_direction_rounded_in_a_header_is_taken():
    rounded = tuple(np.round(oblique(4), 3))
    assert Grid(shape=(2, 3, 4), spacing_mm=(1, 1, 1), direction=rounded).direction == rounded


def test_a_volume_wants_its_grids_shape_and_holds_float32():
    grid = Grid(shape=(2, 3, 4), spacing_mm=(1, 1, 1))
    volume = Volume(np.arange(24, dtype=np.int16).reshape(4, 3, 2).T, grid)
    assert volume.values.dtype == np.float32
    assert volume.values.flags.c_contiguous
    assert volume.values[1, 2, 3] == 23
    assert volume.with_values(np.zeros((2, 3, 4))).grid is grid
    with pytest.raises(InputError, match=r"\(4, 3, 2\)") as raised:
        Volume(np.zeros((4, 3, 2)), grid)
    assert "(2, 3, 4)" in raised.value.expected


@pytest.mark.parametrize("name", DIRECTIONS)
def test_the_bounding_box_is_that_of_simpleitks_corners(name):
    import SimpleITK as sitk

    grid = Grid(
        shape=(3, 4, 5),
        spacing_mm=(2.5, 0.5, 0.75),
        origin_mm=(1.0, -2.0, 3.0),
        direction=DIRECTIONS[name],
    )
    image = sitk.Image(5, 4, 3, sitk.sitkFloat32)
    image.SetSpacing(grid.spacing_mm[::-1])
    image.SetOrigin(grid.origin_mm)
    image.SetDirection(grid.direction)
    corners = np.array(
        [
            image.TransformContinuousIndexToPhysicalPoint((x, y, z))
            for x in (-0.5, 4.5)
            for y in (-0.5, 3.5)
            for z in (-0.5, 2.5)
        ]
    )
    low, high = bounding_box_mm(grid)
    np.testing.assert_allclose(low, corners.min(axis=0))
    np.testing.assert_allclose(high, corners.max(axis=0))


def test_grids_overlap_only_where_they_share_a_part():
    a = Grid(shape=(4, 4, 4), spacing_mm=(1, 1, 1))
    for shift, expected in ((3.5, True), (-3.5, True), (4.0, False), (-10.0, False)):
        for axis in range(3):
            origin = [0.0, 0.0, 0.0]
            origin[axis] = shift
            b = Grid(shape=(4, 4, 4), spacing_mm=(1, 1, 1), origin_mm=tuple(origin))
            assert grids_overlap(a, b) is expected


def test_a_volume_in_1_per_mm_is_not_called_hu():
    values = np.linspace(-0.01, 0.12, 60).reshape(3, 4, 5)
    volume = Volume(values, Grid(shape=(3, 4, 5), spacing_mm=(1, 1, 1)))
    assert "-0.01 to 0.12 (fractions or 1/mm, not HU)" in repr(volume)
    html = volume._repr_html_()
    assert "slice 1, -0.01 to 0.12<" in html
