"""The axis of rotation of analytic objects, and of two measured ones."""

from __future__ import annotations

import math

import numpy as np
import pytest

from diffusionblend.errors import InputError
from diffusionblend.preprocessing.centre import (
    column_of_opposite_views,
    even_half_scan,
    find_centre,
    opposite_pairs,
    pair_centre_column,
    wedge_centre_column,
)
from field_scans import FULL, parallel_lines
from measured_scan import half_scan, lines_of

CENTRES = (28.3, 31.5, 36.87)


def noisy(lines: np.ndarray, deviation: float = 0.01) -> np.ndarray:
    return lines + np.random.default_rng(0).normal(0, deviation, lines.shape)


@pytest.mark.parametrize("centre", CENTRES)
def test_half_a_turn_determines_the_axis(centre):
    angles = half_scan(90)
    found = find_centre(noisy(lines_of(angles, centre_column=centre)), angles)
    assert found.method == "pairs and wedge"
    assert found.column == pytest.approx(centre, abs=0.15)
    assert found.mass_column == pytest.approx(centre, abs=0.15)


def test_steps_that_do_not_divide_half_a_turn():
    angles = np.radians(np.arange(91) * 1.989)
    found = find_centre(noisy(lines_of(angles, centre_column=29.3)), angles)
    assert found.method == "pairs and wedge"
    assert found.column == pytest.approx(29.3, abs=0.15)


def test_one_row_is_enough():
    angles = half_scan(90)
    found = find_centre(noisy(lines_of(angles, centre_column=33.4, rows=1)), angles)
    assert found.column == pytest.approx(33.4, abs=0.15)


@pytest.mark.parametrize("centre", CENTRES)
def test_an_exact_pair_among_few_views(centre):
    angles = np.append(half_scan(6), math.pi)
    found = find_centre(noisy(lines_of(angles, centre_column=centre), 0.002), angles)
    assert found.method == "pairs"
    assert found.column == pytest.approx(centre, abs=0.15)


def test_pairs_do_not_mind_brightness():
    angles = np.append(half_scan(6), math.pi)
    lines = lines_of(angles, centre_column=29.2) + np.linspace(0, 1, 7)[:, None, None]
    assert pair_centre_column(lines, opposite_pairs(angles)) == pytest.approx(29.2, abs=0.15)
    assert abs(find_centre(lines, angles).mass_column - 29.2) > 0.3


def test_the_wedge_finds_back_from_two_columns_beside():
    angles = half_scan(90)
    lines = noisy(lines_of(angles, centre_column=33.3))
    for start in (31.4, 35.1):
        assert wedge_centre_column(lines, start) == pytest.approx(33.3, abs=0.15)


def test_a_short_arc_is_located_by_the_centre_of_mass():
    angles = np.radians(np.linspace(10, 100, 46))
    found = find_centre(noisy(lines_of(angles, centre_column=30.2), 0.002), angles)
    assert (found.method, found.pair_column) == ("mass", None)
    assert found.column == pytest.approx(30.2, abs=0.15)


def test_opposite_views():
    assert opposite_pairs(np.radians([0, 45, 90, 180.0])) == [(0, 3)]
    assert opposite_pairs(np.radians([200, 20.0, 110])) == [(0, 1)]
    assert opposite_pairs(np.radians(np.arange(0, 360, 30.0)))[:2] == [(0, 6), (1, 7)]
    assert opposite_pairs(np.radians(np.arange(0, 90, 1.0))) == []


def views_named(angles_rad: np.ndarray) -> np.ndarray:
    """Views that hold their own angle in degrees."""
    return np.degrees(angles_rad)[:, None, None].astype(np.float32)


def test_an_even_half_scan_is_picked_out_of_more():
    shuffled = np.random.default_rng(1).permutation(np.radians(np.arange(0, 360, 3.0)))
    taken = even_half_scan(views_named(shuffled), shuffled).ravel()
    np.testing.assert_allclose((taken - taken[0]) % 360, np.arange(0, 180, 3), atol=1e-3)
    around = np.radians(np.arange(-88.2, 92, 2.0))
    taken = even_half_scan(views_named(around), around).ravel()
    np.testing.assert_allclose(taken, np.arange(-88.2, 91.7, 2.0), atol=1e-3)


