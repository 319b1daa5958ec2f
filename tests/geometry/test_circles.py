"""Vectors that are a circle are the cone beam that made them; others are none."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from diffusionblend.geometry import ConeBeam, ParallelBeam
from diffusionblend.geometry.circles import cone_of

CONE = ConeBeam(
    angles_rad=tuple(0.3 + np.arange(24) * 2 * math.pi / 24),
    n_columns=40,
    column_mm=1.2,
    detector_shift_mm=5.0,
    source_to_axis_mm=80.0,
    source_to_detector_mm=130.0,
    axis_shift_mm=-2.0,
    n_rows=20,
    row_mm=0.9,
    detector_lift_mm=3.0,
    source_lift_mm=-1.5,
)


@pytest.mark.parametrize(
    "cone", [CONE, replace(CONE, angles_rad=CONE.angles_rad[::-1]), replace(CONE, axis_shift_mm=0)]
)
def test_a_circle_comes_back(cone):
    found = cone_of(cone.to_vectors())
    for name, value in cone.to_dict().items():
        if name == "angles_rad":
            assert np.ptp(np.array(found.angles_rad) - value) < 1e-9
        elif name != "type":
            assert getattr(found, name) == pytest.approx(value, abs=1e-9), name
    assert np.allclose(found.to_vectors().sources_mm, cone.to_vectors().sources_mm)


def test_what_is_no_circle_about_z():
    vectors = CONE.to_vectors()
    wobbling = np.array(vectors.sources_mm)
    wobbling[3, 0] += 0.01
    flipped = -np.array(vectors.column_steps_mm)
    for other in (
        vectors.tilted(0.01),
        vectors.moved(0.5, 0.0, 0.0),
        replace(vectors, sources_mm=tuple(map(tuple, wobbling))),
        replace(vectors, column_steps_mm=tuple(map(tuple, flipped))),
        ParallelBeam(angles_rad=(0.0, 1.0), n_columns=8, column_mm=1.0).to_vectors(4, 1.0),
    ):
        assert cone_of(other) is None
