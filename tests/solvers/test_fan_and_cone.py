"""FBP of fans and FDK of cones against analytic balls, and the weights of rays measured twice."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.io import loadmat

from analytic import Ellipsoid, panel_rays
from diffusionblend.errors import InputError
from diffusionblend.geometry import ConeBeam, FanBeam, ParallelBeam, equally_spaced_angles
from diffusionblend.geometry.checks import lacks_opposite_rays
from diffusionblend.geometry.grid import Grid
from diffusionblend.solvers.fdk import feldkamp_davis_kress
from diffusionblend.solvers.filtered_back_projection import filtered_back_projection
from diffusionblend.solvers.filters import WINDOWS, turn_weights

N = 64
VALUE = 0.02
DISC = Ellipsoid(centre_mm=(7, -5, 0), semi_axes_mm=(17, 17, math.inf), value=VALUE)
BALL = Ellipsoid(centre_mm=(3, -2, 1), semi_axes_mm=(15, 15, 15), value=VALUE)
GRID = Grid(shape=(1, N, N), spacing_mm=(1, 1, 1))
PARTS = (np.arange(4) + 0.5) / 4 - 0.5


def column_means(body: Ellipsoid, geometry: FanBeam | ConeBeam) -> torch.Tensor:
    """Line integrals averaged over every column's width, (view, row, column)."""
    positions = (geometry.column_positions_mm[:, None] + PARTS * geometry.column_mm).ravel()
    rays = panel_rays(
        geometry.angles_rad,
        positions,
        getattr(geometry, "row_positions_mm", np.zeros(1)),
        geometry.source_to_axis_mm,
        geometry.source_to_detector_mm,
        axis_shift_mm=geometry.axis_shift_mm,
        curved=getattr(geometry, "curved", False),
    )
    lines = body.line_integrals(*rays)
    return torch.from_numpy(lines.reshape(*lines.shape[:2], -1, len(PARTS)).mean(-1)).float()


def fan(arc_degrees=360.0, n_views=240, **options) -> FanBeam:
    angles = equally_spaced_angles(n_views, arc_degrees)
    geometry = FanBeam.fitting(
        GRID,
        angles_rad=angles,
        source_to_axis_mm=120.0,
        source_to_detector_mm=180.0,
        curved=options.pop("curved", False),
    )
    return replace(geometry, **options)


def assert_disc_comes_back(geometry: FanBeam, tolerance: float = 0.02, window="ram-lak") -> None:
    image = filtered_back_projection(column_means(DISC, geometry), geometry, GRID, window=window)[0]
    coverage = torch.from_numpy(DISC.picture((1, N, N), (1, 1, 1))[0])
    smaller = replace(DISC, semi_axes_mm=(14, 14, math.inf), value=1)
    inside = torch.from_numpy(smaller.picture((1, N, N), (1, 1, 1))[0]) == 1
    y, x = torch.meshgrid(*[torch.arange(N) - (N - 1) / 2] * 2, indexing="ij")
    outside = (coverage == 0) & (torch.hypot(x, y) < N / 2 - 1)
    assert float(image[inside].mean()) == pytest.approx(VALUE, rel=0.3 * tolerance)
    assert float((image[inside] - VALUE).abs().max()) < tolerance * VALUE
    assert float(image[outside].mean()) == pytest.approx(0, abs=0.5 * tolerance * VALUE)


@pytest.mark.parametrize("curved", [False, True])
@pytest.mark.parametrize("window", WINDOWS)
def test_a_disc_comes_back_from_a_full_scan(curved, window):
    assert_disc_comes_back(fan(curved=curved), window=window)


@pytest.mark.parametrize("curved", [False, True])
@pytest.mark.parametrize("arc_degrees", [230.0, 270.0, 330.0])
def test_a_disc_comes_back_from_a_short_scan(curved, arc_degrees):
    """Half a turn and the fan are 224 degrees here."""
    reach = np.abs(fan(curved=curved).fan_angles_rad).max()
    assert 180 + 2 * math.degrees(reach) < 230
    assert_disc_comes_back(fan(arc_degrees, curved=curved))


