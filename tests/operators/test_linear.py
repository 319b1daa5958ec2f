"""The algebra of linear operators against dense matrices, and what it refuses."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError
from diffusionblend.geometry import ConeBeam, FanBeam, Grid, ParallelBeam
from diffusionblend.operators import (
    FiniteDifferences,
    LinearOperator,
    WeightedOperator,
    XRayTransform,
    stack,
)
from operator_properties import (
    check_gradient,
    check_norm,
    check_operator,
    dense_matrix,
    random_array,
)

GRID = Grid(shape=(2, 4, 4), spacing_mm=(1.0, 1.0, 1.0))
DISTANCES = {"source_to_axis_mm": 20.0, "source_to_detector_mm": 30.0}
GEOMETRIES = {
    "parallel": ParallelBeam.fitting(GRID, 3),
    "fan": FanBeam.fitting(GRID, 3, **DISTANCES),
    "curved": FanBeam.fitting(GRID, 3, curved=True, **DISTANCES),
    "cone": ConeBeam.fitting(GRID, 3, **DISTANCES),
    "vectors": ConeBeam.fitting(GRID, 3, **DISTANCES).to_vectors(),
}


class Dense(LinearOperator):
    """A matrix as an operator."""

    def __init__(self, rows: torch.Tensor) -> None:
        self.rows = rows
        self.domain_shape, self.range_shape = (rows.shape[1],), (rows.shape[0],)

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.rows.to(x) @ x

    def _adjoint(self, y: torch.Tensor) -> torch.Tensor:
        return self.rows.to(y).T @ y


def transform(kind: str = "parallel", dtype: torch.dtype = torch.float64, **options):
    return XRayTransform(GEOMETRIES[kind], GRID, dtype=dtype, **options)


@pytest.mark.parametrize("kind", GEOMETRIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_geometry_has_device_and_dtype_and_its_norm(kind, dtype):
    operator = transform(kind, dtype)
    assert operator.device == torch.device("cpu") and operator.dtype == dtype
    check_operator(operator, dtype=dtype)
    assert (operator @ random_array(GRID.shape, 0, torch.float64)).dtype == dtype
    check_norm(operator)


@pytest.mark.parametrize("kind", GEOMETRIES)
def test_a_device_or_dtype_that_cannot_be_had_is_refused(kind):
    for wrong in ("cuda:99", "nowhere", "meta"):
        with pytest.raises(InputError, match=wrong):
            transform(kind, device=wrong)
        with pytest.raises(InputError, match=wrong):
            transform(kind).to(wrong)
    for dtype in (torch.float16, torch.int32):
        with pytest.raises(InputError, match=str(dtype)):
            transform(kind, dtype)
    with pytest.raises(InputError, match="'disk'"):
        transform(kind, storage="disk")


def test_composites_are_their_matrices():
    one, other = (Dense(random_array((5, 5), i, torch.float64)) for i in range(2))
    a, b = one.rows, other.rows
    for operator, expected in (
        (one @ other, a @ b),
        (one @ other.H, a @ b.T),
        ((one @ other).T, (a @ b).T),
        (one + other, a + b),
        (one - 0.5 * other, a - 0.5 * b),
        (-one, -a),
        (stack(one, other), torch.cat([a, b])),
        (stack(one, other).H, torch.cat([a, b]).T),
    ):
        torch.testing.assert_close(dense_matrix(operator), expected)
        check_norm(operator)
        check_gradient(operator)


def test_stacks_join_views_and_flatten_what_has_other_axes():
    few, more = (
        XRayTransform(ParallelBeam.fitting(GRID, angles_rad=angles), GRID, dtype=torch.float64)
        for angles in ((0.0,), (0.5, 1.0))
    )
    both = XRayTransform(
        ParallelBeam.fitting(GRID, angles_rad=(0.0, 0.5, 1.0)), GRID, dtype=torch.float64
    )
    x = random_array(GRID.shape, 0, torch.float64)
    assert stack(few, more).range_shape == both.range_shape
    torch.testing.assert_close(stack(few, more) @ x, both @ x)
    mixed = stack(few, FiniteDifferences(GRID.shape))
    assert mixed.range_shape == (few.range_shape[2] * 2 + 3 * 32,)
    lines, differences = mixed.split(mixed @ x)
    torch.testing.assert_close(differences, FiniteDifferences(GRID.shape) @ x)
    torch.testing.assert_close(lines, few @ x)


def test_shapes_that_do_not_fit_are_refused_with_both():
    operator, differences = transform(), FiniteDifferences(GRID.shape)
    for combine, words in (
        (lambda: operator @ differences, ((2, 4, 4), (3, 2, 4, 4))),
        (lambda: operator + differences, (operator.range_shape, (3, 2, 4, 4))),
        (lambda: stack(operator, FiniteDifferences((1, 4, 4))), ((2, 4, 4), (1, 4, 4))),
        (lambda: operator @ np.zeros((4, 4)), ((4, 4),)),
        (lambda: stack(), ("none",)),
    ):
        with pytest.raises(InputError) as raised:
            combine()
        for word in words:
            assert str(word) in raised.value.got
        assert raised.value.expected
    for wrong in (lambda: operator + 1, lambda: "2" @ operator, lambda: operator * operator):
        with pytest.raises(TypeError):
            wrong()


def test_a_volume_is_refused_since_it_is_in_hu():
    volume = Volume(np.zeros(GRID.shape), GRID)
    with pytest.raises(InputError, match="given a Volume") as raised:
        transform() @ volume
    assert "hu_to_mu" in raised.value.try_


def test_gradients_pass_through_casts_and_composites():
    operator = transform(dtype=torch.float32)
    x = random_array(GRID.shape, 0, torch.float64).requires_grad_()
    (operator.H @ operator @ x).sum().backward()
    expected = operator.normal(torch.ones(GRID.shape))
    assert x.grad.dtype == torch.float64
    torch.testing.assert_close(x.grad.float(), expected)
    check_gradient(2 * transform() + transform())


def test_arrays_that_cannot_be_written_are_read():
    array = np.ones(GRID.shape)
    array.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (transform() @ array).sum() > 0


def test_the_norm_of_nothing_is_zero_and_a_bad_start_is_none():
    assert Dense(torch.zeros(3, 4)).norm() == 0.0
    diagonal = Dense(torch.diag(torch.tensor([1.0, 5.0, 2.0], dtype=torch.float64)))
    assert diagonal.norm() == pytest.approx(5.0, rel=1e-3)


def test_what_is_kept_is_counted_and_printed_in_short():
    operator = XRayTransform(ParallelBeam.fitting(GRID, 3), GRID)
    assert repr(operator) == (
        "XRayTransform(ParallelBeam of 3 views, (2, 4, 4) -> (3, 2, 6), cpu, float32)"
    )
    assert repr(FiniteDifferences(GRID.shape)) == "FiniteDifferences((2, 4, 4) -> (3, 2, 4, 4))"
    assert repr(2 * operator.H).startswith("2 * Adjoint(XRayTransform(")
    weighted = WeightedOperator(operator, torch.ones(3, 1, 1))
    assert weighted.device == operator.device and weighted.to("cpu") is weighted
    n_entries = int(operator.matrix.values().numel())
    assert operator.held_bytes == 2 * n_entries * 8 + 4 * (3 * 6 + 1 + 16 + 1)
    cone = transform("cone")
    assert cone.held_bytes == 3 * 12 * 8
    with pytest.raises(InputError, match="matrix of a slice"):
        cone.matrix  # noqa: B018


@pytest.mark.gpu
@pytest.mark.parametrize("kind", GEOMETRIES)
def test_an_operator_moves_to_the_device_and_back(kind):
    operator = transform(kind)
    there = operator.to("cuda")
    x = random_array(GRID.shape, 0, torch.float64)
    torch.testing.assert_close((there @ x.cuda()).cpu(), operator @ x)
    np.testing.assert_allclose(there @ x.numpy(), operator @ x.numpy())
    with pytest.raises(InputError, match="data on cpu"):
        there @ x
    with pytest.raises(InputError, match="put together"):
        there + operator
    assert (2 * there.H).to("cpu").device == torch.device("cpu")
