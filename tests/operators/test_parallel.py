"""The parallel-beam transform against its properties, analytic integrals and scikit-image."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from analytic import Ellipse
from diffusionblend.geometry import ParallelBeam, equally_spaced_angles
from diffusionblend.geometry.grid import Grid
from diffusionblend.operators import XRayTransform
from operator_properties import (
    check_adjoint,
    check_gradient,
    check_linearity,
    check_operator,
    dense_matrix,
    random_array,
    transform_of,
)

CORNERS = tuple(math.radians(a) for a in (0, 45, 90, 135, 180, 225, 270, 315, 360, -90, 1e-7))
DISC = Ellipse(x_mm=0, y_mm=0, a_mm=30, b_mm=30)
OFF_CENTRE = Ellipse(x_mm=18, y_mm=-11, a_mm=25, b_mm=14, turn_rad=0.5)


def transform(shape, angles_rad, n_columns, *, spacing_mm=(1, 1, 1), column_mm=1.0, **options):
    geometry = ParallelBeam(angles_rad=angles_rad, n_columns=n_columns, column_mm=column_mm)
    return transform_of(geometry, Grid(shape=shape, spacing_mm=spacing_mm), **options)


@pytest.mark.parametrize(
    ("shape", "angles_rad", "n_columns", "spacing_mm", "column_mm"),
    [
        ((3, 32, 32), equally_spaced_angles(8), 46, (1, 1, 1), 1.0),
        ((1, 33, 20), equally_spaced_angles(5), 39, (3, 0.7, 0.7), 0.7),
        ((2, 16, 16), equally_spaced_angles(12, 60), 11, (1, 2, 2), 0.9),
        ((2, 9, 21), CORNERS, 23, (1, 1, 1), 1.0),
        ((2, 12, 30), equally_spaced_angles(7), 40, (1, 2.5, 1), 1.0),
        ((4, 7, 5), (0.3,), 1, (1, 1, 1), 3.0),
        ((1, 1, 1), (0.0, 1.0), 3, (1, 1, 1), 0.5),
    ],
)
def test_properties(shape, angles_rad, n_columns, spacing_mm, column_mm):
    check_operator(
        transform(shape, angles_rad, n_columns, spacing_mm=spacing_mm, column_mm=column_mm)
    )


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 14), st.integers(1, 14)),
    angles_rad=st.lists(st.floats(-7, 7), min_size=1, max_size=5).map(tuple),
    n_columns=st.integers(1, 20),
    pixel_mm=st.tuples(st.floats(0.3, 3), st.floats(0.3, 3)),
    column_mm=st.floats(0.2, 4),
)
def test_properties_of_any_geometry(shape, angles_rad, n_columns, pixel_mm, column_mm):
    operator = transform(
        shape, angles_rad, n_columns, spacing_mm=(1, *pixel_mm), column_mm=column_mm
    )
    check_linearity(operator)
    check_adjoint(operator)


@pytest.mark.parametrize(
    ("shape", "angles_rad", "n_columns"),
    [((2, 5, 4), (0.2, 1.1, 2.6), 6), ((1, 4, 7), (1.5,), 9), ((3, 3, 3), CORNERS[:4], 3)],
)
def test_gradient(shape, angles_rad, n_columns):
    check_gradient(transform(shape, angles_rad, n_columns, dtype=torch.float64))


def test_the_adjoint_matrix_is_the_transpose():
    operator = transform((1, 6, 5), (0.1, 0.8, 2.0), 8, dtype=torch.float64)
    forward = dense_matrix(operator)
    for ray in range(forward.shape[0]):
        unit = torch.zeros(forward.shape[0], dtype=torch.float64)
        unit[ray] = 1
        back = operator.adjoint(unit.reshape(operator.range_shape))
        torch.testing.assert_close(back.flatten(), forward[ray], rtol=0, atol=1e-12)


def relative_error(ellipse: Ellipse, n_y: int, n_x: int, sy: float, sx: float) -> float:
    """Error of the transform of an ellipse's picture against its exact integrals, rms over rms."""
    grid = Grid(shape=(1, n_y, n_x), spacing_mm=(1, sy, sx))
    geometry = ParallelBeam(angles_rad=equally_spaced_angles(23), n_columns=90, column_mm=1.5)
    image = ellipse.picture(grid.in_plane_shape, (sy, sx))[None]
    found = XRayTransform(geometry, grid).forward(torch.from_numpy(image).float())[:, 0]
    exact = ellipse.line_integrals(geometry.angles_rad, geometry.column_positions_mm)
    return float(np.linalg.norm(found.numpy() - exact) / np.linalg.norm(exact))


@pytest.mark.parametrize("ellipse", [DISC, OFF_CENTRE], ids=["disc", "off centre"])
@pytest.mark.parametrize(("stretch_y", "stretch_x"), [(1, 1), (2.5, 1), (1, 3)])
def test_ellipses_and_refinement(ellipse, stretch_y, stretch_x):
    errors = []
    for n in (48, 96, 192):
        sy, sx = 128 / n * stretch_y, 128 / n * stretch_x
        n_y, n_x = round(128 / sy), round(128 / sx)
        errors.append(relative_error(ellipse, n_y, n_x, sy, sx))
    assert errors[0] < 0.05 * max(stretch_y, stretch_x)
    assert errors[1] < 0.6 * errors[0]
    assert errors[2] < 0.6 * errors[1]
    assert errors[2] < 0.012 * max(stretch_y, stretch_x)


