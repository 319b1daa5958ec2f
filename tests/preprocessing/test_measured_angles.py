"""Angles that the views contradict, and detectors to one side of the axis without a whole turn."""

from __future__ import annotations

import numpy as np
import pytest

from diffusionblend.data.raw_scan import RawScan
from diffusionblend.errors import InputError
from diffusionblend.geometry.checks import check_scan
from diffusionblend.methods.admm_tv import AdmmTv
from diffusionblend.methods.advice import advise
from diffusionblend.methods.api import reconstruct
from diffusionblend.methods.fbp import Fbp, check_complete
from diffusionblend.preprocessing.measured_angles import angle_notes
from diffusionblend.preprocessing.prepare import prepare_scan
from diffusionblend.preprocessing.settings import PrepareSettings
from field_scans import (
    DISTANCES,
    FULL,
    HALF,
    check_discs,
    fan_lines,
    parallel_lines,
    spheres_from_source,
    value_at,
)


def notes_of(lines, angles_rad, **settings):
    names = ("source_to_axis_mm", "source_to_detector_mm")
    scan = RawScan(data=lines, values="lines", angles_rad=angles_rad, column_mm=1.0)
    geometry = "fan" if any(name in settings for name in names) else "parallel"
    done = prepare_scan(scan, PrepareSettings(geometry=geometry, **settings))
    return done, " ".join(done.correction.notes)


# ---- both ends of the arc


@pytest.mark.parametrize(("arc", "word"), [(np.pi, "mirrors"), (2 * np.pi, "is")])
def test_both_ends_of_an_arc_among_the_views(arc, word):
    n_views = 31
    taken, right = (
        parallel_lines(np.linspace(0, arc, n_views, endpoint=end)) for end in (True, False)
    )
    assumed = np.arange(n_views) * arc / n_views
    _, notes = notes_of(taken, assumed)
    degrees = np.degrees(arc)
    assert f"the last view {word} the first" in notes
    assert f"in steps of {degrees / 30:.4g} and not {degrees / 31:.4g} degrees" in notes
    assert "the last view" not in notes_of(right, assumed)[1]
    assert "the last view" not in notes_of(taken, np.linspace(0, arc, n_views))[1]


def test_both_ends_of_a_turn_of_a_fan():
    taken = fan_lines(np.linspace(0, 2 * np.pi, 31), 130)
    _, notes = notes_of(taken, np.arange(31) * 2 * np.pi / 31, **DISTANCES)
    assert "the last view is the first" in notes


def test_noise_makes_no_end():
    rng = np.random.default_rng(0)
    lines = parallel_lines(HALF) + rng.normal(0, 0.1, (180, 2, 128)).astype(np.float32)
    assert not angle_notes(lines, HALF, 60.3)
    assert not angle_notes(parallel_lines(FULL)[::6], FULL[::6], 60.3)


# ---- angles that were not recorded


def test_a_stage_whose_read_out_stopped():
    angles = HALF.copy()
    angles[120:150] = angles[120]
    _, notes = notes_of(parallel_lines(HALF), angles, centre_column=60.3)
    assert "30 views have the angle of the one before" in notes and "is view 120" in notes


def test_exposures_of_one_view_are_no_such():
    rng = np.random.default_rng(0)
    angles = np.repeat(HALF[::4], 4)
    lines = parallel_lines(angles) + rng.normal(0, 0.02, (180, 2, 128)).astype(np.float32)
    assert "angle of the one before" not in notes_of(lines, angles)[1]


# ---- a detector to one side


def test_half_a_turn_of_a_detector_to_one_side_is_told():
    _, notes = notes_of(parallel_lines(HALF, 64, 15.0), HALF, centre_column=15.0)
    assert "reaches 15.5 mm to one side and 48.5 mm to the other" in notes
    assert "over 360 degrees" in notes and "cgls" in notes
    assert "wider than the detector" not in notes  # that alone would name another cause
    angles = np.radians(np.arange(0, 220, 2.0))
    _, notes = notes_of(fan_lines(angles, 80, 20.0), angles, centre_column=20.0, **DISTANCES)
    assert "reaches 20.5 mm" in notes


@pytest.mark.filterwarnings("ignore:The detector is too small")
def test_half_a_turn_of_a_detector_to_one_side_by_each_method():
    """FBP would give 0.0275 and 0.0581 for 0.02 and 0.04, and 0.0201 and 0.0390 as water."""
    lines = parallel_lines(HALF[::2], 64, 15.0, rows=1)
    done, _ = notes_of(lines, HALF[::2], centre_column=15.0, pixel_mm=2.0)
    assert done.projections.grid.shape == (1, 48, 48)  # as wide as the long side reaches
    assert advise(done.projections)[0].method == "admm-tv"
    for method in ("fbp", Fbp(window="hann")):
        with pytest.raises(InputError, match=r"(?s)reaches 15\.5 mm.*lacks lines.*admm-tv"):
            reconstruct(done.projections, method)
    for how, right in ((Fbp(extrapolate=True), 0.05), (AdmmTv(iterations=50), 0.03)):
        hu = reconstruct(done.projections, how, device="cpu").volume.values[0]
        mu = (hu / 1000 + 1) * done.projections.mu_water_per_mm
        for (x, y), value in {(0, 0): 0.02, (15, 10): 0.04, (0, 30): 0.02}.items():
            j, i = round(y / 2 + 23.5), round(x / 2 + 23.5)
            assert mu[j - 1 : j + 2, i - 1 : i + 2].mean() == pytest.approx(value, rel=right)
    whole, _ = notes_of(parallel_lines(FULL, 64, 15.0, rows=1), FULL, centre_column=15.0)
    check_complete(whole.projections)


