"""Measured scans, not simulated: a capsule (savu), a tooth, and discs of a limited-angle challenge.

    python benchmarks/measured.py PROJECTIONS -o results/

PROJECTIONS is a folder with savu/, tooth/ and htc2022/. Finished rows are kept in rows.jsonl, so
that an interrupted run goes on where it stopped; pictures and table.md lie beside it. Nothing is
tuned on what is scored: the weight and threshold of the discs come from four training objects, the
capsule's total variation is shown at three weights.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import tyro

from diffusionblend import (
    AdmmTvSettings,
    DiffusionBlendPPSettings,
    FbpSettings,
    Projections,
    Volume,
    evaluate_volume,
    load_prior,
    reconstruct,
)
from diffusionblend.cli.allocator import keep_freed_memory
from diffusionblend.evaluation.tables import METRIC_COLUMNS, Column, evaluation_row, format_table
from diffusionblend.io.scans.options import ReadOptions
from diffusionblend.io.scans.registry import read_raw_scan
from diffusionblend.preprocessing.prepare import Preparation, prepare_scan
from diffusionblend.preprocessing.settings import PrepareSettings
from diffusionblend.priors.store import DEFAULT_PRIOR
from diffusionblend.report.figures import save_figure, three_planes_figure
from diffusionblend.runs.record import versions
from diffusionblend.solvers.filtered_back_projection import filtered_back_projection
from htc2022 import ARCS_DEGREES, Discs
from pictures import image_rows_figure

SAVU_EVERY = 8
"""Every 8th of 91 views: 12."""
SAVU_SIZE = 128
SAVU_AIR_COLUMNS = 5
SAVU_MU_PER_COLUMN = 0.0135
"""Attenuation of the capsule's holder a column, read off its 12 views, as 0 HU: there the prior,
which knows patients, expects what lies about it."""
SAVU_TV_WEIGHTS = (0.3, 1.0, 3.0)
TOOTH_RING_COLUMNS = 9
OFF_AXIS = "FBP 2 columns beside the axis, at the axis found, 2 columns beside it"
CENTRE_OFFSETS = (-2.0, -1.0, 0.0, 1.0, 2.0)
SAVU_SHARP_ROWS = slice(95, 120)
"""Rows of the capsule with a sharp border."""

SCAN_COLUMNS = (
    Column(key="scan", header="Scan"),
    Column(key="views", header="Views", digits=0),
    *METRIC_COLUMNS,
    Column(key="relative_residual", header="Residual", digits=4),
    Column(key="seconds", header="Seconds", digits=1),
)
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
    """FBP, ADMM-TV and DiffusionBlend++ on measured scans."""

    projections: Annotated[Path, tyro.conf.Positional]
    """Folder that holds savu/, tooth/ and htc2022/."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder for rows.jsonl, table.md and pictures."""
    parts: tuple[Literal["savu", "tooth", "htc2022"], ...] = ("savu", "tooth", "htc2022")
    steps: int = 50
    """Reverse steps of DiffusionBlend++ on the capsule."""
    prior: str = DEFAULT_PRIOR

    def run(self) -> None:
        """Run what rows.jsonl does not have yet, draw, and write the tables."""
        self.output.mkdir(parents=True, exist_ok=True)
        for part in self.parts:
            {"savu": self._savu, "tooth": self._tooth, "htc2022": self._discs}[part]()
        rows = self._rows()
        tables = []
        for columns, kind in (
            (CENTRE_COLUMNS, "axis"),
            (SCAN_COLUMNS, "scan"),
            (DISC_COLUMNS, "disc"),
        ):
            chosen = [r for r in rows if r["kind"] == kind]
            tables.append(format_table(chosen, columns, "markdown"))
        facts = ", ".join(f"{k} {v}" for k, v in versions().items())
        text = "\n\n".join([*tables, facts]) + "\n"
        (self.output / "table.md").write_text(text)
        print(text)

    def _savu(self) -> None:
        """The capsule: the axis, 91 views by FBP, and 12 of them by every method."""
        settings = {"air_columns": SAVU_AIR_COLUMNS, "mu_water_per_mm": SAVU_MU_PER_COLUMN}
        whole = self._savu_scan(1, **settings)
        pictures = self._axis("savu", whole, SAVU_SHARP_ROWS)
        rows = {OFF_AXIS: [pictures[o] for o in (-2.0, 0.0, 2.0)]}
        figure = image_rows_figure(rows, (-0.002, 0.03), "attenuation per column")
        save_figure(figure, self.output / "savu-axis.png", force=True)
        told = settings | {"centre_column": whole.centre.column, "size": SAVU_SIZE}
        reference = self._cell("savu", self._savu_scan(1, **told), "FBP", "fbp", FbpSettings())
        few = self._savu_scan(SAVU_EVERY, **told)
        volumes = {"91 views: FBP": reference}
        cells = [("FBP", "fbp", FbpSettings())]
        cells += [
            (f"ADMM-TV, weight {w:g}", "admm-tv", AdmmTvSettings(weight=w)) for w in SAVU_TV_WEIGHTS
        ]
        blend = DiffusionBlendPPSettings(steps=self.steps)
        cells.append((f"DiffusionBlend++, {self.steps} steps", "diffusionblend++", blend))
        for label, method, chosen in cells:
            volume = self._cell("savu", few, label, method, chosen, reference)
            if method != "admm-tv" or chosen.weight == 1.0:
                volumes[f"12 views: {label}"] = volume
        figure = three_planes_figure(volumes, "91 views: FBP")
        save_figure(figure, self.output / "savu.png", force=True)

    def _savu_scan(self, every: int, **settings: object) -> Preparation:
        folder = self.projections / "savu"
        options = ReadOptions(
            angles=folder / "angles.txt", image_key=folder / "24888.nxs", every=every
        )
        scan = read_raw_scan(folder, options)
        return prepare_scan(scan, PrepareSettings(column_mm=1.0, **settings))

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

    def _cell(
        self,
        name: str,
        done: Preparation,
        label: str,
        method: str,
        settings: object,
        reference: Volume | None = None,
    ) -> Volume:
        """One reconstruction, kept as a file, and its row."""
        views = done.projections.geometry.n_views
        file = self.output / "volumes" / f"{name} {views} {label}.npy"
        known = self._find(kind="scan", scan=name, views=views, method=label)
        if known and file.exists():
            return Volume(np.load(file), done.projections.grid)
        prior = load_prior(self.prior) if method == "diffusionblend++" else None
        result = reconstruct(done.projections, method=method, settings=settings, prior=prior)
        file.parent.mkdir(exist_ok=True)
        np.save(file, result.volume.values)
        row: dict[str, object] = {"method": label}
        if reference is not None:
            row = evaluation_row(label, evaluate_volume(result.volume, reference))
        row |= {"kind": "scan", "scan": name, "views": views}
        row |= {"seconds": result.seconds["total"], "relative_residual": result.relative_residual}
        self._keep(row)
        return result.volume

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
        with self._file.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print({k: v for k, v in row.items() if not k.startswith("ssim")}, flush=True)

    def _rows(self) -> list[dict]:
        lines = self._file.read_text().splitlines() if self._file.exists() else []
        return [json.loads(line) for line in lines]

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