def test_a_disc_comes_back_whatever_the_first_angle_and_the_order():
    geometry = fan(250.0)
    angles = np.random.default_rng(0).permutation(np.array(geometry.angles_rad)) + 2.0
    assert_disc_comes_back(replace(geometry, angles_rad=angles))


@pytest.mark.parametrize("curved", [False, True])
@pytest.mark.parametrize("arc_degrees", [240.0, 360.0])
def test_a_disc_comes_back_with_its_axis_aside(curved, arc_degrees):
    geometry = fan(arc_degrees, curved=curved)
    wider = replace(geometry, n_columns=geometry.n_columns + 16)
    assert_disc_comes_back(replace(wider, axis_shift_mm=4.0, detector_shift_mm=2.0))


def test_a_detector_far_aside_needs_a_full_scan_only():
    geometry = fan()
    long = replace(geometry, n_columns=round(0.75 * geometry.n_columns))
    aside = replace(
        long, detector_shift_mm=(geometry.n_columns - long.n_columns) / 2 * geometry.column_mm
    )
    assert_disc_comes_back(aside, tolerance=0.04)


ASIDE = Ellipsoid(centre_mm=(10, 3, 0), semi_axes_mm=(8, 8, 8), value=VALUE)


def aside(kind, start_degrees, arc_degrees):
    """A detector that reaches 12 mm to one side of the axis, 48 to the other, and its scan."""
    common = {
        "angles_rad": tuple(np.radians(start_degrees + np.arange(0, arc_degrees, 3.0))),
        "n_columns": 40,
        "column_mm": 1.5,
        "detector_shift_mm": 18.0,
    }
    source = {"source_to_axis_mm": 120.0, "source_to_detector_mm": 180.0}
    if kind == "parallel":
        beam = replace(ParallelBeam(**common), column_mm=1.0, detector_shift_mm=12.0)
        far = {"source_to_axis_mm": 1e6, "source_to_detector_mm": 1e6}
        t = np.array(beam.angles_rad)
        p, d = panel_rays(t, beam.column_positions_mm, np.zeros(1), **far)
        return beam, ASIDE.line_integrals(p, d).astype(np.float32)
    geometry = FanBeam(**common, **source)
    if kind == "cone":
        geometry = ConeBeam(**common, **source, n_rows=21, row_mm=1.5)
    return geometry, column_means(ASIDE, geometry).numpy()


def value_in(ball: Ellipsoid, image: np.ndarray) -> float:
    """The mean over the inner 0.6 of a ball's radius, in the slice z = 0."""
    y, x = np.indices(image.shape) - (N - 1) / 2
    r = np.hypot(x - ball.centre_mm[0], y - ball.centre_mm[1])
    return float(image[r < 0.6 * ball.semi_axes_mm[0]].mean())


@pytest.mark.parametrize("kind", ["parallel", "fan", "cone"])
@pytest.mark.parametrize("start_degrees", [0.0, 90.0, 180.0, 270.0])
def test_a_detector_aside_over_an_arc_is_right_or_refused(kind, start_degrees):
    """Without regard to the detector a fan gave 0.0200 to 0.0258."""
    right = []
    for arc_degrees in (225.0, 270.0, 300.0):
        geometry, lines = aside(kind, start_degrees, arc_degrees)
        image = filtered_back_projection(torch.from_numpy(lines), geometry, GRID)[0].numpy()
        if not lacks_opposite_rays(lines, geometry):
            right.append(value_in(ASIDE, image))
    assert right == pytest.approx([VALUE] * len(right), rel=0.015)
    assert len(right) == {0.0: 0, 90.0: 0, 180.0: 1, 270.0: 3}[start_degrees]


@pytest.mark.parametrize("reach_mm", [22.9, 23.8, 24.6, 25.3, 27.5])
def test_an_object_that_ends_just_within_a_detector_aside_is_seen(reach_mm):
    """The last column is 24 to 25.6 mm from the axis."""
    place_mm = math.hypot(6, 4)
    radius_mm = 100 * math.sin(math.atan(reach_mm / 160)) - place_mm
    ball = Ellipsoid(centre_mm=(6, -4, 0), semi_axes_mm=(radius_mm,) * 3, value=VALUE)
    geometry = FanBeam(
        angles_rad=tuple(np.radians(np.arange(0, 270, 3.0))),
        n_columns=64,
        column_mm=1.6,
        detector_shift_mm=25.6,
        source_to_axis_mm=100.0,
        source_to_detector_mm=160.0,
    )
    lines = column_means(ball, geometry).numpy()
    assert lacks_opposite_rays(lines, geometry) == (reach_mm > 25.6)


