"""ADMM-TV against closed forms, dense least squares and scikit-image."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from diffusionblend.geometry import ParallelBeam, equally_spaced_angles
from diffusionblend.geometry.grid import Grid
from diffusionblend.operators import LinearOperator
from diffusionblend.solvers.total_variation import admm_total_variation, shrink
from operator_properties import dense_matrix, random_array, transform_of


class Identity(LinearOperator):
    """Denoising: A x = x."""

    def __init__(self, shape):
        self.domain_shape = self.range_shape = tuple(shape)

    def _forward(self, x):
        return x.clone()

    def _adjoint(self, y):
        return y.clone()


def xray_transform(shape=(3, 10, 10), n_views=5, n_columns=15):
    geometry = ParallelBeam(
        angles_rad=equally_spaced_angles(n_views), n_columns=n_columns, column_mm=1.0
    )
    grid = Grid(shape=shape, spacing_mm=(1, 1, 1))
    return transform_of(geometry, grid, dtype=torch.float64)


def objective(operator, x, y, weight) -> float:
    """1/2 |Ax - y|^2 + weight sum |Dx|, written out with NumPy's differences."""
    values = x.numpy()
    slopes = [np.diff(values, axis=k, append=np.take(values, [-1], axis=k)) for k in range(3)]
    total_variation = np.sqrt(sum(s**2 for s in slopes)).sum()
    return float((operator.forward(x) - y).square().sum() / 2 + weight * total_variation)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("weight", [0.3, 1.0])
def test_a_step_shrinks_by_the_closed_form(axis, weight):
    """TV denoising of n1 samples at a, n2 at b > a: a + weight / n1, b - weight / n2."""
    low, high, n_low, n_high = -0.5, 2.0, 3, 5
    shape = [2, 2, 2]
    shape[axis] = n_low + n_high
    profile = torch.tensor([low] * n_low + [high] * n_high, dtype=torch.float64)
    lengths = [-1 if k == axis else 1 for k in range(3)]
    y = profile.reshape(lengths).expand(shape).contiguous()
    expected = profile.clone()
    expected[:n_low] += weight / n_low
    expected[n_low:] -= weight / n_high
    found = admm_total_variation(
        Identity(shape), y, torch.zeros_like(y), weight=weight, iterations=300, penalty=2.0
    )
    expected = expected.reshape(lengths).expand(shape)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_a_heavy_weight_leaves_the_mean():
    y = random_array((3, 5, 4), 0, torch.float64)
    found = admm_total_variation(
        Identity(y.shape), y, torch.zeros_like(y), weight=50.0, iterations=500, penalty=10.0
    )
    torch.testing.assert_close(found, y.mean().expand(y.shape), rtol=0, atol=1e-5)


def test_weight_zero_is_least_squares():
    operator = xray_transform(shape=(2, 6, 6), n_views=12, n_columns=11)
    y = random_array(operator.range_shape, 1, torch.float64)
    matrix = dense_matrix(operator)
    expected = torch.linalg.lstsq(matrix, y.flatten()).solution.reshape(2, 6, 6)
    found = admm_total_variation(
        operator,
        y,
        torch.zeros_like(expected),
        weight=0.0,
        iterations=60,
        penalty=0.002,
        cg_iterations=40,
    )
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_agreement_with_scikit_image():
    """Chambolle's dual method minimises the same sum for A = I."""
    from skimage.restoration import denoise_tv_chambolle

    y = random_array((4, 10, 9), 2, torch.float64)
    y[:, 3:7, 2:6] += 3
    found = admm_total_variation(
        Identity(y.shape), y, torch.zeros_like(y), weight=0.4, iterations=300, penalty=1.0
    )
    peer = denoise_tv_chambolle(y.numpy(), weight=0.4, eps=1e-12, max_num_iter=4000)
    assert np.abs(found.numpy() - peer).max() < 2e-3
    ours = objective(Identity(y.shape), found, y, 0.4)
    assert ours <= objective(Identity(y.shape), torch.from_numpy(peer), y, 0.4) + 1e-6


def solve(operator, y, weight=0.5, iterations=400, penalty=2.0, **options):
    start = torch.zeros(operator.domain_shape, dtype=torch.float64)
    return admm_total_variation(
        operator, y, start, weight=weight, iterations=iterations, penalty=penalty, **options
    )


def boxes(shape):
    x = torch.full(shape, -1.0, dtype=torch.float64)
    x[:, 2:7, 3:8] = 0.2
    x[1:, 4:6, 4:6] = 1.0
    return x


def test_no_candidate_does_better():
    operator = xray_transform()
    truth = boxes((3, 10, 10))
    y = operator.forward(truth) + 0.2 * random_array(operator.range_shape, 4, torch.float64)
    found = solve(operator, y)
    best = objective(operator, found, y, 0.5)
    assert best < objective(operator, truth, y, 0.5)
    for seed in range(20):
        for size in (1e-3, 1e-2, 0.1):
            nudge = size * random_array(truth.shape, seed, torch.float64)
            assert objective(operator, found + nudge, y, 0.5) > best
    for scale in (0.99, 1.01):
        assert objective(operator, scale * found, y, 0.5) > best


@pytest.mark.parametrize("lowest", [None, -1.0])
def test_the_penalty_sets_the_speed_and_not_the_solution(lowest):
    operator = xray_transform()
    y = operator.forward(boxes((3, 10, 10)))
    y = y + 0.2 * random_array(operator.range_shape, 5, torch.float64)
    slow, fast = (
        solve(operator, y, penalty=penalty, iterations=350, cg_iterations=6, lowest=lowest)
        for penalty in (1.0, 6.0)
    )
    assert (slow - fast).norm() < 2e-3 * slow.norm()


@pytest.mark.parametrize(
    "bounds", [{"lowest": -1.0}, {"highest": 0.9}, {"lowest": -1.0, "highest": 0.2}]
)
def test_bounds(bounds):
    operator = xray_transform()
    y = operator.forward(boxes((3, 10, 10)))
    y = y + 0.5 * random_array(operator.range_shape, 6, torch.float64)
    lowest, highest = bounds.get("lowest", -math.inf), bounds.get("highest", math.inf)
    free, bounded = solve(operator, y), solve(operator, y, iterations=600, **bounds)
    assert free.min() < lowest - 0.01 or free.max() > highest + 0.01
    assert bounded.min() >= lowest and bounded.max() <= highest
    best = objective(operator, bounded, y, 0.5)
    assert best > objective(operator, free, y, 0.5)
    assert best < objective(operator, free.clamp(lowest, highest), y, 0.5)
    for seed in range(20):
        nudge = 0.01 * random_array(free.shape, seed, torch.float64)
        candidate = (bounded + nudge).clamp(lowest, highest)
        assert objective(operator, candidate, y, 0.5) > best - 1e-4


def test_progress_is_reported_once_an_iteration():
    told = []
    y = torch.zeros(1, 3, 3)
    admm_total_variation(
        Identity(y.shape),
        y,
        y,
        weight=0.1,
        iterations=4,
        penalty=1.0,
        on_step=lambda done, total: told.append((done, total)),
    )
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_shrink_shortens_and_keeps_the_direction():
    slopes = torch.tensor([3.0, 0.0, 4.0]).reshape(3, 1, 1, 1)
    torch.testing.assert_close(shrink(slopes, 2.0), slopes * 0.6)
    for threshold in (5.0, 7.0):
        assert not shrink(slopes, threshold).any()
    assert torch.equal(shrink(slopes, 0.0), slopes)
    assert not shrink(torch.zeros(3, 1, 1, 1), 0.0).any()
