"""How fast and how exact the projectors are, against itk-rtk and ASTRA on the same CPU.

    pip install --group peers
    python benchmarks/projectors.py -o results/
    python benchmarks/projectors.py -o results/ --parts parallel --sizes 256x64 --views 60
    python benchmarks/projectors.py -o results/ --growth

One process; in every round each contender runs once, one after another, so that whatever else the
machine does meets all. Medians of the rounds stand, ratios are medians of the ratios within a
round. A peer that is not installed is left out. Each run adds a line to projectors.jsonl and its
tables to projectors.md; --growth draws projectors-growth.png.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import tyro

from common import add_rows, facts, machine, say
from diffusionblend import Grid, equally_spaced_angles
from diffusionblend.evaluation.tables import Column, format_table
from diffusionblend.geometry import ConeBeam, Helix, ParallelBeam
from diffusionblend.operators import XRayTransform
from diffusionblend.operators.slicewise import MATRIX, RAYS
from diffusionblend.solvers.conjugate_gradient import conjugate_gradient
from diffusionblend.solvers.direct_proximal import ExactProximal
from diffusionblend.solvers.filtered_back_projection import filtered_back_projection
from diffusionblend.solvers.noisy_data import fit_data
from projector_accuracy import (
    VALUE_PER_MM,
    adjoint_error,
    phantom,
    phantom_error,
    well_inside,
)
from projector_growth import draw_growth, growth_rows
from projector_peers import ASTRA, OURS, RTK, Contender, Ours, installed_peers, peers_of

LINES_FILE, TABLES_FILE, GROWTH_FILE = "projectors.jsonl", "projectors.md", "projectors-growth.png"
PEER_PACKAGES = ("itk-rtk", "itk", "astra-toolbox")
PROX_VIEWS, PROX_RHO, CG_STEPS = 8, 0.1, 5
BAR_VIEWS = 60
CONE_DISTANCES = {"source_to_axis_mm": 500.0, "source_to_detector_mm": 750.0}
BARS = {f"{OURS} pair, {RTK}": 15.0, f"{OURS} pair, {ASTRA}": 20.0, "prox": 4.0, "cone": 1.0}
"""How many times faster at least, as ours chooses to hold its rays: pairs at 60 views, the prox
than CG, each way of a cone."""
PARTS = ("parallel", "prox", "cone", "helix")
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
CORE = 0.7
"""Of a ball's radius, within which the volume that is reconstructed of it is looked at."""

SPEED_COLUMNS = (
    Column(key="case", header="Case"),
    Column(key="name", header="Projector"),
    Column(key="prepare_s", header="Made in (s)", digits=2),
    Column(key="forward_s", header="Forward (s)", digits=4),
    Column(key="back_s", header="Back (s)", digits=4),
    Column(key="pair_s", header="Both (s)", digits=4),
    Column(key="forward_ratio", header="Forward, times ours", digits=1),
    Column(key="back_ratio", header="Back, times ours", digits=1),
    Column(key="pair_ratio", header="Both, times ours", digits=1),
    Column(key="phantom_error", header="Error of a phantom's lines (%)", digits=2),
    Column(key="adjoint_error", header="Adjoint error"),
)
PROX_COLUMNS = (
    Column(key="case", header="Case"),
    Column(key="prepare_s", header="Prox made in (s)", digits=2),
    Column(key="prox_s", header="Exact prox (s)", digits=4),
    Column(key="cg_s", header=f"{CG_STEPS} CG steps, volume (s)", digits=4),
    Column(key="data_cg_s", header=f"{CG_STEPS} CG steps, data space (s)", digits=4),
    Column(key="times_faster", header="Prox, times CG in the volume", digits=1),
    Column(key="times_data_cg", header="times CG in data space", digits=1),
)
FBP_COLUMNS = (
    Column(key="case", header="Case"),
    Column(key="fbp_s", header="Filtered back-projection (s)", digits=1),
    Column(key="mean_error", header="Error of a ball's core, mean (%)", digits=2),
    Column(key="deviation", header="Standard deviation there (%)", digits=2),
)
BAR_COLUMNS = (
    Column(key="bar", header="Bar"),
    Column(key="wanted", header="Wanted", digits=0),
    Column(key="found", header="Found", digits=1),
    Column(key="met", header="Met"),
)


