"""Start, pause, resume and stop the long training of the shipped priors, outside the tree.

    python benchmarks/train_priors.py start --volumes train/ --validation val/
    python benchmarks/train_priors.py pause      waits between two steps, while something is timed
    python benchmarks/train_priors.py resume     goes on, or starts again where it was stopped
    python benchmarks/train_priors.py stop       ends after the step at work, with a checkpoint
    python benchmarks/train_priors.py status

`make train-priors DO=status` is the same. Without a checkpoint in the folder, as on a new machine,
the run starts from the weights of the default prior in the package. What follows -- are further
options of `diffusionblend train`, or others in place of those here:

    python benchmarks/train_priors.py start -- --steps 90000 --decay-steps 20000
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from common import say
from diffusionblend.errors import InputError, on_the_command_line
from diffusionblend.priors.store import DEFAULT_PRIOR
from diffusionblend.training.checkpoint import CHECKPOINT_FILE
from diffusionblend.training.log import METRICS_FILE

REPOSITORY = Path(__file__).resolve().parent.parent
FOLDER = Path.home() / "diffusionblend-priors"
PRIOR_FOLDER, PAUSE_FILE, PROCESS_FILE = "prior", "PAUSE", "process.json"
LOG_FILE, VOLUMES_FILE = "log.txt", "volumes.json"
PROGRAM = (sys.executable, "-m", "diffusionblend")
NICENESS = 10
RECIPE: dict[str, str] = {
    "--network.length-codes": "32",
    "--network.refine": "24",
    "--optimizer": "muon",
    "--learning-rate": "3e-4",
    "--muon-learning-rate": "5e-4",
    "--warmup-steps": "100",
    "--low-noise-share": "0.55",
    "--average-shares": "0.1 0.25",
    "--steps": "170000",
    "--decay-steps": "50000",
    "--validate-every": "1000",
    "--checkpoint-minutes": "10",
}
"""Of trials of equal time (docs/log.md). The rate falls over the last steps alone: go on with fewer
--steps to end a run early."""


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line; what follows -- is `options`."""
    own, more = arguments, []
    if "--" in arguments:
        at = arguments.index("--")
        own, more = arguments[:at], arguments[at + 1 :]
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("do", choices=list(ACTIONS))
    add("--folder", type=Path, default=FOLDER, help=f"of the run (default {FOLDER})")
    add("--volumes", type=Path, help="training volumes; needed once, then remembered")
    add("--validation", type=Path, help="volumes of other patients; remembered too")
    add("--initial-prior", default=DEFAULT_PRIOR, help="to start from, without a checkpoint; none")
    chosen = parser.parse_args(own)
    chosen.options = more
    return chosen


def start(chosen: argparse.Namespace) -> None:
    """Start the run in the background, or say that it runs."""
    folder = chosen.folder.resolve()
    if folder.is_relative_to(REPOSITORY):
        raise InputError(f"The run's folder {folder} is in the tree.", "a folder outside it")
    running = process_of(folder)
    if running is not None:
        say(f"it runs already: process {running}")
        return
    folder.mkdir(parents=True, exist_ok=True)
    command = [*PROGRAM, *train_options(chosen, folder)]
    nice = shutil.which("nice")
    command = [nice, "-n", str(NICENESS), *command] if nice else command
    with (folder / LOG_FILE).open("a") as log:
        log.write(f"{time.strftime('%F %T')} {shlex.join(command)}\n")
        log.flush()
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    process.returncode = 0  # it outlives this program, which does not wait for it
    (folder / PROCESS_FILE).write_text(json.dumps({"pid": process.pid}))
    say(f"process {process.pid} writes {folder / LOG_FILE}")


def train_options(chosen: argparse.Namespace, folder: Path) -> list[str]:
    """The arguments of `diffusionblend`: the recipe, with the options given in place of its own."""
    volumes, validation = _volumes(chosen, folder)
    prior = folder / PRIOR_FOLDER
    options = ["train", str(volumes), "-o", str(prior), "--pause-file", str(folder / PAUSE_FILE)]
    options += ["--validation", str(validation)] if validation else []
    if not (prior / CHECKPOINT_FILE).exists() and chosen.initial_prior != "none":
        options += ["--initial-prior", chosen.initial_prior]
    for name, value in RECIPE.items():
        options += [] if name in chosen.options else [name, *value.split()]
    return [*options, "--multi-size", *chosen.options]


def _volumes(chosen: argparse.Namespace, folder: Path) -> tuple[str, str | None]:
    """The folders of volumes: those that are given, else those that are remembered."""
    kept = folder / VOLUMES_FILE
    if chosen.volumes is not None:
        validation = None if chosen.validation is None else str(chosen.validation.resolve())
        kept.write_text(json.dumps([str(chosen.volumes.resolve()), validation]))
    if not kept.exists():
        raise InputError("There are no training volumes.", "a folder of them", "--volumes FOLDER")
    volumes, validation = json.loads(kept.read_text())
    return volumes, validation


def pause(chosen: argparse.Namespace) -> None:
    """Let the run wait after the step at work."""
    chosen.folder.mkdir(parents=True, exist_ok=True)
    (chosen.folder / PAUSE_FILE).touch()
    say("paused")


def resume(chosen: argparse.Namespace) -> None:
    """Let the run go on; start it where it was stopped."""
    (chosen.folder / PAUSE_FILE).unlink(missing_ok=True)
    start(chosen)


def stop(chosen: argparse.Namespace) -> None:
    """End the run after the step at work, and wait for its checkpoint."""
    running = process_of(chosen.folder)
    if running is None:
        say("it does not run")
        return
    os.kill(running, signal.SIGTERM)
    while process_of(chosen.folder) is not None:
        time.sleep(0.2)
    say("stopped")


def status(chosen: argparse.Namespace) -> None:
    """Print whether the run is there and where it is."""
    running = process_of(chosen.folder)
    state = "not running" if running is None else f"process {running}"
    say(state + (", paused" if (chosen.folder / PAUSE_FILE).exists() else ""))
    metrics = chosen.folder / PRIOR_FOLDER / METRICS_FILE
    for line in metrics.read_text().splitlines()[-2:] if metrics.exists() else []:
        say(line)


ACTIONS = {"start": start, "pause": pause, "resume": resume, "stop": stop, "status": status}


def process_of(folder: Path) -> int | None:
    """The number of the run's process, None where there is none (any more)."""
    file = folder / PROCESS_FILE
    if not file.exists():
        return None
    pid = int(json.loads(file.read_text())["pid"])
    command = Path(f"/proc/{pid}/cmdline")
    if Path("/proc").is_dir():  # a number may have gone to another process since
        known = command.exists() and str(folder.resolve()).encode() in command.read_bytes()
        return pid if known else None
    try:
        os.kill(pid, 0)
    except OSError:
        return None
    return pid


@on_the_command_line()
def main(arguments: list[str] | None = None) -> int:
    """Do it; 1 for wrong input."""
    chosen = parse(sys.argv[1:] if arguments is None else arguments)
    try:
        ACTIONS[chosen.do](chosen)
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
