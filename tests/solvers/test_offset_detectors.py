"""Redundancy weights of detectors beside the axis, over a whole turn."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from analytic import Ellipse
from diffusionblend.geometry import FanBeam, ParallelBeam
from diffusionblend.geometry.grid import Grid
from diffusionblend.solvers.filtered_back_projection import filtered_back_projection
from diffusionblend.solvers.filters import turn_weights, with_opposite_columns

TURN = tuple(np.linspace(0, 2 * math.pi, 180, endpoint=False))
GRID = Grid(shape=(1, 80, 80), spacing_mm=(1.0, 1.0, 1.0))
ELLIPSE = Ellipse(x_mm=6, y_mm=-9, a_mm=24, b_mm=17, turn_rad=0.5, value=0.02)


@pytest.mark.parametrize("short", [0.01, 0.05, 0.15, 0.24, 0.2499, 0.25])
@pytest.mark.parametrize("sign", [1, -1])
def test_both_measurements_of_a_line_count_once_and_smoothly(short, sign):
    places = np.sort(sign * np.linspace(-short, 0.25, 2001))
    shares = turn_weights(TURN, places)[0] / (2 * math.pi / len(TURN))
    both = np.interp(-places, places, shares, left=0, right=0)
    seen_twice = np.abs(places) < short
    np.testing.assert_allclose((shares + both)[seen_twice], 1, atol=1e-3)
    np.testing.assert_allclose(shares[np.abs(places) > short], 1)
    assert (shares >= 0).all() and (shares <= 1).all()
    if short < 0.249:  # no step, even at the end of what is seen twice
        assert np.abs(np.diff(shares)).max() < 0.05


def test_an_even_detector_shares_evenly():
    np.testing.assert_allclose(turn_weights(TURN, np.linspace(-0.2, 0.2, 41)), math.pi / len(TURN))


def scans(curved):
    shared = {"angles_rad": TURN, "n_columns": 46, "column_mm": 1.0, "detector_shift_mm": 14.0}
    return [
        ParallelBeam(**shared),
        FanBeam(**shared, source_to_axis_mm=200.0, source_to_detector_mm=210.0, curved=curved),
    ]


def rays_of(scan):
    """Angle and position of every column's ray at view angle 0, (column,) each."""
    if isinstance(scan, ParallelBeam):
        return np.zeros(scan.n_columns), scan.column_positions_mm
    return -scan.fan_angles_rad, scan.source_to_axis_mm * np.sin(scan.fan_angles_rad)


def lines_of(scan, body):
    """Analytic line integrals (view, 1, column); a fan's ray at angle g is (t - g, R sin g)."""
    turned, position = rays_of(scan)
    angles = np.array(scan.angles_rad)[:, None] + turned
    values = np.zeros(angles.shape)
    for k in range(angles.shape[1]):
        values[:, k] = body.line_integrals(angles[:, k], position[k : k + 1])[:, 0]
    return torch.from_numpy(values[:, None].astype(np.float32))


@pytest.mark.parametrize("mirrored", [1, -1])
@pytest.mark.parametrize("scan", [*scans(False), scans(True)[1]], ids=["parallel", "fan", "arc"])
def test_an_ellipse_off_the_axis_is_uniform(scan, mirrored):
    scan = replace(scan, detector_shift_mm=mirrored * scan.detector_shift_mm)
    found = filtered_back_projection(lines_of(scan, ELLIPSE), scan, GRID)[0].numpy()
    y, x = (np.indices(found.shape) - 39.5) * 1.0
    c, s = math.cos(ELLIPSE.turn_rad), math.sin(ELLIPSE.turn_rad)
    dx, dy = x - ELLIPSE.x_mm, y - ELLIPSE.y_mm
    radius = np.hypot((dx * c + dy * s) / ELLIPSE.a_mm, (dy * c - dx * s) / ELLIPSE.b_mm)
    np.testing.assert_allclose(found[radius < 0.85], 0.02, atol=0.0008)
    outside = (radius > 1.2) & (np.hypot(x, y) < 34)
    np.testing.assert_allclose(found[outside], 0, atol=0.002)
    assert abs(found[outside].mean()) < 1e-4 and abs(found[radius < 0.85].mean() - 0.02) < 1e-4


def test_room_for_the_opposite_rays():
    scan = scans(False)[0]
    y = torch.ones(2, 1, scan.n_columns)
    padded, wide = with_opposite_columns(y, scan)
    assert padded.shape[-1] == wide.n_columns == scan.n_columns + 28
    assert padded[0, 0, :28].sum() == 0 and padded[0, 0, 28:].sum() == scan.n_columns
    even = replace(scan, detector_shift_mm=0.0)
    assert with_opposite_columns(y, even)[1] is even
