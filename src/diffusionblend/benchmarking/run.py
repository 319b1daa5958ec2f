"""Runs a benchmark's cells, each once, and keeps a row of each."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from diffusionblend import __version__
from diffusionblend.benchmarking.cells import Cell, Subject
from diffusionblend.benchmarking.collection import PriorCollection
from diffusionblend.benchmarking.folder import Folder
from diffusionblend.benchmarking.plan import Work
from diffusionblend.benchmarking.searches import Searches
from diffusionblend.errors import InputError
from diffusionblend.methods.base import Execution, OnStep, ignore_progress
from diffusionblend.runs.record import peak_memory_mb, restart_peak_memory, versions

if TYPE_CHECKING:
    from diffusionblend.benchmarking.grid import CellSpec, Grid
    from diffusionblend.benchmarking.setups import Setup
    from diffusionblend.data.volume import Volume
    from diffusionblend.methods.base import Method
    from diffusionblend.priors.precision import Precision


def _no_progress(_name: str) -> AbstractContextManager[OnStep]:
    return nullcontext(ignore_progress)


def _silent(text: str) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class Reports:
    """How a benchmark reports: progress of a run by its name, lines, and failures.

    before_run: called before each reconstruction, such as to free memory.
    """

    progress: Callable[[str], AbstractContextManager[OnStep]] = _no_progress
    say: Callable[[str], None] = _silent
    failure: Callable[[str], None] = _silent
    before_run: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Outcome:
    """What a command has done: the cells that have rows now, and what failed."""

    finished: int
    failed: list[str]
    tables: str | None


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A grid on volumes and measured scans, its rows in a folder.

    volumes: files that scans are simulated from. collection: the grid's priors, loaded. Raises
    InputError where cells lack priors, where sizes differ, or where settings would be searched on
    a volume that is compared on.
    """

    grid: Grid
    volumes: Sequence[Path]
    folder: Folder
    collection: PriorCollection
    keep_volumes: bool = False
    reports: Reports = field(default_factory=Reports)

    def __post_init__(self) -> None:
        grid, size = self.grid, self.collection.size
        if size and grid.size not in (None, size):
            raise InputError(
                f"--size is {grid.size}, and the priors are for slices of {size} pixels.",
                f"{size}, or --size left out",
                "priors of another size, or methods that need none",
            )
        if bool(self.volumes) != bool(grid.setups):
            there, lacking = "volumes", "no setup to scan them in"
            if grid.setups:
                there, lacking = "setups", "no volume to scan in them"
            raise InputError(
                f"The benchmark has {there} and {lacking}.",
                "both, or neither and measured scans ([[scan]])",
            )
        setups: list[Setup | None] = [*grid.setups, *([None] if grid.scans else [])]
        self.collection.check_all(grid.cells, setups)
        self._check_tuning_apart()

    @classmethod
    def of(
        cls,
        grid: Grid,
        volumes: Sequence[Path],
        output: Path,
        *,
        device: str,
        precision: Precision = "auto",
        keep_volumes: bool = False,
        reports: Reports | None = None,
    ) -> Benchmark:
        """A benchmark with the grid's priors loaded, if any cell needs one."""
        needed = any(cell.method.prior is not None for cell in grid.cells)
        return cls(
            grid=grid,
            volumes=volumes,
            folder=Folder(output),
            collection=PriorCollection(grid.priors if needed else (), device, precision),
            keep_volumes=keep_volumes,
            reports=reports or Reports(),
        )

    def run(self) -> Outcome:
        """Run every cell that has no row yet, then write tables and figures of all rows."""
        failed: list[str] = []
        finished = 0
        searches = self._searches()
        for subject, setups in self._subjects():
            for cell in self._cells(subject, setups, searches, failed):
                if self.folder.row_of(cell) is not None:
                    finished += 1
                    if self.keep_volumes and not self.folder.volume_path(cell).exists():
                        missing = self.folder.volume_path(cell)
                        self.reports.say(f"{missing} was not kept when the cell was run")
                    continue
                try:
                    self._run_cell(cell)
                    finished += 1
                except InputError as error:
                    self._note_failure(failed, cell.name, error)
            self.folder.draw(subject)
        return Outcome(finished, failed, self.folder.write_tables(failed))

    def work_left(self) -> Iterator[Work]:
        """The searches and runs that are still to be made."""
        searches = self._searches()
        if searches is not None:
            for simulated in self.grid.setups:
                for spec in self.grid.cells:
                    yield from searches.left(spec, simulated)
        for subject, setups in self._subjects():
            for setup in setups:
                for spec in self.grid.cells:
                    known: Method | None = spec.method
                    if searches is not None and setup is not None:
                        known = searches.known(spec, setup)
                    cells = self._cells_of(subject, setup, spec, known or spec.method)
                    done = {(row["key"], row["label"]) for row in self.folder.rows()}
                    left = [c for c in cells if not known or (c.key, c.label) not in done]
                    if left:
                        yield Work(
                            setup=subject.setup_name(setup),
                            label=spec.label,
                            scan=partial(subject.scan, setup),
                            scan_kind=subject.scan_kind(setup),
                            grid_shape=subject.truth.grid.shape,
                            method=left[0].method,
                            priors=left[0].priors,
                            steps=(None,) * len(left),
                            samples=spec.samples,
                        )

    def _subjects(self) -> Iterator[tuple[Subject, Sequence[Setup | None]]]:
        """Volumes with the setups they are scanned in, then measured scans."""
        for path in self.volumes:
            yield self._read(path), self.grid.setups
        for scan in self.grid.scans:
            yield Subject.measured(scan), [None]

    def _read(self, path: Path) -> Subject:
        size = self.collection.size or self.grid.size or self.collection.usual_size
        return Subject.read(path, size=size, n_slices=self.grid.slices)

    def _searches(self) -> Searches | None:
        """The searches of settings, where there is a training volume."""
        if self.grid.tune_on is None:
            return None
        return Searches(
            file=self.folder.tuned_file,
            subject=self._read(self.grid.tune_on),
            collection=self.collection,
        )

    def _cells(
        self,
        subject: Subject,
        setups: Sequence[Setup | None],
        searches: Searches | None,
        failed: list[str],
    ) -> Iterator[Cell]:
        """Every cell of a subject; one whose search fails is left out and reported."""
        for setup in setups:
            for spec in self.grid.cells:
                name = f"{subject.setup_name(setup)}, the search for {spec.label}"
                try:
                    method = spec.method
                    if searches is not None and setup is not None:
                        method = searches.method_of(spec, setup, self.reports.say)
                    cells = self._cells_of(subject, setup, spec, method)
                except InputError as error:
                    self._note_failure(failed, name, error)
                    continue
                yield from cells

    def _cells_of(
        self, subject: Subject, setup: Setup | None, spec: CellSpec, method: Method
    ) -> list[Cell]:
        """The cells of a specification in a setup, one for each seed."""
        priors = self.collection.priors_of(spec, setup, grid=subject.truth.grid)
        seeds = self.grid.seeds_of(spec)
        return [
            Cell.of(subject, setup, spec, method, seed, priors, self.collection.device)
            for seed in seeds
        ]

    def _run_cell(self, cell: Cell) -> None:
        """Reconstruct, score, keep what was asked for, and then the row."""
        from diffusionblend.benchmarking.ensembles import draw
        from diffusionblend.benchmarking.tables import scores_of
        from diffusionblend.evaluation.metrics import evaluate
        from diffusionblend.io.volumes import write_volume

        projections = cell.subject.scan(cell.setup)
        self.reports.before_run()
        restart_peak_memory()
        with self.reports.progress(cell.name) as on_step:
            drawn = draw(
                cell,
                projections,
                self.collection.device,
                Execution(on_step=on_step),
                self.folder.samples_path(cell),
            )
        peaks = peak_memory_mb()
        truth = cell.subject.truth
        scores = scores_of(evaluate(drawn.volume, truth))
        self.folder.keep_slice(cell, drawn.volume)
        if self.keep_volumes:
            write_volume(drawn.volume, self.folder.volume_path(cell), force=True)
        row = self._described(cell) | scores | drawn.row(truth)
        self.folder.add(row | {"peak_memory_mb": peaks.get("gpu", peaks.get("process"))})
        if cell.samples > 1 and not self.keep_volumes:
            shutil.rmtree(self.folder.samples_path(cell), ignore_errors=True)

    def _described(self, cell: Cell) -> dict[str, object]:
        """What a row contains of its cell."""
        subject = cell.subject
        return {
            "key": cell.key,
            "label": cell.label,
            "volume": subject.name,
            "volume_sha256": list(subject.sha256),
            "extent": _extent(subject.truth),
            "size": subject.size,
            "slices": subject.slices,
            "setup": subject.setup_name(cell.setup),
            "measured": cell.setup is None,
            "method": cell.method.name,
            "seed": cell.seed,
            "samples": cell.samples,
            "settings": cell.resolved.settings(),
            "priors": self.collection.described(cell.priors),
            "version": __version__,
            "device": self.collection.device.partition(":")[0],
            "versions": versions(),
        }

    def _note_failure(self, failed: list[str], name: str, error: InputError) -> None:
        failed.append(name)
        self.reports.failure(f"{name}: {error}")

    def _check_tuning_apart(self) -> None:
        """Raise InputError where settings would be searched on a volume that is compared on."""
        from diffusionblend.io.atomic import sha256_of

        tuned_on = self.grid.tune_on
        if tuned_on is None or not tuned_on.is_file():
            return
        own = sha256_of(tuned_on)
        references = [scan.reference for scan in self.grid.scans]
        if any(p.is_file() and sha256_of(p) == own for p in (*self.volumes, *references)):
            raise InputError(
                f"{tuned_on} is both compared on and searched on.",
                "a training volume to search on",
            )


def _extent(volume: Volume) -> str:
    """Voxels and spacing, x y z, for a table."""
    voxels = " x ".join(str(n) for n in reversed(volume.grid.shape))
    spacing = " x ".join(f"{mm:.3g}" for mm in reversed(volume.grid.spacing_mm))
    return f"{voxels} voxels of {spacing} mm"
