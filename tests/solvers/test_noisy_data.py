"""Weighted fits and the discrepancy principle against dense solves, textbook steps and noise."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from analytic import Ellipse
from diffusionblend.geometry import ConeBeam, ParallelBeam, equally_spaced_angles
from diffusionblend.geometry.grid import Grid
from diffusionblend.operators import XRayTransform
from diffusionblend.simulation import add_noise
from diffusionblend.solvers.noisy_data import (
    DISCREPANCY,
    fit_data,
    line_variance,
    statistical_weights,
)
from operator_properties import dense_matrix, random_array

SHAPE = (3, 6, 5)
DOUBLE = torch.float64


def small_transform(kind: str):
    """A slice-wise or a coupled operator in float64 with more rays than voxels seen."""
    grid = Grid(shape=SHAPE, spacing_mm=(1, 1, 1))
    angles = equally_spaced_angles(5, 200)
    if kind == "parallel":
        return XRayTransform(ParallelBeam.fitting(grid, angles_rad=angles), grid, dtype=DOUBLE)
    distances = {"source_to_axis_mm": 20.0, "source_to_detector_mm": 30.0}
    return XRayTransform(ConeBeam.fitting(grid, angles_rad=angles, **distances), grid, dtype=DOUBLE)


def positive(shape, seed: int) -> torch.Tensor:
    """Weights between 0.1 and some 10."""
    return random_array(shape, seed, DOUBLE).exp().clamp(min=0.1)


@pytest.mark.parametrize("kind", ["parallel", "cone"])
@pytest.mark.parametrize("rho", [0.2, 3.0])
def test_the_weighted_fit_is_the_dense_closed_form(kind, rho):
    operator = small_transform(kind)
    y, start = random_array(operator.range_shape, 1, DOUBLE), random_array(SHAPE, 2, DOUBLE)
    weights, rows = positive(operator.range_shape, 3), dense_matrix(operator)
    weighed = rows.T * weights.flatten()
    right_side = weighed @ y.flatten() + rho * start.flatten()
    normal = weighed @ rows + rho * torch.eye(rows.shape[1], dtype=DOUBLE)
    expected = torch.linalg.solve(normal, right_side).reshape(SHAPE)
    per_slice = kind == "parallel"
    found = fit_data(operator, y, start, 300, rho=rho, per_slice=per_slice, weights=weights)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-8)
    plain = fit_data(operator, y, start, 300, rho=rho, per_slice=per_slice)
    assert (plain - expected).norm() > 1e-2 * expected.norm()


def test_equal_weights_change_nothing():
    operator = small_transform("parallel")
    y, start = random_array(operator.range_shape, 1, DOUBLE), random_array(SHAPE, 2, DOUBLE)
    ones = torch.ones(operator.range_shape, dtype=DOUBLE)
    for n in (1, 4):
        weighed = fit_data(operator, y, start, n, rho=0.3, per_slice=True, weights=ones)
        plain = fit_data(operator, y, start, n, rho=0.3, per_slice=True)
        torch.testing.assert_close(weighed, plain, rtol=0, atol=1e-12)


def iterates(operator, y, start, rho, weights, n, systems) -> list[torch.Tensor]:
    """n steps of CG on the dense weighted normal equations, each system by itself, all kept."""
    rows = dense_matrix(operator)
    found = [start]
    for step in range(1, n + 1):
        z = start.clone()
        for voxels, rays in systems:
            part = rows[rays][:, voxels]
            weighed = part.T * weights.flatten()[rays]
            normal = weighed @ part + rho * torch.eye(part.shape[1], dtype=DOUBLE)
            z0 = start.flatten()[voxels]
            r = weighed @ y.flatten()[rays] + rho * z0 - normal @ z0
            p, x = r.clone(), z0.clone()
            for _ in range(step):
                alpha = r @ r / (p @ normal @ p)
                x, after = x + alpha * p, r - alpha * normal @ p
                p, r = after + (after @ after) / (r @ r) * p, after
            z.view(-1)[voxels] = x
        found.append(z)
    return found


@pytest.mark.parametrize("kind", ["parallel", "cone"])
@pytest.mark.parametrize("rho", [0.0, 0.05])
def test_each_system_stops_at_its_first_step_within_the_noise(kind, rho):
    """Slices of different noise stop at different steps; a coupled volume stops as a whole."""
    operator = small_transform(kind)
    truth, start = random_array(SHAPE, 4, DOUBLE), torch.zeros(SHAPE, dtype=DOUBLE)
    views, n_rows, columns = operator.range_shape
    noise = torch.logspace(-2.5, 0.4, n_rows, dtype=DOUBLE)[:, None].expand(views, -1, columns)
    variance = noise.square()
    y = operator.forward(truth) + noise * random_array(operator.range_shape, 5, DOUBLE)
    weights = positive(operator.range_shape, 6)
    rays = torch.arange(y.numel()).reshape(y.shape)
    voxels = torch.arange(truth.numel()).reshape(SHAPE)
    systems = [(voxels.flatten(), rays.flatten())]
    if kind == "parallel":
        systems = [(voxels[i].flatten(), rays[:, i].flatten()) for i in range(SHAPE[0])]
    steps = iterates(operator, y, start, rho, weights, 8, systems)
    found = fit_data(
        operator,
        y,
        start,
        8,
        rho=rho,
        per_slice=kind == "parallel",
        weights=weights,
        variance=variance,
    )
    stopped_at = []
    for its_voxels, its_rays in systems:
        allowed = DISCREPANCY**2 * (weights * variance).flatten()[its_rays].sum()
        for step, z in enumerate(steps):
            misfit = (weights * (operator.forward(z) - y).square()).flatten()[its_rays].sum()
            if misfit <= allowed or step == 8:
                break
        stopped_at.append(step)
        expected = z.flatten()[its_voxels]
        torch.testing.assert_close(found.flatten()[its_voxels], expected, rtol=0, atol=1e-8)
    assert max(stopped_at) > 0 and min(stopped_at) < 8
    if kind == "parallel":
        assert len(set(stopped_at)) > 1


def test_a_start_that_fits_already_stays():
    operator = small_transform("parallel")
    truth = random_array(SHAPE, 4, DOUBLE)
    y = operator.forward(truth) + 0.01 * random_array(operator.range_shape, 5, DOUBLE)
    variance = torch.full_like(y, 0.01**2 * 1.2)
    assert torch.equal(fit_data(operator, y, truth, 5, per_slice=True, variance=variance), truth)


def test_the_variance_is_that_of_simulated_counts():
    lines = np.repeat(np.array([0.0, 1.0, 3.0, 5.0]), 40_000)
    noisy = add_noise(lines, 2e4, 8, np.random.default_rng(0))
    measured = noisy.reshape(4, -1).var(axis=1)
    expected = line_variance(torch.tensor([0.0, 1.0, 3.0, 5.0], dtype=DOUBLE), 2e4, 8.0)
    np.testing.assert_allclose(measured, expected.numpy(), rtol=0.05)
    starved = line_variance(torch.tensor([100.0]), 1e4, 3.0)
    assert float(starved) == pytest.approx(10.0)


def test_weights_follow_the_counts():
    variance = line_variance(torch.tensor([0.0, 2.0], dtype=DOUBLE), 1e5)
    weights = statistical_weights(variance)
    assert float(weights.mean()) == pytest.approx(1)
    assert float(weights[0] / weights[1]) == pytest.approx(np.exp(2.0))


def test_known_noise_gives_a_better_image_of_a_dense_body():
    """Few photons through a thick ellipse: weights help, and so does stopping at the noise."""
    grid = Grid(shape=(1, 48, 48), spacing_mm=(1, 1, 1))
    geometry = ParallelBeam.fitting(grid, 60)
    body = Ellipse(x_mm=0, y_mm=0, a_mm=21, b_mm=9, value=0.13)
    organ = Ellipse(x_mm=4, y_mm=1, a_mm=5, b_mm=4, value=0.02)
    truth = sum(e.picture((48, 48), (1, 1)) for e in (body, organ))[None]
    lines = sum(
        e.column_means(geometry.angles_rad, geometry.column_positions_mm, 1.0)
        for e in (body, organ)
    )[:, None]
    noisy = add_noise(lines, 2e3, 2, np.random.default_rng(1))
    operator, y = XRayTransform(geometry, grid), torch.from_numpy(noisy)
    variance = line_variance(y, 2e3, 2.0)
    weights = statistical_weights(variance)
    start = torch.zeros(grid.shape)

    def error(**options) -> float:
        found = fit_data(operator, y, start, 60, per_slice=True, **options)
        return float(np.linalg.norm(found.numpy() - truth) / np.linalg.norm(truth))

    plain, weighed = error(), error(weights=weights)
    stopped, both = error(variance=variance), error(weights=weights, variance=variance)
    assert weighed < 0.8 * plain
    assert stopped < 0.6 * plain
    assert both < min(weighed, stopped)
