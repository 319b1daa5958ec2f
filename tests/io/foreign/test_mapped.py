"""Mapped files hold what reading them gives, wherever their voxels begin."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import pytest

from diffusionblend.io.foreign import child
from diffusionblend.io.foreign.mapped import mapped_in_child


@pytest.fixture
def path(tmp_path: Path) -> Path:
    values = np.random.default_rng(0).integers(0, 256, 3 * mmap.ALLOCATIONGRANULARITY, np.uint8)
    (tmp_path / "voxels.raw").write_bytes(values.tobytes())
    return tmp_path / "voxels.raw"


@pytest.mark.parametrize("start", [0, 352, 4096, mmap.ALLOCATIONGRANULARITY + 7])
def test_mapped_bytes_are_those_that_are_read(
    path: Path, start: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "_inside", True)
    whole = path.read_bytes()
    with path.open("rb") as file:
        file.seek(start)
        found = mapped_in_child(file, 5001)
        assert found is not None
        assert found.tobytes() == whole[start : start + 5001]
        assert file.tell() == start + 5001
        found[:] = 0
    assert path.read_bytes() == whole


def test_a_file_that_is_too_short_is_left_to_be_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "_inside", True)
    with path.open("rb") as file:
        file.seek(10)
        assert mapped_in_child(file, path.stat().st_size) is None
        assert mapped_in_child(file, 0) is None
        assert file.tell() == 10


def test_nothing_is_mapped_in_the_programs_own_process(path: Path) -> None:
    with path.open("rb") as file:
        assert mapped_in_child(file, 100) is None
        assert file.tell() == 0
