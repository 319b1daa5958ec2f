"""The path of a new user, timed: clone, demo, and a DICOM series of one's own to DICOM again.

    python benchmarks/new_user.py scans/patient-03/ -o results/

Everything is typed as the README has it, in a fresh clone of the repository this file is in, by the
program that `make demo` installed there. At the end the exported series is imported again: HU may
differ by half a unit, its rounding, and the grid must be equal. Needs git, make and the network.
Adds a line to new_user.jsonl.
"""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import tyro

from common import add_rows
from diffusionblend import Volume, read_volume
from diffusionblend.evaluation.tables import Column, format_table

LINES_FILE = "new_user.jsonl"
REPOSITORY = Path(__file__).parents[1]
COLUMNS = (Column(key="step", header="Step"), Column(key="seconds", header="Seconds", digits=1))
ROUNDING_HU = 0.5
TOLERANCE_MM = 1e-4


def path_of(series: Path, preset: Sequence[str]) -> list[tuple[str, list[str]]]:
    """What is typed, in order, with the name of each step; the program's name comes first."""
    cli = ".venv/bin/diffusionblend"
    scan, recon, chest = "scan.h5", "recon.nii.gz", "patient.nii.gz"
    export = [cli, "export", recon, "-o", "recon-dicom", "--template", str(series), "--views", "8"]
    view = [cli, "view", recon, "--reference", chest, "--static", "view.html"]
    report = [cli, "evaluate", recon, "--reference", chest, "--report", "report.html"]
    return [
        ("make demo, with its installation", ["make", "demo"]),
        ("make demo again", ["make", "demo"]),
        ("doctor", [cli, "doctor"]),
        ("import", [cli, "import", str(series), "-o", chest, "--size", "128"]),
        ("simulate", [cli, "simulate", chest, "--views", "8", "-o", scan]),
        ("reconstruct, FBP", [cli, "reconstruct", scan, "-o", "fbp.nii.gz", "--method", "fbp"]),
        ("reconstruct", [cli, "reconstruct", scan, "-o", recon, *preset]),
        ("evaluate, with its report", report),
        ("view, as one file", view),
        ("export as DICOM", export),
        ("import what was exported", [cli, "import", "recon-dicom", "-o", "back.nii.gz"]),
    ]


@dataclass(frozen=True, kw_only=True)
class NewUser:
    """Clone, walk the path, compare, print and keep the times."""

    series: Annotated[Path, tyro.conf.Positional]
    """Folder of a DICOM CT series."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder for new_user.jsonl."""
    reconstruct: str = ""
    """More options of reconstruct, such as '--preset fast'."""

    def run(self) -> None:
        """Exits with 1 where the volume does not come back as it was."""
        steps = path_of(self.series.resolve(), shlex.split(self.reconstruct))
        with TemporaryDirectory() as folder:
            clone = Path(folder) / "diffusionblend"
            command = ["git", "clone", "--quiet", str(REPOSITORY), str(clone)]
            rows = [timed("git clone", command, None)]
            rows += [timed(name, command, clone) for name, command in steps]
            found = round_trip(*(read_volume(clone / n) for n in ("recon.nii.gz", "back.nii.gz")))
        row = {"steps": rows, "round_trip": found, "options": self.reconstruct}
        row |= {"cpus": os.cpu_count(), "machine": platform.machine()}
        add_rows(self.output / LINES_FILE, [row])
        print(format_table(rows, COLUMNS, "markdown"))
        print(f"DICOM and back: {found}")
        if not found["kept"]:
            sys.exit("the volume did not survive the way to DICOM and back")


def timed(name: str, command: list[str], folder: Path | None) -> dict[str, object]:
    """Run a command, which must succeed, and return its wall time."""
    print(f"$ {shlex.join(command)}", flush=True)
    started = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True)
    return {"step": name, "seconds": time.perf_counter() - started}


def round_trip(written: Volume, back: Volume) -> dict[str, object]:
    """How far what came back differs from what was written."""
    same_shape = written.grid.shape == back.grid.shape
    places = [
        np.concatenate([v.grid.spacing_mm, v.grid.origin_mm, v.grid.direction])
        for v in (written, back)
    ]
    apart = float(np.abs(places[0] - places[1]).max())
    hu = float(np.abs(written.values - back.values).max()) if same_shape else float("inf")
    kept = same_shape and apart < TOLERANCE_MM and hu <= ROUNDING_HU
    return {"largest_hu_difference": hu, "largest_grid_difference": apart, "kept": kept}


if __name__ == "__main__":
    tyro.cli(NewUser).run()
