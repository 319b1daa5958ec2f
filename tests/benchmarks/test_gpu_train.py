"""A time-boxed training resumes, ends in time and leaves a finished run alone."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import gpu_train
from diffusionblend import Grid, Volume, load_prior
from easy_training import environment_of_a_script
from gpu_train import main
from pack_volumes import write_pack
from tiny_network import random_prior


def pack(path, names, size=32):
    values = np.random.default_rng(0).uniform(-1000, 500, (6, size, size))
    grid = Grid(shape=values.shape, spacing_mm=(2.5, 1.5, 1.5))
    write_pack({n: Volume(values, grid) for n in names}, path, step_hu=4.0, limit_mb=10.0)
    return path


@pytest.fixture
def options(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_train, "FIRST_STEPS", 1)
    monkeypatch.setattr(gpu_train, "TRIAL_STEPS", 2)
    return [
        *("--tiny", "--device", "cpu", "--synthetic", "0", "--batch-size", "2"),
        *("--train", str(pack(tmp_path / "train.npz", ["a", "b"]))),
        *("-o", str(tmp_path / "run")),
    ]


def last_line(tmp_path):
    return json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])


def test_a_second_call_goes_on_and_a_finished_run_stays(tmp_path, options, capsys):
    validation = ["--validation", str(pack(tmp_path / "val.npz", ["c"]))]
    box = ["--minutes", "0.03", "--total-minutes", "0.06"]
    assert main([*options, *validation, *box]) == 0
    first = last_line(tmp_path)
    assert first["validation_loss"] > 0
    assert main([*options, *validation, *box]) == 0
    assert f"at step {first['step']}" in capsys.readouterr().out
    second = last_line(tmp_path)
    assert second["step"] > first["step"]
    assert second["seconds"] < 60 * 0.06 * 5  # the box, and room for a busy machine
    total = ["--minutes", "0.01", "--total-minutes", str(second["seconds"] / 60)]
    assert main([*options, *total]) == 0
    assert last_line(tmp_path)["step"] == second["step"]
    prior = load_prior(tmp_path / "run")
    assert prior.trained["volumes"] == ["a", "b"]
    assert prior.config.image_size == 32


def test_patients_of_the_training_are_not_validated_on(tmp_path, options, capsys):
    both = ["--validation", str(pack(tmp_path / "val.npz", ["b"])), "--minutes", "0.01"]
    assert main([*options, *both]) == 1
    assert "b is in training and validation" in capsys.readouterr().err


def test_slices_of_another_size_are_refused(tmp_path, options, capsys):
    other = ["--train", str(pack(tmp_path / "small.npz", ["a"], size=16)), "--minutes", "0.01"]
    assert main([*options, *other]) == 1
    assert "32 x 32" in capsys.readouterr().err


def test_it_needs_neither_an_image_library_nor_those_of_the_command_line(tmp_path, options):
    """As on a machine that has PyTorch, diffusers and accelerate alone."""
    program = textwrap.dedent(
        """
        import sys

        for absent in "tyro rich SimpleITK pydicom h5py skimage matplotlib jinja2".split():
            sys.modules[absent] = None  # its import fails as that of a package that is not there
        import gpu_train

        gpu_train.FIRST_STEPS, gpu_train.TRIAL_STEPS = 1, 2
        sys.exit(gpu_train.main(sys.argv[1:]))
        """
    )
    command = [sys.executable, "-c", program, *options, "--minutes", "0.01"]
    environment = environment_of_a_script(Path(gpu_train.__file__).parent)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "prior.json").is_file()


def test_the_prior_is_kept_at_checkpoints_in_parts_that_join(tmp_path, options, monkeypatch):
    monkeypatch.setattr(gpu_train, "minutes_between_checkpoints", lambda minutes: 0.0)
    copies, keep_prior = [], gpu_train.keep_prior
    monkeypatch.setattr(gpu_train, "keep_prior", lambda *a: (copies.append(1), keep_prior(*a))[1])
    kept = tmp_path / "kept"
    limits = ["--minutes", "0.06", "--keep", str(kept), "--max-file-mb", "0.05"]
    assert main([*options, *limits]) == 0
    assert len(copies) > 2  # not at the end alone
    parts = sorted((kept / "prior").glob("*.part-*"))
    assert len(parts) > 1 and all(p.stat().st_size <= 50_000 for p in parts)
    weights = kept / "prior" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(b"".join(p.read_bytes() for p in parts))
    assert load_prior(kept / "prior").config.image_size == 32


def test_a_network_of_every_size_goes_on_by_its_recipe(tmp_path, options):
    recipe = gpu_train.settings_of(
        gpu_train.parse([*options, "--minutes", "1"]), load_prior("chest").config
    )
    assert recipe.multi_size and recipe.network.length_codes
    assert recipe.optimizer == "muon" and recipe.low_noise_share > 0
    start = tmp_path / "start"
    tiny = replace(gpu_train.TINY_NETWORK, length_codes=8)
    random_prior(config=tiny).save(start)
    assert main([*options, "--minutes", "0.01", "--init", str(start)]) == 0
    trained = load_prior(tmp_path / "run")
    assert trained.config.length_codes == 8 and trained.pixel_range_mm is not None