@dataclass(frozen=True, kw_only=True)
class Projectors:
    """Time our projectors, and those of the peers that are installed."""

    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder for projectors.jsonl and projectors.md."""
    parts: tuple[Literal["parallel", "prox", "cone", "helix"], ...] = PARTS
    """What is timed."""
    sizes: tuple[str, ...] = ("256x64", "512x16")
    """Pixels a side x slices."""
    views: tuple[int, ...] = (8, 60, 180)
    """Over 180 degrees."""
    cone_size: int = 128
    """Voxels a side."""
    cone_views: int = 60
    """Over 360 degrees."""
    helix_size: str = "256x64"
    """Pixels a side x slices."""
    helix_views: int = 120
    """In each turn."""
    helix_rows: int = 32
    """Of the detector, each a slice high at the axis; the pitch is as far as all reach there."""
    rounds: int = 5
    """Of every contender, one after another."""
    clock: Literal["wall", "cpu"] = "wall"
    """What the projectors are timed by; cpu: the time of all threads, on a machine with other
    work."""
    threads: int = field(default_factory=torch.get_num_threads)
    """Of ours and of itk-rtk."""
    growth: bool = False
    """Time and memory from 64 to 512 pixels, nothing else."""
    growth_sizes: tuple[int, ...] = (64, 96, 128, 192, 256, 384, 512)
    """Pixels a side of those."""

    def run(self) -> None:
        """Measure what was asked for, print it and keep it."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            if self.growth:
                rows, table = growth_rows(list(self.growth_sizes), self.rounds)
                record(self, {"growth": rows}, [table])
                draw_growth(rows, self.output / GROWTH_FILE)
                say(table)
                return
            peers = ", ".join(installed_peers())
            say(f"Peers: {peers or 'none; pip install itk-rtk astra-toolbox'}")
            found = measure(self)
            found["bars"] = bar_rows(found)
        finally:
            torch.set_num_threads(before)
        speed = [row for part in ("parallel", "cone", "helix") for row in found.get(part, [])]
        tables = [
            format_table(rows, columns, "markdown")
            for rows, columns in (
                (speed, SPEED_COLUMNS),
                (found.get("prox", []), PROX_COLUMNS),
                (found.get("helix_fbp", []), FBP_COLUMNS),
                (found["bars"], BAR_COLUMNS),
            )
            if rows
        ]
        record(self, found, tables)
        say("\n\n".join(tables))


def timed(call: Callable[[], object], clock: str = "wall") -> float:
    """Seconds of one call; its result is dropped within them."""
    now = CLOCKS[clock]
    started = now()
    call()
    return now() - started


def storages(geometry: ParallelBeam | ConeBeam | Helix, grid: Grid) -> list[str | None]:
    """How ours may hold its rays: first as it chooses by itself, which all ratios refer to."""
    if geometry.couples_slices:
        return [None]
    chosen = XRayTransform(geometry, grid).storage
    return sorted((MATRIX, RAYS), key=lambda storage: storage != chosen)