def test_an_uneven_half_scan_is_read_in_between():
    rng = np.random.default_rng(2)
    for angles in (np.arange(92) * 1.97, np.arange(0, 182, 2.0) + rng.uniform(-0.4, 0.4, 91)):
        taken = even_half_scan(views_named(np.radians(angles)), np.radians(angles)).ravel()
        expected = angles[0] + np.arange(len(taken)) * 180 / len(taken)
        np.testing.assert_allclose(taken, expected, atol=0.5)
        assert len(taken) in (90, 91)


@pytest.mark.parametrize(
    "degrees",
    [
        np.arange(0, 170, 3.0),
        [*np.arange(0, 90, 3.0), *np.arange(100, 200, 3.0)],
        np.arange(0, 180, 30.0),
        [0.0] * 20,
    ],
)
def test_arcs_that_are_no_even_half_scan(degrees):
    angles = np.radians(degrees)
    assert even_half_scan(views_named(angles), angles) is None


def test_where_nothing_determines_the_axis():
    angles = np.radians(np.linspace(0, 60, 20))
    lines = lines_of(angles)
    with pytest.raises(InputError, match="could not be found"):
        find_centre(-lines, angles)
    with pytest.raises(InputError, match="2 views"):
        find_centre(lines[:2], angles[:2])


@pytest.mark.parametrize(("name", "centre"), [("savu", 86.0), ("tooth", 296.0)])
def test_measured_scans(shared_data, name, centre):
    """To within half a column of where their owners' data notes have it."""
    from diffusionblend.io.scans.options import ReadOptions
    from diffusionblend.io.scans.registry import read_raw_scan
    from diffusionblend.preprocessing.correction import to_line_integrals

    folder = shared_data / "projections" / name
    if name == "savu":
        options = ReadOptions(angles=folder / "angles.txt", image_key=folder / "24888.nxs")
        scan = read_raw_scan(folder, options)
    else:
        scan = read_raw_scan(folder / "tooth.h5")
    lines, _ = to_line_integrals(scan)
    found = find_centre(lines, scan.angles_rad)
    assert found.column == pytest.approx(centre, abs=0.5)
    alone = find_centre(lines[:, -1:], scan.angles_rad)
    assert alone.column == pytest.approx(found.column, abs=0.5)


@pytest.mark.parametrize("n_views", [60, 181])
@pytest.mark.parametrize(("short", "long"), [(15, 48), (36, 48), (30, 38), (24, 25)])
def test_half_a_turn_of_a_cut_object(short, long, n_views):
    """Cut on one side or on both, where whole views, mass and wedge are up to 22 columns off."""
    angles = np.linspace(0, np.pi, n_views, endpoint=n_views % 2 == 1)
    lines = parallel_lines(angles, short + long + 1, short, rows=1)
    assert find_centre(lines, angles).column == pytest.approx(short, abs=0.25)


def test_a_cut_object_without_opposite_views_is_refused():
    angles = np.radians(np.arange(0, 150, 1.0))
    lines = parallel_lines(angles, 64, 15, rows=1)
    with pytest.raises(InputError, match=r"(?s)does not see the whole object.*centre_column"):
        find_centre(lines, angles)
    whole = parallel_lines(angles, 128, 60.3, rows=1)
    assert find_centre(whole, angles).column == pytest.approx(60.3, abs=0.1)


@pytest.mark.parametrize("axis", [0.9, 2.6, 3.3, 55.1, 58.0])
def test_a_detector_that_begins_or_ends_next_to_the_axis(axis):
    """Opposite views overlap by less than the eight columns that are asked for at first."""
    lines = noisy(parallel_lines(FULL[::2], 60, axis), 0.002)
    assert find_centre(lines, FULL[::2]).column == pytest.approx(axis, abs=0.25)


def test_an_axis_beyond_the_detector_is_refused():
    for axis in (-2.0, 62.0):
        lines = noisy(parallel_lines(FULL[::2], 60, axis), 0.002)
        with pytest.raises(InputError, match=r"(?s)end of the detector or beyond.*centre_column"):
            find_centre(lines, FULL[::2])
        assert column_of_opposite_views(lines, FULL[::2]) is None
