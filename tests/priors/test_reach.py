"""Which grid a prior reconstructs on, for slices that are not its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from diffusionblend.data.resample import regridded
from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError
from diffusionblend.geometry.grid import Grid, bounding_box_mm, grid_with_pixels
from diffusionblend.priors.reach import Reach, on_prior_grid
from diffusionblend.priors.store import shipped_facts, shipped_for
from small_scan import scan, small_volume
from tiny_network import TINY, random_prior

FIXED = Reach("fixed", 128)
ANY = Reach("any", None, (0.6, 6.0))


def grid(y: int, x: int, mm: float = 2.0) -> Grid:
    turned = (0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    return Grid(
        shape=(3, y, x), spacing_mm=(4.0, mm, mm), origin_mm=(7.0, -5.0, 1.0), direction=turned
    )


def middle(one: Grid) -> np.ndarray:
    low, high = bounding_box_mm(one)
    return (low + high) / 2


@pytest.mark.parametrize("shape", [(100, 100), (147, 147), (192, 192), (512, 512), (100, 147)])
def test_slices_of_any_size_are_within_a_grid_of_the_prior(shape):
    wanted = grid(*shape)
    own = FIXED.working_grid(wanted)
    assert own.shape == (3, 128, 128) and own.spacing_mm[0] == 4.0
    assert own.spacing_mm[1] == own.spacing_mm[2] == pytest.approx(max(shape) * 2.0 / 128)
    np.testing.assert_allclose(middle(own), middle(wanted), atol=1e-9)
    (low, high), (own_low, own_high) = bounding_box_mm(wanted), bounding_box_mm(own)
    assert (own_low <= low + 1e-9).all() and (own_high >= high - 1e-9).all()
    assert ANY.working_grid(wanted) is wanted


def test_what_is_the_priors_own_is_left_alone():
    own = grid(128, 128)
    assert FIXED.working_grid(own) is own


@pytest.mark.parametrize(("mm", "worked"), [(0.3, 0.6), (0.15, 0.6), (8.0, 6.0), (0.6, 0.6)])
def test_pixels_beyond_the_range_take_the_nearest_in_it(mm, worked):
    wanted = grid(90, 120, mm)
    own = ANY.working_grid(wanted)
    assert own.pixel_mm == pytest.approx(worked)
    (low, high), (own_low, own_high) = bounding_box_mm(wanted), bounding_box_mm(own)
    assert (own_low <= low + 1e-9).all() and (own_high >= high - 1e-9).all()
    assert ((own_high - own_low) - (high - low) < 2 * worked).all()


def test_pixels_far_beyond_are_refused_in_words():
    with pytest.raises(InputError, match=r"any is for pixels of 0\.6 mm") as caught:
        ANY.working_grid(grid(90, 90, 0.1))
    assert "--pixel-mm" in caught.value.try_ and "with_pixels" in caught.value.try_
    with pytest.raises(InputError, match=r"fixed is for slices of 128 x 128 pixels, here of 0.469"):
        FIXED.working_grid(grid(30, 30))


def test_the_shipped_priors_say_what_they_reach():
    facts = shipped_facts()
    for name, one in facts.items():
        reach = Reach.of_facts(name, one)
        assert (reach.size is None) == bool(one["network"].get("length_codes"))
    assert shipped_for(grid(100, 147)) == "chest"
    assert shipped_for(grid(700, 700, 0.5)) == "chest"  # regridded from 0.6 mm
    assert shipped_for(grid(128, 128)) == "chest"


def test_a_volume_is_handed_back_where_it_was():
    """A smooth function of place is the same on every grid."""
    wanted = grid(60, 75)
    own = FIXED.working_grid(wanted)

    def smooth(on: Grid) -> Volume:
        mm = on.pixel_mm
        y, x = ((np.arange(n) - (n - 1) / 2) * mm for n in on.in_plane_shape)
        slopes = 300 * np.sin(y / 40)[:, None] * np.cos(x / 30)[None]
        return Volume(np.repeat(slopes[None], 3, axis=0), on)

    back = regridded(smooth(own), wanted)
    assert back.grid == wanted
    np.testing.assert_allclose(back.values, smooth(wanted).values, atol=1.0)


def test_a_scan_goes_to_the_grid_of_its_main_prior():
    one = scan(small_volume((5, 24, 20)), 6)
    prior = random_prior()
    work = on_prior_grid(one, {"prior": prior})
    assert work.grid.shape == (5, TINY.image_size, TINY.image_size)
    assert work.geometry is one.geometry and work.values is one.values
    assert on_prior_grid(one, {}) is one
    fitting = scan(small_volume((5, 16, 16)), 6)
    assert on_prior_grid(fitting, {"prior": prior}) is fitting


def test_other_pixels_keep_the_field_of_view():
    whole = grid(100, 147)
    for one in (grid_with_pixels(whole, size=49), grid_with_pixels(whole, pixel_mm=6.0)):
        assert one.in_plane_shape == (33, 49) and one.pixel_mm == pytest.approx(6.0)
        np.testing.assert_allclose(middle(one), middle(whole), atol=1e-9)
    cut = grid_with_pixels(whole, size=49, pixel_mm=2.0)
    assert cut.in_plane_shape == (33, 49) and cut.pixel_mm == 2.0
    np.testing.assert_allclose(middle(cut), middle(whole), atol=1e-9)
    assert grid_with_pixels(whole) is whole
    for bad in ({"size": 0}, {"pixel_mm": 0.0}, {"pixel_mm": float("nan")}):
        with pytest.raises(InputError):
            grid_with_pixels(whole, **bad)
    upright = replace(whole, direction=Grid(shape=(1, 1, 1), spacing_mm=(1, 1, 1)).direction)
    assert grid_with_pixels(upright, size=49).in_plane_shape == (33, 49)