def test_a_ball_off_the_axis_that_leaves_the_short_side_in_some_views():
    """FBP would give 0.0147 for 0.02; nothing is said where the opposite views were taken."""
    angles = np.radians(90 + np.arange(0, 240, 3.0))
    flat = ((16, 3, 0, 8, 0.02),)
    lines = spheres_from_source(angles, np.arange(40) - 8.0, np.zeros(1), flat)
    done, notes = notes_of(lines, angles, centre_column=8.0, **DISTANCES)
    words = "lies 11.5 mm beside the axis (it reaches 8.5 mm to one side and 31.5 mm to the other)"
    assert words in notes and "cover 240 degrees" in notes
    with pytest.raises(InputError, match=r"(?s)11\.5 mm beside the axis.*240 degrees.*admm-tv"):
        check_complete(done.projections)
    with pytest.warns(UserWarning, match=r"too small.*11\.5 mm beside the axis.*over 360.*admm-tv"):
        check_scan(done.projections.geometry, done.projections.grid)
    complete = np.radians(-90 + np.arange(0, 270, 3.0))
    lines = spheres_from_source(complete, np.arange(40) - 8.0, np.zeros(1), flat)
    done, notes = notes_of(lines, complete, centre_column=8.0, **DISTANCES)
    assert "beside the axis" not in notes and "outermost columns" not in notes
    assert value_at(done, 16, 3) == pytest.approx(0.02, rel=0.02)


def test_a_whole_turn_or_an_object_that_is_seen_whole_is_not():
    done, notes = notes_of(parallel_lines(FULL, 64, 15.0), FULL, centre_column=15.0)
    assert "one side of the axis" not in notes
    check_discs(done)
    small = parallel_lines(HALF, 64, 15.0, discs=((0, 0, 12, 0.02),))
    assert not notes_of(small, HALF, centre_column=15.0)[1]


def test_views_that_are_missing_or_of_a_second_scan():
    """Equal steps are said of views of which some are not there, or of two scans in one folder."""
    lines = parallel_lines(HALF)
    assert not notes_of(lines, HALF, centre_column=60.3)[1]
    for shown in (np.delete(lines, np.s_[70:80], axis=0), np.concatenate([lines[:90]] * 2)):
        angles = np.linspace(0, np.pi, len(shown), endpoint=False)
        notes = notes_of(shown, angles, centre_column=60.3)[1]
        assert "times as much as those before and after" in notes


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_views_of_two_energies_or_of_both_ways(shift):
    lines = parallel_lines(HALF)
    odd = parallel_lines(HALF, centre=60.3 + shift) if shift else 0.9 * lines
    lines[1::2] = odd[1::2]
    notes = notes_of(lines, HALF, centre_column=60.3)[1]
    assert f"differs in its {'place' if shift else 'attenuation'} by 1" in notes


# ---- turns and distances


@pytest.mark.parametrize("jitter", [0.0, 2e-5])
def test_two_turns_are_read(jitter):
    noise = np.random.default_rng(0).normal(0, 1, 400) * jitter
    angles = np.linspace(0, 4 * np.pi, 400, endpoint=False) + noise
    done, notes = notes_of(parallel_lines(angles), angles)
    assert done.centre.column == pytest.approx(60.3, abs=0.2) and not notes
    check_discs(done)


@pytest.mark.parametrize(
    "angles",
    [
        np.arange(180) * 2.39996 % (2 * np.pi),  # golden angles
        np.radians(np.r_[0:30:0.25, 30:180:2.5]),  # denser in one part
        np.repeat(HALF[::2], 2),  # every view twice
    ],
)
def test_uneven_views_give_the_right_attenuation(angles):
    done, _ = notes_of(parallel_lines(angles), angles, centre_column=60.3)
    check_discs(done)


@pytest.mark.parametrize("geometry", ["fan", "cone"])
def test_distances_in_the_wrong_order(geometry):
    scan = RawScan(data=fan_lines(FULL, 130), values="lines", angles_rad=FULL, column_mm=1.0)
    wrong = {"source_to_axis_mm": 529.0, "source_to_detector_mm": 431.0}
    with pytest.raises(InputError, match="nearer than the axis") as caught:
        prepare_scan(scan, PrepareSettings(geometry=geometry, **wrong))
    assert "exchange source_to_axis_mm and source_to_detector_mm" in str(caught.value)
