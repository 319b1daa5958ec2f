"""Detectors beside the axis, and cones whose volume lies beside the plane of the source."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from diffusionblend.geometry import ConeBeam, FanBeam, ParallelBeam, truncated_fraction
from diffusionblend.geometry.base import Geometry
from diffusionblend.geometry.grid import Grid
from diffusionblend.geometry.interop import from_tigre, to_astra, to_tigre
from diffusionblend.geometry.turning import turns_wholly

TURN = tuple(np.linspace(0, 2 * math.pi, 36, endpoint=False))
FROM_SOURCE = {"source_to_axis_mm": 60.0, "source_to_detector_mm": 90.0}
SHARED = {"angles_rad": TURN, "n_columns": 40, "column_mm": 1.0}
CONE = ConeBeam(**SHARED, **FROM_SOURCE, n_rows=10, row_mm=2.0)
GRID = Grid(shape=(4, 20, 20), spacing_mm=(1.0, 1.0, 1.0))


JITTER = np.random.default_rng(0).normal(0, 1e-5, 72)


@pytest.mark.parametrize(
    ("angles", "whole"),
    [
        (TURN, True),
        (TURN[::-1], True),
        ((*TURN, 2 * math.pi), True),
        (tuple(np.arange(200) * 2.39996), True),  # golden angles
        (TURN[:35], True),
        (tuple(np.radians(np.r_[0:90:0.5, 90:360:5])), True),  # denser in one part
        (tuple(np.linspace(0, 4 * math.pi, 72, endpoint=False) + JITTER), True),  # two turns
        (tuple(np.radians(np.r_[0:100, 160:260])), False),  # two arcs are missing
        (TURN[:30], False),
        (TURN[:18], False),
        ((0.0, math.pi), False),
        ((0.0,), False),
    ],
)
def test_a_whole_turn(angles, whole):
    assert turns_wholly(angles) == whole


@pytest.mark.parametrize("shift", [-12.0, 12.0, 7.3])
@pytest.mark.parametrize(
    "geometry",
    [
        ParallelBeam(**SHARED),
        FanBeam(**SHARED, **FROM_SOURCE),
        FanBeam(**SHARED, **FROM_SOURCE, axis_shift_mm=2.0),
        FanBeam(**SHARED, **FROM_SOURCE, axis_shift_mm=2.0, curved=True),
        CONE,
    ],
)
def test_the_other_side_is_measured_from_across(geometry, shift):
    scan = replace(geometry, detector_shift_mm=shift)
    wide = scan.with_opposite_rays()
    columns, of_wide = scan.column_positions_mm, wide.column_positions_mm
    assert wide.n_columns > scan.n_columns
    first = int(np.abs(of_wide - columns[0]).argmin())
    np.testing.assert_allclose(of_wide[first : first + len(columns)], columns, atol=1e-9)
    ends = of_wide[[0, -1]] - wide.axis_position_mm
    assert abs(ends.sum()) < 1.0 + 1e-9  # as far to both sides, to a column
    assert wide.with_opposite_rays() is wide
    arc = replace(scan, angles_rad=TURN[:20])
    assert arc.with_opposite_rays() is arc


def test_an_axis_beyond_the_detector_is_measured_nowhere():
    beyond = ParallelBeam(**SHARED, detector_shift_mm=25.0)
    assert beyond.with_opposite_rays() is beyond


@pytest.mark.parametrize("scan", [ParallelBeam(**SHARED), FanBeam(**SHARED, **FROM_SOURCE), CONE])
def test_a_ray_counts_as_measured_where_its_opposite_is(scan):
    offset = replace(scan, detector_shift_mm=15.0)
    grid = Grid(shape=(1, 40, 40), spacing_mm=(0.5, 0.5, 0.5))
    assert truncated_fraction(offset, grid) == 0
    assert truncated_fraction(replace(offset, angles_rad=TURN[:18]), grid) > 0.2


def test_a_subclass_is_left_as_it_is():
    class Wobbling(ParallelBeam, name="wobbling"):
        pass

    odd = Wobbling(**SHARED, detector_shift_mm=12.0)
    assert odd.with_opposite_rays() is odd


# ---- a source beside the middle of the volume


def test_the_source_s_plane_is_a_matter_of_the_frame():
    lifted = replace(CONE, source_lift_mm=-7.0, detector_lift_mm=1.5)
    same = replace(CONE, detector_lift_mm=8.5).to_vectors().moved(0.0, 0.0, 7.0)
    found = lifted.to_vectors()
    for name in ("sources_mm", "detectors_mm", "column_steps_mm", "row_steps_mm"):
        np.testing.assert_allclose(getattr(found, name), getattr(same, name), atol=1e-9)
    np.testing.assert_allclose(lifted.source_positions_mm()[:, 2], -7.0)


def test_it_is_kept_and_passed_to_others():
    lifted = replace(CONE, source_lift_mm=-7.0, detector_lift_mm=1.5)
    assert Geometry.from_dict(lifted.to_dict()) == lifted
    assert to_astra(lifted, GRID)["proj_geom"]["type"] == "cone_vec"
    back, grid = from_tigre(to_tigre(lifted, GRID))
    assert grid == GRID
    np.testing.assert_allclose(back.to_vectors().sources_mm, lifted.to_vectors().sources_mm)
    np.testing.assert_allclose(back.to_vectors().detectors_mm, lifted.to_vectors().detectors_mm)
