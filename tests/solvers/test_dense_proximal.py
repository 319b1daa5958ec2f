"""The proximal step by a dense factor: the same point as by eigenvectors, in float64."""

from __future__ import annotations

import pytest
import torch

from diffusionblend.errors import InputError
from diffusionblend.geometry import ConeBeam, Grid, ParallelBeam, equally_spaced_angles
from diffusionblend.solvers import dense_proximal, direct_proximal, proximal
from diffusionblend.solvers.dense_proximal import DenseProximal, dense_bytes
from diffusionblend.solvers.direct_proximal import ExactProximal
from diffusionblend.solvers.iterative_proximal import IterativeProximal
from diffusionblend.solvers.proximal import proximal_of
from operator_properties import random_array, transform_of

SHAPE = (2, 10, 12)


def make_operator(n_views: int, shift_mm: float = 0.0):
    geometry = ParallelBeam(
        angles_rad=equally_spaced_angles(n_views),
        n_columns=17,
        column_mm=1.0,
        detector_shift_mm=shift_mm,
    )
    return transform_of(geometry, Grid(shape=SHAPE, spacing_mm=(1, 1, 1)))


@pytest.mark.parametrize("rho", [0.1, 5.0, 1000.0])
@pytest.mark.parametrize("n_views", [4, 20], ids=["few views", "many views"])
@pytest.mark.parametrize("shift_mm", [0.0, 0.3], ids=["in halves", "whole"])
def test_the_same_point_as_by_eigenvectors(rho, n_views, shift_mm) -> None:
    operator = make_operator(n_views, shift_mm)
    x0, y = random_array(SHAPE, 0), random_array(operator.range_shape, 1)
    dense = DenseProximal(operator)
    assert dense.in_rays == (n_views == 4)
    assert len(dense.grams) == (1 if shift_mm else 2)
    expected = ExactProximal(operator)(x0, y, rho)
    torch.testing.assert_close(dense(x0, y, rho), expected, atol=3e-3, rtol=1e-3)
    one = dense(x0[1:], y[:, 1:].contiguous(), rho)
    torch.testing.assert_close(one, expected[1:], atol=3e-3, rtol=1e-3)


def test_another_rho_makes_another_factor() -> None:
    operator = make_operator(20)
    x0, y = random_array(SHAPE, 0), random_array(operator.range_shape, 1)
    dense, exact = DenseProximal(operator), ExactProximal(operator)
    for rho in (100.0, 1.0, 100.0):
        torch.testing.assert_close(dense(x0, y, rho), exact(x0, y, rho), atol=3e-3, rtol=1e-3)


def test_a_matrix_without_a_factor_in_float32_gets_a_larger_rho() -> None:
    """Rounding gives A*A a negative eigenvalue: -1e-3 beside 1e4."""
    gram = torch.diag(torch.tensor([1e4, 1.0, -1e-3]))
    inverse = torch.cholesky_inverse(dense_proximal._factor(gram, 1e-6))
    assert torch.isfinite(inverse).all()
    assert inverse[2, 2] > 0
    assert inverse[1, 1] == pytest.approx(1.0, rel=1e-2)


def test_the_time_of_a_factor_is_foreseen_by_square_and_cube(monkeypatch) -> None:
    """By a clock that goes on by 2e-9 n^2 + 3e-12 n^3 s for a factor of size n."""
    now = [0.0]

    def factor(gram: torch.Tensor, rho: float) -> torch.Tensor:
        n = len(gram)
        now[0] += 2e-9 * n**2 + 3e-12 * n**3
        return gram

    monkeypatch.setattr(dense_proximal, "_factor", factor)
    monkeypatch.setattr(dense_proximal.time, "perf_counter", lambda: now[0])
    dense_proximal._seconds_by_power.cache_clear()
    assert dense_proximal._seconds_by_power("cpu") == pytest.approx((2e-9, 3e-12), rel=1e-3)
    gram = 2 * dense_proximal.GRAM_SECONDS
    expected = gram + 4 * 2 * (2e-9 * 8192**2 + 3e-12 * 8192**3)
    assert dense_proximal.dense_seconds([8192] * 2, 4, "cpu") == pytest.approx(expected, rel=1e-3)
    dense_proximal._seconds_by_power.cache_clear()


def test_the_solver_is_chosen_by_size_memory_and_geometry(monkeypatch) -> None:
    operator = make_operator(4)
    assert isinstance(proximal_of(operator), ExactProximal)
    monkeypatch.setattr(proximal, "MAX_EIGEN", 10)
    assert isinstance(proximal_of(operator), DenseProximal)
    needed = dense_bytes(DenseProximal(operator).fold.sizes)
    assert isinstance(proximal_of(operator, needed), DenseProximal)
    with pytest.warns(UserWarning, match="conjugate gradients are run in its place"):
        assert isinstance(proximal_of(operator, needed - 1), IterativeProximal)
    monkeypatch.setattr(proximal, "MAX_DENSE", 10)
    noisy = proximal_of(operator)
    assert isinstance(noisy, IterativeProximal)
    assert isinstance(proximal_of(operator, exact=True), DenseProximal)
    with pytest.warns(UserWarning, match="conjugate gradients are run in its place"):
        exact = proximal_of(operator, needed - 1, exact=True)
    assert isinstance(exact, IterativeProximal) and exact.tolerance < noisy.tolerance
    monkeypatch.setattr(direct_proximal, "MAX_EIGEN", 10)
    with pytest.raises(InputError, match="Eigenvectors were asked for 36 rays"):
        ExactProximal(operator)


def test_coupled_slices_have_no_matrix_of_one() -> None:
    cone = ConeBeam(
        angles_rad=equally_spaced_angles(3),
        n_columns=15,
        column_mm=2.0,
        n_rows=5,
        row_mm=2.0,
        source_to_axis_mm=40.0,
        source_to_detector_mm=80.0,
    )
    operator = transform_of(cone, Grid(shape=(2, 6, 6), spacing_mm=(1, 1, 1)))
    assert isinstance(proximal_of(operator), IterativeProximal)
    for kind in (ExactProximal, DenseProximal):
        with pytest.raises(InputError, match="ConeBeam"):
            kind(operator)


def test_a_matrix_too_large_for_a_factor_is_not_made(monkeypatch) -> None:
    """It may be larger than the memory; rays are traced on the fly instead."""
    operator = make_operator(20)
    monkeypatch.setattr(proximal, "MAX_EIGEN", 10)
    monkeypatch.setattr(proximal, "MAX_DENSE", 10)

    def fail(_: object) -> None:
        raise AssertionError("the matrix was made")

    monkeypatch.setattr(proximal, "scipy_matrix", fail)
    assert isinstance(proximal_of(operator), IterativeProximal)
