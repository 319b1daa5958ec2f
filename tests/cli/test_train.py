from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
from contextlib import contextmanager
from dataclasses import fields

import pytest

from command_line import (
    TINY_TRAINING,
    assert_nothing_in,
    assert_refused,
    assert_succeeded,
    working_process,
)
from diffusionblend.cli.train import NetworkOptions, TrainOptions
from diffusionblend.priors.config import NetworkConfig
from diffusionblend.priors.prior import PRIOR_FILE, WEIGHTS_FILE, load_prior
from diffusionblend.runs.record import run_record_path
from diffusionblend.training.checkpoint import CHECKPOINT_FILE
from diffusionblend.training.log import METRICS_FILE
from diffusionblend.training.settings import TrainSettings

SIX_STEPS = ("--steps", 6, "--synthetic-volumes", 0, "--validate-every", 3)


@pytest.fixture
def volumes(chest_file, tmp_path):
    """A folder with one training volume, and one with one for validation."""
    for kind in ("train", "val"):
        (tmp_path / kind).mkdir()
        shutil.copy(chest_file, tmp_path / kind / f"{kind}-patient.nii.gz")
    return tmp_path / "train", tmp_path / "val"


@pytest.fixture
def command(volumes, tmp_path):
    """A whole training command of six steps."""
    train, val = volumes
    output = tmp_path / "prior"
    return ("train", train, "-o", output, "--validation", val, *TINY_TRAINING, *SIX_STEPS)


def interrupt_at(monkeypatch, step, number):
    """Let the process receive a signal when a run has done so many steps."""

    @contextmanager
    def interrupting(task, **_):
        def advance(done, total):
            if task == "train" and done == step:
                os.kill(os.getpid(), number)

        yield advance

    monkeypatch.setattr("diffusionblend.cli.train.progress", interrupting)


def weights_of(folder):
    return hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest()


def files_of(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}


def test_a_run_writes_prior_metrics_and_record(cli, command, tmp_path):
    result = cli(*command)
    assert_succeeded(result)
    assert re.search(
        r"train: 6/6, .* left, loss \d\.\d{4}, learning rate \S+, validation \d\.\d{4}, "
        r"\d+\.\d dB\n",
        result.err,
    )
    assert f"reconstruct scan.h5 --method diffusionblend++ --prior {tmp_path}/prior" in result.out
    folder = tmp_path / "prior"
    prior = load_prior(folder)
    assert prior.config.image_size == 16 and prior.config.channels == (8, 16)
    assert prior.trained["volumes"] == ["train-patient.nii.gz"]
    assert prior.trained["validation_volumes"] == ["val-patient.nii.gz"]
    assert prior.trained["steps"] == 6
    lines = [json.loads(line) for line in (folder / METRICS_FILE).read_text().splitlines()]
    losses = {line["step"]: line["validation_loss"] for line in lines if "validation_loss" in line}
    assert set(losses) == {3, 6}
    assert prior.trained["validation_loss"] == pytest.approx(losses[6], rel=0.02)
    record = json.loads((tmp_path / "prior.run.json").read_text())
    assert record["weights_sha256"] == weights_of(folder)
    assert record["settings"]["settings"]["network"]["channels"] == [8, 16]
    assert len(record["inputs"]) == 2
    assert record["seconds"]["train"] > 0


def test_a_run_comes_again_from_its_record(cli, command, tmp_path):
    assert_succeeded(cli(*command))
    assert_succeeded(cli("repeat", tmp_path / "prior.run.json", "-o", tmp_path / "again"))
    assert weights_of(tmp_path / "again") == weights_of(tmp_path / "prior")


