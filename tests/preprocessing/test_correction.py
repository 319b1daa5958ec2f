"""Counts of an analytic object come back as its line integrals; what is invalid is replaced."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from diffusionblend.errors import InputError
from diffusionblend.preprocessing.correction import subtract_air, to_line_integrals
from diffusionblend.preprocessing.repair import fill_from_neighbours
from measured_scan import half_scan, lines_of, scan_of

ANGLES = half_scan(20)
LINES = lines_of(ANGLES)


def damaged(value: float, where: tuple, **changes) -> object:
    scan = scan_of(LINES, ANGLES)
    data = scan.data.copy()
    data[where] = value
    return replace(scan, data=data, **changes)


def refused(scan, *words: str) -> None:
    with pytest.raises(InputError) as caught:
        to_line_integrals(scan)
    assert "Expected: " in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_counts_become_line_integrals():
    lines, found = to_line_integrals(scan_of(LINES, ANGLES))
    np.testing.assert_allclose(lines, LINES, atol=1e-5)
    assert lines.dtype == np.float32
    assert (found.dead_pixels, found.zero_counts, found.not_finite, found.notes) == (0, 0, 0, [])
    assert found.values == LINES.size


def test_transmission_and_lines_need_no_flats():
    bare = {"flats": None, "darks": None}
    for values, data in (("transmission", np.exp(-LINES)), ("lines", LINES)):
        lines, _ = to_line_integrals(scan_of(LINES, ANGLES, values=values, data=data, **bare))
        np.testing.assert_allclose(lines, LINES, atol=1e-5)


def test_no_darks_are_none_and_reported():
    scan = scan_of(LINES, ANGLES)
    dark = scan.darks.mean(axis=0)
    bare = replace(scan, data=scan.data - dark, flats=scan.flats - dark, darks=None)
    lines, found = to_line_integrals(bare)
    np.testing.assert_allclose(lines, LINES, atol=1e-5)
    assert "no dark frames" in found.notes[0]


def test_pixels_masked_by_the_highest_number_are_replaced():
    """As detectors that count photons mark gaps and hot pixels, in flats and views alike."""
    scan = scan_of(LINES, ANGLES)
    data, flats = scan.data.copy(), scan.flats.copy()
    data[:, 1, 20], flats[:, 1, 20] = 2**32 - 1, 2**32 - 1
    lines, found = to_line_integrals(replace(scan, data=data, flats=flats))
    assert found.dead_pixels == 1
    np.testing.assert_allclose(lines[:, 1, 20], LINES[:, 1, 19:22:2].mean(axis=1), atol=1e-4)


@pytest.mark.parametrize(
    ("value", "counted"),
    [
        (0.0, "zero_counts"),
        (-300.0, "zero_counts"),
        (80.0, "zero_counts"),
        (np.nan, "not_finite"),
        (np.inf, "not_finite"),
    ],
)
def test_single_values_that_are_invalid_are_counted_and_replaced(value, counted):
    scan = damaged(value, (7, 1, slice(30, 32)))
    lines, found = to_line_integrals(scan)
    counts = {name: getattr(found, name) for name in ("zero_counts", "not_finite", "dead_pixels")}
    assert counts == {"zero_counts": 0, "not_finite": 0, "dead_pixels": 0} | {counted: 2}
    expected = np.interp([30, 31], [29, 32], LINES[7, 1, [29, 32]])
    np.testing.assert_allclose(lines[7, 1, 30:32], expected, atol=1e-5)
    untouched = np.ones(LINES.shape, bool)
    untouched[7, 1, 30:32] = False
    np.testing.assert_allclose(lines[untouched], LINES[untouched], atol=1e-5)


@pytest.mark.parametrize("broken", [0.0, np.nan])
def test_a_dead_pixel_is_counted_once_and_replaced_in_every_view(broken):
    scan = damaged(broken, (slice(None), 2, 20))
    flats = scan.flats.copy()
    flats[:, 2, 20] = broken
    lines, found = to_line_integrals(replace(scan, flats=flats))
    assert (found.dead_pixels, found.zero_counts, found.not_finite) == (1, 0, 0)
    expected = LINES[:, 2, [19, 21]].mean(axis=1)
    np.testing.assert_allclose(lines[:, 2, 20], expected, atol=1e-5)


def test_a_row_without_any_value_takes_its_neighbour():
    bad = np.zeros((2, 4, 6), bool)
    bad[0, 1] = bad[0, 2] = bad[1, 3] = True
    bad[0, 0, 0] = True
    lines = np.arange(48.0).reshape(2, 4, 6)
    filled = fill_from_neighbours(np.where(bad, np.nan, lines), bad)
    np.testing.assert_array_equal(filled[0, 1], filled[0, 0])
    np.testing.assert_array_equal(filled[0, 2], lines[0, 3])
    np.testing.assert_array_equal(filled[1, 3], lines[1, 2])
    assert filled[0, 0, 0] == lines[0, 0, 1]


def test_a_steady_slope_of_air_is_taken_off():
    scan = scan_of(LINES, ANGLES)
    drift = np.linspace(0.9, 1.1, len(ANGLES))[:, None, None] * np.exp(np.linspace(0, 0.3, 64))
    dark = scan.darks.mean(axis=0)
    lines, _ = to_line_integrals(replace(scan, data=(scan.data - dark) * drift + dark))
    assert np.abs(lines - LINES).max() > 0.2
    np.testing.assert_allclose(subtract_air(lines, 4), LINES, atol=1e-4)
    with pytest.raises(InputError, match="32 air columns"):
        subtract_air(lines, 32)


def test_flats_that_drift_a_little_are_reported():
    scan = scan_of(LINES, ANGLES)
    _, found = to_line_integrals(replace(scan, flats=scan.flats * [[[1.0]], [[1.1]]]))
    assert "was not steady" in found.notes[0]


def test_an_uneven_beam_is_reported():
    scan = scan_of(LINES, ANGLES)
    share = np.linspace(0.2, 1, 64)
    dark = scan.darks.mean(axis=0)
    dimmer = {"data": dark + (scan.data - dark) * share}
    dimmer["flats"] = dark + (scan.flats - dark) * share
    lines, found = to_line_integrals(replace(scan, **dimmer))
    np.testing.assert_allclose(lines, LINES, atol=1e-4)
    assert "the beam is uneven" in found.notes[0]


def test_flats_that_do_not_show_the_open_beam_are_refused():
    scan = scan_of(LINES, ANGLES)
    refused(replace(scan, flats=None), "no flat frames", "flats=FILES")
    refused(replace(scan, flats=scan.flats * [[[1.0]], [[0.5]]]), "flat frames differ", "frame 1")
    refused(replace(scan, flats=scan.darks, darks=scan.flats), "swap flats and darks")
    refused(replace(scan, flats=scan.flats * np.nan), "median nan")
    half = scan.flats.copy()
    half[:, :, :16] = 100
    refused(replace(scan, flats=half), "25 % of the detector's pixels", "and columns")
    refused(replace(scan, flats=(scan.flats - 100) / 50 + 100), "as bright as the open beam")
    refused(scan_of(LINES, ANGLES, values="transmission"), "as bright", 'values="counts"')


def test_too_many_values_that_are_invalid_are_refused():
    refused(
        damaged(0.0, (slice(None), slice(None), slice(0, 8))),
        "12 %",
        "480 are at or below the dark",
        "crop",
    )
    refused(damaged(np.nan, (slice(None), slice(None), slice(0, 8))), "12 %", "480 NaN")
    refused(damaged(0.0, (4,)), "View 4 contains no valid pixel", "shutter")


@pytest.mark.parametrize("open_beam", [34000, 40000, 60000])
def test_counts_that_were_stored_with_a_sign(open_beam):
    counts = np.round(open_beam * np.exp(-LINES))
    flats = np.full((2, *LINES.shape[1:]), float(open_beam))
    wrapped = [a.astype(np.uint16).view(np.int16) for a in (counts, flats)]
    scan = scan_of(LINES, ANGLES)
    refused(replace(scan, data=wrapped[0], flats=wrapped[1], darks=None), "with a sign", "uint16")
    refused(replace(scan, data=wrapped[0], flats=flats, darks=None), "with a sign")


def test_a_few_counts_below_the_dark_are_none_such():
    scan = damaged(-1200.0, (3, 0, slice(2)), darks=None)
    assert to_line_integrals(scan)[1].zero_counts == 2
