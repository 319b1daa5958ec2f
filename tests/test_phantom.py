"""The synthetic chest: reproducible, varied, and built like a chest."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError
from diffusionblend.phantom import synthetic_chest
from diffusionblend.phantom.bones import rib_line
from diffusionblend.phantom.organs import lung_trees
from diffusionblend.phantom.patient import draw_patient
from diffusionblend.phantom.shapes import ellipsoid, grow_tree

SEEDS = (0, 1)
LUNG_BELOW_HU = -500
BONE_ABOVE_HU = 250


@pytest.fixture(scope="module")
def chests() -> dict[int, Volume]:
    return {seed: synthetic_chest(seed) for seed in SEEDS}


def inside_body(slice_hu: np.ndarray) -> np.ndarray:
    """The largest solid object of an axial slice with its holes filled: the body, no table."""
    labels, n = ndimage.label(slice_hu > -300)
    sizes = ndimage.sum_labels(np.ones_like(labels), labels, range(1, n + 1))
    return ndimage.binary_fill_holes(labels == 1 + int(np.argmax(sizes)))


def gas_pockets(slice_hu: np.ndarray, least_pixels: int) -> list[tuple[float, int]]:
    """Column of the middle and size in pixels of every gas-filled part of a body's slice."""
    gas = inside_body(slice_hu) & (slice_hu < LUNG_BELOW_HU)
    labels, n = ndimage.label(gas)
    columns = ndimage.center_of_mass(gas, labels, range(1, n + 1))
    sizes = ndimage.sum_labels(gas, labels, range(1, n + 1))
    return [(c[1], int(s)) for c, s in zip(columns, sizes, strict=True) if s >= least_pixels]


def test_grid_and_type_follow_the_arguments(chests):
    default = chests[0]
    assert default.grid.shape == default.values.shape == (96, 128, 128)
    assert default.grid.spacing_mm == (2.5, 360 / 128, 360 / 128)
    assert default.values.dtype == np.float32
    other = synthetic_chest(4, shape=(5, 40, 36), in_plane_mm=9.0, slice_mm=4.0)
    assert other.grid.shape == (5, 40, 36)
    assert other.grid.spacing_mm == (4.0, 9.0, 9.0)