def test_an_irregular_turn():
    turns = np.linspace(0, 1, 400, endpoint=False)
    geometry = fan(n_views=400)
    uneven = 2 * np.pi * (turns + 0.05 * np.sin(2 * np.pi * turns))
    assert_disc_comes_back(replace(geometry, angles_rad=uneven), tolerance=0.03)


@pytest.mark.parametrize("arc_degrees", [150.0, 200.0, 230.0, 300.0, 360.0])
def test_a_line_counts_once_however_often_it_is_measured(arc_degrees):
    """Shares of (t, g) and (t + pi - 2 g, -g) sum to 1 where both are measured, else are 1."""
    n, arc = 360, math.radians(arc_degrees)
    fan_rad = np.radians(np.arange(-22, 23, dtype=float))
    angles = equally_spaced_angles(n, arc_degrees)
    share = turn_weights(angles, fan_rad) / (arc / n)
    turned = (np.arange(n) + 0.5) * arc / n
    short = arc < math.pi + 2 * fan_rad.max()
    checked = 0
    for b, g in enumerate(fan_rad):
        partner = np.mod(turned + math.pi - 2 * g, 2 * math.pi)
        nearest = partner / arc * n - 0.5
        met = (nearest >= 0) & (nearest <= n - 1)
        if arc_degrees == 360.0:
            nearest, met = np.clip(nearest, 0, n - 1), np.ones(n, dtype=bool)
        mirrored = share[:, len(fan_rad) - 1 - b]
        together = share[:, b] + np.interp(nearest, np.arange(n), mirrored)
        np.testing.assert_allclose(together[met], 1, atol=0.06)
        if short:
            np.testing.assert_allclose(share[~met, b], 1, atol=0.05)
        checked += met.sum()
    assert checked > (0 if arc_degrees < 160 else 1000)
    assert share.min() >= 0 and share.max() <= 1 + 1e-6


def test_a_limited_arc_without_repeats_weighs_every_view_alike():
    fan_rad = np.radians(np.linspace(-20, 20, 21))
    weights = turn_weights(equally_spaced_angles(60, 90), fan_rad)
    np.testing.assert_allclose(weights, math.radians(90) / 60, rtol=1e-6)


def cone(arc_degrees=360.0, n_views=90, **options) -> ConeBeam:
    geometry = {
        "angles_rad": equally_spaced_angles(n_views, arc_degrees),
        "n_rows": 48,
        "row_mm": 1.6,
        "n_columns": 84,
        "column_mm": 1.5,
        "source_to_axis_mm": 150.0,
        "source_to_detector_mm": 225.0,
    }
    return ConeBeam(**(geometry | options))


@pytest.mark.parametrize(
    "geometry",
    [
        cone(),
        cone(240.0),
        cone(axis_shift_mm=3.0, detector_shift_mm=-2.0, detector_lift_mm=4.0),
        cone(n_views=180, n_columns=56, detector_shift_mm=21.0),
    ],
    ids=["whole turn", "short scan", "shifted", "to one side of the axis"],
)
def test_a_ball_comes_back(geometry):
    shape = (24, 44, 44)
    grid = Grid(shape=shape, spacing_mm=(1, 1, 1))
    volume = feldkamp_davis_kress(column_means(BALL, geometry), geometry, grid).numpy()
    smaller = replace(BALL, semi_axes_mm=(12, 12, 12), value=1)
    inside = smaller.picture(shape, (1, 1, 1)) == 1
    assert volume[inside].mean() == pytest.approx(VALUE, rel=0.01)
    middle = inside.copy()
    middle[:10] = middle[14:] = False
    assert np.abs(volume[middle] - VALUE).max() < 0.02 * VALUE
    larger = replace(BALL, semi_axes_mm=(18, 18, 18), value=1)
    y, x = np.indices(shape[1:]) - 21.5
    outside = (larger.picture(shape, (1, 1, 1)) == 0) & (np.hypot(x, y) < 21)
    assert abs(volume[outside].mean()) < 0.01 * VALUE


