"""What could go quietly wrong in the data step, broken on purpose: the checks must see it.

Mistakes of the sampler (position code, missing slice, noise variance, plane) are in
test_gaussian_methods.py.
"""

from __future__ import annotations

import math
from itertools import repeat

import numpy as np
import pytest
import torch
from diffusionblend.methods.settings import DiffusionBlendPPSettings

from diffusionblend.methods.diffusion import method as diffusion
from diffusionblend.methods.diffusion.consistency import ProximalStep
from diffusionblend.methods.problem import Measurement
from diffusionblend.operators import XRayTransform
from diffusionblend.priors.partition import slice_partition
from diffusionblend.ranks import Ranks
from operator_properties import check_adjoint
from small_scan import dense_system, scan, small_volume
from tiny_network import random_prior

SHAPE, RHO = (3, 8, 8), 0.4
ALL = slice(0, 3)


def estimate() -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))


def check_step(x0: np.ndarray) -> None:
    """The bounded proximal step is the minimiser that the dense matrix gives, from x0 above -1."""
    measurement = Measurement.of(scan(small_volume(SHAPE), n_views=4))
    operator = measurement.operator
    dense = dense_system(operator.geometry, operator.grid) / operator.grid.spacing_mm[2]
    y = measurement.y.double().numpy().transpose(0, 2, 1).reshape(len(dense), -1)
    bounded = np.maximum(x0.reshape(3, -1).T, -1)
    normal = dense.T @ dense + RHO * np.eye(64)
    expected = np.linalg.solve(normal, dense.T @ y + RHO * bounded)
    settings = DiffusionBlendPPSettings(steps=1, dual_decay=0).resolved()
    sampler = diffusion._sampler(
        settings,
        diffusion.Scheme(repeat(slice_partition(3))),
        random_prior(),
        ProximalStep(measurement, RHO),
        operator.grid,
        Ranks(),
    )
    got, _ = sampler._consistent(torch.from_numpy(x0), ALL, None)
    got = got.reshape(3, -1).T.numpy()
    np.testing.assert_allclose(got, expected, atol=2e-3)


def test_unbroken_the_checks_pass() -> None:
    check_step(estimate().numpy())
    check_adjoint(Measurement.of(scan(small_volume(SHAPE), n_views=4)).operator)


@pytest.mark.parametrize("factor", [math.pi / (2 * 4), 0.93, 1.001])
def test_a_scaled_adjoint_is_seen(factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """By pi / (2 views), and by some percent, as in the published code."""
    whole = XRayTransform._adjoint
    monkeypatch.setattr(XRayTransform, "_adjoint", lambda o, y: factor * whole(o, y))
    with pytest.raises(AssertionError):
        check_adjoint(Measurement.of(scan(small_volume(SHAPE), n_views=4)).operator)
    if abs(factor - 1) > 0.01:
        with pytest.raises(AssertionError):
            check_step(estimate().numpy())


@pytest.mark.parametrize("bound", [-2.0, 0.0])
def test_a_wrong_clip_is_seen(bound: float, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (estimate() < -1).any() and (estimate() < -1.5).any()
    monkeypatch.setattr(diffusion, "NO_ATTENUATION", bound)
    with pytest.raises(AssertionError):
        check_step(estimate().numpy())