def test_one_network_for_every_pixel_size_serves_other_slices(cli, command, tmp_path):
    sizes = ("--multi-size", "--source-size", 32, "--network.length-codes", 4)
    result = cli(*command, *sizes, "--optimizer", "muon", "--average-shares", 0.5)
    assert_succeeded(result)
    folder = tmp_path / "prior"
    assert (folder / "averages" / "0.5" / PRIOR_FILE).is_file()
    prior = load_prior(folder)
    smallest_mm, largest_mm = prior.pixel_range_mm
    assert largest_mm > 6 * smallest_mm
    volume = tmp_path / "train" / "train-patient.nii.gz"
    small = tmp_path / "small.nii.gz"
    assert_succeeded(cli("import", volume, "-o", small, "--size", 8))
    assert_succeeded(cli("simulate", small, "-o", tmp_path / "scan.h5"))
    given = ("--prior", folder, "--steps", 2, "--device", "cpu")
    output = tmp_path / "volume.nii.gz"
    assert_succeeded(cli("reconstruct", tmp_path / "scan.h5", "-o", output, *given))


def test_a_run_waits_while_its_pause_file_is_there(cli, command, tmp_path, monkeypatch):
    pause = tmp_path / "PAUSE"
    pause.touch()
    monkeypatch.setattr("diffusionblend.training.loop.time.sleep", lambda _: pause.unlink())
    assert_succeeded(cli(*command, "--pause-file", pause))
    assert not pause.exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_same_command_resumes_an_interrupted_run(
    cli, command, tmp_path, monkeypatch, number, code
):
    interrupt_at(monkeypatch, 2, number)
    result = cli(*command)
    assert result.code == code
    assert "checkpoint at step 2" in result.out
    folder = tmp_path / "prior"
    assert (folder / CHECKPOINT_FILE).exists() and not (folder / PRIOR_FILE).exists()
    monkeypatch.undo()
    result = cli(*command)
    assert_succeeded(result)
    assert "resuming at step 2 of 6" in result.out
    whole = [tmp_path / "whole" if a == folder else a for a in command]
    assert_succeeded(cli(*whole))
    assert weights_of(folder) == weights_of(tmp_path / "whole")


def test_ctrl_c_in_a_process_of_its_own(cli, command, tmp_path, monkeypatch):
    command = (*command, "--steps", 1_000_000, "--validate-every", 1_000_000)
    with working_process(*command, at_work="train: 3/") as process:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=240)
    assert process.returncode == 130
    assert "Traceback" not in err
    files = {p.name for p in (tmp_path / "prior").iterdir()}
    assert CHECKPOINT_FILE in files
    assert not [name for name in files if "partial" in name]
    step = int(out.partition("checkpoint at step ")[2].split()[0])
    interrupt_at(monkeypatch, step + 1, signal.SIGINT)
    result = cli(*command)
    assert result.code == 130
    assert f"resuming at step {step} of 1000000" in result.out
    assert f"checkpoint at step {step + 1}" in result.out


def test_a_finished_prior_is_not_trained_over_without_force(cli, command, tmp_path):
    folder = tmp_path / "prior"
    assert_succeeded(cli(*command))
    before = files_of(folder)
    assert_refused(cli(*command), "finished prior", "--force")
    # nor by a command with --force that cannot run
    missing = [tmp_path / "nowhere" if a == tmp_path / "train" else a for a in command]
    assert_refused(cli(*missing, "--force"), "nowhere")
    assert files_of(folder) == before
    assert_succeeded(cli(*command, "--force", "--seed", 3))
    assert load_prior(folder).trained["settings"]["seed"] == 3
    assert weights_of(folder) != hashlib.sha256(before[WEIGHTS_FILE]).hexdigest()


def test_a_finished_prior_goes_further_with_more_steps(cli, command, tmp_path):
    folder, at_once = tmp_path / "prior", tmp_path / "at-once"
    constant = ("--schedule", "constant")  # so that the first steps are those of the longer run
    assert_succeeded(cli(*command, *constant))
    assert_refused(cli(*command, *constant, "--steps", 5), "finished prior", "more --steps")
    result = cli(*command, *constant, "--steps", 8)
    assert_succeeded(result)
    assert "resuming at step 6 of 8" in result.out
    assert load_prior(folder).trained["steps"] == 8
    assert json.loads(run_record_path(folder).read_text())["results"]["steps"] == 8
    whole = [at_once if a == folder else a for a in command]
    assert_succeeded(cli(*whole, *constant, "--steps", 8))
    assert weights_of(folder) == weights_of(at_once)


