"""SIRT and CGLS as methods: HU in and out, bounds, residuals, and how long they should iterate."""

from __future__ import annotations

import numpy as np
import pytest

from diffusionblend.data.projections import Projections
from diffusionblend.errors import InputError
from diffusionblend.methods import Cgls, Sirt
from diffusionblend.methods.api import reconstruct
from small_scan import MU_WATER, dense_system, residual_by_hand, scan, small_volume

SHAPE = (2, 8, 8)


@pytest.fixture(scope="module")
def projections() -> Projections:
    return scan(small_volume(SHAPE), n_views=5)


def system(projections: Projections) -> tuple[np.ndarray, np.ndarray]:
    """A (rays, pixels) in mm and y (rays, slices) of attenuation in 1/mm."""
    dense = dense_system(projections.geometry, projections.grid)
    y = projections.values.astype(np.float64).transpose(0, 2, 1).reshape(len(dense), -1)
    return dense, y


def hu(mu: np.ndarray) -> np.ndarray:
    return (1000 * (mu / MU_WATER - 1)).T.reshape(SHAPE)


def test_sirt_from_air_is_its_iteration_in_attenuation(projections: Projections) -> None:
    dense, y = system(projections)
    rows, columns = (np.maximum(dense.sum(axis), 1e-12)[:, None] for axis in (1, 0))
    mu = np.zeros((dense.shape[1], SHAPE[0]))
    for _ in range(9):
        mu = np.maximum(mu + dense.T @ ((y - dense @ mu) / rows) / columns, 0)
    result = reconstruct(projections, "sirt", iterations=9)
    np.testing.assert_allclose(result.volume.values, hu(mu), atol=0.5)
    expected = residual_by_hand(projections, result.volume.values)
    assert result.relative_residual == pytest.approx(expected, rel=1e-3)
    assert result.network_evaluations == 0


def test_cgls_from_air_is_the_best_fit_in_each_slice_s_krylov_space(
    projections: Projections,
) -> None:
    dense, y = system(projections)
    expected = []
    for data in y.T:
        space = [dense.T @ data]
        for _ in range(4):
            space.append(dense.T @ (dense @ (space[-1] / np.linalg.norm(space[-1]))))
        basis = np.linalg.qr(np.stack(space, 1))[0]
        expected.append(basis @ np.linalg.lstsq(dense @ basis, data, rcond=None)[0])
    result = reconstruct(projections, "cgls", iterations=5, nonnegative=False)
    np.testing.assert_allclose(result.volume.values, hu(np.stack(expected, 1)), atol=1)


@pytest.mark.parametrize("name", ["sirt", "cgls"])
def test_attenuation_below_zero_only_where_allowed(projections: Projections, name: str) -> None:
    bounded, free = (
        reconstruct(projections, name, iterations=8, nonnegative=keep).volume
        for keep in (True, False)
    )
    assert bounded.values.min() >= -1000
    assert free.values.min() < -1000


@pytest.mark.parametrize("of", [Sirt, Cgls])
def test_no_iterations_are_refused(of: type) -> None:
    with pytest.raises(InputError, match="at least 1"):
        of(iterations=0)
