"""What is plainly no HU is refused, what is doubtful is reported, and ordinary scans pass."""

from __future__ import annotations

import numpy as np
import pytest

from diffusionblend.data.plausible import check_hu, doubts
from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError
from diffusionblend.geometry.grid import Grid
from diffusionblend.units import unit_of

RNG = np.random.default_rng(0)


def scan(noise_hu=20.0, shape=(10, 40, 40)):
    """Air, soft tissue, lung and bone with noise."""
    hu = np.full(shape, -1000.0)
    hu[:, 8:32, 4:36] = 40
    hu[:, 12:20, 8:16] = -800
    hu[:, 22:30, 20:26] = np.linspace(100, 1200, 48).reshape(8, 6)
    return hu + RNG.normal(0, noise_hu, shape)


def volume_of(values):
    values = np.asarray(values, np.float32)
    return Volume(values, Grid(shape=values.shape, spacing_mm=(2.0, 1.0, 1.0)))


def padded(values, padding):
    values = values.copy()
    values[:, :3] = padding
    return values


def within_a_circle(values, beyond):
    y, x = (np.indices(values.shape[1:]) - 19.5) / 19.5
    return np.where(np.hypot(y, x) < 1, values, beyond)


@pytest.mark.parametrize("noise_hu", [0.0, 20.0, 200.0])
@pytest.mark.parametrize("padding", [None, -1024, -2000, -3024, -32768])
def test_an_ordinary_scan_passes_without_a_word(noise_hu, padding):
    hu = scan(noise_hu) if padding is None else padded(scan(noise_hu), padding)
    check_hu(volume_of(hu), "a")
    assert doubts(volume_of(hu), "a") == ()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (padded(scan(5) + 1024, -2000), "stored numbers without intercept"),
        (padded(scan(5) + 1000, -1024), "stored numbers|none below 0"),
        (padded(scan(), 62512), "63536"),
        (padded(scan(), 64511), "no CT number"),
        ((scan() + 1024).clip(0), "none below 0"),
        ((scan() / 1000 + 1) * 0.02, "(?s)fractions or attenuation .1/mm.*output_unit=.hu"),
        ((scan() / 1000 + 1) * 0.2, "fractions or attenuation"),
    ],
)
def test_what_is_plainly_no_hu_is_refused(values, words):
    if "stored numbers|" in words:
        values = np.where(values < 0, -1025, values)
    with pytest.raises(InputError, match=words):
        check_hu(volume_of(values), "a")


def test_stored_numbers_with_noise_below_0_are_reported():
    raw = volume_of(scan(30) + 1024)
    check_hu(raw, "a")
    assert "stored numbers" in doubts(raw, "a")[0]


def test_an_intercept_that_was_applied_twice_is_reported():
    twice = np.maximum(np.minimum(scan(5), 500) - 1024, -1024)
    assert "an intercept applied twice" in " ".join(doubts(volume_of(twice), "a"))


@pytest.mark.parametrize("noise_hu", [0.0, 20.0])
@pytest.mark.parametrize("lowest", [None, -1024])
def test_hu_times_ten_are_reported(noise_hu, lowest):
    hu = 10 * scan(noise_hu)
    hu = hu if lowest is None else np.maximum(hu, lowest)
    assert "multiplied, as by 10" in " ".join(doubts(volume_of(hu), "a"))


@pytest.mark.parametrize("window", [(-160, 240), (-450, 1050), (-1000, 400)])
def test_a_volume_clipped_to_a_window_is_reported(window):
    assert "clipped" in " ".join(doubts(volume_of(scan().clip(*window)), "a"))


def test_a_scan_clipped_at_air_or_at_12_bits_is_not_reported():
    assert doubts(volume_of(scan().clip(-1000, None)), "a") == ()
    metal = scan()
    metal[:, 10:14, 10:14] = 3071
    assert doubts(volume_of(metal), "a") == ()


def test_an_inverted_scan_is_reported():
    assert "inverted" in " ".join(doubts(volume_of(-1 - scan()), "a"))


def test_a_scan_without_air_is_doubtful_only_where_it_is_dense():
    assert doubts(volume_of(scan()[:, 9:12, 20:30]), "a") == ()


def test_units_are_recognised_by_the_range():
    assert unit_of(scan()) == "HU"
    assert unit_of((scan() / 1000 + 1) * 0.02) == "1/mm"


@pytest.mark.parametrize("noise_hu", [8.0, 40.0])
@pytest.mark.parametrize(
    "as_other",
    [
        lambda hu: (hu / 1000 + 1) * 20.6,  # 1/m
        lambda hu: (hu / 1000 + 1) * 206,  # 1000 times 1/cm
        lambda hu: (hu / 1000 + 1) * 60 - 10,  # grey values
        lambda hu: hu + 200,
        lambda hu: hu + 500,
        lambda hu: padded(hu + 200, -1024),
        lambda hu: within_a_circle((hu / 1000 + 1) * 206, 0),
    ],
)
def test_air_at_another_level_is_reported(noise_hu, as_other):
    hu = as_other(scan(noise_hu))
    check_hu(volume_of(hu), "a")
    assert "no air near -1000 HU" in " ".join(doubts(volume_of(hu), "a"))


def test_a_part_cut_out_of_the_body_has_no_air_and_passes():
    organs = np.full((20, 48, 48), 50.0)
    organs[:, :10], organs[:, 20:30, 10:20] = -100, 300
    organs += RNG.normal(0, 15, organs.shape)
    assert doubts(volume_of(organs), "a") == ()


@pytest.mark.parametrize(
    "other", [lambda hu: hu + 100, lambda hu: hu + RNG.normal(0, 20, hu.shape)]
)
def test_slices_that_alternate_are_reported(other):
    hu = scan(10)
    hu[1::2] = other(hu[1::2])
    assert "slices that alternate" in " ".join(doubts(volume_of(hu), "a"))