def test_a_seed_fixes_every_voxel():
    first, again = (synthetic_chest(7, shape=(8, 48, 48)).values for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_seeds_are_different_patients(chests):
    """Patients differ in size and structure, not in their noise alone."""
    areas = [int(inside_body(c.values[48]).sum()) for c in chests.values()]
    assert max(areas) > 1.03 * min(areas)
    smooth = [ndimage.gaussian_filter(chest.values, 1.5) for chest in chests.values()]
    assert np.mean(np.abs(smooth[0] - smooth[1]) > 200) > 0.03


@pytest.mark.parametrize("seed", SEEDS)
def test_tissues_have_plausible_hu_and_shares(chests, seed):
    hu = chests[seed].values
    assert np.isfinite(hu).all()
    assert hu.min() == -1000 and 400 < hu.max() < 1800
    for corner in (hu[:, :4, :4], hu[:, :4, -4:]):
        assert (corner == -1000).all()
    body = np.stack([inside_body(s) for s in hu])
    assert 0.2 < body.mean() < 0.75
    shares = {
        "lung": np.mean(hu[body] < LUNG_BELOW_HU),
        "fat": np.mean((hu[body] > -150) & (hu[body] < -50)),
        "soft": np.mean((hu[body] > 0) & (hu[body] < 120)),
        "bone": np.mean(hu[body] > BONE_ABOVE_HU),
    }
    low_high = {"lung": (0.15, 0.6), "fat": (0.03, 0.45), "soft": (0.15, 0.6), "bone": (0.01, 0.12)}
    for tissue, (low, high) in low_high.items():
        assert low < shares[tissue] < high, (tissue, shares)
    assert -930 < np.median(hu[body & (hu < LUNG_BELOW_HU)]) < -780


@pytest.mark.parametrize("seed", SEEDS)
def test_two_lungs_lie_apart_on_both_sides(chests, seed):
    pockets = gas_pockets(chests[seed].values[48], least_pixels=300)
    assert len(pockets) == 2
    (right, _), (left, _) = sorted(pockets)
    assert right < 55 and left > 73


@pytest.mark.parametrize("seed", SEEDS)
def test_trachea_is_a_small_air_hole_in_the_middle(chests, seed):
    for k in (70, 74, 78):
        hu = chests[seed].values[k]
        holes = [(c, s) for c, s in gas_pockets(hu, least_pixels=4) if abs(c - 63.5) < 8 and s < 80]
        assert holes, k


@pytest.mark.parametrize("seed", SEEDS)
def test_liver_closes_the_right_lung_below_and_spine_is_behind(chests, seed):
    hu = chests[seed].values
    right = [np.mean(hu[k, 40:80, 25:55] < LUNG_BELOW_HU) for k in (5, 48)]
    assert right[0] < 0.6 * right[1]
    for k in (20, 48, 70):
        one_vertebra = hu[k : k + 10, 64:, 52:76].max(axis=0)
        rows, columns = np.nonzero(one_vertebra > 120)
        assert len(rows) > 40 and abs(columns.mean() - 11.5) < 4


@pytest.mark.parametrize("seed", SEEDS)
def test_ribs_cross_slices_slanting(chests, seed):
    """One rib is one object over many slices, lower in front, and moves from slice to slice."""
    hu = chests[seed].values
    side = hu[:, :, :45] > 180
    labels, n = ndimage.label(side, structure=np.ones((3, 3, 3)))
    boxes = ndimage.find_objects(labels)
    longest = max(range(n), key=lambda i: (labels[boxes[i]] == i + 1).sum())
    z, _y, _ = np.nonzero(labels == longest + 1)
    assert np.ptp(z) >= 8
    shift = np.mean(side[30:70] & ~side[31:71]) / np.mean(side[30:70])
    assert shift > 0.1
    points, _ = rib_line(draw_patient(np.random.default_rng(seed)), 5, -1)
    assert points[20, 2] < points[2, 2] - 25 and points[20, 1] < points[2, 1]


@pytest.mark.parametrize("seed", SEEDS)
def test_neighbouring_slices_belong_together(chests, seed):
    """Slices next to each other are far more alike than slices 20 mm apart, yet not the same."""
    hu = chests[seed].values[16:80]
    near = np.mean(np.abs(hu[1:] - hu[:-1]))
    far = np.mean(np.abs(hu[8:] - hu[:-8]))
    assert 5 < near < 0.5 * far


def test_lungs_hold_vessels_that_fill_them_and_grow_finer():
    patient = draw_patient(np.random.default_rng(3))
    for side in (-1, 1):
        arteries = lung_trees(patient, side, np.random.default_rng(5))["arteries"]
        assert (side * arteries.ends[:, 0]).min() > -15
        assert np.ptp(arteries.ends, axis=0).min() > 70
        assert arteries.radii.max() > 5 * arteries.radii.min()


def test_tree_reaches_every_tip_and_keeps_murrays_law():
    rng = np.random.default_rng(0)
    tips = rng.uniform(-40, 40, (60, 3))
    tree = grow_tree((0, 0, 0), tips, 4.0, rng)
    gaps = np.linalg.norm(tips[:, None] - tree.ends[None], axis=2).min(axis=1)
    assert gaps.max() < 1e-9
    for parent in range(1, len(tree.radii), 2):
        children = np.all(tree.starts == tree.ends[parent], axis=1)
        if children.any():
            assert np.sum(tree.radii[children] ** 3) == pytest.approx(tree.radii[parent] ** 3)


def test_ellipsoid_volume_from_its_distance():
    g = np.arange(-30, 30.5, 1.0)
    z, y, x = np.meshgrid(g, g, g, indexing="ij")
    inside = ellipsoid(x, y, z, (1.0, -2.0, 3.0), (20.0, 12.0, 8.0), 0.7) < 0
    assert inside.sum() == pytest.approx(4 / 3 * np.pi * 20 * 12 * 8, rel=0.02)


@pytest.mark.parametrize("shape", [(3, 32, 32), (3, 33, 47), (12, 64, 64)])
def test_small_shapes_still_show_a_chest(shape):
    hu = synthetic_chest(11, shape=shape).values
    middle = hu[shape[0] // 2]
    assert hu.shape == shape and np.isfinite(hu).all()
    assert middle[0, 0] == middle[0, -1] == -1000
    assert (inside_body(middle) & (middle < LUNG_BELOW_HU)).mean() > 0.05
    assert (hu > 150).any()


@pytest.mark.parametrize(("seed", "shape"), [(-1, (8, 32, 32)), (0, (2, 32, 32)), (0, (8, 32))])
def test_bad_input_is_refused(seed, shape):
    with pytest.raises(InputError):
        synthetic_chest(seed, shape=shape)
