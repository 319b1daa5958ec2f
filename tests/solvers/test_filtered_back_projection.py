"""Filtered back-projection against analytic discs and scikit-image."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from analytic import Ellipse
from diffusionblend.errors import InputError
from diffusionblend.geometry import ConeBeam, ParallelBeam, equally_spaced_angles
from diffusionblend.geometry.grid import Grid
from diffusionblend.solvers.filtered_back_projection import filtered_back_projection
from diffusionblend.solvers.filters import WINDOWS, angular_weights
from operator_properties import random_array

DISC = Ellipse(x_mm=12, y_mm=-7, a_mm=28, b_mm=28, value=0.02)


def disc_image(angles_rad, *, n=96, pixel_mm=1.0, window="ram-lak", ellipse=DISC) -> np.ndarray:
    """FBP (y, x) of an ellipse's exact projections."""
    grid = Grid(shape=(1, n, n), spacing_mm=(1, pixel_mm, pixel_mm))
    geometry = ParallelBeam.fitting(grid, angles_rad=tuple(angles_rad))
    lines = ellipse.column_means(geometry.angles_rad, geometry.column_positions_mm, pixel_mm)
    y = torch.from_numpy(lines[:, None]).float()
    return filtered_back_projection(y, geometry, grid, window=window)[0].numpy()


def inside_and_outside(n=96, pixel_mm=1.0):
    coverage = DISC.picture((n, n), (pixel_mm, pixel_mm))
    shape = (n, n)
    shrunk = Ellipse(x_mm=12, y_mm=-7, a_mm=25, b_mm=25, value=1).picture(shape, (pixel_mm,) * 2)
    return shrunk == 1, coverage == 0


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize(("n", "pixel_mm"), [(96, 1.0), (129, 0.7)])
def test_a_disc_comes_back(window, n, pixel_mm):
    image = disc_image(equally_spaced_angles(180), n=n, pixel_mm=pixel_mm, window=window)
    inside, outside = inside_and_outside(n, pixel_mm)
    assert image[inside].mean() == pytest.approx(DISC.value, rel=3e-3)
    assert np.abs(image[inside] - DISC.value).max() < 0.02 * DISC.value
    assert image[outside].mean() == pytest.approx(0, abs=0.005 * DISC.value)


def test_an_ellipse_comes_back_in_its_place():
    ellipse = Ellipse(x_mm=15, y_mm=-9, a_mm=20, b_mm=9, turn_rad=0.6)
    image = disc_image(equally_spaced_angles(180), ellipse=ellipse)
    truth = ellipse.picture((96, 96), (1, 1))
    assert np.linalg.norm(image - truth) < 0.1 * np.linalg.norm(truth)


@pytest.mark.parametrize(
    ("window", "peer_filter", "tolerance"),
    [
        ("ram-lak", "ramp", 1e-6),
        ("shepp-logan", "shepp-logan", 2e-3),
        ("cosine", "cosine", 2e-3),
        ("hamming", "hamming", 0.015),
        ("hann", "hann", 0.015),
    ],
)
@pytest.mark.parametrize("n_views", [7, 60])
def test_agreement_with_scikit_image(window, peer_filter, tolerance, n_views):
    """Random projections; scikit-image's angle is minus ours, its Hann windows one sample wider,
    and it pads to twice the length, which windowed kernels notice."""
    from skimage.transform import iradon

    n = 63
    angles = equally_spaced_angles(n_views)
    lines = random_array((n_views, 1, n), 0, torch.float64)
    grid = Grid(shape=(1, n, n), spacing_mm=(1, 1, 1))
    geometry = ParallelBeam(angles_rad=angles, n_columns=n, column_mm=1.0)
    ours = filtered_back_projection(lines, geometry, grid, window=window)[0].numpy()
    theta = -np.degrees(angles)
    peer = iradon(lines[:, 0].numpy().T, theta=theta, filter_name=peer_filter, circle=True)
    y, x = np.indices((n, n)) - (n - 1) / 2
    circle = np.hypot(x, y) < n / 2 - 1
    error = np.linalg.norm((ours - peer)[circle]) / np.linalg.norm(peer[circle])
    assert error < tolerance


def test_hann_smooths_noise():
    grid = Grid(shape=(1, 64, 64), spacing_mm=(1, 1, 1))
    geometry = ParallelBeam.fitting(grid, 40)
    noise = random_array((40, 1, geometry.n_columns), 1)
    sharp, smooth = (
        filtered_back_projection(noise, geometry, grid, window=w).std() for w in ("ram-lak", "hann")
    )
    assert smooth < 0.6 * sharp


