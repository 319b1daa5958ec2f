"""Crop, binning and offset stay in the geometry: objects are where they are, however read."""

from __future__ import annotations

import numpy as np
import pytest

from diffusionblend.errors import InputError
from field_scans import (
    CONE,
    FAN,
    FULL,
    HALF,
    check_discs,
    fan_lines,
    parallel_lines,
    prepared,
    spheres_from_source,
    value_at,
)

T = {"values": "transmission"}
SPHERES = ((0, 0, 0, 40, 0.02), (0, 0, 12, 10, 0.02), (15, 0, -12, 6, -0.015))


def saved(path, lines, angles):
    np.savez(path, data=np.exp(-lines), angles_rad=angles)
    return path


@pytest.fixture(scope="module")
def cone(tmp_path_factory):
    angles = FULL[::4]
    columns, rows = np.arange(100) - 49.5, np.arange(60) - 29.5
    lines = spheres_from_source(angles, columns, rows, SPHERES)
    return saved(tmp_path_factory.mktemp("cone") / "cone.npz", lines, angles)


@pytest.mark.parametrize(
    ("read", "prepare"),
    [
        ({}, {}),
        ({"rows": (24, 60)}, {}),
        ({"rows": (24, 60)}, {"binning": (2, 2)}),
        ({"rows": (20, 55), "columns": (10, 99)}, {"binning": (2, 1)}),
        ({"rows": (24, 60)}, {"centre_row": 29.5}),
        ({"rows": (0, 53)}, {"binning": (3, 1)}),
    ],
)
def test_spheres_stay_in_the_rays_of_the_source(cone, read, prepare):
    done = prepared(cone, {**T, **read}, {**CONE, **prepare})
    assert value_at(done, 0, 0, z=-3) == pytest.approx(0.02, rel=0.04)
    assert value_at(done, 0, 0, z=12) == pytest.approx(0.04, rel=0.04)
    if done.projections.grid.origin_mm[2] < -14:  # the hole is in
        assert value_at(done, 15, 0, z=-12) == pytest.approx(0.005, abs=0.0015)


def test_a_source_beside_the_middle_row(tmp_path):
    angles = FULL[::4]
    lines = spheres_from_source(angles, np.arange(100) - 49.5, np.arange(40) - 8.0, SPHERES)
    path = saved(tmp_path / "cone.npz", lines, angles)
    for read, prepare in (({}, {}), ({"rows": (4, 40)}, {}), ({}, {"binning": (3, 1)})):
        done = prepared(path, {**T, **read}, {**CONE, "centre_row": 8.0, **prepare})
        assert value_at(done, 0, 0, z=12) == pytest.approx(0.04, rel=0.05)
    # without it the plane is taken to be the middle's, and the upper sphere lies below
    assert value_at(prepared(path, T, CONE), 0, 0, z=-3) > 0.03


@pytest.mark.parametrize(
    ("read", "prepare"),
    [
        ({"columns": (20, 150)}, {}),
        ({"columns": (40, 180)}, {}),
        ({"columns": (21, 151)}, {"binning": (1, 2)}),
        ({"columns": (20, 150)}, {"centre_column": 89.5}),
    ],
)
def test_a_cropped_fan_keeps_its_axis(tmp_path, read, prepare):
    path = saved(tmp_path / "fan.npz", fan_lines(FULL, 180), FULL)
    done = prepared(path, {**T, **read}, {**FAN, **prepare})
    check_discs(done, 0.03 if not prepare.get("binning") else 0.08)


def test_columns_left_over_by_binning_move_no_axis(tmp_path):
    path = saved(tmp_path / "fan.npz", fan_lines(FULL, 183), FULL)
    geometry = prepared(path, T, {**FAN, "binning": (1, 4)}).projections.geometry
    # column 91 of 183 is 22.375 of 45 of four; their middle is 22
    assert geometry.detector_shift_mm == pytest.approx((22 - 22.375) * 4, abs=0.05)  # found


def test_slices_of_cropped_rows_lie_where_they_lay(tmp_path):
    lines = parallel_lines(HALF[::3], rows=11) * np.linspace(0.5, 1, 11)[:, None]
    path = saved(tmp_path / "scan.npz", lines, HALF[::3])
    whole = prepared(path, T).projections.grid
    part = prepared(path, {**T, "rows": (4, 9)}).projections.grid
    assert part.origin_mm[2] == pytest.approx(whole.origin_mm[2] + 4)
    left_over = prepared(path, T, {"column_mm": 1.0, "binning": (2, 1)}).projections.grid
    assert left_over.origin_mm[2] == pytest.approx(whole.origin_mm[2] + 0.5)


def test_an_axis_that_is_cropped_away_is_refused(tmp_path):
    path = saved(tmp_path / "fan.npz", fan_lines(FULL[::8], 180), FULL[::8])
    with pytest.raises(InputError, match=r"(?s)column 89\.5, is not among.*centre_column"):
        prepared(path, {**T, "columns": (100, 180)}, FAN)


# ---- an axis beside the middle, over a whole turn


@pytest.mark.parametrize("size", [{}, {"size": 100, "pixel_mm": 0.9}])
@pytest.mark.parametrize("side", [20.0, 59.0])
def test_half_fan(tmp_path, side, size):
    path = saved(tmp_path / "fan.npz", fan_lines(FULL, 80, centre=side), FULL)
    done = prepared(path, T, {**FAN, "centre_column": side, **size})
    check_discs(done)
    assert not [note for note in done.correction.notes if "does not see" in note]


@pytest.mark.parametrize("angles", [FULL, -FULL[::-1], np.append(FULL, 2 * np.pi), FULL[::3]])
def test_half_acquisition(tmp_path, angles):
    path = saved(tmp_path / "half.npz", parallel_lines(angles, 64, 15.0, rows=1), angles)
    check_discs(prepared(path, T, {"column_mm": 1.0, "centre_column": 15}), 0.04)
    check_discs(prepared(path, T, {"column_mm": 1.0}), 0.04)  # and is found


def test_a_weaker_beam_over_a_whole_turn_does_not_move_the_axis(tmp_path):
    lines = parallel_lines(FULL, 128, 58.0, rows=1) + 0.4
    path = saved(tmp_path / "scan.npz", lines, FULL)
    geometry = prepared(path, T).projections.geometry
    assert geometry.detector_shift_mm == pytest.approx(63.5 - 58.0, abs=0.1)


def test_half_cone(tmp_path):
    angles = FULL[::2]
    lines = spheres_from_source(angles, np.arange(70) - 12.0, np.arange(20) - 9.5, SPHERES)
    path = saved(tmp_path / "cone.npz", lines, angles)
    done = prepared(path, {**T, "rows": (5, 20)}, {**CONE, "centre_column": 12})
    assert value_at(done, 0, 0, z=6) == pytest.approx(0.04, rel=0.03)
    assert value_at(done, 20, 12, z=1) == pytest.approx(0.02, rel=0.04)
    assert value_at(done, -20, -12, z=1) == pytest.approx(0.02, rel=0.04)


def test_less_than_a_turn_is_no_whole_one(tmp_path):
    angles = FULL[:150]
    path = saved(tmp_path / "arc.npz", parallel_lines(angles, 64, 15.0, rows=1), angles)
    done = prepared(path, T, {"column_mm": 1.0, "centre_column": 15, "size": 90, "pixel_mm": 1.0})
    assert any("does not see" in note for note in done.correction.notes)
    assert any("beside the axis" in note for note in done.correction.notes)