def test_other_settings_do_not_resume(cli, command, monkeypatch):
    interrupt_at(monkeypatch, 2, signal.SIGINT)
    assert cli(*command).code == 130
    monkeypatch.undo()
    assert_refused(cli(*command, "--learning-rate", 0.1), "learning_rate", "--force")


def test_an_output_that_is_something_else_is_refused(cli, command, tmp_path):
    folder = tmp_path / "prior"
    folder.write_bytes(b"precious")
    result = cli(*command)
    assert result.code == 1 and "is a file" in result.err and "Expected:" in result.err
    assert folder.read_bytes() == b"precious"
    folder.unlink()
    folder.mkdir()
    (folder / "thesis.tex").write_text("precious")
    for force in ((), ("--force",)):
        assert_refused(cli(*command, *force), "thesis.tex")
    assert [p.name for p in folder.iterdir()] == ["thesis.tex"]


def test_a_run_killed_before_its_first_checkpoint_is_started_again(cli, command, tmp_path):
    """The volumes are ready, and a checkpoint is half written."""
    folder = tmp_path / "prior"
    assert_succeeded(cli(*command))
    expected = weights_of(folder)
    for path in [p for p in folder.iterdir() if p.name != "data"]:
        path.unlink()
    (tmp_path / "prior.run.json").unlink()
    (folder / ".checkpoint.pt.153c404c-29242-0c9c554bfe0d.partial.pt").write_bytes(b"half")
    assert_succeeded(cli(*command))
    assert weights_of(folder) == expected


@pytest.mark.parametrize(
    ("train", "val", "word"),
    [
        ("empty", "val", "no volumes in"),
        ("nowhere", "val", "nowhere"),
        ("train/train-patient.nii.gz", "val", "no volumes in"),
        ("train", "train", "train-patient.nii.gz is in training and validation"),
        ("bad", "val", "truncated"),
    ],
)
def test_volumes_that_cannot_be_learned_from(cli, command, tmp_path, train, val, word):
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    whole = (tmp_path / "train" / "train-patient.nii.gz").read_bytes()
    (tmp_path / "bad" / "a.nii.gz").write_bytes(whole[:-99])
    exchange = {tmp_path / "train": tmp_path / train, tmp_path / "val": tmp_path / val}
    result = cli(*(exchange.get(a, a) for a in command))
    assert result.code == 1
    assert word in result.err and "Expected:" in result.err
    assert_nothing_in(tmp_path / "prior")


def test_patients_can_be_held_out_by_share(cli, command, tmp_path):
    train = tmp_path / "train"
    for name in ("a_1", "a_2", "b_1", "c_1"):
        shutil.copy(train / "train-patient.nii.gz", train / f"{name}.nii.gz")
    (train / "train-patient.nii.gz").unlink()
    at = command.index("--validation")
    command = [*command[:at], *command[at + 2 :], "--steps", 1, "--patient-pattern", "_"]
    assert_succeeded(cli(*command, "--validation-share", 0.4))
    trained = load_prior(tmp_path / "prior").trained
    patients, others = ({n[0] for n in trained[k]} for k in ("volumes", "validation_volumes"))
    assert len(others) == 1 and patients | others == {"a", "b", "c"} and not patients & others
    assert len(trained["volumes"]) + len(trained["validation_volumes"]) == 4
    both = (*command, "--force", "--validation-share", 0.4, "--validation", tmp_path / "val")
    assert "one of them" in cli(*both).err


def test_the_volumes_are_made_ready_once_in_the_folder_asked_for(
    cli, command, tmp_path, monkeypatch
):
    cache = tmp_path / "cache"
    assert_succeeded(cli(*command, "--steps", 1, "--cache", cache))
    assert len(list(cache.glob("*.npy"))) == 1  # both files hold the same scan
    assert not (tmp_path / "prior" / "data").exists()
    monkeypatch.setattr("diffusionblend.io.volumes.read_volume", None)
    assert_succeeded(cli(*command, "--steps", 1, "--cache", cache, "--force"))
    inside = (*command, "--force", "--cache", tmp_path / "train" / "cache")
    assert "inside the volumes" in cli(*inside).err


