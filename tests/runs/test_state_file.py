"""States of unfinished runs: damage is noticed, the state before is taken, writing may fail."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from diffusionblend.errors import InputError
from diffusionblend.runs.checkpoint import KeptState
from diffusionblend.runs.state_file import previous_path, read_state, remove_state, write_state

IDENTITY = {"method": "dds", "seed": 1}


def arrays(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "x": rng.normal(size=(2, 5, 5)).astype(np.float32),
        "generator": rng.integers(0, 255, 40).astype(np.uint8),
    }


def same(found: tuple[int, dict[str, np.ndarray]], done: int) -> bool:
    expected = arrays(done)
    return found[0] == done and all(np.array_equal(found[1][n], a) for n, a in expected.items())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.nii.gz.state"
    write_state(path, 3, arrays(3), IDENTITY)
    return path


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """One bit changed, a page of zeros, or the end missing."""
    place = int(rng.integers(len(content)))
    kind = rng.integers(3)
    if kind == 0:
        changed = content[place] ^ (1 << int(rng.integers(8)))
        return content[:place] + bytes([changed]) + content[place + 1 :]
    if kind == 1:
        return content[:place] + bytes(len(content[place : place + 64])) + content[place + 64 :]
    return content[:place]


def test_damage_never_gives_other_numbers(path: Path) -> None:
    content, rng = path.read_bytes(), np.random.default_rng(5)
    refused = 0
    for _ in range(300):
        path.write_bytes(damaged(content, rng))
        try:
            assert same(read_state(path, IDENTITY), 3)
        except InputError as error:
            refused += str(path) in error.got and "--force" in error.try_
    assert refused > 280


def test_the_state_before_is_taken_with_a_note(path: Path) -> None:
    write_state(path, 4, arrays(4), IDENTITY)
    assert same(read_state(path, IDENTITY), 4)
    path.write_bytes(b"damaged")
    with pytest.warns(UserWarning, match="The state before it is taken"):
        assert same(read_state(path, IDENTITY), 3)
    path.unlink()  # killed between the two renames
    assert same(read_state(path, IDENTITY), 3)
    with pytest.raises(InputError, match="another scan"):
        read_state(path, {"method": "other"})
    remove_state(path)
    assert read_state(path, IDENTITY) is None and not previous_path(path).exists()


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir])
def test_a_state_that_is_no_file_is_refused(path: Path, make) -> None:
    path.unlink()
    make(path)
    with pytest.raises(InputError, match="it is no plain file"):
        read_state(path, IDENTITY)


def test_a_state_that_cannot_be_written_is_a_warning(path: Path, monkeypatch) -> None:
    import safetensors
    import safetensors.numpy

    def full(*_: object, **__: object) -> None:
        raise safetensors.SafetensorError(f"I/O error: {errno.ENOSPC} No space left on device")

    monkeypatch.setattr(safetensors.numpy, "save_file", full)
    kept = KeptState(path, IDENTITY, every_seconds=0.0)
    with pytest.warns(UserWarning, match="no state was kept after step 7; the run goes on.*full"):
        kept.keep_if_due(7, lambda: arrays(7))
    assert same(read_state(path, IDENTITY), 3)


def test_a_full_disk_under_the_state_is_a_warning(small_disk: Path) -> None:
    kept = KeptState(small_disk / "a.state", IDENTITY, every_seconds=0.0)
    with pytest.warns(UserWarning, match="the disk is full"):
        kept.keep_if_due(1, lambda: {"x": np.zeros(1 << 20, np.float32)})
    assert not list(small_disk.iterdir())
