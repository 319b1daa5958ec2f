"""Runs killed with SIGKILL at random moments and resumed, against one that nothing disturbed.

    python benchmarks/kill.py --times 10 --what training
    python benchmarks/kill.py --times 10 --what reconstruction --steps 40

Each run is a process of its own on the CPU: a tiny network trained on procedural chests, or a
procedural chest reconstructed from 8 views with the shipped prior. A killed run is started again by
the same command until it ends; what it leaves must be equal bit by bit.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro

from diffusionblend import (
    ParallelBeam,
    load_prior,
    read_volume,
    simulate,
    synthetic_chest,
    write_projections,
    write_volume,
)
from diffusionblend.evaluation.tables import Column, format_table
from diffusionblend.priors.prior import PRIOR_FILE, sha256_of_weights
from diffusionblend.priors.store import DEFAULT_PRIOR
from diffusionblend.runs.record import run_record_path
from diffusionblend.training.checkpoint import CHECKPOINT_FILE

SIZE = 32
SLICES = 24
SCAN_SLICES = 9
COLUMNS = (
    Column(key="run", header="Run", digits=0),
    Column(key="killed_s", header="Killed after (s)", digits=2),
    Column(key="went_on", header="Went on"),
    Column(key="equal", header="Equal"),
)


@dataclass(frozen=True)
class Experiment:
    """A command that can be resumed: its arguments for an output, what it says when it goes on.

    finished: whether an output needs no further run. facts: what must be equal, by name.
    """

    command: Callable[[Path], list[str]]
    goes_on: str
    finished: Callable[[Path], bool]
    facts: Callable[[Path], dict[str, object]]


@dataclass(frozen=True, kw_only=True)
class Kill:
    """Kill a run at random moments, resume it, and compare."""

    what: Literal["training", "reconstruction"] = "training"
    """What is killed."""
    times: int = 10
    """How many runs are killed, each once; one that had ended before is made anew."""
    steps: int = 150
    """Steps of each run."""
    seed: int = 0
    """Of the moments."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Folder for the table; by default it is only printed."""

    def run(self) -> None:
        """Run them all, print the table; exits with 1 where a run ended elsewhere."""
        rng = random.Random(self.seed)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            experiment = EXPERIMENTS[self.what](folder, self.steps)
            started = time.monotonic()
            first_sign_s = _finish(experiment, folder / "whole")
            whole_s = time.monotonic() - started
            expected = experiment.facts(folder / "whole")
            rows = []
            latest_s = whole_s
            for i in range(self.times):
                output = folder / f"killed-{i}"
                while True:  # until it was still at work
                    moment_s = rng.uniform(0.9 * first_sign_s, latest_s)
                    _kill(experiment, output, moment_s)
                    if not experiment.finished(output):
                        break
                    latest_s = max(moment_s, first_sign_s)
                    shutil.rmtree(output, ignore_errors=True)
                    run_record_path(output).unlink(missing_ok=True)
                said = _said(experiment, output)
                found = experiment.facts(output)
                wrong = [k for k in expected if found[k] != expected[k]]
                equal = "yes" if not wrong else f"no: {', '.join(wrong)}"
                rows.append({"run": i + 1, "killed_s": moment_s, "went_on": said, "equal": equal})
                print(f"{i + 1} of {self.times}: {said}, equal: {equal}", file=sys.stderr)
        table = format_table(rows, COLUMNS, "markdown")
        print(f"{self.what}, undisturbed {whole_s:.1f} s\n\n{table}")
        if self.output is not None:
            self.output.mkdir(parents=True, exist_ok=True)
            (self.output / f"kill-{self.what}.md").write_text(f"{table}\n")
        sys.exit(any(row["equal"] != "yes" for row in rows))


