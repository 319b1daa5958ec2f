"""Runs of every command that writes, killed with SIGKILL at random moments and given again.

    python benchmarks/kill.py --times 1000
    python benchmarks/kill.py --times 20 --commands train reconstruct

Each run is a process of its own, forked once everything is imported, so that the moments fall into
the work; every other one reads its files itself and starts no process for that. A killed run is
given again by the same command until it ends, without `--force`; what it leaves must be what an
undisturbed run leaves, and no hidden or unfinished file beside it.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated

import tyro

from diffusionblend.evaluation.tables import Column, format_table
from diffusionblend.io.foreign.reader import IN_PROCESS
from kill_experiments import EXPERIMENTS, Experiment, leftovers, prepare

IMPORTED_FIRST = (
    *("diffusionblend.priors.prior", "diffusionblend.training.loop", "diffusionblend.methods.api"),
    *("diffusionblend.report.html", "diffusionblend.report.figures", "diffusionblend.cli.run"),
    *("diffusionblend.cli.train", "diffusionblend.cli.demo", "diffusionblend.cli.scan_run"),
    *("diffusionblend.io.volumes", "diffusionblend.io.dicom.read", "diffusionblend.evaluation"),
    *("diffusionblend.benchmarking.run", "diffusionblend.viewer.page", "diffusers", "accelerate"),
    *("SimpleITK", "h5py", "scipy.ndimage", "scipy.signal", "skimage.metrics", "matplotlib.pyplot"),
)
PATIENCE_SECONDS = 600.0
POLL_SECONDS = 0.002
COLUMNS = (
    Column(key="command", header="Run"),
    Column(key="whole_s", header="Undisturbed (s)", digits=2),
    *(
        Column(key=k, header=k.replace("_", " ").capitalize(), digits=0)
        for k in ("killed", "ended_before", "went_on", "equal", "leftovers")
    ),
)


@dataclass(frozen=True, kw_only=True)
class Kill:
    """Kill runs of all commands at random moments, give them again, and compare."""

    times: int = 100
    """How many runs, over all commands."""
    commands: tuple[str, ...] = ()
    """Only these; by default all."""
    seed: int = 0
    """Of the moments."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Folder for a row for each run; by default only the table is printed."""

    def run(self) -> None:
        """Run them all, print the table; exits with 1 where a run ended elsewhere."""
        unknown = set(self.commands) - set(EXPERIMENTS)
        if unknown:
            raise SystemExit(f"{sorted(unknown)} are unknown; there are {', '.join(EXPERIMENTS)}")
        for module in IMPORTED_FIRST:
            import_module(module)
        rows, bad = [], 0
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            prepare(folder, _run_to_the_end)
            for command in self.commands or tuple(EXPERIMENTS):
                row, failures = self._of_command(command, EXPERIMENTS[command], folder)
                rows.append(row)
                bad += failures
        total = {"command": "all", "whole_s": sum(row["whole_s"] for row in rows)}
        total |= {c.key: sum(row[c.key] for row in rows) for c in COLUMNS[2:]}
        print(format_table([*rows, total], COLUMNS, "markdown"))
        sys.exit(bad > 0)

    def _of_command(self, command: str, experiment: Experiment, folder: Path) -> tuple[dict, int]:
        """The runs of one command as a row of the table, and how many ended wrongly."""
        rng = random.Random(f"{self.seed} {command}")
        home = folder / command.replace(" ", "-")
        whole = home / "whole"
        started = time.monotonic()
        said = _run_to_the_end(experiment.command(folder, whole))
        whole_s = time.monotonic() - started
        expected = experiment.facts(whole)
        counts = dict.fromkeys(("killed", "ended_before", "went_on", "equal", "leftovers"), 0)
        bad = 0
        for number in range(max(1, self.times // len(self.commands or EXPERIMENTS))):
            output = home / f"killed-{number}"
            if experiment.before is not None:
                experiment.before(folder, output, whole)
            moment_s = rng.uniform(0.0, 1.05 * whole_s)
            in_process = bool(number % 2)
            if _killed(experiment.command(folder, output), moment_s, in_process):
                counts["killed"] += 1
                said = _run_to_the_end(experiment.command(folder, output), in_process, fails=True)
                counts["went_on"] += any(word in said for word in experiment.goes_on)
            else:
                counts["ended_before"] += 1
                said = ""
            wrong = _differences(experiment, output, expected)
            left = leftovers(output)
            counts["equal"] += not wrong
            counts["leftovers"] += len(left)
            if wrong or left:
                bad += 1
                print(
                    f"{command} {number}, killed after {moment_s:.3f} s: differs in "
                    f"{wrong or 'nothing'}, left {left}, said: {said[-500:]}",
                    file=sys.stderr,
                )
            self._keep(command, number, moment_s, wrong, left)
            shutil.rmtree(output, ignore_errors=True)
        print(f"{command}: {counts}, {whole_s:.2f} s undisturbed", file=sys.stderr, flush=True)
        return {"command": command, "whole_s": whole_s, **counts}, bad

    def _keep(
        self, command: str, number: int, moment_s: float, wrong: str, left: list[str]
    ) -> None:
        if self.output is None:
            return
        self.output.mkdir(parents=True, exist_ok=True)
        row = {"command": command, "run": number, "seed": self.seed, "killed_s": moment_s}
        row |= {"equal": not wrong, "left": left}
        with (self.output / "kill.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")


def _differences(experiment: Experiment, output: Path, expected: dict) -> str:
    """What of a run's facts differs; a fact that cannot be had differs."""
    try:
        found = experiment.facts(output)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ", ".join(k for k in expected.keys() | found.keys() if expected.get(k) != found.get(k))


def _started(words: list[str], log: int, in_process: bool) -> int:
    """A run in a forked process, which reads files itself or by another one; its id."""
    child = os.fork()
    if child:
        return child
    with suppress(BaseException):
        os.environ[IN_PROCESS] = str(int(in_process))
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        from diffusionblend.cli.main import main

        try:
            main(words)
        except SystemExit as end:
            sys.stdout.flush()
            os._exit(int(end.code or 0))
    os._exit(70)


def _run_to_the_end(words: list[str], in_process: bool = False, *, fails: bool = False) -> str:
    """What a run printed. A failed run ends the program; with `fails` its exit code is added."""
    with tempfile.TemporaryFile() as log:
        child = _started(words, log.fileno(), in_process)
        status = _wait(child, PATIENCE_SECONDS)
        if status is None:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        log.seek(0)
        said = log.read().decode(errors="replace")
    code = None if status is None else os.waitstatus_to_exitcode(status)
    if code == 0:
        return said
    if fails:
        return f"{said} (ended with {code})"
    raise SystemExit(f"{' '.join(words)} ended with {code}: {said}")


def _killed(words: list[str], moment_s: float, in_process: bool) -> bool:
    """Start a run and kill it at a moment; False where it had ended."""
    with tempfile.TemporaryFile() as log:
        child = _started(words, log.fileno(), in_process)
        if _wait(child, moment_s) is not None:
            return False
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return True


def _wait(child: int, seconds: float) -> int | None:
    """How a process ended; None where it has not within that time."""
    end = time.monotonic() + seconds
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return status
        if time.monotonic() > end:
            return None
        time.sleep(POLL_SECONDS)


if __name__ == "__main__":
    tyro.cli(Kill).run()
