from __future__ import annotations

import numpy as np
import pytest

from diffusionblend.data.resample import resample
from diffusionblend.data.volume import Volume, downsample_in_plane
from diffusionblend.errors import InputError
from diffusionblend.geometry.grid import Grid
from diffusionblend.units import AIR_HU

OBLIQUE = (np.cos(0.3), -np.sin(0.3), 0.0, np.sin(0.3), np.cos(0.3), 0.0, 0.0, 0.0, 1.0)


def places_mm(grid: Grid) -> np.ndarray:
    """World coordinates (z, y, x, 3) of every voxel centre, from the definition of the grid."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), axis=-1)
    steps = (index * grid.spacing_mm)[..., ::-1]
    return steps @ np.array(grid.direction).reshape(3, 3).T + grid.origin_mm


def ramp_on(grid: Grid) -> Volume:
    """A linear function of the place in the patient, which linear sampling must keep."""
    return Volume(places_mm(grid) @ np.array([3.0, -2.0, 1.5]) - 500, grid)


@pytest.mark.parametrize("direction", [(1, 0, 0, 0, 1, 0, 0, 0, 1), OBLIQUE])
@pytest.mark.parametrize(
    ("options", "shape", "spacing_mm"),
    [
        ({"spacing_mm": (1.0, 1.5, 1.0)}, (40, 20, 30), (1.0, 1.5, 1.0)),
        ({"spacing_mm": (2.0, 1.7, 1.7)}, (20, 18, 18), (2.0, 1.7, 1.7)),
        ({"shape": (10, 20, 40)}, (10, 20, 40), (4.0, 1.5, 0.75)),
        ({"shape": (20, 16, 16), "spacing_mm": (2, 1, 1)}, (20, 16, 16), (2.0, 1.0, 1.0)),
    ],
)
def test_a_ramp_stays_in_its_place(options, shape, spacing_mm, direction):
    grid = Grid(
        shape=(20, 30, 30), spacing_mm=(2.0, 1.0, 1.0), origin_mm=(5, -7, 9), direction=direction
    )
    found = resample(ramp_on(grid), **options)
    assert found.grid.shape == shape
    np.testing.assert_allclose(found.grid.spacing_mm, spacing_mm)
    np.testing.assert_allclose(
        places_mm(found.grid).mean((0, 1, 2)), places_mm(grid).mean((0, 1, 2)), atol=1e-9
    )
    inner = (slice(4, -4),) * 3 if min(shape) > 10 else (slice(4, -4), slice(6, -6), slice(6, -6))
    np.testing.assert_allclose(found.values[inner], ramp_on(found.grid).values[inner], atol=0.02)


def test_a_whole_factor_in_plane_is_the_mean_of_pixels():
    rng = np.random.default_rng(0)
    volume = Volume(rng.normal(size=(4, 12, 18)), Grid(shape=(4, 12, 18), spacing_mm=(3, 0.5, 0.5)))
    by_spacing = resample(volume, spacing_mm=(3, 1.5, 1.5))
    by_shape = resample(volume, shape=(4, 4, 6))
    expected = downsample_in_plane(volume, 3)
    for found in (by_spacing, by_shape):
        np.testing.assert_array_equal(found.values, expected.values)
        np.testing.assert_allclose(found.grid.origin_mm, expected.grid.origin_mm)
        assert found.grid.shape == expected.grid.shape


def test_fine_stripes_do_not_alias():
    """Stripes of one voxel, sampled 2.5 times coarser, must fade to a tenth."""
    grid = Grid(shape=(4, 100, 100), spacing_mm=(1, 1, 1))
    stripes = np.where(np.arange(100) % 2 == 0, 500.0, -500.0) * np.ones((4, 100, 1))
    found = resample(Volume(stripes, grid), shape=(4, 40, 40))
    assert np.abs(found.values[:, 3:-3, 3:-3]).max() < 50
    coarse_z = resample(
        Volume(stripes.transpose(2, 1, 0)[:, :50, :4], grid_like(100, 50, 4)), shape=(40, 50, 4)
    )
    assert np.abs(coarse_z.values[3:-3]).max() < 50


def grid_like(*shape) -> Grid:
    return Grid(shape=shape, spacing_mm=(1, 1, 1))


def test_the_mean_is_kept_where_voxels_grow():
    rng = np.random.default_rng(1)
    volume = Volume(rng.normal(0, 300, (30, 30, 30)), grid_like(30, 30, 30))
    smooth = resample(volume, shape=(10, 10, 10))
    blocks = volume.values.reshape(10, 3, 10, 3, 10, 3).mean((1, 3, 5))
    assert smooth.values.mean() == pytest.approx(blocks.mean(), abs=3)
    assert np.corrcoef(smooth.values.ravel(), blocks.ravel())[0, 1] > 0.9


def test_what_lies_outside_the_scan_is_air():
    volume = Volume(np.full((6, 10, 10), 40.0), grid_like(6, 10, 10))
    found = resample(volume, shape=(6, 20, 10), spacing_mm=(1, 1, 1))
    assert (found.values[:, 5:15] == 40).all()
    assert (found.values[:, :5] == AIR_HU).all() and (found.values[:, 15:] == AIR_HU).all()


def test_the_field_of_view_has_no_air_at_its_edges_where_voxels_shrink():
    volume = Volume(np.full((6, 10, 10), 40.0), grid_like(6, 10, 10))
    assert (resample(volume, shape=(24, 35, 40)).values == 40).all()


def test_nothing_asked_changes_nothing():
    volume = ramp_on(grid_like(4, 5, 6))
    for found in (resample(volume), resample(volume, spacing_mm=(1, 1, 1))):
        np.testing.assert_array_equal(found.values, volume.values)
        assert found.grid == volume.grid


@pytest.mark.parametrize(
    "options",
    [
        {"spacing_mm": (1, 0, 1)},
        {"spacing_mm": (1, -1, 1)},
        {"shape": (4, 0, 4)},
        {"spacing_mm": (1, float("nan"), 1)},
    ],
)
def test_nonsense_is_refused(options):
    with pytest.raises(InputError, match="asked for"):
        resample(ramp_on(grid_like(4, 5, 6)), **options)


def test_more_than_the_memory_holds_is_refused():
    with pytest.raises(InputError, match=r"4 x 7000000 x 7000000 .* takes 1.57e\+06 GB"):
        resample(ramp_on(grid_like(4, 5, 6)), shape=(4, 7_000_000, 7_000_000))