def test_fdk_of_one_row_is_the_fan():
    """In the plane of the source's circle both are the same sum, also with uneven voxels."""
    grid = Grid(shape=(1, 30, 24), spacing_mm=(2.0, 1.0, 1.3))
    geometry = cone(n_rows=1, n_views=40)
    flat = FanBeam(
        angles_rad=geometry.angles_rad,
        n_columns=84,
        column_mm=1.5,
        source_to_axis_mm=150.0,
        source_to_detector_mm=225.0,
    )
    y = torch.rand(40, 1, 84, generator=torch.Generator().manual_seed(0))
    ours = filtered_back_projection(y, geometry, grid)
    expected = filtered_back_projection(y, flat, grid)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["parallel", "fan", "curved"])
def test_back_projection_by_kernel_is_that_of_the_matrix(kind, monkeypatch):
    grid = Grid(shape=(3, 30, 24), spacing_mm=(2.0, 1.0, 1.3))
    if kind == "parallel":
        geometry = ParallelBeam(
            angles_rad=equally_spaced_angles(13), n_columns=30, column_mm=1.1, detector_shift_mm=0.7
        )
    else:
        geometry = fan(n_views=13, curved=kind == "curved", n_columns=40, axis_shift_mm=2.0)
    shape = (13, 3, geometry.n_columns)
    y = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    by_matrix = filtered_back_projection(y, geometry, grid)
    monkeypatch.setattr("diffusionblend.solvers.filtered_back_projection.MATRIX_READINGS", 0)
    by_kernel = filtered_back_projection(y, geometry, grid)
    scale = by_matrix.abs().max()
    torch.testing.assert_close(by_kernel / scale, by_matrix / scale, rtol=0, atol=1e-5)


def test_a_measured_disc_looks_as_its_owners_reconstructed_it(shared_data):
    """Object 01a of the Helsinki Tomography Challenge 2022, all views, against the FBP supplied.

    Its y points up, so that ours is upside down; its values are per pixel of 0.1483 mm.
    """
    folder = shared_data / "projections" / "htc2022"
    scan = loadmat(folder / "htc2022_01a_full.mat", simplify_cells=True)["CtDataFull"]
    reference = loadmat(folder / "htc2022_01a_recon_fbp.mat")["reconFullFbp"][::-1]
    parameters = scan["parameters"]
    geometry = FanBeam(
        angles_rad=np.radians(parameters["angles"]),
        n_columns=parameters["numDetectorsPost"],
        column_mm=parameters["pixelSizePost"],
        source_to_axis_mm=parameters["distanceSourceOrigin"],
        source_to_detector_mm=parameters["distanceSourceDetector"],
    )
    pixel_mm = parameters["effectivePixelSizePost"]
    grid = Grid(shape=(1, 512, 512), spacing_mm=(1, pixel_mm, pixel_mm))
    y = torch.from_numpy(scan["sinogram"][:, None].astype(np.float32))
    found = filtered_back_projection(y, geometry, grid)[0].numpy()
    assert np.corrcoef(found.ravel(), reference.ravel())[0, 1] > 0.9999
    body = reference > 0.5 * reference.max()
    assert found[body].mean() * pixel_mm == pytest.approx(reference[body].mean(), rel=0.02)


def test_an_unknown_window():
    with pytest.raises(InputError, match="'boxcar'"):
        feldkamp_davis_kress(torch.zeros(90, 48, 84), cone(), GRID, window="boxcar")


@pytest.mark.parametrize("geometry", [fan(), cone()], ids=["fan", "cone"])
def test_a_source_inside_the_volume_is_an_error(geometry):
    wide = Grid(shape=(2, 600, 600), spacing_mm=(1, 1, 1))
    rows = 2 if isinstance(geometry, FanBeam) else geometry.n_rows
    with pytest.raises(InputError, match="inside the volume"):
        filtered_back_projection(
            torch.zeros(geometry.n_views, rows, geometry.n_columns), geometry, wide
        )
