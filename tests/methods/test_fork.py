"""Work shared out by a pool that forks, after the parent has computed with several threads."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator

import numpy as np
import pytest
import torch

import diffusionblend as db


def residual(method: str) -> float:
    """The residual of a small reconstruction."""
    values = np.random.default_rng(0).uniform(-1000, 100, (4, 64, 64)).astype(np.float32)
    volume = db.Volume(values, db.Grid(shape=values.shape, spacing_mm=(2.0, 3.0, 3.0)))
    scan = db.simulate(volume, db.ParallelBeam.fitting(volume.grid, views=8))
    return db.reconstruct(scan, method).relative_residual


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("method", ["fbp", "cgls"])
def test_a_forked_child_computes_what_its_parent_does(two_threads, method):
    """OpenMP's threads stay behind in the parent: a child that waited for them would hang."""
    expected = residual(method)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        found = pool.map_async(residual, [method, method]).get(timeout=60)
    assert found == [expected, expected]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_reads_files_after_its_parent_did(tmp_path):
    """The process that reads foreign files is the parent's; the child gets one of its own."""
    path = tmp_path / "a.nii.gz"
    values = np.linspace(-1000, 1000, 4 * 8 * 8).reshape(4, 8, 8)
    db.write_volume(db.Volume(values, db.Grid(shape=values.shape, spacing_mm=(1, 1, 1))), path)
    expected = db.read_volume(path).values
    with multiprocessing.get_context("fork").Pool(2) as pool:
        for found in pool.map_async(_values, [path, path]).get(timeout=60):
            np.testing.assert_array_equal(found, expected)


def _values(path):
    return np.array(db.read_volume(path).values)
