"""The price of reading good files in a child process: the same readers without and with it.

    python benchmarks/child_process.py

Each round reads every file in a fresh process of its own, twice: the first time a child has to be
started, the second time it is there. Neither way has imported a library before the first time. The
computing time is that of the process and its child from beginning to end, on a busy machine too.

A virtual machine may get its memory from its host when it is first touched, which takes a second
for every GB, once; what reads after another has it for less. `--touched-gb` has another process
touch that much before each measured one, so that none pays for memory that others find warm.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from common import add_rows, machine, say
from diffusionblend import (
    Grid,
    ParallelBeam,
    Projections,
    Volume,
    write_projections,
    write_volume,
)
from diffusionblend.evaluation.tables import Column, format_table
from diffusionblend.io.dicom.write import write_dicom_series
from diffusionblend.io.foreign.reader import IN_PROCESS

MOST_SECONDS, MOST_SHARE = 0.3, 0.05
"""What a child may add to the time of a good file."""
READ = """
import json, resource, sys, time
from pathlib import Path
from diffusionblend import read_projections, read_volume
from diffusionblend.io.foreign.reader import close_child
path = Path(sys.argv[1])
read = read_projections if path.suffix == ".h5" else read_volume
seconds = []
for _ in range(2):
    began = time.monotonic()
    read(path)
    seconds.append(time.monotonic() - began)
close_child()
used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(json.dumps([*seconds, sum(u.ru_utime + u.ru_stime for u in used)]))
"""
TOUCH = """
import mmap, sys
n_bytes = int(sys.argv[1])
memory = mmap.mmap(-1, n_bytes)
if hasattr(mmap, "MADV_HUGEPAGE"):
    memory.madvise(mmap.MADV_HUGEPAGE)
for at in range(0, n_bytes, mmap.PAGESIZE):
    memory[at] = 1
"""
COMPUTING = "both, computing"
READS = ("first", "second", COMPUTING)
COLUMNS = (
    Column(key="file", header="File"),
    Column(key="megabytes", header="MB", digits=0),
    Column(key="read", header="Read"),
    Column(key="own_s", header="In the program's process (s)", digits=2),
    Column(key="child_s", header="By a child (s)", digits=2),
    Column(key="price_s", header="Price (s)", digits=2),
    Column(key="allowed_s", header="Allowed (s)", digits=2),
)


@dataclass(frozen=True, kw_only=True)
class ChildProcess:
    """Time readers of good files with and without a child process."""

    rounds: int = 5
    """Of which the fastest counts; the two ways take turns."""
    slices: int = 300
    """Of the DICOM series, of `--size` pixels."""
    size: int = 512
    """Of slices, pixels along each side."""
    nifti_mb: float = 500.0
    """Size of the .nii file, MB of float32 voxels."""
    hdf5_mb: float = 20.0
    """Size of the file of projections, MB."""
    touched_gb: float = 0.0
    """Memory that a process of its own writes to and frees before each measured one, GB: more than
    a measured process takes (6 for the files above), where a host hands out memory on first touch,
    so that both ways find theirs handed out."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """File for the rows, JSON lines."""

    def run(self) -> None:
        """Print the table; exits with 1 where a price is above what is allowed."""
        rows: list[dict[str, object]] = []
        with tempfile.TemporaryDirectory() as folder:
            for name, make in self._files().items():
                rows += self._rows(name, make(Path(folder)))
        say(format_table(rows, COLUMNS, "markdown"))
        if self.output is not None:
            add_rows(
                self.output,
                [row | {"machine": machine(), "touched_gb": self.touched_gb} for row in rows],
            )
        sys.exit(
            any(float(str(r["price_s"])) > float(str(r.get("allowed_s", "inf"))) for r in rows)
        )

    def _files(self) -> dict[str, Callable[[Path], Path]]:
        return {"DICOM series": self._series, ".nii": self._nifti, "projections .h5": self._scan}

    def _rows(self, name: str, path: Path) -> list[dict[str, object]]:
        """Both reads of a file and their computing time, the fastest of all rounds each way."""
        files = [path] if path.is_file() else [*path.iterdir()]
        found: dict[bool, list[list[float]]] = {True: [], False: []}
        for _ in range(self.rounds):
            for in_process, seconds in found.items():
                _touch(round(self.touched_gb * 1e9))
                seconds.append(_seconds(path, in_process))
        rows = []
        for i, which in enumerate(READS):
            own, child = (min(s[i] for s in found[in_process]) for in_process in (True, False))
            row: dict[str, object] = {"file": name, "read": which, "own_s": own, "child_s": child}
            row["megabytes"] = sum(p.stat().st_size for p in files) / 1e6
            row["price_s"] = child - own
            if which != COMPUTING:
                row["allowed_s"] = MOST_SECONDS + MOST_SHARE * own
            rows.append(row)
        return rows

    def _volume(self, slices: int) -> Volume:
        rng = np.random.default_rng(0)
        values = rng.integers(-1000, 1000, (slices, self.size, self.size), np.int16)
        return Volume(
            values.astype(np.float32), Grid(shape=values.shape, spacing_mm=(1.0, 0.7, 0.7))
        )

    def _series(self, folder: Path) -> Path:
        write_dicom_series(self._volume(self.slices), folder / "series")
        return folder / "series"

    def _nifti(self, folder: Path) -> Path:
        slices = max(1, round(self.nifti_mb * 1e6 / (4 * self.size**2)))
        write_volume(self._volume(slices), folder / "volume.nii")
        return folder / "volume.nii"

    def _scan(self, folder: Path) -> Path:
        grid = Grid(shape=(16, 128, 128), spacing_mm=(1.0, 1.0, 1.0))
        columns = ParallelBeam.fitting(grid, 2).n_columns
        views = max(2, round(self.hdf5_mb * 1e6 / (4 * 16 * columns)))
        values = np.random.default_rng(0).random((views, 16, columns), np.float32)
        geometry = ParallelBeam.fitting(grid, views)
        write_projections(Projections(values, geometry, grid, 0.02), folder / "scan.h5")
        return folder / "scan.h5"


def _touch(n_bytes: int) -> None:
    """Have the system hold so much memory that has been written to, free again."""
    if n_bytes > 0:
        subprocess.run([sys.executable, "-c", TOUCH, str(n_bytes)], check=True)


def _seconds(path: Path, in_process: bool) -> list[float]:
    environment = os.environ | {IN_PROCESS: str(int(in_process))}
    done = subprocess.run(
        [sys.executable, "-c", READ, str(path)],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout)


if __name__ == "__main__":
    tyro.cli(ChildProcess).run()
