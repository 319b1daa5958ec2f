"""Files damaged at random, read by every reader: each is refused in words or read, and soon.

    python benchmarks/damage.py --cases 100000 --seed 1

Small files of every format are made, and of each a case is damaged by a rule that its format, the
seed and its number fix: bits, cuts, zeros, numbers, insertions and splices. A reader may refuse a
case (InputError), or read it, with the content as before or another. Anything else fails, and so
does a case that takes longer or more memory than `--seconds` and `--gigabytes`.
"""

from __future__ import annotations

import resource
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from diffusionblend import (
    ParallelBeam,
    read_projections,
    read_raw_scan,
    read_volume,
    simulate,
    synthetic_chest,
    write_projections,
    write_volume,
)
from diffusionblend.errors import InputError
from diffusionblend.evaluation.tables import Column, format_table
from diffusionblend.io.dicom.write import write_dicom_series
from diffusionblend.io.foreign.reader import close_child
from diffusionblend.io.scans.options import ReadOptions
from diffusionblend.io.tiff_stack import write_tiff_stack
from diffusionblend.runs.record import RunRecord, read_run_record
from diffusionblend.runs.state_file import read_state, write_state

SHAPE, VIEWS = (4, 16, 16), 6
HEAD_BYTES = 512
"""Half of the damage lies in the first so many bytes, where headers are."""
ODD_NUMBERS = (b"0", b"-1", b"1e308", b"nan", b"2147483648", b"99999999999999999999", b"")
IDENTITY = {"seed": 0}
COLUMNS = (
    Column(key="format", header="Format"),
    Column(key="cases", header="Cases", digits=0),
    *(Column(key=k, header=k.capitalize(), digits=0) for k in ("refused", "same", "other")),
    Column(key="failed", header="Failed", digits=0),
    Column(key="slowest_s", header="Slowest (s)", digits=1),
)


@dataclass(frozen=True)
class Format:
    """A file or folder of a format, and what reads it."""

    path: Path
    read: Callable[[Path], object]


