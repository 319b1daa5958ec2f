"""How our projectors' time and memory grow with the pixels a side of a slice."""

from __future__ import annotations

import ctypes
import gc
import statistics
import time
from pathlib import Path

import torch

from diffusionblend import Grid, ParallelBeam
from diffusionblend.evaluation.tables import Column, format_table
from diffusionblend.geometry import ConeBeam
from projector_peers import Ours
from slice_scaling import BYTES_PER_MB, PeakMemory

SLICES, VIEWS = 16, 60
ROOM_FOR_LEGEND = 30
"""How much higher than the highest value the logarithmic axes go."""
DISTANCES_IN_WIDTHS = {"source_to_axis_mm": 4.0, "source_to_detector_mm": 6.0}
COLUMNS = (
    Column(key="name", header="Projector"),
    Column(key="pixels", header="Pixels a side", digits=0),
    Column(key="prepare_s", header="Made in (s)", digits=3),
    Column(key="forward_s", header="Forward (s)", digits=4),
    Column(key="back_s", header="Back (s)", digits=4),
    Column(key="held_mb", header="Held (MB)", digits=1),
    Column(key="peak_mb", header="Peak of it all (MB)", digits=1),
)


def growth_rows(sizes: list[int], rounds: int) -> tuple[list[dict[str, object]], str]:
    """A row for each projector and size, and their table.

    16 slices, 60 views: parallel by matrix and by rays, cone. Held: what the operator keeps. Peak:
    of its making, a forward and a back-projection, with their data, above what was there before.
    """
    rows = []
    Ours(*_scene("cone", 8), None).operator.normal(torch.zeros(SLICES, 8, 8))  # compiles
    Ours(*_scene("rays", 8), "rays").operator.normal(torch.zeros(SLICES, 8, 8))
    for n in sizes:
        for kind in ("matrix", "rays", "cone"):
            rows.append(_row(kind, n, rounds))
    table = format_table(rows, COLUMNS, "markdown", title=f"{SLICES} slices, {VIEWS} views")
    return rows, table


def _scene(kind: str, n: int) -> tuple:
    """Geometry and grid: a slice is 256 mm wide whatever its pixels."""
    pixel_mm = 256 / n
    grid = Grid(shape=(SLICES, n, n), spacing_mm=(pixel_mm, pixel_mm, pixel_mm))
    if kind == "cone":
        distances = {name: 256 * widths for name, widths in DISTANCES_IN_WIDTHS.items()}
        return ConeBeam.fitting(grid, VIEWS, **distances), grid
    return ParallelBeam.fitting(grid, VIEWS), grid


def _row(kind: str, n: int, rounds: int) -> dict[str, object]:
    geometry, grid = _scene(kind, n)
    give_back_freed()
    memory = PeakMemory(torch.device("cpu"))
    started = time.perf_counter()
    operator = Ours(geometry, grid, None if kind == "cone" else kind).operator
    prepared = time.perf_counter() - started
    x, y = torch.ones(operator.domain_shape), torch.ones(operator.range_shape)
    seconds = {"forward": [], "back": []}
    for _ in range(rounds):
        for way, call, data in (("forward", operator.forward, x), ("back", operator.adjoint, y)):
            started = time.perf_counter()
            call(data)
            seconds[way].append(time.perf_counter() - started)
    return {
        "name": "cone" if kind == "cone" else f"parallel, {kind}",
        "pixels": n,
        "prepare_s": prepared,
        "forward_s": statistics.median(seconds["forward"]),
        "back_s": statistics.median(seconds["back"]),
        "held_mb": operator.held_bytes / BYTES_PER_MB,
        "peak_mb": memory.above_start() / BYTES_PER_MB,
    }


def give_back_freed() -> None:
    """Have the C library return freed memory, where it can, so that the peak starts without it."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def draw_growth(rows: list[dict[str, object]], path: Path) -> None:
    """Seconds of a pair and memory against pixels, both logarithmic, as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    time_axes, memory_axes = figure.subplots(1, 2)
    names = list(dict.fromkeys(row["name"] for row in rows))
    for name, colour in zip(names, ("C0", "C1", "C2"), strict=True):
        own = [row for row in rows if row["name"] == name]
        pixels = [row["pixels"] for row in own]
        pairs = [row["forward_s"] + row["back_s"] for row in own]
        time_axes.loglog(pixels, pairs, "o-", color=colour, label=name)
        peaks, held = ([row[key] for row in own] for key in ("peak_mb", "held_mb"))
        memory_axes.loglog(pixels, peaks, "o-", color=colour, label=f"{name}, peak")
        if name != "cone":  # which holds its views alone
            memory_axes.loglog(pixels, held, "o:", color=colour, label=f"{name}, held")
    for axes, label in ((time_axes, "forward and back (s)"), (memory_axes, "memory (MB)")):
        axes.set_xlabel(f"pixels a side ({SLICES} slices, {VIEWS} views)")
        axes.set_ylabel(label)
        axes.set_xticks(ticks := sorted({row["pixels"] for row in rows}), [str(t) for t in ticks])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small", loc="upper left")
        axes.set_ylim(top=ROOM_FOR_LEGEND * axes.get_ylim()[1])
    figure.savefig(path, dpi=130)
