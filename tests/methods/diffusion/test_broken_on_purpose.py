"""What could go quietly wrong in the data-consistency step, broken: the checks must see it.

Mistakes of the loop (position code, missing slice, noise variance, plane) are in
test_gaussian_methods.py.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from diffusionblend.methods import DiffusionBlendPP, Prox
from diffusionblend.methods.base import Execution
from diffusionblend.methods.diffusion import run
from diffusionblend.methods.problem import Problem
from diffusionblend.operators import XRayTransform
from operator_properties import check_adjoint
from small_scan import dense_system, scan, small_volume
from tiny_network import random_prior

SHAPE, RHO = (3, 8, 8), 0.4
ALL = slice(0, 3)


def estimate() -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))


def check_step(x0: np.ndarray) -> None:
    """The bounded proximal step is the minimiser that the dense matrix gives, from x0 above -1."""
    problem = Problem.of(scan(small_volume(SHAPE), n_views=4))
    operator = problem.operator
    dense = dense_system(operator.geometry, operator.grid) / operator.grid.spacing_mm[2]
    y = problem.y.double().numpy().transpose(0, 2, 1).reshape(len(dense), -1)
    bounded = np.maximum(x0.reshape(3, -1).T, -1)
    normal = dense.T @ dense + RHO * np.eye(64)
    expected = np.linalg.solve(normal, dense.T @ y + RHO * bounded)
    method = DiffusionBlendPP(steps=1, dual_damping=0, consistency=Prox(rho=RHO)).resolved()
    priors = {"prior": random_prior()}
    executor = run._executor(method, problem, priors, Execution())
    loop = run._loop(method, problem, priors["prior"], executor)
    got, _ = loop._consistent(torch.from_numpy(x0), ALL, None)
    got = got.reshape(3, -1).T.numpy()
    np.testing.assert_allclose(got, expected, atol=2e-3)


def test_unbroken_the_checks_pass() -> None:
    check_step(estimate().numpy())
    check_adjoint(Problem.of(scan(small_volume(SHAPE), n_views=4)).operator)


@pytest.mark.parametrize("factor", [math.pi / (2 * 4), 0.93, 1.001])
def test_a_scaled_adjoint_is_seen(factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """By pi / (2 views), and by some percent, as in the published code."""
    whole = XRayTransform._adjoint
    monkeypatch.setattr(XRayTransform, "_adjoint", lambda o, y: factor * whole(o, y))
    with pytest.raises(AssertionError):
        check_adjoint(Problem.of(scan(small_volume(SHAPE), n_views=4)).operator)
    if abs(factor - 1) > 0.01:
        with pytest.raises(AssertionError):
            check_step(estimate().numpy())


@pytest.mark.parametrize("bound", [-2.0, 0.0])
def test_a_wrong_clip_is_seen(bound: float, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (estimate() < -1).any() and (estimate() < -1.5).any()
    monkeypatch.setattr(run, "NO_ATTENUATION", bound)
    with pytest.raises(AssertionError):
        check_step(estimate().numpy())