def measured(
    case: str, geometry: ParallelBeam | ConeBeam | Helix, grid: Grid, chosen: Projectors
) -> list[dict[str, object]]:
    """A row for each contender: seconds, times ours, and how exact it is."""
    contenders: list[Contender] = []
    prepared = []
    for storage in storages(geometry, grid):
        started = time.perf_counter()
        contenders.append(Ours(geometry, grid, storage))
        prepared.append(time.perf_counter() - started)
    contenders += peers_of(geometry, grid, chosen.threads)
    rng = np.random.default_rng(0)
    rows = geometry.detector_rows(grid)
    x = rng.standard_normal(grid.shape, np.float32)
    y = rng.standard_normal((geometry.n_views, rows, geometry.n_columns), np.float32)
    own = [(c.volume_in(x), c.lines_in(y)) for c in contenders]
    truth, exact = phantom(geometry, grid)
    found = [
        {
            "case": case,
            "name": c.name,
            "phantom_error": 100 * phantom_error(c, truth, exact),
            "adjoint_error": f"{adjoint_error(c, y):.0e}",
        }
        for c in contenders
    ]
    seconds: list[dict[str, list[float]]] = [{"forward": [], "back": []} for _ in contenders]
    clock = chosen.clock
    for _ in range(chosen.rounds):
        for contender, (volume, lines), its in zip(contenders, own, seconds, strict=True):
            its["forward"].append(timed(lambda c=contender, v=volume: c.forward(v), clock))
            its["back"].append(timed(lambda c=contender, v=lines: c.back(v), clock))
    for its in seconds:
        its["pair"] = [a + b for a, b in zip(its["forward"], its["back"], strict=True)]
    for row, its in zip(found, seconds, strict=True):
        for name, values in its.items():
            row[f"{name}_s"] = statistics.median(values)
            row[f"{name}_rounds"] = values
            ratios = [v / ours for v, ours in zip(values, seconds[0][name], strict=True)]
            row[f"{name}_ratio"] = statistics.median(ratios)
    for row, made in zip(found, prepared, strict=False):
        row["prepare_s"] = made
    return found


def prox_row(case: str, grid: Grid, rounds: int) -> dict[str, object]:
    """The exact proximal step and CG on the same data, in turn.

    CG on the normal equations with vectors of the volume's size, as it is usually done; and with
    vectors of the data's size, as the data-consistency step does it here.
    """
    geometry = ParallelBeam.fitting(grid, PROX_VIEWS)
    operator = XRayTransform(geometry, grid)
    started = time.perf_counter()
    proximal = ExactProximal(operator)
    prepared = time.perf_counter() - started
    generator = torch.Generator().manual_seed(0)
    x0 = torch.randn(grid.shape, generator=generator)
    y = operator.forward(torch.randn(grid.shape, generator=generator))
    steps = {
        "prox": lambda: proximal(x0, y, PROX_RHO),
        "cg": lambda: conjugate_gradient(
            operator.normal, operator.adjoint(y), x0, CG_STEPS, per_slice=True
        ),
        "data_cg": lambda: fit_data(operator, y, x0, CG_STEPS, per_slice=True),
    }
    for step in steps.values():
        step()
    seconds = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            seconds[name].append(timed(step))

    def times(name: str) -> float:
        pairs = zip(seconds["prox"], seconds[name], strict=True)
        return statistics.median(cg / prox for prox, cg in pairs)

    medians = {f"{name}_s": statistics.median(values) for name, values in seconds.items()}
    facts = {"times_faster": times("cg"), "times_data_cg": times("data_cg"), "rounds": seconds}
    return {"case": case, "prepare_s": prepared} | medians | facts


def bar_rows(found: dict[str, list[dict[str, object]]]) -> list[dict[str, object]]:
    """What was wanted, what was found, and whether it is enough."""
    bars = []
    for row in found.get("parallel", []):
        wanted = BARS.get(f"{OURS} pair, {row['name']}")
        if wanted and row["views"] == BAR_VIEWS:
            bars.append((f"{row['case']}: both, times {row['name']}", wanted, row["pair_ratio"]))
    for row in found.get("prox", []):
        bars.append(
            (f"{row['case']}: prox, times CG in the volume", BARS["prox"], row["times_faster"])
        )
    for row in found.get("cone", []):
        if not row["name"].startswith(OURS):
            for way in ("forward", "back"):
                name = f"{row['case']}: {way}, times {row['name']}"
                bars.append((name, BARS["cone"], row[f"{way}_ratio"]))
    return [
        {"bar": name, "wanted": wanted, "found": ratio, "met": "yes" if ratio >= wanted else "no"}
        for name, wanted, ratio in bars
    ]


