"""An axis that leans along the beam: a ball comes back in its place, analytic methods refuse."""

from __future__ import annotations

import numpy as np
import pytest

from analytic import Ellipsoid
from diffusionblend import reconstruct
from diffusionblend.data.raw_scan import RawScan
from diffusionblend.errors import InputError
from diffusionblend.geometry import ConeBeam, VectorGeometry
from diffusionblend.preprocessing.prepare import prepare_scan
from diffusionblend.preprocessing.settings import PrepareSettings

VIEWS, ROWS, COLUMNS, PIXEL_MM, DEGREES = 30, 24, 32, 2.0, 25.0
PLANE_ROW, AXIS_COLUMN = 10.0, 16.5
BALL = Ellipsoid(centre_mm=(5.0, -4.0, 2.0), semi_axes_mm=(10, 10, 8), value=0.02)
"""From where the axis meets the plane of the source; the axis is z."""
CONE = {"source_to_axis_mm": 200.0, "source_to_detector_mm": 260.0}
STATED = PrepareSettings(
    axis_tilt_degrees=DEGREES,
    centre_column=AXIS_COLUMN,
    centre_row=PLANE_ROW,
    column_mm=PIXEL_MM,
    mu_water_per_mm=0.02,
)
pytestmark = pytest.mark.filterwarnings("ignore:The detector is too small")


def leaning_scan(**distances) -> RawScan:
    """A scan in the laboratory: the beam along y, columns along x, rows along z; the object turns
    clockwise about an axis in the plane of y and z, that leans against z.
    """
    lean = np.radians(DEGREES)
    axis = np.array((0.0, np.sin(lean), np.cos(lean)))
    # against what a beam that goes up along an upright axis sees: the same angle between them
    to_axis, to_detector = (distances.get(name, 100.0) for name in CONE)
    x, z = np.meshgrid(
        (np.arange(COLUMNS) - AXIS_COLUMN) * PIXEL_MM, (np.arange(ROWS) - PLANE_ROW) * PIXEL_MM
    )
    pixels = np.stack([x, np.full_like(x, to_detector - to_axis), z], axis=-1)
    source = np.array((0.0, -to_axis, 0.0))
    rays = pixels - source if distances else np.broadcast_to((0.0, 1.0, 0.0), pixels.shape)
    upright = np.stack([(1.0, 0.0, 0.0), np.cross(axis, (1.0, 0.0, 0.0)), axis])
    angles = 2 * np.pi * np.arange(VIEWS) / VIEWS
    lines = []
    for angle in angles:
        c, s = np.cos(angle), np.sin(angle)
        to_object = np.array(((c, -s, 0.0), (s, c, 0.0), (0.0, 0.0, 1.0))) @ upright
        lines.append(BALL.line_integrals(pixels @ to_object.T, rays @ to_object.T))
    return RawScan(data=np.stack(lines), values="lines", angles_rad=angles, **distances)


@pytest.mark.parametrize("distances", [CONE, {}], ids=["cone", "parallel"])
def test_a_ball_comes_back_from_under_a_leaning_axis(distances):
    done = prepare_scan(leaning_scan(**distances), STATED)
    scan = done.projections
    assert isinstance(scan.geometry, VectorGeometry)
    assert "leans along the beam" in " ".join(done.correction.notes)
    volume = reconstruct(scan, "sirt", iterations=60).volume
    grid = volume.grid
    starts = zip(grid.origin_mm[::-1], grid.shape, grid.spacing_mm, strict=True)
    z, y, x = np.meshgrid(*(o + np.arange(n) * s for o, n, s in starts), indexing="ij")
    apart = [
        (a - c) / s for a, c, s in zip((x, y, z), BALL.centre_mm, BALL.semi_axes_mm, strict=True)
    ]
    reach = np.sqrt(sum(a**2 for a in apart))
    mu = 0.02 * (1 + volume.values / 1000)
    assert (reach < 0.6).sum() > 60
    np.testing.assert_allclose(mu[reach < 0.6].mean(), 0.02, rtol=0.02)
    assert mu[reach < 0.6].std() < 0.05 * 0.02 and mu[reach > 1.4].mean() < 0.02 * 0.02
    bright = np.where(mu > 0.01, mu, 0.0)
    middle = [(bright * a).sum() / bright.sum() for a in (x, y, z)]
    np.testing.assert_allclose(middle, BALL.centre_mm, atol=0.3)
    with pytest.raises(InputError, match="VectorGeometry"):
        reconstruct(scan, "fbp")


def test_what_a_leaning_axis_needs():
    scan = leaning_scan(**CONE)
    with pytest.raises(InputError, match="column of the axis is not known"):
        prepare_scan(scan, PrepareSettings(axis_tilt_degrees=DEGREES, column_mm=PIXEL_MM))
    fan = {"centre_column": AXIS_COLUMN, "column_mm": PIXEL_MM, "geometry": "fan"}
    with pytest.raises(InputError, match="fan beam was given with an axis that leans"):
        prepare_scan(scan, PrepareSettings(axis_tilt_degrees=DEGREES, **fan))
    with pytest.raises(InputError, match="axis_tilt_degrees is 90"):
        PrepareSettings(axis_tilt_degrees=90.0)


@pytest.mark.parametrize("radians", [30.0, -np.pi / 2, np.nan])
def test_degrees_that_are_taken_for_radians(radians):
    vectors = ConeBeam(angles_rad=(0.0,), n_columns=4, column_mm=1.0, n_rows=2, row_mm=1.0, **CONE)
    with pytest.raises(InputError, match=r"(?s)radians, which is .* degrees.*-1\.571 and 1\.571"):
        vectors.to_vectors().tilted(radians)


def test_no_tilt_leaves_the_vectors():
    cone = ConeBeam(angles_rad=(0.3, 2.0), n_columns=4, column_mm=1.0, n_rows=3, row_mm=2.0, **CONE)
    vectors = cone.to_vectors()
    np.testing.assert_allclose(vectors.tilted(0.0).sources_mm, vectors.sources_mm, atol=1e-12)
    up = np.array(vectors.tilted(np.pi / 6).central_rays())
    assert (up[:, 2] / np.linalg.norm(up, axis=1)) == pytest.approx(0.5)
