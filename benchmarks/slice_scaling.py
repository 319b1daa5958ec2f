"""Time and peak memory of a reconstruction against its slices, each in a process of its own."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import torch

from diffusionblend import (
    DiffusionBlendPP,
    Grid,
    Projections,
    read_projections,
    write_projections,
)
from diffusionblend.evaluation.tables import Column
from diffusionblend.priors.prior import Prior
from timed_runs import our_run

BYTES_PER_MB = 1e6
STATUS = Path("/proc/self/status")
RESET_PEAK = (Path("/proc/self/clear_refs"), "5")
"""Linux: sets the peak of the resident memory to what is resident now."""

SCALING_COLUMNS = (
    Column(key="slices", header="Slices", digits=0),
    Column(key="blocks_a_step", header="Blocks a step", digits=1),
    Column(key="step_seconds", header="Seconds a step", digits=3),
    Column(key="lowest", header="Lowest", digits=3),
    Column(key="highest", header="Highest", digits=3),
    Column(key="peak_mb", header="Peak memory (MB)", digits=1),
    Column(key="time_ratio", header="Time a slice, to the first", digits=3),
    Column(key="block_time_ratio", header="Time a block, to the first", digits=3),
    Column(key="memory_ratio", header="Memory a slice, to the first", digits=3),
)


def child_result(
    path: Path, load: Callable[[], Prior], method: DiffusionBlendPP, batch_blocks: int | None
) -> str:
    """One reconstruction's seconds a step, blocks a step and peak memory, as a line of JSON.

    The memory is the peak less what the process held after its imports and the prior.
    """
    prior = load()
    _warm_up(prior)
    memory = PeakMemory(prior.device)
    run = our_run(prior, read_projections(path), method, batch_blocks)
    found = {
        "step_seconds": run.step_seconds,
        "blocks_a_step": run.blocks / method.steps,
        "peak_mb": memory.above_start() / BYTES_PER_MB,
    }
    return json.dumps(found)


def scaling_rows(
    scans: Mapping[int, Projections], command: Sequence[object], rounds: int
) -> dict[str, object]:
    """A row for every number of slices, and a sentence on how straight they lie.

    `command` runs this benchmark with the same options; every round runs each size once, anew.
    """
    children: dict[int, list[dict]] = {n: [] for n in scans}
    with tempfile.TemporaryDirectory() as folder:
        paths = {n: Path(folder) / f"{n}.h5" for n in scans}
        for n, scan in scans.items():
            write_projections(scan, paths[n])
        for _ in range(rounds):
            for n, path in paths.items():
                children[n].append(_child([*command, "--child-projections", path]))
    rows = [_row(n, runs) for n, runs in children.items()]
    first = rows[0]
    for row in rows:
        per_first = row["slices"] / first["slices"]
        row["time_ratio"] = row["step_seconds"] / first["step_seconds"] / per_first
        row["memory_ratio"] = row["peak_mb"] / first["peak_mb"] / per_first
        blocks = row["blocks_a_step"] / first["blocks_a_step"]
        row["block_time_ratio"] = row["step_seconds"] / first["step_seconds"] / blocks
    off = {
        name: 100 * off_line([(row["slices"], row[key]) for row in rows])
        for name, key in (("time", "step_seconds"), ("memory", "peak_mb"))
    }
    apart = {
        name: 100 * max(abs(row[key] - 1) for row in rows)
        for name, key in (("time", "time_ratio"), ("memory", "memory_ratio"))
    }
    sentence = (
        f"Time a slice is the same within {apart['time']:.1f} %, memory a slice within "
        f"{apart['memory']:.1f} %; from the straight line between the fewest and the most slices "
        f"time is off by {off['time']:.1f} %, memory by {off['memory']:.1f} %."
    )
    return {"rows": rows, "per_slice_percent": apart, "line_percent": off, "sentence": sentence}


def _row(slices: int, runs: list[dict]) -> dict[str, object]:
    seconds = [run["step_seconds"] for run in runs]
    peaks = [run["peak_mb"] for run in runs]
    return {
        "slices": slices,
        "blocks_a_step": runs[0]["blocks_a_step"],
        "step_seconds": statistics.median(seconds),
        "lowest": min(seconds),
        "highest": max(seconds),
        "rounds": seconds,
        "peak_mb": statistics.median(peaks),
        "peak_rounds_mb": peaks,
    }


def off_line(points: list[tuple[float, float]]) -> float:
    """Largest share by which a point between the first and the last is off their line."""
    (n0, v0), (n1, v1) = points[0], points[-1]
    if n0 == n1:
        return 0.0
    line = [v0 + (v1 - v0) * (n - n0) / (n1 - n0) for n, _ in points]
    return max(abs(v / expected - 1) for (_, v), expected in zip(points, line, strict=True))


def _child(command: Sequence[object]) -> dict:
    """The last line that a fresh process prints, as JSON; raises RuntimeError where it fails."""
    done = subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"A run for {command[-1]} failed:\n{done.stderr.strip()}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def _warm_up(prior: Prior) -> None:
    """One block through the network, so that what it loads once is there."""
    size, k = prior.config.image_size, prior.block_slices
    fitted = prior.for_grid(Grid(shape=(k, size, size), spacing_mm=(1.0, 1.0, 1.0)))
    with torch.inference_mode():
        fitted.denoise(torch.zeros(1, k, size, size, device=prior.device), 1, 1)


class PeakMemory:
    """The device's peak memory in bytes above what was taken at the start."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self.start = torch.cuda.memory_allocated(device)
            return
        with suppress(OSError):
            RESET_PEAK[0].write_text(RESET_PEAK[1])
        self.start = _status_bytes("VmRSS")

    def above_start(self) -> int:
        """Peak until now, less the start."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) - self.start
        return _status_bytes("VmHWM") - self.start


def _status_bytes(key: str) -> int:
    """An entry of the process's status in bytes (Linux)."""
    for line in STATUS.read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"{STATUS} has no {key}")
