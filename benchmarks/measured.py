"""Measured scans: where the axis of rotation lies, and discs of a limited-angle challenge.

    python benchmarks/measured.py PROJECTIONS -o results/

PROJECTIONS is a folder with savu/, tooth/ and htc2022/. Finished rows are kept in rows.jsonl, so
that an interrupted run goes on where it stopped; pictures and table.md are written beside it.
Nothing is tuned on what is scored: weight and threshold of the discs come from four training
objects. The capsule's few views against all of them: quality/measured.toml.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import tyro

from common import versions_in_words
from diffusionblend import Projections
from diffusionblend.cli.allocator import keep_freed_memory
from diffusionblend.evaluation.tables import Column, format_table
from diffusionblend.io.jsonl import append_json_line, read_json_lines
from diffusionblend.io.scans.options import ReadOptions
from diffusionblend.io.scans.registry import read_raw_scan
from diffusionblend.preprocessing.prepare import Preparation, prepare_scan
from diffusionblend.preprocessing.settings import PrepareSettings
from diffusionblend.report.figures import save_figure
from diffusionblend.solvers.filtered_back_projection import filtered_back_projection
from htc2022 import ARCS_DEGREES, Discs
from pictures import image_rows_figure

SAVU_AIR_COLUMNS = 5
SAVU_MU_PER_COLUMN = 0.0135
"""Attenuation of the capsule's holder per column, read off its 12 views, as 0 HU."""
TOOTH_RING_COLUMNS = 9
OFF_AXIS = "FBP 2 columns beside the axis, at the axis found, 2 columns beside it"
CENTRE_OFFSETS = (-2.0, -1.0, 0.0, 1.0, 2.0)
SAVU_SHARP_ROWS = slice(95, 120)
"""Rows of the capsule with a sharp border."""