@pytest.mark.parametrize("pixel_mm", [(1.0, 1.0), (3.0, 1.0), (0.8, 2.0)])
def test_rays_from_side_to_side_of_a_uniform_slice_measure_their_chord(pixel_mm):
    """Also where pixels are not square: Joseph's rays must skip neither rows nor columns."""
    n, n_columns = 24, 61
    height, width = n * pixel_mm[0], n * pixel_mm[1]
    operator = transform(
        (1, n, n), equally_spaced_angles(24), n_columns, spacing_mm=(1, *pixel_mm), column_mm=0.7
    )
    lines = operator.forward(torch.ones(1, n, n))[:, 0].numpy()
    p, checked = operator.geometry.column_positions_mm, 0
    for angle, measured in zip(operator.geometry.angles_rad, lines, strict=True):
        c, s = math.cos(angle), math.sin(angle)
        for along, across, reach, length, half_pixel in (
            (c, s, width, height, pixel_mm[1] / 2),
            (s, c, height, width, pixel_mm[0] / 2),
        ):
            if abs(along) < 1e-9:
                continue
            ends = [np.abs((p - side * length / 2 * across) / along) for side in (-1, 1)]
            through = np.maximum(*ends) <= reach / 2 - half_pixel
            np.testing.assert_allclose(measured[through], length / abs(along), rtol=1e-5)
            checked += through.sum()
    assert checked > 200


def test_orientation_of_an_off_centre_blob():
    n, row, column = 41, 9, 32
    image = torch.zeros(1, n, n)
    image[0, row, column] = 1
    operator = transform((1, n, n), equally_spaced_angles(16), 63)
    lines = operator.forward(image)[:, 0].double().numpy()
    p = operator.geometry.column_positions_mm
    x, y = column - (n - 1) / 2, row - (n - 1) / 2
    for view, angle in enumerate(operator.geometry.angles_rad):
        expected = x * math.cos(angle) + y * math.sin(angle)
        assert abs(p[lines[view].argmax()] - expected) <= 0.75
        assert (lines[view] * p).sum() / lines[view].sum() == pytest.approx(expected, abs=0.3)


def test_view_zero_sums_columns_and_a_quarter_turn_sums_rows():
    image = random_array((2, 5, 5), 3)
    operator = transform((2, 5, 5), (0.0, math.pi / 2), 5)
    lines = operator.forward(image)
    torch.testing.assert_close(lines[0], image.sum(1), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(lines[1], image.sum(2), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("angle_degrees", [0.0, 17.0, 45.0, 90.0, 128.0, 171.0])
def test_agreement_with_scikit_image(angle_degrees):
    """scikit-image turns the image about pixel n // 2 with y up, so its angle is minus ours."""
    from skimage.transform import radon

    n = 129
    image = sum(
        Ellipse(x_mm=x, y_mm=y, a_mm=a, b_mm=b, turn_rad=t, value=v).picture((n, n), (1, 1))
        for x, y, a, b, t, v in (
            (4, -6, 48, 38, 0.2, 1.0),
            (-20, 9, 14, 8, 1.0, 0.7),
            (22, 15, 9, 12, 0.0, -0.6),
        )
    )
    operator = transform((1, n, n), (math.radians(angle_degrees),), n)
    ours = operator.forward(torch.from_numpy(image[None]).float())[0, 0].numpy()
    peer = radon(image, theta=[-angle_degrees], circle=True)[:, 0]
    assert np.linalg.norm(ours - peer) < 0.01 * np.linalg.norm(peer)


def test_every_detector_row_sees_its_slice_alone():
    whole = transform((4, 12, 15), equally_spaced_angles(6), 20)
    single = transform((1, 12, 15), equally_spaced_angles(6), 20)
    x, y = random_array((4, 12, 15), 0), random_array((6, 4, 20), 1)
    forward, back = whole.forward(x), whole.adjoint(y)
    for r in range(4):
        assert torch.allclose(forward[:, r : r + 1], single.forward(x[r : r + 1]), atol=1e-5)
        assert torch.allclose(back[r : r + 1], single.adjoint(y[:, r : r + 1]), atol=1e-5)


def test_lengths_are_millimetres_and_scale_multiplies_them():
    x, angles = random_array((2, 10, 10), 0), equally_spaced_angles(4)
    pixels = transform((2, 10, 10), angles, 15).forward(x)
    half = transform((2, 10, 10), angles, 15, spacing_mm=(9, 0.5, 0.5), column_mm=0.5)
    scaled = transform((2, 10, 10), angles, 15, spacing_mm=(9, 0.5, 0.5), column_mm=0.5, scale=2.0)
    torch.testing.assert_close(half.forward(x), 0.5 * pixels, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(scaled.forward(x), pixels, rtol=1e-5, atol=1e-5)


def test_a_full_detector_measures_the_whole_square():
    grid = Grid(shape=(1, 24, 24), spacing_mm=(1, 0.8, 0.8))
    geometry = ParallelBeam.fitting(grid, 16)
    back = XRayTransform(geometry, grid).adjoint(torch.ones(16, 1, geometry.n_columns))
    assert back.min() > 0.9 * back.max()


@pytest.mark.gpu
def test_a_cuda_device_gives_the_same():
    x, angles = random_array((3, 40, 40), 0), equally_spaced_angles(8)
    on_cpu = transform((3, 40, 40), angles, 57)
    on_gpu = transform((3, 40, 40), angles, 57, device="cuda")
    lines = on_cpu.forward(x)
    torch.testing.assert_close(on_gpu.forward(x.cuda()).cpu(), lines, rtol=1e-4, atol=1e-4)
    back = on_gpu.adjoint(lines.cuda()).cpu()
    torch.testing.assert_close(back, on_cpu.adjoint(lines), rtol=1e-4, atol=1e-3)
