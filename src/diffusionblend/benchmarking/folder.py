"""A benchmark's folder: its rows, and the tables and figures that are made of all of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from diffusionblend.benchmarking import tables
from diffusionblend.benchmarking.cells import Cell, Subject
from diffusionblend.io.atomic import atomic_output
from diffusionblend.io.jsonl import append_json_line, read_json_lines

if TYPE_CHECKING:
    from diffusionblend.data.planes import PlaneImage
    from diffusionblend.data.volume import Volume

ROWS_FILE, TUNED_FILE = "rows.jsonl", "tuned.jsonl"
TABLE_FILE, CSV_FILE, PAGE_FILE = "table.md", "table.csv", "report.html"
SLICES_FOLDER, VOLUMES_FOLDER, SAMPLES_FOLDER = "slices", "volumes", "samples"
CORONAL, ERRORS = "coronal", "error-coronal"
"""How the files of the figures begin."""
SAME_OPERATOR = (
    "Projections without finer pixels in their name were simulated by the operator that "
    "reconstructs them, which flatters every method; measured projections are harder."
)
PUBLISHED_FILE = "published_figures.json"


@dataclass(frozen=True)
class Folder:
    """Rows of finished cells, with what is made of them; rows are added, never dropped."""

    path: Path

    @property
    def tuned_file(self) -> Path:
        """The searches that were made."""
        return self.path / TUNED_FILE

    def rows(self) -> list[dict]:
        """The rows of all finished cells, by this and earlier commands."""
        return [row for row in read_json_lines(self.path / ROWS_FILE) if "setup" in row]

    def row_of(self, cell: Cell) -> dict | None:
        """The row of a finished cell; one under another label is added again under this one."""
        same = [row for row in self.rows() if row["key"] == cell.key]
        for row in same:
            if row["label"] == cell.label:
                return row
        if not same:
            return None
        self.add(same[0] | {"label": cell.label})
        return same[0]

    def add(self, row: Mapping[str, object]) -> None:
        """Keep the row of a finished cell, on the disk when this returns."""
        append_json_line(self.path / ROWS_FILE, row)

    def volume_path(self, cell: Cell) -> Path:
        """Where a reconstruction is kept."""
        name = f"{cell.name.replace(', ', '-')}-{cell.key}.nii.gz"
        return self.path / VOLUMES_FOLDER / name.replace(" ", "-").replace("/", "-")

    def samples_path(self, cell: Cell) -> Path:
        """Where the finished samples of an ensemble lie while it is not complete."""
        return self.path / SAMPLES_FOLDER / cell.key

    def keep_slice(self, cell: Cell, volume: Volume) -> None:
        """The middle coronal slice, for the figures."""
        import numpy as np

        path = self.path / SLICES_FOLDER / f"{cell.key}.npy"
        with atomic_output(path, force=True) as temporary, temporary.open("wb") as stream:
            np.save(stream, volume.values[:, volume.grid.shape[1] // 2])

    def write_tables(self, failed: Sequence[str] = ()) -> str | None:
        """table.md, table.csv and report.html of all rows; returns the tables, None where there
        is no row.
        """
        rows = self.rows()
        if not rows:
            return None
        shown = tables.tables_of(rows)
        calibration = tables.calibration_table(rows)
        shown += [] if calibration is None else [calibration]
        text = "\n".join(table.markdown() for table in shown)
        lines = [*_notes(rows, read_json_lines(self.tuned_file)), *(f"failed: {f}" for f in failed)]
        parts = [text, tables.INTERVALS, "\n".join(f"- {line}" for line in lines)]
        if not all(row["measured"] for row in rows):
            published = json.loads(Path(tables.__file__).with_name(PUBLISHED_FILE).read_text())
            parts.append(tables.published_table(published))
        _write_text(self.path / TABLE_FILE, "\n\n".join(parts) + "\n")
        _write_text(self.path / CSV_FILE, tables.csv_table(rows))
        self._write_page(rows, shown, lines)
        return text

    def _write_page(
        self, rows: Sequence[Mapping], shown: Sequence[tables.Table], lines: Sequence[str]
    ) -> None:
        """The tables and figures of all rows in one file."""
        from diffusionblend.report.comparison import write_comparison

        first = tables.whole_volume_table(rows)
        pairs = dict.fromkeys((str(row["volume"]), str(row["setup"])) for row in rows)
        every = [first, *(table for table in shown if table.title != tables.WHOLE_TITLE)]
        write_comparison(
            self.path / PAGE_FILE,
            title="Reconstructions compared",
            subtitle=_counted_words(rows),
            headline=tables.best_in_words(first),
            tables={table.title: (table.rows, table.columns) for table in every},
            pictures={
                f"{volume}, {setup}": [
                    self._figure_path(kind, volume, setup) for kind in (CORONAL, ERRORS)
                ]
                for volume, setup in pairs
            },
            caution=SAME_OPERATOR if any(map(_is_by_the_same_operator, rows)) else "",
            remarks=[tables.INTERVALS],
            notes=lines,
        )

    def _figure_path(self, kind: str, volume: str, setup: str) -> Path:
        return self.path / f"{kind} {volume} {setup}.png".replace(" ", "-")

    def draw(self, subject: Subject) -> None:
        """For each setup a coronal slice of the truth and of the first seed of every label."""
        import numpy as np

        from diffusionblend.data.planes import plane_slice
        from diffusionblend.report.coronal_figure import coronal_figure
        from diffusionblend.report.figures import error_images, save_figure

        truth, rows = subject.truth, self.rows()
        labels = tables.told_apart(rows)
        middle = truth.grid.shape[1] // 2
        images: dict[str, dict[str, PlaneImage]] = {}
        for label, row in zip(labels, rows, strict=True):
            path = self.path / SLICES_FOLDER / f"{row['key']}.npy"
            if row["volume_sha256"] != list(subject.sha256) or not path.exists():
                continue
            values, plane = truth.values.copy(), np.load(path)
            if plane.shape != values[:, middle].shape:
                continue
            values[:, middle] = plane
            reference = {"reference": plane_slice(truth, "coronal", middle)}
            of_setup = images.setdefault(row["setup"], reference)
            of_setup.setdefault(
                label, plane_slice(replace(truth, values=values), "coronal", middle)
            )
        for setup, of_setup in images.items():
            title = f"{subject.name}, {setup}, coronal slice {middle}"
            errors = error_images(of_setup, "reference")
            drawn = {
                CORONAL: coronal_figure(of_setup, title),
                ERRORS: coronal_figure(errors, f"{title}, errors", errors=True),
            }
            for kind, figure in drawn.items():
                save_figure(figure, self._figure_path(kind, subject.name, setup), force=True)


def _counted_words(rows: Sequence[Mapping]) -> str:
    """How many runs of what: "12 runs, 2 methods, 3 scans of 2 volumes"."""
    counts = {
        "run": len(rows),
        "method": len(set(tables.told_apart(rows))),
        "scan": len({row["setup"] for row in rows}),
        "volume": len({tuple(row["volume_sha256"]) for row in rows}),
    }
    runs, methods, scans, volumes = (f"{n} {what}" + "s" * (n != 1) for what, n in counts.items())
    return f"{runs}, {methods}, {scans} of {volumes}"


def _is_by_the_same_operator(row: Mapping) -> bool:
    """Whether the scan was simulated by the operator that reconstructs it."""
    return not row["measured"] and "finer pixels" not in row["setup"]


def _notes(rows: Sequence[Mapping], tuned: Sequence[Mapping]) -> list[str]:
    """Volumes, setups, settings, searches, priors and versions behind the rows."""
    volumes = dict.fromkeys(f"{row['volume']}, {row['extent']}" for row in rows)
    seeds = sorted({row["seed"] for row in rows})
    lines = [*volumes, f"seeds {', '.join(map(str, seeds))}; peak memory is the process's"]
    for label, row in zip(tables.told_apart(rows), rows, strict=True):
        settings = {n: v for n, v in row["settings"].items() if n != "seed" and v is not None}
        words = ", ".join(f"{name} {value}" for name, value in settings.items())
        lines.append(f"{label}, {row['setup']}: {row['method']} with {words or 'no settings'}")
    lines += [
        f"{row['setup']}: {row['searched']} of {row['label']} is {row['value']:g}, searched on "
        f"{row['volume']} (value: PSNR in dB): {row['psnr_volume_db']}"
        for row in tuned
        if "label" in row
    ]
    for row in rows:
        lines += [f"prior {p['name']}: {p['training']}" for p in row["priors"].values()]
    lines += [", ".join(f"{k} {v}" for k, v in row["versions"].items()) for row in rows]
    return [*dict.fromkeys(lines)]


def _write_text(path: Path, text: str) -> None:
    with atomic_output(path, force=True) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