CENTRE_COLUMNS = (
    Column(key="scan", header="Scan"),
    Column(key="centre_column", header="Axis (column)"),
    Column(key="pair_column", header="Opposite views alone"),
    Column(key="mass_column", header="Centre of mass alone"),
    *(
        Column(key=f"sharpness_{offset:+g}", header=f"Sharpness {offset:+g} columns", digits=3)
        for offset in CENTRE_OFFSETS
    ),
)
DISC_COLUMNS = (
    Column(key="scan", header="Disc"),
    Column(key="arc_degrees", header="Arc (degrees)", digits=0),
    Column(key="method", header="Method"),
    Column(key="matthews", header="Matthews correlation", digits=4),
    Column(key="correlation", header="Correlation with the reference FBP", digits=4),
    Column(key="seconds", header="Seconds", digits=1),
)


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """The axis of rotation of measured scans, and FBP and ADMM-TV of discs."""

    projections: Annotated[Path, tyro.conf.Positional]
    """Folder that contains savu/, tooth/ and htc2022/."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder for rows.jsonl, table.md and pictures."""
    parts: tuple[Literal["savu", "tooth", "htc2022"], ...] = ("savu", "tooth", "htc2022")
    """What is measured: the capsule's and the tooth's axis, and the discs."""

    def run(self) -> None:
        """Run what rows.jsonl does not have yet, draw, and write the tables."""
        self.output.mkdir(parents=True, exist_ok=True)
        for part in self.parts:
            {"savu": self._savu, "tooth": self._tooth, "htc2022": self._discs}[part]()
        rows = self._rows()
        tables = []
        for columns, kind in (
            (CENTRE_COLUMNS, "axis"),
            (DISC_COLUMNS, "disc"),
        ):
            chosen = [r for r in rows if r["kind"] == kind]
            tables.append(format_table(chosen, columns, "markdown"))
        text = "\n\n".join([*tables, versions_in_words()]) + "\n"
        (self.output / "table.md").write_text(text)
        print(text)

    def _savu(self) -> None:
        """The capsule: where its axis is, and FBP of all views beside it."""
        folder = self.projections / "savu"
        options = ReadOptions(angles=folder / "angles.txt", image_key=folder / "24888.nxs")
        settings = PrepareSettings(
            column_mm=1.0, air_columns=SAVU_AIR_COLUMNS, mu_water_per_mm=SAVU_MU_PER_COLUMN
        )
        whole = prepare_scan(read_raw_scan(folder, options), settings)
        pictures = self._axis("savu", whole, SAVU_SHARP_ROWS)
        rows = {OFF_AXIS: [pictures[o] for o in (-2.0, 0.0, 2.0)]}
        figure = image_rows_figure(rows, (-0.002, 0.03), "attenuation per column")
        save_figure(figure, self.output / "savu-axis.png", force=True)

    def _tooth(self) -> None:
        """The tooth, from the raw file with its flats and darks: the axis, and FBP."""
        scan = read_raw_scan(self.projections / "tooth" / "tooth.h5")
        done = prepare_scan(scan, PrepareSettings(column_mm=1.0))
        pictures = self._axis("tooth", done, slice(0, 1))
        smooth = prepare_scan(scan, PrepareSettings(column_mm=1.0, ring_columns=TOOTH_RING_COLUMNS))
        rings = fbp_beside(smooth.projections, 0.0, slice(0, 1))[0]
        y, x = slice(130, 430), slice(160, 460)
        rows = {OFF_AXIS: [pictures[o][y, x] for o in (-2.0, 0.0, 2.0)]}
        rows |= {"axis found, rings reduced": [rings[y, x]]}
        figure = image_rows_figure(rows, (-0.001, 0.012), "attenuation per column")
        save_figure(figure, self.output / "tooth.png", force=True)

    def _axis(self, name: str, done: Preparation, rows: slice) -> dict[float, np.ndarray]:
        """A row on the axis of rotation: where it was found, and how sharp FBP is about it."""
        pictures, row = {}, {"kind": "axis", "scan": name, "centre_column": done.centre.column}
        row |= {"pair_column": done.centre.pair_column, "mass_column": done.centre.mass_column}
        for offset in CENTRE_OFFSETS:
            volume = fbp_beside(done.projections, offset, rows)
            edge = volume.shape[1] // 4  # the objects stand in the middle
            middle = volume[:, edge:-edge, edge:-edge]
            slopes = np.hypot(*np.gradient(middle, axis=(1, 2)))
            row[f"sharpness_{offset:+g}"] = float(np.mean(slopes**4) ** 0.25)
            pictures[offset] = volume[0]
        highest = max(row[f"sharpness_{offset:+g}"] for offset in CENTRE_OFFSETS)
        for offset in CENTRE_OFFSETS:
            row[f"sharpness_{offset:+g}"] /= highest
        if not self._find(kind="axis", scan=name):
            self._keep(row)
        return pictures

    def _discs(self) -> None:
        """The discs of the challenge: whole turns, then limited arcs, tuned on other objects."""
        discs = Discs(folder=self.projections / "htc2022", tuned_file=self.output / "tuned.json")
        print(discs.tuned, flush=True)
        for name in ARCS_DEGREES:
            for label, run in discs.cells(name):
                self._timed(name, label, run)
            figure = image_rows_figure(*discs.picture(name))
            save_figure(figure, self.output / f"htc2022-{name}.png", force=True)

    def _timed(self, name: str, label: str, run: Callable[[], dict[str, object]]) -> None:
        """A row of the discs, where it is not there yet."""
        if self._find(kind="disc", scan=name, label=label):
            return
        started = time.perf_counter()
        row = run()
        row.setdefault("seconds", time.perf_counter() - started)
        self._keep({"kind": "disc", "scan": name, "label": label} | row)

    @property
    def _file(self) -> Path:
        return self.output / "rows.jsonl"

    def _keep(self, row: dict[str, object]) -> None:
        append_json_line(self._file, row)
        print(row, flush=True)

    def _rows(self) -> list[dict]:
        return read_json_lines(self._file)

    def _find(self, **wanted: object) -> dict | None:
        """The first row with these values."""
        return next((r for r in self._rows() if wanted.items() <= r.items()), None)


def fbp_beside(projections: Projections, offset_columns: float, rows: slice) -> np.ndarray:
    """FBP of some slices with the axis taken to be so many columns beside where it was found."""
    geometry = projections.geometry
    shift = geometry.detector_shift_mm - offset_columns * geometry.column_mm
    lines = torch.from_numpy(np.ascontiguousarray(projections.values[:, rows]))
    grid = projections.grid.with_slices(lines.shape[1])
    shifted = replace(geometry, detector_shift_mm=shift)
    return filtered_back_projection(lines, shifted, grid, window="hann").numpy()


if __name__ == "__main__":
    keep_freed_memory()
    tyro.cli(Benchmark).run()