def test_slices_are_independent():
    grid = Grid(shape=(3, 20, 24), spacing_mm=(1, 1, 1))
    geometry = ParallelBeam.fitting(grid, 9)
    y = random_array((9, 3, geometry.n_columns), 2)
    whole = filtered_back_projection(y, geometry, grid)
    assert whole.shape == grid.shape
    for r in range(3):
        alone = filtered_back_projection(y[:, r : r + 1], geometry, grid.with_slices(1))
        torch.testing.assert_close(whole[r : r + 1], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("turns", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("n_views", [1, 2, 7, 180])
def test_full_turns_weigh_half_a_turn_in_all(n_views, turns):
    angles = [a + k * math.pi for k in range(turns) for a in equally_spaced_angles(n_views)]
    weights = angular_weights(tuple(angles))
    assert weights.sum() == pytest.approx(math.pi)
    for i in range(n_views):
        assert weights[i::n_views].sum() == pytest.approx(math.pi / n_views)


@pytest.mark.parametrize("start", [0.0, 1.0, 2.5, -0.4])
@pytest.mark.parametrize(("arc_degrees", "n_views"), [(90, 90), (60, 25), (120, 40)])
def test_a_limited_arc_weighs_its_arc(arc_degrees, n_views, start):
    angles = tuple(start + a for a in equally_spaced_angles(n_views, arc_degrees))
    weights = angular_weights(angles)
    np.testing.assert_allclose(weights, math.radians(arc_degrees) / n_views, rtol=1e-6)


@pytest.mark.parametrize(
    "degrees",
    [
        np.arange(180) * 137.50776,  # golden angles
        np.r_[0:30:0.25, 30:180:2.5],  # denser in one part
        np.repeat(np.r_[0:180:2], 2) + 1e-3 * (np.arange(180) % 2),  # two exposures, by encoder
    ],
)
def test_uneven_views_weigh_half_a_turn_in_all(degrees):
    weights = angular_weights(tuple(np.radians(degrees)))
    assert weights.sum() == pytest.approx(math.pi)
    assert weights.min() > 0


def test_several_arcs_that_are_missing_weigh_nothing():
    weights = angular_weights(tuple(np.radians(np.r_[0:40, 80:120])))
    assert np.degrees(weights.sum()) == pytest.approx(80)


def test_irregular_angles_weigh_the_gaps_around_them():
    degrees = np.array([0, 10, 14, 30, 44, 60, 70, 90, 100, 120, 133, 150, 170])
    weights = np.degrees(angular_weights(tuple(np.radians(degrees))))
    middle = (np.append(degrees[1:], 180) - np.append(-10, degrees[:-1])) / 2
    np.testing.assert_allclose(weights, middle, rtol=1e-6)
    assert weights.sum() == pytest.approx(180)


def test_the_order_of_the_views_and_half_scans_do_not_matter():
    rng = np.random.default_rng(0)
    angles = np.array(equally_spaced_angles(120))
    angles = angles + 0.004 * rng.uniform(-1, 1, 120)
    mixed = rng.permutation(angles) + np.pi * rng.integers(-3, 4, 120)
    np.testing.assert_allclose(disc_image(mixed), disc_image(angles), atol=2e-5)


def test_uneven_angles_bring_back_the_disc():
    turns = np.linspace(0, 1, 300, endpoint=False)
    angles = np.pi * (turns + 0.08 * np.sin(2 * np.pi * turns))
    image = disc_image(angles)
    inside, _ = inside_and_outside()
    assert image[inside].mean() == pytest.approx(DISC.value, rel=3e-3)
    assert np.abs(image[inside] - DISC.value).max() < 0.03 * DISC.value


def test_an_unknown_window():
    grid = Grid(shape=(1, 4, 4), spacing_mm=(1, 1, 1))
    geometry = ParallelBeam.fitting(grid, angles_rad=(0.0,))
    with pytest.raises(InputError, match="'boxcar'") as raised:
        filtered_back_projection(
            torch.zeros(1, 1, geometry.n_columns), geometry, grid, window="boxcar"
        )
    assert "ram-lak" in raised.value.expected


def test_a_shifted_detector_is_read_where_it_is():
    """A few columns more on one side and fewer on the other see the same disc."""
    angles = equally_spaced_angles(180)
    grid = Grid(shape=(1, 96, 96), spacing_mm=(1, 1, 1))
    centred = ParallelBeam.fitting(grid, angles_rad=angles)
    shifted = ParallelBeam(angles_rad=angles, n_columns=120, column_mm=1.0, detector_shift_mm=4.5)
    images = []
    for geometry in (centred, shifted):
        lines = DISC.column_means(angles, geometry.column_positions_mm, 1.0)
        y = torch.from_numpy(lines[:, None]).float()
        images.append(filtered_back_projection(y, geometry, grid)[0])
    inside, _ = inside_and_outside()
    for image in images:
        assert image.numpy()[inside] == pytest.approx(DISC.value, rel=0.02)


def test_vectors_have_no_filtered_back_projection():
    cone = ConeBeam(
        angles_rad=(0.0,),
        n_rows=1,
        row_mm=1.0,
        n_columns=8,
        column_mm=1.0,
        source_to_axis_mm=50,
        source_to_detector_mm=60,
    )
    grid = Grid(shape=(1, 4, 4), spacing_mm=(1, 1, 1))
    with pytest.raises(InputError, match=r"(?s)VectorGeometry.*is a circle.*cone_of"):
        filtered_back_projection(torch.zeros(1, 1, 8), cone.to_vectors(), grid)
    with pytest.raises(InputError, match=r"(?s)VectorGeometry\.\n.*admm"):
        filtered_back_projection(torch.zeros(1, 1, 8), cone.to_vectors().tilted(0.3), grid)
