"""Volumes turned to LPS as SimpleITK turns them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from diffusionblend import Grid, Volume
from diffusionblend.data.upright import upright
from simpleitk_volumes import turned_by_simpleitk

PERMUTED = [np.eye(3)[list(order)] for order in itertools.permutations(range(3))]
FLIPPED = [np.diag(signs) for signs in itertools.product((1, -1), repeat=3)]
SLIGHTLY = Rotation.from_euler("xyz", (0.1, -0.2, 0.3)).as_matrix()


def volume_along(direction: np.ndarray) -> Volume:
    values = np.arange(4 * 5 * 6, dtype=np.float32).reshape(4, 5, 6)
    grid = Grid(
        shape=values.shape,
        spacing_mm=(2.5, 0.5, 0.75),
        origin_mm=(-10.0, 20.0, 30.5),
        direction=tuple((direction + 0.0).ravel()),
    )
    return Volume(values, grid)


def assert_agrees_with_simpleitk(volume: Volume) -> None:
    ours, theirs = upright(volume), turned_by_simpleitk(volume)
    np.testing.assert_array_equal(ours.values, theirs.values)
    assert ours.grid.spacing_mm == theirs.grid.spacing_mm
    np.testing.assert_array_equal(ours.grid.direction, theirs.grid.direction)
    np.testing.assert_allclose(ours.grid.origin_mm, theirs.grid.origin_mm, rtol=0, atol=1e-12)


@pytest.mark.parametrize("turn", [np.eye(3), SLIGHTLY], ids=["upright", "oblique"])
def test_all_48_orientations_agree_with_simpleitk(turn):
    for permutation, flip in itertools.product(PERMUTED, FLIPPED):
        assert_agrees_with_simpleitk(volume_along(turn @ permutation @ flip))


def test_any_rotation_agrees_with_simpleitk():
    for matrix in Rotation.random(200, rng=7).as_matrix():
        assert_agrees_with_simpleitk(volume_along(matrix))


def test_an_upright_volume_is_not_copied_and_has_no_minus_zero():
    volume = volume_along(np.eye(3))
    assert np.shares_memory(upright(volume).values, volume.values)
    signed = upright(volume_along(-np.eye(3))).grid.direction
    assert not np.signbit(signed).any()
