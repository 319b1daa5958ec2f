"""Choices of the network are trained for their minutes once each, and reported side by side."""

from __future__ import annotations

import json

import numpy as np
import pytest

import gpu_train
import network_choices
from diffusionblend import Grid, Volume
from diffusionblend.priors.network import build_unet
from diffusionblend.training.settings import TrainSettings
from pack_volumes import write_pack


def pack(path, seed):
    values = np.random.default_rng(seed).uniform(-1000, 500, (6, 32, 32))
    grid = Grid(shape=values.shape, spacing_mm=(2.5, 1.5, 1.5))
    write_pack({f"patient-{seed}": Volume(values, grid)}, path, step_hu=4.0, limit_mb=10.0)
    return path


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_train, "FIRST_STEPS", 1)
    monkeypatch.setattr(gpu_train, "TRIAL_STEPS", 2)
    options = ["--tiny", "--size", "32", "--batch-size", "2", "--minutes", "0.01"]
    options += ["--train", str(pack(tmp_path / "train.npz", 0))]
    options += ["--validation", str(pack(tmp_path / "val.npz", 1))]
    options += ["-o", str(tmp_path / "out")]
    return lambda *choices: network_choices.main([*options, "--choices", *choices])


def rows(tmp_path):
    return [json.loads(line) for line in (tmp_path / "out/rows.jsonl").read_text().splitlines()]


def test_each_choice_is_trained_once(run, tmp_path, capsys):
    assert run("base", "eps") == 0
    assert run("eps", "half the width") == 0
    found = rows(tmp_path)
    assert [r["choice"] for r in found] == ["base", "eps", "half the width"]
    assert found[2]["parameters_million"] < found[0]["parameters_million"]
    for row in found:
        assert row["steps"] > 0 and np.isfinite(row["validation_eps_loss"])
    assert "| half the width |" in capsys.readouterr().out
    assert (tmp_path / "out/table.md").read_text().count("|") > 20


@pytest.mark.parametrize("name", network_choices.CHOICES)
def test_every_choice_changes_what_it_says_and_can_be_built(name):
    base = TrainSettings()
    changed = network_choices.CHOICES[name](base)
    assert (changed == base) == (name == "base")
    build_unet(changed.network)
