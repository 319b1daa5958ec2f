"""Faults in valid numbers are reported or refused; sound scans cause no message."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from diffusionblend.data.raw_scan import RawScan
from diffusionblend.errors import InputError
from diffusionblend.preprocessing.plausibility import (
    check_axis,
    check_order,
    check_upright,
    edge_notes,
    order_notes,
    saturation_notes,
    view_notes,
)
from diffusionblend.preprocessing.prepare import prepare_scan
from diffusionblend.preprocessing.settings import PrepareSettings
from field_scans import FULL, HALF, counts_of, parallel_lines

LINES = parallel_lines(HALF[::3])


def scan_of(lines=LINES, angles=HALF[::3], **changes):
    made = {"values": "counts", "angles_rad": angles, "column_mm": 1.0, **counts_of(lines)}
    return RawScan(**(made | changes))


def notes(scan):
    return " ".join(prepare_scan(scan).correction.notes)


def test_silence_where_all_is_well():
    assert not prepare_scan(scan_of()).correction.notes
    assert not prepare_scan(scan_of(parallel_lines(FULL, 128, 60.3), FULL)).correction.notes


# ---- saturation


@pytest.mark.parametrize("highest", [15000, 20000])
def test_a_detector_at_its_highest_value(highest):
    frames = {n: np.minimum(a, highest) for n, a in counts_of(LINES).items()}
    found = saturation_notes(scan_of(**frames))
    assert len(found) == 2 and f"highest value, {highest}" in found[0] and "flat frames" in found[0]


def test_views_alone_that_are_saturated():
    data = np.minimum(counts_of(LINES)["data"], 19000)
    (found,) = saturation_notes(scan_of(data=data))
    assert "of the views' pixels" in found


@pytest.mark.parametrize("level", [3, 40, 4000])
def test_values_that_only_spread_are_not_saturated(level):
    assert not saturation_notes(scan_of(**counts_of(LINES, level, dark=0)))


# ---- ends of the lines


def test_an_object_wider_than_the_detector():
    cut = parallel_lines(HALF[::3], 50, 24.5)
    assert "outermost columns read 1.2" in notes(scan_of(cut))
    (told,) = edge_notes(cut, air_columns=3)
    assert "wider than the detector" in told


@pytest.mark.parametrize("photons", [100, 1000])
@pytest.mark.parametrize(("n_columns", "mu"), [(64, 0.002), (64, 0.02), (20, 0.02)])
def test_noise_at_the_ends_is_no_object(photons, n_columns, mu):
    disc = ((4, -3, 12, mu),)
    lines = parallel_lines(HALF[::2], n_columns, (n_columns - 1) / 2, rows=2, discs=disc)
    counted = np.random.default_rng(0).poisson(photons * np.exp(-lines))
    told = edge_notes(-np.log(np.maximum(counted, 1) / photons))
    assert ("outermost columns read" in " ".join(told)) == (n_columns == 20)


def test_an_object_that_leaves_on_one_side_or_in_some_views():
    assert edge_notes(parallel_lines(HALF[::3], 80, 62.0))
    long_one = ((0, 0, 10, 0.02), (38, 0, 6, 0.05))
    assert edge_notes(parallel_lines(HALF[::3], 76, 37.5, discs=long_one))


def test_a_beam_that_changed():
    brighter = scan_of(flats=counts_of(LINES, 18000)["flats"])
    assert "brighter than the open beam (line integrals of -0.10)" in notes(brighter)
    dimmer = prepare_scan(scan_of(flats=counts_of(LINES, 26000)["flats"]))
    assert "or a beam that became weaker" in " ".join(dimmer.correction.notes)
    assert not edge_notes(LINES + 0.26, air_columns=3)


@pytest.mark.parametrize("level", [19000, 12000])
def test_an_open_beam_that_is_brighter_or_far_too_weak(level):
    """Of 20000; at 12000 even the object, of up to 0.44, reads below 0."""
    thin = parallel_lines(HALF[::3], discs=((4, -3, 20, 0.011),))
    scan = scan_of(thin, **counts_of(thin) | {"flats": counts_of(thin, level)["flats"]})
    if level < 15000:
        with pytest.raises(InputError, match=r"(?s)brighter than the open beam every.*white_level"):
            prepare_scan(scan)
    wanted = "everywhere" if level < 15000 else "the outermost columns are brighter"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stated = prepare_scan(scan, PrepareSettings(centre_column=60.3))
    told = " ".join(stated.correction.notes)
    assert wanted in told and "the outermost columns are brighter" in told
    followed = prepare_scan(scan, PrepareSettings(air_columns=4)).projections.values
    assert np.abs(followed - thin).max() < 0.08


def test_a_beam_that_becomes_weaker_during_the_scan():
    loss = np.linspace(1, 0.8, len(LINES))[:, None, None]
    told = notes(scan_of(data=(counts_of(LINES)["data"] * loss).astype(np.uint16)))
    assert "both ends of the detector read up to 0.2" in told and "air_columns" in told


@pytest.mark.parametrize("offset", [100, 2000])
def test_flats_without_the_darks(offset):
    """0.5 % of the open beam is below what a changed beam is reported from."""
    lines = parallel_lines(HALF[::3], rows=16)
    frames = counts_of(lines, dark=offset)
    told = f"darks ({offset}) seem to have been taken off the flats"
    assert told not in notes(scan_of(lines, **frames))
    frames["flats"] = frames["flats"] - np.uint16(offset)
    assert told in notes(scan_of(lines, **frames))


def test_the_short_side_of_a_half_acquisition_is_no_air():
    lines = parallel_lines(FULL, 64, 15.0)
    assert not edge_notes(lines, short_side=0)
    assert edge_notes(lines, short_side=1) and edge_notes(lines)


def test_ends_of_a_detector_whose_panels_are_given_view_by_view():
    """FBP takes no vectors; one end within the object is a detector to one side of the axis."""
    (aside,) = edge_notes(parallel_lines(FULL, 64, 10.0), by_vectors=True)
    (both,) = edge_notes(parallel_lines(FULL, 60, 29.5), by_vectors=True)
    assert "of one end" in aside and "to one side of the axis" in aside and "wider" not in aside
    assert "wider than the detector" in both
    assert "fbp" not in aside + both and "size" in aside and "size" in both


# ---- the axis


def test_an_axis_along_the_rows():
    lines = parallel_lines(HALF[::3], 100, 49.5, rows=40) * np.linspace(0.6, 1, 40)[:, None]
    check_upright(lines)
    with pytest.raises(InputError, match="horizontal_axis=True"):
        check_upright(lines.swapaxes(1, 2))
    round_and_even = parallel_lines(HALF[::3], 100, 49.5, rows=40, discs=((0, 0, 30, 0.02),))
    check_upright(round_and_even)
    check_upright(round_and_even.swapaxes(1, 2))
    growing = lines * np.linspace(1, 1.3, len(lines))[:, None, None]  # a beam that falls
    check_upright(growing)


def test_a_person_who_states_the_axis_is_believed():
    lines = parallel_lines(HALF[::3], 100, 49.5, rows=40) * np.linspace(0.6, 1, 40)[:, None]
    turned = RawScan(data=lines.swapaxes(1, 2), values="lines", angles_rad=HALF[::3], column_mm=1.0)
    told = prepare_scan(turned, PrepareSettings(centre_column=19.5)).correction.notes
    assert "seems to lie along the detector's rows" in " ".join(told)


def test_views_and_columns_exchanged():
    lines = parallel_lines(HALF[::2], rows=3)
    check_order(lines)
    with pytest.raises(InputError, match="views and columns seem to be exchanged"):
        check_order(lines.swapaxes(0, 2))


def test_sinograms_taken_for_views():
    lines = parallel_lines(HALF[::2], rows=6) * np.linspace(0.98, 1, 6)[:, None]
    (told,) = order_notes(lines.swapaxes(0, 1), np.arange(6) * np.pi / 6)
    assert "views 30 degrees apart hardly differ" in told
    assert not order_notes(lines, HALF[::2])
    assert not order_notes(parallel_lines(HALF[::30], rows=20), HALF[::30])


def test_an_axis_at_the_end_of_the_detector():
    check_axis(20.0, 128, whole_turn=False)
    check_axis(8.0, 128, whole_turn=True)
    for column, whole_turn in ((6.0, False), (126.5, False), (140.0, True), (-3.0, True)):
        with pytest.raises(InputError, match=r"(?s)end of the detector.*centre_column"):
            check_axis(column, 128, whole_turn=whole_turn)


# ---- views


def test_views_without_an_object_or_twice_the_same():
    frames = counts_of(LINES)
    frames["data"][7] = frames["flats"][0]
    frames["data"][20] = frames["data"][19]
    told = " ".join(view_notes(LINES * (np.arange(60) != 7)[:, None, None], scan_of(**frames)))
    assert "1 view(s) show no object, the first is view 7" in told
    assert "1 view(s) hold the same numbers as the one before, the first is view 20" in told
    assert view_notes(LINES[:1], scan_of(LINES[:1], HALF[:1]))


def test_darks_among_the_views_are_refused():
    frames = counts_of(LINES)
    frames["data"][7] = frames["darks"][0]
    with pytest.raises(InputError, match="View 7 contains no valid pixel"):
        prepare_scan(scan_of(**frames))
    frames["data"][7] += np.random.default_rng(0).integers(-1, 3, (2, 128)).astype(np.uint16)
    with pytest.raises(InputError, match=r"(?s)% of view 7 are zero.*darks among the views"):
        prepare_scan(scan_of(**frames))
