"""Checkpoints of training: damage is noticed, and the checkpoint before is taken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from diffusionblend.errors import InputError
from diffusionblend.training.checkpoint import (
    CHECKPOINT_FILE,
    previous_path,
    read_checkpoint,
    write_checkpoint,
)

CPU = torch.device("cpu")


def state(step: int) -> dict:
    generator = torch.Generator().manual_seed(step)
    weights = {"a.weight": torch.randn(8, 8, generator=generator)}
    moments = {0: {"step": torch.tensor(float(step)), "exp_avg": torch.ones(3).bfloat16()}}
    optimizer = {"state": moments, "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.99)}]}
    return {"step": step, "unet": weights, "optimizer": optimizer, "recent": [0.5, None]}


def same(found: dict, step: int) -> bool:
    expected = state(step)
    moments = [s["optimizer"]["state"][0] for s in (found, expected)]
    return (
        found["step"] == step
        and torch.equal(found["unet"]["a.weight"], expected["unet"]["a.weight"])
        and all(torch.equal(moments[0][n], moments[1][n]) for n in moments[1])
        and found["optimizer"]["param_groups"] == expected["optimizer"]["param_groups"]
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / CHECKPOINT_FILE
    write_checkpoint(path, state(1))
    return path


def test_damage_never_gives_other_numbers(path: Path) -> None:
    content, rng = path.read_bytes(), np.random.default_rng(3)
    refused = 0
    for _ in range(150):
        place = int(rng.integers(len(content)))
        changed = bytes([content[place] ^ (1 << int(rng.integers(8)))])
        path.write_bytes(content[:place] + changed + content[place + 1 :])
        try:
            assert same(read_checkpoint(path, CPU), 1)
        except InputError as error:
            refused += str(path) in error.got and "--force" in error.try_
    assert refused > 20  # most of so small a file is padding and names that do not matter


def test_every_bit_of_the_weights_counts(path: Path) -> None:
    content = path.read_bytes()
    weights = state(1)["unet"]["a.weight"].numpy().tobytes()
    place = content.index(weights[:64])
    for offset in range(0, len(weights), 16):
        changed = bytes([content[place + offset] ^ 1])
        path.write_bytes(content[: place + offset] + changed + content[place + offset + 1 :])
        with pytest.raises(InputError, match="SHA-256"):
            read_checkpoint(path, CPU)


def test_the_checkpoint_before_is_taken_with_a_note(path: Path) -> None:
    write_checkpoint(path, state(2))
    assert same(read_checkpoint(path, CPU), 2)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.warns(UserWarning, match="The checkpoint before it is taken, of step 1"):
        assert same(read_checkpoint(path, CPU), 1)
    path.unlink()  # killed between the two renames
    assert same(read_checkpoint(path, CPU), 1)
    previous_path(path).write_bytes(b"")
    path.write_bytes(b"")
    with pytest.raises(InputError, match=CHECKPOINT_FILE):
        read_checkpoint(path, CPU)


def test_one_without_a_hash_is_refused(path: Path) -> None:
    torch.save(state(1), path)
    with pytest.raises(InputError, match="sha256"):
        read_checkpoint(path, CPU)
