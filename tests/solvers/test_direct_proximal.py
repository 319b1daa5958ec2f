"""The exact proximal step against dense solutions in float64."""

from __future__ import annotations

import pytest
import torch

from diffusionblend.geometry import ParallelBeam, equally_spaced_angles
from diffusionblend.geometry.grid import Grid
from diffusionblend.solvers import iterative_proximal
from diffusionblend.solvers.conjugate_gradient import conjugate_gradient
from diffusionblend.solvers.dense_proximal import DenseProximal
from diffusionblend.solvers.direct_proximal import ExactProximal
from diffusionblend.solvers.iterative_proximal import IterativeProximal
from operator_properties import dense_matrix, random_array, transform_of

SHAPE = (2, 9, 11)
RHOS = [0.01, 0.3, 5.0, 1000.0]


def xray_transform(shape=SHAPE, n_views=4, n_columns=15, dtype=torch.float32):
    geometry = ParallelBeam(
        angles_rad=equally_spaced_angles(n_views), n_columns=n_columns, column_mm=1.0
    )
    return transform_of(geometry, Grid(shape=shape, spacing_mm=(1, 1, 1)), dtype=dtype)


def data(operator, dtype=torch.float32):
    return (
        random_array(operator.domain_shape, 0, dtype),
        random_array(operator.range_shape, 1, dtype),
    )


@pytest.mark.parametrize("rho", RHOS)
@pytest.mark.parametrize(("n_views", "n_columns"), [(4, 15), (20, 15)], ids=["few", "many views"])
def test_the_dense_minimiser(rho, n_views, n_columns):
    """(A'A + rho I) z = A'y + rho x0, with fewer rays than pixels and with more."""
    operator = xray_transform(n_views=n_views, n_columns=n_columns)
    x0, y = data(operator)
    matrix = dense_matrix(xray_transform(n_views=n_views, n_columns=n_columns, dtype=torch.float64))
    system = matrix.T @ matrix + rho * torch.eye(matrix.shape[1], dtype=torch.float64)
    right_side = matrix.T @ y.double().flatten() + rho * x0.double().flatten()
    expected = torch.linalg.solve(system, right_side).reshape(SHAPE)
    found = ExactProximal(operator)(x0, y, rho).double()
    assert found.shape == SHAPE
    assert (found - expected).norm() < 2e-4 * expected.norm()


@pytest.mark.parametrize("rho", RHOS)
def test_the_gradient_of_the_objective_vanishes(rho):
    operator = xray_transform(dtype=torch.float64)
    x0, y = data(operator, torch.float64)
    z = ExactProximal(operator)(x0, y, rho).requires_grad_()
    objective = (operator.forward(z) - y).square().sum() + rho * (z - x0).square().sum()
    (slope,) = torch.autograd.grad(objective, z)
    assert slope.abs().max() < 1e-9 * max(1.0, rho)


def test_one_decomposition_serves_every_rho():
    operator = xray_transform()
    x0, y = data(operator)
    proximal = ExactProximal(operator)
    near, far = proximal(x0, y, 1e6), proximal(x0, y, 1e-3)
    assert (near - x0).norm() < 1e-3 * x0.norm()
    assert (operator.forward(far) - y).norm() < (operator.forward(near) - y).norm()
    assert torch.equal(proximal(x0, y, 1e6), near)


def test_agreement_with_conjugate_gradients():
    operator = xray_transform(shape=(3, 24, 24), n_views=6, n_columns=34)
    x0, y = data(operator)
    found = ExactProximal(operator)(x0, y, 2.0)
    peer = conjugate_gradient(
        lambda z: operator.normal(z) + 2.0 * z,
        operator.adjoint(y) + 2.0 * x0,
        x0,
        200,
        per_slice=True,
    )
    assert (found - peer).norm() < 1e-4 * peer.norm()


def test_data_that_fit_already_leave_the_volume():
    operator = xray_transform()
    x0, _ = data(operator)
    found = ExactProximal(operator)(x0, operator.forward(x0), 0.1)
    assert torch.equal(found, x0)


def test_few_starved_rays_take_few_iterations(monkeypatch):
    """To a thousandth, since what solves the system without weights is nearly its inverse."""
    monkeypatch.setattr(iterative_proximal, "TOLERANCE", 1e-3)
    operator = xray_transform(shape=(2, 24, 24), n_views=12, n_columns=34)
    x0, y = data(operator)
    weights = torch.ones(y.shape)
    weights[3:5, :, 10:20] = 0.05
    solvers = ExactProximal(operator), IterativeProximal(operator)
    taken = []
    iterate = iterative_proximal.proximal_by_iterations

    def counted(*given, **options):
        point, iterations = iterate(*given, **options)
        taken.append(iterations)
        return point, iterations

    monkeypatch.setattr(iterative_proximal, "proximal_by_iterations", counted)
    found = [solver(x0, y, 0.5, None, weights) for solver in solvers]
    assert (found[0] - found[1]).norm() < 0.03 * (found[1] - x0).norm()
    assert (found[0] - solvers[0](x0, y, 0.5)).norm() > 0.1 * (found[1] - x0).norm()
    assert taken[0] <= 12 < taken[1]


@pytest.mark.parametrize("kind", [ExactProximal, DenseProximal])
@pytest.mark.parametrize("n_views", [4, 20], ids=["few", "many views"])
@pytest.mark.parametrize("even", [True, False], ids=["in halves", "whole"])
def test_weights_that_slices_share_are_those_of_the_minimiser(kind, n_views, even, monkeypatch):
    """(A'WA + rho I) z = A'Wy + rho x0; what splits into halves has weights of both directions."""
    monkeypatch.setattr(kind, "unfolded", 0 if even else 10_000)
    operator = xray_transform(n_views=n_views)
    x0, y = data(operator)
    weights = random_array((n_views, 1, 15), 2).abs().clamp(0.05, 1.0)
    solver = kind(operator, weights)
    assert solver.weighs and not kind(operator).weighs
    assert len(solver.fold.sizes) == (2 if even else 1)
    kept = weights if not even else 2 / (1 / weights + 1 / weights.flip(2))
    matrix = dense_matrix(xray_transform(n_views=n_views, dtype=torch.float64))
    weighed = matrix.T * kept.expand(y.shape).double().flatten()
    system = weighed @ matrix + 0.5 * torch.eye(matrix.shape[1], dtype=torch.float64)
    right_side = weighed @ y.double().flatten() + 0.5 * x0.double().flatten()
    expected = torch.linalg.solve(system, right_side).reshape(SHAPE)
    found = solver(x0, y, 0.5).double()
    assert (found - expected).norm() < 1e-3 * (expected - x0).norm()
    assert (kind(operator)(x0, y, 0.5) - expected).norm() > 0.05 * (expected - x0).norm()


def test_weights_of_their_own_are_solved_for_whatever_all_slices_share(monkeypatch):
    monkeypatch.setattr(iterative_proximal, "TOLERANCE", 1e-4)
    operator = xray_transform(shape=(2, 24, 24), n_views=12, n_columns=34)
    x0, y = data(operator)
    own = random_array(y.shape, 3).abs().clamp(0.2, 1.0)
    shared = own.mean(dim=1, keepdim=True)
    solvers = ExactProximal(operator), ExactProximal(operator, shared)
    plain, found = (solver(x0, y, 0.5, None, own) for solver in solvers)
    assert (found - plain).norm() < 1e-3 * (plain - x0).norm()
