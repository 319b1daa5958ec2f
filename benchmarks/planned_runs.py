"""What a run was estimated to cost, and what it cost: time and memory, by the command line.

    python benchmarks/planned_runs.py -o results/
    python benchmarks/planned_runs.py -o results/ --sizes 256x133 --steps 20

Every run is a process of its own, on a synthetic chest with the shipped prior (at another slice
size its weights run all the same: the pictures are worth nothing then, time and memory are). The
estimate is the one that the run reports before it starts; both are read from its record. Adds a
line for each run to planned_runs.jsonl.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import tyro

from common import add_rows
from diffusionblend import synthetic_chest, write_volume
from diffusionblend.evaluation.tables import Column, format_table
from diffusionblend.methods import METHODS
from diffusionblend.priors.store import DEFAULT_PRIOR
from diffusionblend.runs.record import read_run_record, run_record_path
from timed_runs import prior_at

LINES_FILE = "planned_runs.jsonl"
FIELD_OF_VIEW_MM = 360.0
PLANNED = "from diffusionblend.methods import cost; cost.LONG_RUN_VOXEL_STEPS = 0; "
"""So that short runs report their cost too."""
COMMAND = "import sys; from diffusionblend.cli.main import main; main(sys.argv[1:])"

COLUMNS = (
    Column(key="run", header="Run"),
    Column(key="planned_seconds", header="Said (s)", digits=1),
    Column(key="seconds", header="Took (s)", digits=1),
    Column(key="seconds_ratio", header="Said / took"),
    Column(key="planned_mb", header="Said (MB)", digits=0),
    Column(key="mb", header="Took (MB)", digits=0),
    Column(key="mb_ratio", header="Said / took"),
)


@dataclass(frozen=True, kw_only=True)
class PlannedRuns:
    """Run each size, print the table and keep its rows."""

    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder for planned_runs.jsonl."""
    sizes: tuple[str, ...] = ("128x96", "256x133")
    """Pixels a side x slices."""
    methods: tuple[str, ...] = ("diffusionblend++", "admm-tv")
    """Methods, by name."""
    steps: int = 20
    """Reverse steps, or iterations."""
    views: int = 8
    """Equally spaced."""
    geometry: str = "parallel"
    """Of the beam: parallel, fan or cone."""
    arc_degrees: float | None = None
    """That the views cover; None: half a turn, of a source a whole one."""
    prior: str = DEFAULT_PRIOR
    """Name or folder; its weights run at any size."""

    def run(self) -> None:
        """One run of every method at every size."""
        rows = []
        with TemporaryDirectory() as folder:
            for size in self.sizes:
                pixels, slices = map(int, size.split("x"))
                scan = self.scan(Path(folder), pixels, slices)
                prior = Path(folder) / f"prior-{pixels}"
                prior_at(self.prior, pixels, "cpu").save(prior)
                rows += [planned_and_true(scan, prior, m, self.steps) for m in self.methods]
        add_rows(self.output / LINES_FILE, rows)
        print(format_table(rows, COLUMNS, "markdown"))

    def scan(self, folder: Path, pixels: int, slices: int) -> Path:
        """Projections of a synthetic chest."""
        kind, options = "", []
        if self.geometry != "parallel":
            kind, options = f", {self.geometry}", ["--geometry", self.geometry]
        if self.arc_degrees is not None:
            kind += f", {self.arc_degrees:g} degrees"
            options += ["--arc-degrees", self.arc_degrees]
        volume, scan = folder / "chest.nii.gz", folder / f"{pixels}x{slices}{kind}.h5"
        chest = synthetic_chest(
            0, shape=(slices, pixels, pixels), in_plane_mm=FIELD_OF_VIEW_MM / pixels
        )
        write_volume(chest, volume, force=True)
        run("simulate", volume, "-o", scan, "--views", self.views, *options)
        return scan


def planned_and_true(scan: Path, prior: Path, method: str, steps: int) -> dict[str, object]:
    """One run's row: what it said before it started, and what it took."""
    output = scan.with_name(f"{scan.stem} {method}.nii.gz")
    options = ["--iterations", steps]
    if METHODS[method].prior is not None:
        options = ["--prior", prior, "--steps", steps]
    command = ("reconstruct", scan, "-o", output, "--method", method, "--device", "cpu")
    run(*command, *options)
    record = read_run_record(run_record_path(output))
    planned, taken = record.results["planned"], record.peak_memory_mb["process"]
    seconds = record.seconds["total"]
    return {
        "run": f"{scan.stem}, {method}",
        "steps": steps if record.results["network_evaluations"] else None,
        "planned_seconds": planned["seconds"],
        "seconds": seconds,
        "seconds_ratio": planned["seconds"] / seconds,
        "planned_mb": planned["memory_mb"],
        "mb": taken,
        "mb_ratio": planned["memory_mb"] / taken,
    }


def run(*arguments: object) -> None:
    """The command line in a process of its own."""
    subprocess.run([sys.executable, "-c", PLANNED + COMMAND, *map(str, arguments)], check=True)


if __name__ == "__main__":
    tyro.cli(PlannedRuns).run()
