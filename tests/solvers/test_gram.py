"""Gram matrices in halves: the halves together are the whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diffusionblend.geometry import FanBeam, Grid, ParallelBeam, equally_spaced_angles
from diffusionblend.solvers.gram import Fold, folds, gram_parts, scipy_matrix
from operator_properties import random_array, transform_of


def beam(size: tuple[int, int], n_columns: int, **options):
    geometry = ParallelBeam(
        angles_rad=equally_spaced_angles(5), n_columns=n_columns, column_mm=1.0, **options
    )
    return transform_of(geometry, Grid(shape=(1, *size), spacing_mm=(1, 1, 1)))


@pytest.mark.parametrize("n", [6, 7])
def test_a_fold_is_an_orthonormal_change_of_coordinates(n: int) -> None:
    fold = Fold(np.arange(n)[::-1].copy())
    x = random_array((n, 3), 0)
    parts = fold.parts(x)
    assert [len(part) for part in parts] == fold.sizes == [n - n // 2, n // 2]
    assert sum(float(p.square().sum()) for p in parts) == pytest.approx(float(x.square().sum()))
    torch.testing.assert_close(fold.joined(parts), x)
    for basis, part in zip(fold.bases(), parts, strict=True):
        np.testing.assert_allclose(basis.T @ x.numpy(), part.numpy(), rtol=1e-5, atol=1e-6)


def test_entries_without_partners_are_one_part() -> None:
    fold = Fold(np.arange(4))
    x = random_array((4, 2), 0)
    assert fold.sizes == [4]
    assert fold.parts(x)[0] is x
    assert fold.joined([x]) is x


@pytest.mark.parametrize("size", [(8, 8), (8, 6), (7, 9)])
@pytest.mark.parametrize("n_columns", [13, 14])
@pytest.mark.parametrize("of_rays", [True, False])
def test_the_halves_have_the_eigenvalues_of_the_whole(size, n_columns, of_rays) -> None:
    matrix = scipy_matrix(beam(size, n_columns)).astype(float)
    rays, pixels = folds(matrix, n_columns)
    assert len(rays.sizes) == len(pixels.sizes) == 2
    matrix, fold = (matrix.T, rays) if of_rays else (matrix, pixels)
    blocks = gram_parts(matrix, fold, float)
    found = np.concatenate([np.linalg.eigvalsh(block) for block in blocks])
    dense = matrix.toarray()
    expected = np.linalg.eigvalsh(dense.T @ dense)
    np.testing.assert_allclose(np.sort(found), expected, atol=1e-4 * expected.max())


def test_a_shifted_axis_and_a_fan_are_not_split() -> None:
    shifted = beam((8, 8), 13, detector_shift_mm=0.4)
    fan = FanBeam(
        angles_rad=equally_spaced_angles(5),
        n_columns=14,
        column_mm=2.0,
        source_to_axis_mm=30.0,
        source_to_detector_mm=60.0,
    )
    fan_operator = transform_of(fan, shifted.grid)
    for operator in (shifted, fan_operator):
        columns = operator.range_shape[2]
        assert [len(fold.sizes) for fold in folds(scipy_matrix(operator), columns)] == [1, 1]
