"""SciPy's own solvers, PyLops' dot test and ODL's adjoint on the X-ray transform."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import LinearOperator as ScipyOperator
from scipy.sparse.linalg import lsqr

from diffusionblend.adapters.flat import to_odl, to_pylops, to_scipy
from diffusionblend.errors import InputError
from diffusionblend.geometry import ConeBeam, ParallelBeam
from diffusionblend.geometry.grid import Grid
from diffusionblend.operators import XRayTransform
from diffusionblend.solvers.conjugate_gradient import conjugate_gradient
from peers import peer

GRID = Grid(shape=(3, 9, 8), spacing_mm=(2.0, 1.5, 1.5))


@pytest.fixture(params=["parallel", "cone"])
def operator(request) -> XRayTransform:
    kind = {"parallel": ParallelBeam, "cone": ConeBeam}[request.param]
    return XRayTransform(kind.fitting(GRID, 7), GRID, dtype=torch.float64)


def test_scipys_lsqr_finds_what_our_cg_finds(operator):
    truth = np.random.default_rng(1).normal(size=operator.domain_shape)
    flat = to_scipy(operator)
    assert isinstance(flat, ScipyOperator) and flat.dtype == np.float64
    data = operator.forward(truth)
    np.testing.assert_array_equal(flat @ truth.ravel(), data.ravel())
    np.testing.assert_array_equal(flat.T @ data.ravel(), operator.adjoint(data).ravel())
    damp = 0.3
    found = lsqr(flat, data.ravel(), damp=damp, atol=1e-12, btol=1e-12, iter_lim=2000)[0]
    x = conjugate_gradient(
        lambda v: operator.normal(v) + damp**2 * v,
        operator.adjoint(torch.from_numpy(data)),
        torch.zeros(operator.domain_shape, dtype=torch.float64),
        400,
    )
    np.testing.assert_allclose(found, np.asarray(x).ravel(), atol=1e-4 * np.abs(found).max())


def test_float32_is_float32_to_scipy():
    operator = XRayTransform(ParallelBeam.fitting(GRID, 7), GRID)
    assert to_scipy(operator).dtype == np.float32


def test_pylops_dot_test_passes(operator):
    peer("pylops")
    from pylops.utils import dottest

    wrapped = to_pylops(operator)
    assert wrapped.dims == operator.domain_shape and wrapped.dimsd == operator.range_shape
    n_out, n_in = wrapped.shape
    assert dottest(wrapped, n_out, n_in, rtol=1e-10, atol=1e-12)
    volume = np.ones(operator.domain_shape)
    np.testing.assert_array_equal(wrapped @ volume, operator.forward(volume))


def test_odl_takes_the_operator_and_its_adjoint(operator):
    odl = peer("odl")
    wrapped = to_odl(operator)
    rng = np.random.default_rng(2)
    x = wrapped.domain.element(rng.normal(size=operator.domain_shape))
    y = wrapped.range.element(rng.normal(size=operator.range_shape))
    assert wrapped(x).inner(y) == pytest.approx(x.inner(wrapped.adjoint(y)), rel=1e-10)
    found = wrapped.domain.zero()
    odl.solvers.conjugate_gradient_normal(wrapped, found, wrapped(x), niter=400)
    misfit = (wrapped(found) - wrapped(x)).norm() / wrapped(x).norm()
    assert misfit < 1e-3


def test_what_is_no_operator_or_not_installed_is_reported(monkeypatch):
    for adapt in (to_scipy,):
        with pytest.raises(InputError, match="SciPy"):
            adapt(np.eye(3))
    operator = XRayTransform(ParallelBeam.fitting(GRID, 7), GRID)
    for name, adapt in (("pylops", to_pylops), ("odl", to_odl)):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(InputError, match=f"{name} cannot be imported") as caught:
            adapt(operator)
        assert "peers" in caught.value.try_