@dataclass(frozen=True, kw_only=True)
class Damage:
    """Read damaged files of every format, and count what becomes of them."""

    cases: int = 2000
    """How many files are damaged, over all formats."""
    seed: int = 1
    """Of the damage."""
    formats: tuple[str, ...] = ()
    """Only these; by default all."""
    seconds: float = 60.0
    """A case that takes longer fails."""
    gigabytes: float = 2.0
    """The memory that no case may take, in the process that reads."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Folder for the table and the files of the cases that failed."""

    def run(self) -> None:
        """Run all cases, print the table; exits with 1 where one failed."""
        with tempfile.TemporaryDirectory() as name:
            known = formats_in(Path(name))
            chosen = {n: f for n, f in known.items() if not self.formats or n in self.formats}
            rows = [self._of_format(n, f, Path(name)) for n, f in chosen.items()]
        close_child()
        peak_gb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e9
        table = format_table(rows, COLUMNS, "markdown")
        print(f"{table}\npeak memory of a process that read: {peak_gb:.2f} GB")
        if self.output is not None:
            self.output.mkdir(parents=True, exist_ok=True)
            (self.output / f"damage-{self.seed}.md").write_text(f"{table}\n")
        sys.exit(peak_gb > self.gigabytes or any(row["failed"] for row in rows))

    def _of_format(self, name: str, kind: Format, folder: Path) -> dict[str, object]:
        """The cases of one format as a row of the table."""
        counts: Counter[str] = Counter()
        whole, slowest_s = kind.read(kind.path), 0.0
        n_cases = max(1, self.cases // len(formats_names()))
        for number in range(n_cases):
            case = folder / "case" / kind.path.name
            shutil.rmtree(case.parent, ignore_errors=True)
            _copy(kind.path, case)
            damage(case, np.random.default_rng([self.seed, number, *name.encode()]))
            started = time.monotonic()
            outcome = outcome_of(kind, case, whole)
            took_s = time.monotonic() - started
            slowest_s = max(slowest_s, took_s)
            if outcome.startswith("failed") or took_s > self.seconds:
                print(f"{name} {number}: {outcome}, {took_s:.1f} s", file=sys.stderr)
                outcome = "failed"
                if self.output is not None:
                    _copy(case, self.output / f"{name}-{self.seed}-{number}" / case.name)
            counts[outcome] += 1
        kinds = ("refused", "same", "other", "failed")
        print(f"{name}: {dict(counts)}", file=sys.stderr, flush=True)
        row = {"format": name, "cases": n_cases, "slowest_s": slowest_s}
        return row | {k: counts[k] for k in kinds}


def outcome_of(kind: Format, case: Path, whole: object) -> str:
    """What became of a case: refused, same, other, or failed with what was raised."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = kind.read(case)
    except InputError:
        return "refused"
    except Exception as error:
        return f"failed: {type(error).__name__}: {error}"
    return "same" if _equal(found, whole) else "other"


def damage(path: Path, rng: np.random.Generator) -> None:
    """Damage a file, or one file of a folder, in place."""
    if path.is_dir():
        files = sorted(path.iterdir())
        path = files[int(rng.integers(len(files)))]
    content = path.read_bytes()
    end = min(HEAD_BYTES, len(content)) if rng.integers(2) else len(content)
    place, length = int(rng.integers(end)), int(rng.integers(1, 64))
    before, after = content[:place], content[place:]
    ways = {
        "bit": lambda: before + bytes([after[0] ^ (1 << int(rng.integers(8)))]) + after[1:],
        "byte": lambda: before + bytes([int(rng.integers(256))]) + after[1:],
        "cut": lambda: before,
        "zeros": lambda: before + bytes(len(after[:length])) + after[length:],
        "ones": lambda: before + b"\xff" * len(after[:length]) + after[length:],
        "number": lambda: before + ODD_NUMBERS[int(rng.integers(len(ODD_NUMBERS)))] + after[1:],
        "inserted": lambda: before + rng.bytes(length) + after,
        "deleted": lambda: before + after[length:],
        "spliced": lambda: before + content[int(rng.integers(len(content))) :],
        "appended": lambda: content + rng.bytes(length),
    }
    names = list(ways)
    path.write_bytes(ways[names[int(rng.integers(len(names)))]]())


def formats_names() -> list[str]:
    """The names of all formats."""
    return [*VOLUMES, *SCANS, "dicom", "tiff-stack", "projections", "record", "state"]


VOLUMES = (".nii", ".nii.gz", ".nrrd", ".mha")
SCANS = (".npy", ".npz", ".mat", ".h5", ".tif")


def formats_in(folder: Path) -> dict[str, Format]:
    """A small file or folder of every format."""
    chest = synthetic_chest(1, shape=SHAPE)
    made: dict[str, Format] = {}

    def volume(path: Path) -> object:
        return read_volume(path, check=False).values

    def scan(path: Path) -> object:
        options = ReadOptions(arc_degrees=180.0, values="lines")
        return read_raw_scan(path, options).data

    for suffix in VOLUMES:
        write_volume(chest, folder / f"volume{suffix}")
        made[suffix] = Format(folder / f"volume{suffix}", volume)
    write_dicom_series(chest, folder / "series")
    write_tiff_stack(chest, folder / "stack")
    made |= {
        n: Format(folder / p, volume) for n, p in (("dicom", "series"), ("tiff-stack", "stack"))
    }
    projections = simulate(chest, ParallelBeam.fitting(chest.grid, VIEWS))
    write_projections(projections, folder / "own.h5")
    made["projections"] = Format(folder / "own.h5", lambda p: read_projections(p).values)
    lines = projections.values
    for suffix, write in _writers().items():
        write(folder / f"scan{suffix}", lines)
        made[suffix] = Format(folder / f"scan{suffix}", scan)
    record = folder / "a.nii.gz.run.json"
    RunRecord(command="import", settings={"output": "a.nii.gz"}).write(record)
    made["record"] = Format(record, lambda p: read_run_record(p).settings)
    write_state(folder / "a.state", 3, {"x": lines}, IDENTITY)
    made["state"] = Format(folder / "a.state", lambda p: read_state(p, IDENTITY)[1]["x"])
    return made


def _writers() -> dict[str, Callable[[Path, np.ndarray], None]]:
    """What writes the formats of measured scans."""

    def matlab(path: Path, lines: np.ndarray) -> None:
        from scipy.io import savemat

        angles = np.linspace(0, 360, len(lines), endpoint=False)
        lengths = {"distanceSourceOrigin": 400.0, "distanceSourceDetector": 550.0}
        parameters = {"angles": angles, "pixelSizePost": 0.2, "distanceUnit": "mm", **lengths}
        sinogram = lines[:, 0].astype(np.float64)
        savemat(path, {"CtDataFull": {"sinogram": sinogram, "parameters": parameters}})

    def data_exchange(path: Path, lines: np.ndarray) -> None:
        import h5py

        with h5py.File(path, "w") as file:
            file["exchange/data"] = lines
            file["exchange/theta"] = np.linspace(0, 180, len(lines), endpoint=False)

    def tiff(path: Path, lines: np.ndarray) -> None:
        import tifffile

        tifffile.imwrite(path, lines)

    def numpy_archive(path: Path, lines: np.ndarray) -> None:
        np.savez_compressed(path, data=lines)

    return {
        ".npy": np.save,
        ".npz": numpy_archive,
        ".mat": matlab,
        ".h5": data_exchange,
        ".tif": tiff,
    }


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    else:
        shutil.copy(source, target)


def _equal(found: object, whole: object) -> bool:
    if isinstance(whole, np.ndarray):
        return np.array_equal(np.asarray(found), whole)
    return found == whole


if __name__ == "__main__":
    tyro.cli(Damage).run()