def test_a_dry_run_reports_the_cost_and_writes_nothing(cli, command, tmp_path):
    before = files_of(tmp_path)
    result = cli(*command, "--dry-run")
    assert_succeeded(result)
    for word in ("M parameters", "GB of memory", "s a step", "6 steps in", "disk:"):
        assert word in result.out
    assert files_of(tmp_path) == before and not (tmp_path / "prior").exists()
    assert "all 2 volumes can be read" in result.out
    (tmp_path / "train" / "short.nii.gz").write_bytes(b"\x1f\x8b")
    assert "short.nii.gz" in cli(*command, "--dry-run").err
    missing = [tmp_path / "nowhere" if a == tmp_path / "train" else a for a in command]
    assert "nowhere" in cli(*missing, "--dry-run").err


def test_a_run_starts_from_another_prior(cli, command, tmp_path, tiny_prior):
    result = cli(*command, "--initial-prior", tiny_prior)
    assert_succeeded(result)
    assert f"100.0% of the weights are from {tiny_prior}" in result.out
    trained = load_prior(tmp_path / "prior").trained
    assert trained["initial_prior_sha256"] == weights_of(tiny_prior)
    assert "no prior" in cli(*command, "--force", "--initial-prior", "nothing").err


def test_a_run_is_taught_by_other_priors(cli, command, tmp_path, tiny_prior):
    assert_succeeded(cli(*command))
    alone = weights_of(tmp_path / "prior")
    assert_succeeded(
        cli(*command, "--force", "--teachers", tiny_prior, tiny_prior, "--taught-from", 1)
    )
    trained = load_prior(tmp_path / "prior").trained
    assert trained["teachers_sha256"] == [weights_of(tiny_prior)] * 2
    assert weights_of(tmp_path / "prior") != alone
    assert "no prior" in cli(*command, "--force", "--teachers", "nothing").err
    other = cli(*command, "--steps", 99, "--teachers", tiny_prior, "--taught-from", 1)
    assert other.code == 1 and "was written with other teachers" in other.err


def test_synthetic_chests_join_the_volumes(cli, command, tmp_path, monkeypatch):
    from diffusionblend.cli.demo import Demo
    from diffusionblend.training.synthetic import FIRST_SEED

    made = []

    def small_chest(seed, *, shape):
        from diffusionblend.phantom import synthetic_chest

        made.append((seed, shape))
        return synthetic_chest(seed, shape=(5, *shape[1:]))

    monkeypatch.setattr("diffusionblend.training.synthetic.synthetic_chest", small_chest)
    result = cli(*command, "--synthetic-volumes", 2)
    assert_succeeded(result)
    assert [seed for seed, _ in made] == [FIRST_SEED, FIRST_SEED + 1]
    assert all(shape[1:] == (16, 16) for _, shape in made)
    assert Demo().seed < FIRST_SEED  # the demo's chest is never trained on
    assert "synthetic chests: 2/2" in result.err
    assert "12% of the blocks are drawn from 2 synthetic chests" in result.out


def test_by_default_there_are_none():
    assert TrainSettings().synthetic_volumes == TrainOptions().synthetic_volumes == 0


def test_the_options_of_a_run_are_its_settings():
    options = TrainOptions(network=NetworkOptions(prior_type="coronal", layers=2), steps=3)
    network = NetworkConfig(prior_type="coronal", layers=2)
    assert options.as_settings() == TrainSettings(network=network, steps=3)
    assert {f.name for f in fields(NetworkOptions)} == {f.name for f in fields(NetworkConfig)}


def test_an_unknown_prior_type_is_refused_with_a_near_one(cli, command):
    result = cli(*command, "--prior-type", "slice")
    assert result.code == 2
    assert "--prior-type is 'slice'" in result.err and "did you mean slices?" in result.err