def training(folder: Path, steps: int) -> Experiment:
    """Training with a checkpoint after every step."""
    volumes = folder / "volumes"
    for seed in (1, 2):
        chest = synthetic_chest(seed, shape=(SLICES, SIZE, SIZE))
        write_volume(chest, volumes / f"{seed}.nii.gz")
    network = f"--network.image-size {SIZE} --network.channels 16 32 --network.norm-groups 8"
    options = f"--steps {steps} --batch-size 2 --synthetic-volumes 0 --checkpoint-minutes 0"

    def command(output: Path) -> list[str]:
        words = ["train", str(volumes), "-o", str(output), "--validation-share", "0.5"]
        words += ["--network.attention-head-channels", "16", "--device", "cpu"]
        return [*words, "--validate-every", "40", *network.split(), *options.split()]

    def facts(output: Path) -> dict[str, object]:
        state = torch.load(output / CHECKPOINT_FILE, weights_only=True)
        found = {k: _bytes(state[k]) for k in ("step", "unet", "ema", "optimizer")}
        return found | {"prior": sha256_of_weights(output)}

    def finished(output: Path) -> bool:
        return (output / PRIOR_FILE).exists()

    return Experiment(command, "resuming at step", finished, facts)


def reconstruction(folder: Path, steps: int) -> Experiment:
    """DiffusionBlend++ with its state written after every step."""
    prior = load_prior(DEFAULT_PRIOR)
    size = prior.config.image_size
    chest = synthetic_chest(1, shape=(SCAN_SLICES, size, size))
    geometry = ParallelBeam.fitting(chest.grid, 8)
    scan = folder / "scan.h5"
    write_projections(simulate(chest, geometry), scan)

    def command(output: Path) -> list[str]:
        words = ["reconstruct", str(scan), "-o", str(output / "volume.nii.gz")]
        return [*words, "--steps", str(steps), "--checkpoint-minutes", "0", "--device", "cpu"]

    def facts(output: Path) -> dict[str, object]:
        return {"volume": read_volume(output / "volume.nii.gz").values.tobytes()}

    def finished(output: Path) -> bool:
        return run_record_path(output / "volume.nii.gz").exists()

    return Experiment(command, "resuming after step", finished, facts)


EXPERIMENTS: dict[str, Callable[[Path, int], Experiment]] = {
    "training": training,
    "reconstruction": reconstruction,
}


def _start(experiment: Experiment, output: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "diffusionblend", *experiment.command(output)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _finish(experiment: Experiment, output: Path) -> float:
    """Run to the end; the seconds until the output folder was there."""
    started = time.monotonic()
    first_sign_s = None
    process = _start(experiment, output)
    while process.poll() is None:
        if first_sign_s is None and output.exists():
            first_sign_s = time.monotonic() - started
        time.sleep(0.01)
    out, err = process.communicate()
    if process.returncode:
        raise SystemExit(f"the run failed: {out}{err}")
    return first_sign_s if first_sign_s is not None else time.monotonic() - started


def _kill(experiment: Experiment, output: Path, moment_s: float) -> None:
    """Start a run and kill it at a moment."""
    with _start(experiment, output) as process:
        try:
            process.communicate(timeout=moment_s)
        except subprocess.TimeoutExpired:
            process.kill()


def _said(experiment: Experiment, output: Path) -> str:
    """Run again to the end; the line in which it says from where it goes on."""
    with _start(experiment, output) as process:
        out, err = process.communicate()
    if process.returncode:
        raise SystemExit(f"the run that goes on failed: {out}{err}")
    lines = [line for line in out.splitlines() if experiment.goes_on in line]
    return lines[0] if lines else "from the beginning"


def _bytes(state: object) -> object:
    """A state with its tensors as bytes, so that it can be compared."""
    if isinstance(state, torch.Tensor):
        return state.contiguous().numpy().tobytes()
    if isinstance(state, dict):
        return {k: _bytes(v) for k, v in state.items()}
    if isinstance(state, list | tuple):
        return [_bytes(v) for v in state]
    return state


if __name__ == "__main__":
    tyro.cli(Kill).run()
