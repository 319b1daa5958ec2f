"""The long training: what it is started with, and that it starts, gives way and stops."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import train_priors
from diffusionblend.cli.train import Train
from diffusionblend.priors.store import DEFAULT_PRIOR
from diffusionblend.training.checkpoint import CHECKPOINT_FILE
from diffusionblend.training.log import METRICS_FILE


@pytest.fixture
def volumes(chest_file: Path, tmp_path: Path) -> Path:
    (tmp_path / "volumes").mkdir()
    shutil.copy(chest_file, tmp_path / "volumes")
    return tmp_path / "volumes"


def options_of(*arguments: object) -> list[str]:
    chosen = train_priors.parse([str(a) for a in arguments])
    return train_priors.train_options(chosen, chosen.folder)


def value_after(options: list[str], name: str) -> str:
    assert options.count(name) == 1
    return options[options.index(name) + 1]


def test_the_options_are_those_of_train(volumes: Path, tmp_path: Path) -> None:
    given = ("start", "--folder", tmp_path, "--volumes", volumes)
    options = options_of(*given, "--", "--steps", 9, "--optimizer", "adamw")
    train = parsed(options)
    assert train.volumes == volumes and train.output == tmp_path / "prior"
    assert train.validation is None and train.pause_file == tmp_path / "PAUSE"
    settings = train.settings.as_settings()
    assert settings.multi_size and settings.network.length_codes == 32
    assert settings.average_shares == (0.1, 0.25)
    assert (settings.steps, settings.optimizer, settings.decay_steps) == (9, "adamw", 50_000)
    assert settings.precision == "auto"


def parsed(options: list[str]) -> Train:
    import tyro

    return tyro.cli(Train, args=options[1:])


def test_it_begins_with_shipped_weights_unless_there_is_a_checkpoint(
    volumes: Path, tmp_path: Path
) -> None:
    options_of("start", "--folder", tmp_path, "--volumes", volumes, "--validation", volumes)
    again = ("start", "--folder", tmp_path)
    options = options_of(*again)
    assert value_after(options, "--initial-prior") == DEFAULT_PRIOR
    assert value_after(options, "--validation") == str(volumes)  # remembered
    assert "--initial-prior" not in options_of(*again, "--initial-prior", "none")
    (tmp_path / "prior").mkdir()
    (tmp_path / "prior" / CHECKPOINT_FILE).touch()
    assert "--initial-prior" not in options_of(*again)


def test_a_folder_in_the_tree_and_no_volumes_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inside = train_priors.REPOSITORY / "run"
    assert train_priors.main(["start", "--folder", str(inside)]) == 1
    assert "in the tree" in capsys.readouterr().err and not inside.exists()
    assert train_priors.main(["start", "--folder", str(tmp_path)]) == 1
    assert "--volumes" in capsys.readouterr().err


def test_a_process_of_another_program_is_none_of_its_own(tmp_path: Path) -> None:
    (tmp_path / train_priors.PROCESS_FILE).write_text(json.dumps({"pid": 1}))
    assert train_priors.process_of(tmp_path) is None
    assert train_priors.process_of(tmp_path / "nothing") is None


STAND_IN = """
import signal, sys, time
from pathlib import Path

arguments = dict(zip(sys.argv, sys.argv[1:]))
folder, pause = Path(arguments["-o"]), Path(arguments["--pause-file"])
folder.mkdir(exist_ok=True)
stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
step = 0
while not stopped:
    if not pause.exists():
        step += 1
        with (folder / "metrics.jsonl").open("a") as file:
            print('{"step": %d}' % step, file=file)
    time.sleep(0.02)
(folder / "checkpoint.pt").write_text("whole")
"""
"""A program that counts its steps as a training does, waits, and is stopped."""


def test_a_run_starts_once_gives_way_goes_on_and_stops(
    volumes: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(train_priors, "PROGRAM", (sys.executable, "-c", STAND_IN))
    folder = tmp_path / "run"

    def do(action: str, *more: str) -> str:
        assert train_priors.main([action, "--folder", str(folder), *more]) == 0
        return capsys.readouterr().out

    def steps() -> int:
        file = folder / "prior" / METRICS_FILE
        return file.read_text().count("\n") if file.exists() else 0

    def wait_for(true: Callable[[], object]) -> None:
        end = time.monotonic() + 60
        while not true() and time.monotonic() < end:
            time.sleep(0.02)
        assert true(), (folder / "log.txt").read_text()

    do("start", "--volumes", str(volumes))
    try:
        wait_for(steps)
        assert "runs already" in do("start")
        do("pause")
        assert "paused" in do("status")
        time.sleep(0.3)
        paused_at = steps()
        time.sleep(0.3)
        assert steps() == paused_at
        do("resume")
        wait_for(lambda: steps() > paused_at)
    finally:
        do("stop")
    assert "not running" in do("status") and "does not run" in do("stop")
    assert (folder / "prior" / CHECKPOINT_FILE).read_text() == "whole"
    assert "--multi-size" in (folder / "log.txt").read_text()
