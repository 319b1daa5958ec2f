"""Several processes train as one does; the first alone writes; a signal to any stops all."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from diffusionblend.errors import InputError
from diffusionblend.training.checkpoint import CHECKPOINT_FILE
from diffusionblend.training.loop import Trainer
from diffusionblend.training.processes import Processes
from easy_training import EASY_SETTINGS, easy_bank, environment_of_a_script, metrics_of

STEPS = 8
SETTINGS = replace(
    EASY_SETTINGS, steps=STEPS, batch_size=5, validate_every=4, warmup_steps=1, learning_rate=1e-4
)
"""Five blocks do not divide evenly. Where a gradient is zero but for rounding, Adam still takes
steps of the learning rate: it is small here, so that 1e-5 tells these from an error."""

TWO_RANKS = """
import os, signal, sys
from pathlib import Path
import test_processes
from diffusionblend.training.loop import Stopped

run = test_processes.trainer(Path(sys.argv[1]), accumulate=2)

def on_step(progress):
    if run.processes.rank == 1 and progress.step == 5:
        os.kill(os.getpid(), signal.SIGTERM)

try:
    run.run(on_step)
except Stopped as stopped:
    me = f"rank {run.processes.rank} of {run.processes.count}"
    print(f"{me} stopped at {run.step}\\n", end="", flush=True)
    run = test_processes.trainer(Path(sys.argv[1]), accumulate=2)
    print(f"rank {run.processes.rank} goes on from {run.step}\\n", end="", flush=True)
    run.run()
"""


def trainer(folder: Path, **changes: object) -> Trainer:
    settings = replace(SETTINGS, **changes)
    return Trainer(settings, easy_bank(), easy_bank(1), folder)


def weights(folder: Path) -> dict[str, list[torch.Tensor]]:
    state = torch.load(folder / CHECKPOINT_FILE, weights_only=True)
    assert state["step"] == STEPS
    return {"last": list(state["unet"].values()), "averaged": state["ema"]["shadow_params"]}


def assert_close(folder: Path, other: Path, tolerance: float) -> None:
    one, two = weights(folder), weights(other)
    for kind in one:
        for a, b in zip(one[kind], two[kind], strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=tolerance)
    for key in ("loss", "validation_loss"):
        ours, theirs = ([m[key] for m in metrics_of(f) if key in m] for f in (folder, other))
        assert ours == pytest.approx(theirs, rel=1e-4)


@pytest.mark.slow
def test_two_processes_end_where_one_does_also_after_a_signal_to_one(tmp_path: Path) -> None:
    environment = environment_of_a_script(Path(__file__).parent) | {"OMP_NUM_THREADS": "1"}
    script = tmp_path / "two_ranks.py"
    script.write_text(TWO_RANKS)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", str(script), str(tmp_path / "two")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    said = sorted(done.stdout.splitlines())
    assert said == [
        "rank 0 goes on from 5",
        "rank 0 of 2 stopped at 5",
        "rank 1 goes on from 5",
        "rank 1 of 2 stopped at 5",
    ]
    trainer(tmp_path / "one").run()
    assert_close(tmp_path / "two", tmp_path / "one", 3e-5)  # eight steps of up to 1e-4
    steps = [m["step"] for m in metrics_of(tmp_path / "two") if "validation_loss" in m]
    assert steps == [4, 8]  # written once, by one process


def test_a_batch_in_parts_gives_the_same_weights(tmp_path: Path) -> None:
    trainer(tmp_path / "whole").run()
    trainer(tmp_path / "parts", accumulate=3).run()
    assert_close(tmp_path / "parts", tmp_path / "whole", 1e-5)


def test_the_shares_of_all_processes_make_up_the_batch() -> None:
    processes = Processes()
    for n_blocks, count, parts in ((8, 1, 1), (8, 2, 2), (7, 3, 2), (5, 5, 1)):
        blocks, sizes = [], []
        for rank in range(count):
            processes.rank, processes.count = rank, count
            for part in processes.shares(n_blocks, parts):
                blocks += list(range(n_blocks))[part]
                sizes.append(part.stop - part.start)
        assert blocks == list(range(n_blocks))
        assert len(sizes) == count * parts and max(sizes) - min(sizes) <= 1
    with pytest.raises(InputError, match="5 blocks"):
        processes.shares(5, 2)


def test_more_parts_than_blocks_are_refused() -> None:
    for accumulate in (0, 6):
        with pytest.raises(InputError, match="accumulate"):
            replace(SETTINGS, accumulate=accumulate)
