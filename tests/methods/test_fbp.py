"""FBP as a method: HU in the right scale, and the residual of what it returns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analytic import Ellipse
from diffusionblend.data.projections import Projections
from diffusionblend.geometry import ParallelBeam
from diffusionblend.geometry.grid import Grid
from diffusionblend.methods.api import reconstruct
from small_scan import MU_WATER, residual_by_hand, scan, small_volume


def disc_scan(hu: float, pixel_mm: float = 1.5) -> Projections:
    """Exact projections of a disc of radius 16 pixels, in air, 48 x 48 pixels, 3 slices."""
    grid = Grid(shape=(3, 48, 48), spacing_mm=(2.0, pixel_mm, pixel_mm))
    beam = ParallelBeam.fitting(grid, 120)
    r = 16 * pixel_mm
    disc = Ellipse(x_mm=0, y_mm=0, a_mm=r, b_mm=r, value=MU_WATER * (1 + hu / 1000))
    lines = disc.column_means(np.array(beam.angles_rad), beam.column_positions_mm, beam.column_mm)
    return Projections(np.repeat(lines[:, None], 3, axis=1), beam, grid, MU_WATER)


@pytest.mark.parametrize("window", ["ram-lak", "hann"])
@pytest.mark.parametrize("hu", [0.0, 800.0])
def test_a_disc_comes_back_in_hu(window: str, hu: float) -> None:
    seen = []
    result = reconstruct(
        disc_scan(hu), "fbp", window=window, on_step=lambda *done: seen.append(done)
    )
    y, x = np.indices((48, 48)) - 23.5
    radius = np.hypot(x, y)
    for image in result.volume.values:
        assert image[radius < 13].mean() == pytest.approx(hu, abs=15)
        assert image[(radius > 18) & (radius < 22)].mean() == pytest.approx(-1000, abs=15)
    assert seen == [(1, 1)]
    assert result.network_evaluations == 0
    assert result.network_share == 0
    assert result.seconds["total"] > 0


def test_the_residual_is_that_of_the_volume_returned() -> None:
    projections = scan(small_volume())
    result = reconstruct(projections, "fbp")
    assert result.volume.grid == projections.grid
    expected = residual_by_hand(projections, result.volume.values)
    assert result.relative_residual == pytest.approx(expected, rel=1e-4)
    assert 0.01 < expected < 2


def test_the_water_value_sets_the_scale() -> None:
    projections = disc_scan(0.0)
    half = reconstruct(replace(projections, mu_water_per_mm=2 * MU_WATER), "fbp")
    assert half.volume.values[1, 20:28, 20:28].mean() == pytest.approx(-500, abs=10)
