"""`diffusionblend benchmark`: every method in every setting, once, with tables and figures."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from diffusionblend.benchmarking.cells import Cell, Subject, key_of, scan
from diffusionblend.benchmarking.plan import Work, tell_benchmark
from diffusionblend.benchmarking.priors import PriorShelf
from diffusionblend.benchmarking.searches import Searches
from diffusionblend.benchmarking.tables import HALF_TURN_DEGREES, Setting
from diffusionblend.cli.allocator import give_back_freed_memory
from diffusionblend.cli.common import (
    Device,
    Output,
    add_input,
    choose_device,
    say,
    write_record,
    write_text,
)
from diffusionblend.cli.progress import progress
from diffusionblend.errors import InputError
from diffusionblend.io.atomic import sha256_of
from diffusionblend.io.jsonl import append_json_line, read_json_lines
from diffusionblend.methods.registry import METHODS, find_method
from diffusionblend.methods.settings import MethodName, MethodSettings, SamplingSettings
from diffusionblend.runs.record import (
    RunRecord,
    peak_memory_mb,
    restart_peak_memory,
    versions,
)

if TYPE_CHECKING:
    from diffusionblend.data.volume import Volume

ROWS_FILE, TUNED_FILE = "rows.jsonl", "tuned.jsonl"
SLICES_FOLDER, VOLUMES_FOLDER = "slices", "volumes"
PUBLISHED_FILE = "published_figures.json"


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Compare methods on volumes that no prior has seen; the same command goes on where it stopped.

    Projections are simulated from each volume by the operator that reconstructs.
    """

    volumes: Annotated[Path, tyro.conf.Positional]
    """Reference volume in HU, or a folder of them; none of the training patients."""
    output: Output
    """Folder for rows.jsonl, the tables and the figures."""
    views: tuple[int, ...] = (8, 6, 4)
    """Numbers of views, each over 180 degrees."""
    arc_degrees: tuple[float, ...] = ()
    """Shorter arcs to compare on too, with a view a degree: 90 in the paper."""
    methods: tuple[MethodName | Literal["all"], ...] = ("fbp", "admm-tv", "diffusionblend++")
    """Which, or 'all'; see 'diffusionblend methods'."""
    priors: tuple[str, ...] = ("chest-128",)
    """One of each prior type that the methods need: shipped names, folders or hub ids."""
    seeds: int = 3
    """Runs of each method that draws noise, with seeds from 0."""
    steps: int | None = None
    """Reverse steps of every method that samples; by default each its own."""
    sampling: Literal["own", "published", "equal"] = "own"
    """Settings of dds-2d, dds, diffusionblend and diffusionblend++: their own; all as they were
    published (no dual variable, the last estimate, eta 0.85); or all as diffusionblend++ has them
    here (dual variable, mean of the late estimates, eta 1)."""
    tune_on: Path | None = None
    """Training volume on whose middle slices the weights of all methods are searched first."""
    slices: int | None = None
    """Only so many slices from the middle of each volume."""
    size: int | None = None
    """Slice size in pixels; by default that of the priors, or the volume's own where no method of
    these needs a prior."""
    keep_volumes: bool = False
    """Keep every reconstruction, in the output's folder 'volumes'."""
    dry_run: bool = False
    """Say what the runs that are left would cost in time, memory and disk, and write nothing."""
    device: Device = "auto"
    """Where to compute; auto takes a GPU if there is one."""

    def run(self) -> None:
        """Run every cell that is not there yet, then write the tables and figures."""
        from diffusionblend.io.volumes import find_volumes

        self._check_numbers()
        if not self.volumes.exists():
            raise InputError(f"There is no {self.volumes}.", "a volume in HU, or a folder of them")
        names = self.priors if self._needs_priors() else ()
        shelf = PriorShelf(names, self._torch_device, starts_coarse=self.sampling == "own")
        shelf.check_all({n: find_method(n) for n in self._method_names()}, self._settings())
        paths = find_volumes(self.volumes) if self.volumes.is_dir() else [self.volumes]
        self._check_tuning_apart(paths)
        searches = self._searches(shelf)
        if self.dry_run:
            self._tell_plan(paths, searches)
            return
        record = RunRecord(verb="benchmark", settings=asdict(self), device=self._torch_device)
        for path in paths:
            add_input(record, path)
            for name in shelf.trained_on(path.name):
                warnings.warn(
                    f"{name} was trained on {path.name}: its figures flatter", stacklevel=2
                )
        wanted, failed, compared = [], [], []
        for path in paths:
            subject = self._subject(path, shelf)
            compared.append(f"{path.name}, {_extent(subject.truth)}")
            for cell in self._cells(subject, searches, failed):
                wanted.append(cell.key)
                if cell.key in {row["key"] for row in self._rows()}:
                    if self.keep_volumes and not self._volume_path(cell).exists():
                        say(f"{self._volume_path(cell)} was not kept when the cell was run")
                    continue
                try:
                    self._run_cell(cell, subject.truth)
                except InputError as error:
                    failed.append(f"{cell.volume}, {cell.setting.name}, {cell.method}")
                    print(f"diffusionblend: {failed[-1]}: {error}", file=sys.stderr)
            self._draw(path.name, subject.truth, wanted)
        self._write_tables(wanted, searches, compared, failed)
        done = {row["key"] for row in self._rows()}
        record.results = {"runs": len(done & set(wanted)), "failed": failed}
        write_record(record, self.output)
        if failed:
            raise InputError(
                f"{len(failed)} of the runs failed: {'; '.join(failed)}.",
                "runs that end, see above",
                "mend them and give the command again; finished ones are not repeated",
            )

    def _run_cell(self, cell: Cell, truth: Volume) -> None:
        """Reconstruct, score, keep what was asked for, and then note the row."""
        from diffusionblend.benchmarking.tables import scores_of
        from diffusionblend.evaluation.metrics import evaluate_volume
        from diffusionblend.io.volumes import write_volume
        from diffusionblend.methods.registry import reconstruct

        projections = scan(truth, cell.setting)
        give_back_freed_memory()
        restart_peak_memory()
        with progress(f"{cell.volume} {cell.setting.name} {cell.method} {cell.seed}") as on_step:
            result = reconstruct(
                projections,
                method=cell.method,
                settings=cell.settings,
                device=self._torch_device,
                on_step=on_step,
                **cell.options,
            )
        peaks = peak_memory_mb()
        evaluation = evaluate_volume(result.volume, truth)
        self._keep_slice(cell.key, result.volume)
        if self.keep_volumes:
            write_volume(result.volume, self._volume_path(cell), force=True)
        row = {
            "key": cell.key,
            "volume": cell.volume,
            "setting": cell.setting.name,
            "method": cell.method,
            "seed": cell.seed,
            **scores_of(evaluation),
            "relative_residual": result.relative_residual,
            "seconds": result.seconds["total"],
            "network_calls": result.network_calls,
            "peak_memory_mb": peaks.get("gpu", peaks.get("process")),
            "settings": asdict(cell.settings),
            "priors": [p.weights_sha256 for p in cell.options.values()],
            "versions": versions(),
        }
        append_json_line(self.output / ROWS_FILE, row)

    def _volume_path(self, cell: Cell) -> Path:
        """Where a reconstruction is kept."""
        stem = f"{cell.volume.partition('.')[0]}-{cell.setting.name}-{cell.method}-{cell.seed}"
        return self.output / VOLUMES_FOLDER / f"{stem}-{cell.key}.nii.gz".replace(" ", "-")

    def _cells(self, subject: Subject, searches: Searches, failed: list[str]) -> Iterator[Cell]:
        """Every cell of a volume; a method whose search fails is left out and told."""
        for setting in self._settings():
            for method in self._method_names():
                try:
                    settings = searches.settings(method, setting)
                except InputError as error:
                    failed.append(f"{setting.name}, the search for {method}")
                    print(f"diffusionblend: {failed[-1]}: {error}", file=sys.stderr)
                    continue
                options = searches.options(method, setting)
                yield from self._seeds_of(subject, setting, method, settings, options)

    def _seeds_of(
        self,
        subject: Subject,
        setting: Setting,
        method: str,
        settings: MethodSettings,
        options: dict[str, object],
    ) -> Iterator[Cell]:
        """The cells of a method in a setting: one for each seed, or one where it draws no noise."""
        draws = isinstance(settings, SamplingSettings)
        for seed in range(self.seeds if draws else 1):
            mine = replace(settings, seed=seed) if draws else settings
            facts = [subject.sha256, subject.truth.grid.shape, asdict(setting), method]
            key = key_of(facts, mine, options)
            yield Cell(subject.path.name, setting, method, seed, mine, options, key)

    def _tell_plan(self, paths: list[Path], searches: Searches) -> None:
        """Say what the searches and runs that are left would cost."""
        work = [*searches.left(self._method_names(), self._settings())]
        for path in paths:
            work += self._runs_left(self._subject(path, searches.shelf), searches)
        device = self._torch_device
        tell_benchmark(work, self.output, device=device, keeps_volumes=self.keep_volumes)

    def _runs_left(self, subject: Subject, searches: Searches) -> Iterator[Work]:
        """One item for each method and setting of a volume of which runs are missing."""
        done = {row["key"] for row in self._rows()}
        for setting in self._settings():
            for method in self._method_names():
                known = searches.known(method, setting)
                settings = searches.unsearched(method) if known is None else known
                options = searches.options(method, setting)
                cells = self._seeds_of(subject, setting, method, settings, options)
                left = [cell for cell in cells if known is None or cell.key not in done]
                if left:
                    yield Work(
                        setting=setting.name,
                        method=method,
                        projections=scan(subject.truth, setting),
                        settings=settings,
                        options=options,
                        steps=(None,) * len(left),
                    )

    def _searches(self, shelf: PriorShelf) -> Searches:
        return Searches(
            file=self.output / TUNED_FILE,
            subject=None if self.tune_on is None else self._subject(self.tune_on, shelf),
            steps=self.steps,
            sampling=self.sampling,
            shelf=shelf,
            device=self._torch_device,
        )

    def _subject(self, path: Path, shelf: PriorShelf) -> Subject:
        if shelf.size and self.size not in (None, shelf.size):
            raise InputError(
                f"--size is {self.size}, and the priors are for slices of {shelf.size} pixels.",
                f"{shelf.size}, or --size left out",
                "priors of another size, or methods that need none",
            )
        return Subject.read(path, size=shelf.size or self.size, n_slices=self.slices)

    def _write_tables(
        self, wanted: list[str], searches: Searches, compared: list[str], failed: list[str]
    ) -> None:
        """table.md and table.csv, of the cells of this command."""
        from diffusionblend.benchmarking import tables as tables

        rows = self._rows_of(wanted)
        if not rows:
            return
        published = json.loads(Path(tables.__file__).with_name(PUBLISHED_FILE).read_text())
        steps = "each method's own" if self.steps is None else f"{self.steps}"
        lines = [f"- {line}" for line in compared]
        lines += [f"- failed, and not in the tables: {line}" for line in failed]
        lines += [
            f"- noiseless projections; seeds {self.seeds}; reverse steps {steps}; sampling "
            f"{self.sampling}; peak memory is the process's, with all priors loaded"
        ]
        lines += [
            f"- {r['setting']}: {r['searched']} of {r['method']} is {r['value']:g}, searched on "
            f"{self.tune_on.name} (value: PSNR in dB): {r['psnr_volume_db']}"
            for r in searches.rows_of(self._method_names(), self._settings())
        ]
        lines += [f"- prior {line}" for line in searches.shelf.described()]
        lines += [f"- {', '.join(f'{k} {v}' for k, v in versions().items())}"]
        intervals = " ".join(tables.__doc__.split("\n\n")[1].split())
        parts = [tables.markdown_tables(rows), intervals, "\n".join(lines)]
        parts.append(tables.published_table(published))
        write_text(self.output / "table.md", "\n\n".join(parts) + "\n", force=True)
        write_text(self.output / "table.csv", tables.csv_table(rows), force=True)
        say(parts[0])
        say(f"wrote {self.output / 'table.md'} and table.csv")

    def _keep_slice(self, key: str, volume: Volume) -> None:
        """The middle coronal slice, for the figure."""
        import numpy as np

        from diffusionblend.io.atomic import atomic_output

        path = self.output / SLICES_FOLDER / f"{key}.npy"
        with atomic_output(path, force=True) as temporary, temporary.open("wb") as stream:
            np.save(stream, volume.values[:, volume.grid.shape[1] // 2])

    def _draw(self, name: str, truth: Volume, wanted: list[str]) -> None:
        """For each setting the same coronal slice of the truth and of every method's first seed."""
        import numpy as np

        from diffusionblend.report.coronal_figure import coronal_figure
        from diffusionblend.report.figures import save_figure
        from diffusionblend.report.planes import plane_slice

        middle = truth.grid.shape[1] // 2
        for setting in self._settings():
            images = {"reference": plane_slice(truth, "coronal", middle)}
            for row in self._rows_of(wanted):
                path = self.output / SLICES_FOLDER / f"{row['key']}.npy"
                mine = (row["volume"], row["setting"], row["seed"]) == (name, setting.name, 0)
                if not mine or not path.exists():
                    continue
                values = truth.values.copy()
                values[:, middle] = np.load(path)
                same_grid = replace(truth, values=values)
                images[row["method"]] = plane_slice(same_grid, "coronal", middle)
            figure = coronal_figure(images, f"{name}, {setting.name}, coronal slice {middle}")
            stem = f"coronal {name} {setting.name}".replace(" ", "-")
            save_figure(figure, self.output / f"{stem}.png", force=True)

    def _rows(self) -> list[dict]:
        return read_json_lines(self.output / ROWS_FILE)

    def _rows_of(self, wanted: list[str]) -> list[dict]:
        """The rows of these cells, in their order."""
        rows = {row["key"]: row for row in self._rows()}
        return [rows[key] for key in wanted if key in rows]

    def _settings(self) -> list[Setting]:
        arcs = [Setting(max(1, round(arc)), arc) for arc in self.arc_degrees]
        return [Setting(views) for views in self.views] + arcs

    def _method_names(self) -> list[str]:
        return list(METHODS) if "all" in self.methods else list(dict.fromkeys(self.methods))

    def _needs_priors(self) -> bool:
        return any(find_method(name).needs_prior for name in self._method_names())

    @property
    def _torch_device(self) -> str:
        return choose_device(self.device)

    def _check_tuning_apart(self, paths: list[Path]) -> None:
        """Raise InputError where weights would be searched on a volume that is compared on."""
        if self.tune_on is not None and any(_is_same(p, self.tune_on) for p in paths):
            raise InputError(
                f"{self.tune_on} is both compared on and searched on.",
                "a training volume to search on",
            )

    def _check_numbers(self) -> None:
        """Raise InputError for what could not be measured."""
        arcs_fit = all(0 < arc < HALF_TURN_DEGREES for arc in self.arc_degrees)
        nothing = not self.views and not self.arc_degrees
        if nothing or min(self.views, default=1) < 1 or not arcs_fit:
            raise InputError(
                f"Asked for {self.views} views and arcs of {self.arc_degrees} degrees.",
                "at least one view, and arcs above 0 and below 180 degrees",
            )
        if self.seeds < 1 or not self._method_names():
            raise InputError(f"Asked for {self.seeds} seeds of {self.methods}.", "at least one")
        for name in ("slices", "steps", "size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}.", "at least 1")


def _is_same(path: Path, other: Path) -> bool:
    return path.is_file() and other.is_file() and sha256_of(path) == sha256_of(other)


def _extent(volume: Volume) -> str:
    """Voxels and spacing, x y z, for a table."""
    voxels = " x ".join(str(n) for n in reversed(volume.grid.shape))
    spacing = " x ".join(f"{mm:.3g}" for mm in reversed(volume.grid.spacing_mm))
    return f"{voxels} voxels of {spacing} mm"
