"""A helix rebinned to fans of slices, by balls' exact integrals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analytic import Ellipsoid, rays_of_helix
from diffusionblend import reconstruct
from diffusionblend.data.projections import Projections
from diffusionblend.errors import InputError
from diffusionblend.geometry import FanBeam, Helix
from diffusionblend.geometry.grid import Grid
from diffusionblend.preprocessing.fan_slices import fan_slices

BALL = Ellipsoid(centre_mm=(12.0, -7.0, 3.0), semi_axes_mm=(9, 9, 9), value=0.02)
GRID = Grid(shape=(24, 48, 48), spacing_mm=(1.5, 1.5, 1.5))
SOURCE = {"source_to_axis_mm": 220.0, "source_to_detector_mm": 360.0}


def helix(views=90, pitch_mm=12.0, **options) -> Helix:
    return Helix.fitting(
        GRID, views, pitch_mm=pitch_mm, n_rows=16, start_mm=-24.0 * np.sign(pitch_mm),
        **SOURCE, **options,
    )  # fmt: skip


def scan_of(geometry: Helix) -> Projections:
    lines = BALL.line_integrals(*rays_of_helix(geometry)).astype(np.float32)
    return Projections(lines, geometry, GRID, 0.02, {"photons": 1e5})


@pytest.mark.parametrize(
    "geometry",
    [
        helix(),
        helix(curved=True),
        helix(pitch_mm=-12.0, start_rad=1.0),
        replace(helix(), angles_rad=tuple(np.array(helix().angles_rad) * 90 / 89.4)),
        replace(helix(), detector_shift_mm=3.0, axis_shift_mm=1.5, detector_lift_mm=0.8),
    ],
    ids=["flat", "curved", "downwards", "no whole number of views", "aside"],
)
def test_a_ball_comes_back_by_slices(geometry):
    fans = fan_slices(scan_of(geometry))
    assert isinstance(fans.geometry, FanBeam) and "photons" not in fans.notes
    volume = reconstruct(fans, "fbp").volume
    mu = 0.02 * (1 + volume.values / 1000)
    z = np.arange(GRID.shape[0]) * 1.5
    first = round((volume.grid.origin_mm[2] - GRID.origin_mm[2]) / 1.5)
    z = (z - z.mean())[first : first + len(mu)]
    y = (np.arange(48) - 23.5) * 1.5
    apart = np.sqrt((z[:, None, None] - 3) ** 2 + (y[:, None] + 7) ** 2 + (y - 12) ** 2)
    inside, outside = mu[apart < 6], mu[apart > 13]
    assert len(inside) > 200
    np.testing.assert_allclose(inside.mean(), 0.02, rtol=0.01)
    assert inside.std() < 0.03 * 0.02 and np.abs(outside).mean() < 0.01 * 0.02


def test_what_cannot_be_rebinned():
    scan = scan_of(helix())
    with pytest.raises(InputError, match="FanBeam"):
        fan_slices(fan_slices(scan))
    spots = tuple((0.1, 0.0, 0.0) for _ in scan.geometry.angles_rad)
    with pytest.raises(InputError, match="flying focal spot"):
        fan_slices(replace(scan, geometry=replace(scan.geometry, spot_offsets_mm=spots)))
    with pytest.raises(InputError, match="left out"):
        fan_slices(replace(scan, measured=np.arange(scan.values.size).reshape(scan.shape) > 0))
    with pytest.raises(InputError, match=r"pitch of 40 mm .* by 6\.6 rows"):
        fan_slices(replace(scan, geometry=replace(scan.geometry, pitch_mm=40.0)))
    with pytest.raises(InputError, match="passes no slice by half a turn"):
        fan_slices(scan[:80])