def measure(chosen: Projectors) -> dict[str, list[dict[str, object]]]:
    """Every part that was asked for; prints each case as it is done."""
    found: dict[str, list[dict[str, object]]] = {part: [] for part in chosen.parts}
    grids = {
        size: Grid(shape=(n_slices, n, n), spacing_mm=(1.0, 1.0, 1.0))
        for size in chosen.sizes
        for n, n_slices in [map(int, size.split("x"))]
    }
    for size, grid in grids.items() if "parallel" in chosen.parts else ():
        for n_views in chosen.views:
            geometry = ParallelBeam.fitting(grid, n_views)
            case = f"{grid.shape[1]} x {size.replace('x', ' x ')}, {n_views} views"
            rows = measured(case, geometry, grid, chosen)
            found["parallel"] += [row | {"views": n_views} for row in rows]
            say(format_table(rows, SPEED_COLUMNS, "markdown"))
            gc.collect()
    for size, grid in grids.items() if "prox" in chosen.parts else ():
        case = f"{grid.shape[1]} x {size.replace('x', ' x ')}, {PROX_VIEWS} views"
        found["prox"].append(prox_row(case, grid, chosen.rounds))
        say(format_table(found["prox"][-1:], PROX_COLUMNS, "markdown"))
    if "cone" in chosen.parts:
        n, angles = chosen.cone_size, equally_spaced_angles(chosen.cone_views, 360)
        grid = Grid(shape=(n, n, n), spacing_mm=(1.0, 1.0, 1.0))
        geometry = ConeBeam.fitting(grid, angles_rad=angles, **CONE_DISTANCES)
        panel = f"{geometry.n_rows} x {geometry.n_columns}"
        case = f"cone, {n} x {n} x {n}, {chosen.cone_views} views of {panel}"
        found["cone"] = measured(case, geometry, grid, chosen)
        say(format_table(found["cone"], SPEED_COLUMNS, "markdown"))
    if "helix" in chosen.parts:
        n, n_slices = map(int, chosen.helix_size.split("x"))
        grid = Grid(shape=(n_slices, n, n), spacing_mm=(1.0, 1.0, 1.0))
        geometry = Helix.fitting(grid, chosen.helix_views, n_rows=chosen.helix_rows)
        panel = f"{geometry.n_rows} x {geometry.n_columns}"
        case = f"helix, {n} x {n} x {n_slices}, {geometry.n_views} views of {panel}"
        found["helix"] = measured(case, geometry, grid, chosen)
        found["helix_fbp"] = [fbp_row(case, geometry, grid, chosen.clock)]
        say(format_table(found["helix"], SPEED_COLUMNS, "markdown"))
        say(format_table(found["helix_fbp"], FBP_COLUMNS, "markdown"))
    return found


def fbp_row(case: str, geometry: Helix, grid: Grid, clock: str) -> dict[str, object]:
    """Our filtered back-projection of a ball's exact lines; no peer has one of a helix here."""
    _, exact = phantom(geometry, grid)
    lines, volumes = torch.from_numpy(exact), []
    seconds = timed(lambda: volumes.append(filtered_back_projection(lines, geometry, grid)), clock)
    core = volumes[0].numpy()[well_inside(grid, CORE)]
    return {
        "case": case,
        "fbp_s": seconds,
        "mean_error": 100 * (float(core.mean()) / VALUE_PER_MM - 1),
        "deviation": 100 * float(core.std()) / VALUE_PER_MM,
    }


def record(chosen: Projectors, found: dict[str, object], tables: list[str]) -> None:
    """Add a line and the tables to the output's files."""
    line = {
        "kind": "growth" if chosen.growth else "projectors",
        "machine": machine("cpu"),
        "peers": peer_versions(),
        "settings": {k: v for k, v in asdict(chosen).items() if k != "output"},
        **found,
    }
    add_rows(chosen.output / LINES_FILE, [line])
    with (chosen.output / TABLES_FILE).open("a") as file:
        file.write("\n\n".join([f"{facts()['date']}, {chosen.threads} threads", *tables]) + "\n\n")


def peer_versions() -> dict[str, str]:
    """Of the packages that the peers come in."""
    found = {}
    for package in PEER_PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    tyro.cli(Projectors).run()
