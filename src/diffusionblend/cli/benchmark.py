"""`diffusionblend benchmark`: methods in several scans, each once, with tables and figures."""

from __future__ import annotations

import sys
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from diffusionblend.cli.allocator import give_back_freed_memory
from diffusionblend.cli.common import (
    Device,
    Output,
    PrecisionChoice,
    add_input,
    check_folder_to_fill,
    say,
    write_record,
)
from diffusionblend.cli.plan import counted, in_words, report_disk, report_memory
from diffusionblend.cli.progress import progress
from diffusionblend.data.printable import printable
from diffusionblend.devices import choose_device
from diffusionblend.errors import InputError
from diffusionblend.io.locks import folder_locked
from diffusionblend.runs.record import RunRecord

if TYPE_CHECKING:
    from diffusionblend.benchmarking.grid import Grid
    from diffusionblend.benchmarking.run import Benchmark as Engine

DEFAULT_VIEWS = (8, 6, 4)
DEFAULT_METHODS = ("fbp", "admm-tv", "diffusionblend++")
ALL = "all"
Sampling = Literal["own", "published", "equal"]


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Compare methods on volumes that no prior has seen; the same command goes on where it stopped.

    Projections are simulated from each volume by the operator that reconstructs, or in a grid from
    finer pixels (oversample = 2). What is compared is said by the options, or by a grid of cells in
    a file. Rows are added to those in the output folder, and tables and figures are made of all of
    them.
    """

    volumes: Annotated[Path | None, tyro.conf.Positional] = None
    """Reference volume in HU, or a folder of them; none of the training patients. Left out where
    the grid has measured scans alone."""
    output: Output
    """Folder for rows.jsonl, the tables and the figures."""
    grid: Path | None = None
    """Grid of cells (.toml): methods with settings, scans by views, arc, geometry and photons,
    measured scans with references. The options below override it."""
    views: tuple[int, ...] | None = None
    """Numbers of views to compare, each over 180 degrees; by default 8, 6 and 4."""
    arc_degrees: tuple[float, ...] | None = None
    """Shorter arcs in degrees to compare as well, with one view per degree; 90 in the paper."""
    methods: tuple[str, ...] | None = None
    """Methods, or 'all', see 'diffusionblend methods'; by default fbp, admm-tv and
    diffusionblend++. Not together with a grid."""
    priors: tuple[str, ...] | None = None
    """Priors, one of each type that the methods need: shipped names, folders or hub ids. By default
    the shipped one of each type, see 'diffusionblend priors'."""
    seeds: int | None = None
    """Runs of each method that draws noise, with seeds from 0; by default 3."""
    steps: int | None = None
    """Reverse steps of every method that samples, by default each its own. Not together with a
    grid."""
    sampling: Sampling = "own"
    """Settings of dds-2d, dds, diffusionblend and diffusionblend++: their own; all as they were
    published (no dual variable, the last estimate, noise fraction 0.85); or all as diffusionblend++
    has them here (dual variable, tail averaging, noise fraction 1). Not together with a grid."""
    tune_on: Path | None = None
    """Training volume on whose middle slices the settings that each method has to tune are searched
    first."""
    slices: int | None = None
    """Number of slices to use, from the middle of each volume; by default all."""
    size: int | None = None
    """Slice size in pixels; by default that of the priors, or the volume's own where no method of
    these needs a prior."""
    keep_volumes: bool = False
    """Keep every reconstruction, in the output's folder 'volumes'."""
    dry_run: bool = False
    """Report what the runs that are left would cost in time, memory and disk, and write nothing."""
    device: Device = "auto"
    """Where to compute; auto takes a GPU if there is one."""
    precision: PrecisionChoice = "auto"
    """Number format of the networks; auto is bfloat16 where the processor or the GPU has it in
    hardware, else float32; int8 needs the extra 'openvino'."""

    def run(self) -> None:
        """Run every cell that is not there yet, then write the tables and figures."""
        check_folder_to_fill(self.output, "the rows, tables and figures")
        say(f"benchmark in {self.output}")
        from diffusionblend.benchmarking.folder import CSV_FILE, PAGE_FILE, TABLE_FILE

        paths = self._paths()
        engine = self._engine(paths)
        if self.dry_run:
            self._report_plan(engine)
            return
        record = RunRecord(
            command="benchmark", settings=asdict(self), device=engine.collection.device
        )
        self._add_inputs(record, engine)
        for path in paths:
            for name in engine.collection.trained_on(path.name):
                warnings.warn(
                    f"{name} was trained on {path.name}: its figures flatter", stacklevel=2
                )
        with folder_locked(self.output, "benchmark"):
            outcome = engine.run()
        if outcome.tables is not None:
            _show(outcome.tables)
            say(f"wrote {self.output / TABLE_FILE}, {CSV_FILE} and {PAGE_FILE}")
        record.results = {"runs": outcome.finished, "failed": outcome.failed}
        write_record(record, self.output)
        if outcome.failed:
            raise InputError(
                f"{len(outcome.failed)} of the runs failed: {'; '.join(outcome.failed)}.",
                "runs that end, see above",
                "mend them and give the command again; finished ones are not repeated",
            )

    def _engine(self, paths: list[Path]) -> Engine:
        """The library's benchmark, its priors loaded; it reports on the terminal."""
        from diffusionblend.benchmarking.run import Benchmark as Engine
        from diffusionblend.benchmarking.run import Reports

        reports = Reports(
            progress=progress,
            say=say,
            failure=lambda text: print(f"diffusionblend: {printable(text)}", file=sys.stderr),
            before_run=give_back_freed_memory,
        )
        return Engine.of(
            self._grid(),
            paths,
            self.output,
            device=choose_device(self.device),
            precision=self.precision,
            keep_volumes=self.keep_volumes,
            reports=reports,
        )

    def _paths(self) -> list[Path]:
        """The volumes. Raises InputError where there is none."""
        from diffusionblend.io.volumes import find_volumes

        if self.volumes is None and self.grid is not None:
            return []
        if self.volumes is None or not self.volumes.exists():
            raise InputError(
                f"There is no {self.volumes}." if self.volumes else "No volume was given.",
                "a volume in HU, or a folder of them",
            )
        return find_volumes(self.volumes) if self.volumes.is_dir() else [self.volumes]

    def _grid(self) -> Grid:
        """The grid of the file with what the options change, or that of the options alone."""
        from diffusionblend.benchmarking.grid import Grid, read_grid, seeds_from, setups_from

        changes: dict[str, Any] = {
            name: getattr(self, name)
            for name in ("views", "arc_degrees", "priors", "seeds", "slices", "size")
            if getattr(self, name) is not None
        }
        if self.tune_on is not None:
            changes["tune_on"] = self.tune_on.absolute()
        if self.grid is not None:
            self._check_short_form()
            return read_grid(self.grid, **changes)
        setups = setups_from({"views": DEFAULT_VIEWS} | changes)
        changes = {n: v for n, v in changes.items() if n not in ("views", "arc_degrees")}
        if self.seeds is not None:
            changes["seeds"] = seeds_from(self.seeds)
        return Grid(cells=self._cells(), setups=setups, **changes)

    def _cells(self) -> tuple[Any, ...]:
        """A cell for each method of the options."""
        from diffusionblend.benchmarking.short_form import cells_of
        from diffusionblend.methods import METHODS

        names = self.methods or DEFAULT_METHODS
        names = tuple(METHODS.usable()) if ALL in names else tuple(dict.fromkeys(names))
        return cells_of(names, steps=self.steps, sampling=self.sampling)

    def _check_short_form(self) -> None:
        """Raise InputError for options that name cells beside a grid's own."""
        given = [n for n in ("methods", "steps") if getattr(self, n) is not None]
        given += ["sampling"] if self.sampling != "own" else []
        if given:
            raise InputError(
                f"{' and '.join('--' + name for name in given)} came with --grid.",
                "the methods and settings that are compared in the grid's cells",
                "a [[cell]] of the grid with these settings",
            )

    def _add_inputs(self, record: RunRecord, engine: Engine) -> None:
        """The grid's file, volumes, scans and references, with their hashes."""
        scans = [p for scan in engine.grid.scans for p in (scan.file, scan.reference)]
        tuned_on = [] if engine.grid.tune_on is None else [engine.grid.tune_on]
        given = [] if self.grid is None else [self.grid]
        for path in (*given, *engine.volumes, *scans, *tuned_on):
            add_input(record, path)

    def _report_plan(self, engine: Engine) -> None:
        """Say what the searches and runs that are left would cost."""
        from diffusionblend.benchmarking.plan import plan_benchmark

        say("trying a few steps of each method, to say what the runs cost")
        work = [*engine.work_left()]
        with progress("trials") as on_step:
            plan = plan_benchmark(work, device=engine.collection.device, on_step=on_step)
        for (setup, label), seconds in plan.seconds.items():
            runs = plan.runs[setup, label]
            say(f"{setup}, {label}: about {in_words(seconds)} ({counted(runs, 'run')})")
        total = sum(plan.seconds.values())
        trials = f" (tried {counted(plan.trials, 'kind')} of run)" if plan.trials else ""
        say(f"all {counted(sum(plan.runs.values()), 'run')}: about {in_words(total)}{trials}")
        report_memory(plan.memory_bytes)
        report_disk(self.output, plan.disk_bytes if self.keep_volumes else 0)
        say(f"nothing was run or written to {self.output}; without --dry-run the runs start")


def _show(tables: str) -> None:
    """Print Markdown: drawn on a terminal, as it is elsewhere."""
    if not sys.stdout.isatty():
        say(tables)
        return
    from rich.markdown import Markdown

    from diffusionblend.cli.tables import console

    console().print(Markdown(printable(tables)))
