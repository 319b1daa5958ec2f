"""Angles, axis, lengths and values that the views contradict are reported or refused."""

from __future__ import annotations

import numpy as np
import pytest

from diffusionblend.data.raw_scan import RawScan
from diffusionblend.errors import InputError
from diffusionblend.geometry import ConeBeam, FanBeam
from diffusionblend.preprocessing.prepare import prepare_scan
from diffusionblend.preprocessing.settings import PrepareSettings
from field_scans import (
    DISCS,
    DISTANCES,
    FULL,
    HALF,
    fan_lines,
    parallel_lines,
    spheres_from_source,
)

ANGLES = HALF[::3]
LINES = parallel_lines(ANGLES)


def prepared(lines=LINES, angles_rad=ANGLES, **settings):
    scan = RawScan(data=lines, values="lines", angles_rad=angles_rad, column_mm=1.0)
    return prepare_scan(scan, PrepareSettings(**settings))


def notes_of(lines=LINES, angles_rad=ANGLES, **settings):
    return " ".join(prepared(lines, angles_rad, **settings).correction.notes)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (-LINES, r"(?s)negative, down to -1\.92.*ln\(I / I0\)"),
        (20 * LINES, r"(?s)reach 3\d.*no light"),
        (np.exp(-LINES), r"(?s)1\.00 at the detector's ends.*values=\"transmission\""),
    ],
)
def test_numbers_that_are_no_line_integrals(lines, words):
    with pytest.raises(InputError, match=words):
        prepared(lines, centre_column=60.3)


@pytest.mark.parametrize("column_mm", [1000.0, 1e-6])
def test_columns_in_another_unit(column_mm):
    with pytest.raises(InputError, match=r"(?s)voxels would be.*micrometres"):
        prepared(column_mm=column_mm)


@pytest.mark.parametrize(
    ("lines", "angles"),
    [
        (LINES, (ANGLES + np.pi / 2) % np.pi - np.pi / 2),
        (LINES, np.random.default_rng(0).permutation(ANGLES)),
    ],
)
def test_angles_of_other_views(lines, angles):
    assert "centre of mass leaves the sine" in notes_of(lines, angles, centre_column=60.3)


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_arcs_that_the_last_view_contradicts(noise):
    whole, some = parallel_lines(FULL[::2]), np.random.default_rng(0)
    for lines, angles, words in (
        (whole, FULL[::2] / 2, "to cover 360 degrees, and their angles cover 180"),
        (LINES, 2 * ANGLES, "mirrored: the 60 views seem to cover 180 degrees"),
    ):
        noisy = lines + some.normal(0, noise, lines.shape).astype(np.float32)
        with pytest.raises(InputError, match=words):
            prepared(noisy, angles, centre_column=60.3)
        assert words in notes_of(noisy, angles, centre_column=60.3, geometry="parallel")


@pytest.mark.parametrize("of_cone", [False, True])
def test_a_point_source_whose_distances_are_not_given(of_cone):
    """Opposite rays of a fan are no opposite views; read as parallel its discs are 0.0162."""
    lines = fan_lines(FULL, 128, 60.3)
    if of_cone:
        spheres = tuple((x, y, 0, radius, mu) for x, y, radius, mu in DISCS)
        lines = spheres_from_source(FULL, np.arange(128) - 60.3, np.arange(9) - 4, spheres)
    noisy = lines + np.random.default_rng(0).normal(0, 0.01, lines.shape).astype(np.float32)
    with pytest.raises(InputError, match=r"(?s)not those of a parallel.*source_to"):
        prepared(noisy, FULL)
    assert "not those of a parallel beam" in notes_of(noisy, FULL, geometry="parallel")


@pytest.mark.parametrize("factor", [0.3, 1000.0])
def test_distances_that_opposite_rays_contradict(factor):
    """As micrometres for mm, or a distance that counts from another point."""
    wrong = {name: factor * length for name, length in DISTANCES.items()}
    for changes, is_told in ((DISTANCES, False), (wrong, True)):
        notes = notes_of(fan_lines(FULL, 64), FULL, geometry="fan", centre_column=31.5, **changes)
        assert ("opposite rays agree far better" in notes) == is_told


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_a_rotation_in_the_other_sense(noise):
    lines = fan_lines(FULL, 128, 60.3)
    lines = lines + np.random.default_rng(0).normal(0, noise, lines.shape).astype(np.float32)
    told = "turns the other way than the angles say (--reverse-angles)"
    for reverse in (False, True):
        notes = notes_of(lines, FULL, centre_column=60.3, reverse_angles=reverse, **DISTANCES)
        assert (told in notes) == reverse


def test_columns_that_make_the_object_attenuate_as_nothing_does():
    for column_mm, is_told in ((1.0, False), (0.02, False), (90.0, True), (0.0001, True)):
        notes = notes_of(column_mm=column_mm)
        assert ("is the width of a column in mm" in notes) == is_told


def test_silence_where_angles_are_right():
    noisy = LINES + np.random.default_rng(0).normal(0, 0.05, LINES.shape).astype(np.float32)
    drifting = LINES + np.linspace(0, 0.1, len(LINES), dtype=np.float32)[:, None, None]
    cut = parallel_lines(FULL[::2], 64, 15.0)
    for lines, angles in ((LINES, ANGLES), (noisy, ANGLES), (drifting, ANGLES), (cut, FULL[::2])):
        assert "leaves the sine" not in notes_of(lines, angles)
    fan = fan_lines(FULL[::2], 130)
    notes = notes_of(fan, FULL[::2], geometry="fan", **DISTANCES)
    assert "leaves the sine" not in notes and "cover" not in notes


def test_a_stated_axis_that_opposite_views_contradict():
    assert "10.4 columns from where opposite views mirror" in notes_of(centre_column=50)
    assert "opposite views" not in notes_of(centre_column=59.5)
    half = parallel_lines(ANGLES, 64, 15.0)
    assert "opposite views" not in notes_of(half, centre_column=15.0)


def test_arcs_shorter_than_every_line_needs():
    short = np.radians(np.arange(0, 100, 1.0))
    assert "cover 100 degrees" in notes_of(parallel_lines(short), short, centre_column=60.3)
    notes = notes_of(fan_lines(HALF[::2], 130), HALF[::2], geometry="fan", **DISTANCES)
    assert "cover 180 degrees" in notes and "needs 194" in notes
    angles = np.radians(np.arange(0, 200, 2.0))
    assert "cover" not in notes_of(fan_lines(angles, 130), angles, geometry="fan", **DISTANCES)


def test_several_rows_of_a_point_source_are_a_cone():
    lines = np.repeat(fan_lines(FULL[::4], 130), 40, axis=1)
    assert type(prepared(lines, FULL[::4], **DISTANCES).projections.geometry) is ConeBeam
    assert type(prepared(lines[:, :1], FULL[::4], **DISTANCES).projections.geometry) is FanBeam
    notes = notes_of(lines, FULL[::4], geometry="fan", **DISTANCES)
    assert "40 rows are taken as fans side by side" in notes and "geometry cone" in notes
    assert "source's plane" not in notes
    assert "source's plane is taken to be the middle of the detector, row 19.5" in notes_of(
        lines, FULL[::4], **DISTANCES
    )


def test_water_of_another_unit():
    assert "was it given per cm" in notes_of(mu_water_per_mm=0.2)
    assert "per cm" not in notes_of(mu_water_per_mm=0.03)
