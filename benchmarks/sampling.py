"""What a reverse step costs: its parts, the network's rate, the published loop, growth with slices.

    python benchmarks/sampling.py VOLUME -o results/
    python benchmarks/sampling.py VOLUME -o results/ --scaling
    python benchmarks/sampling.py PACK.npz -o results/ --device cuda --slices 133 500

Everything in a table is measured in turn in one process, in several rounds; medians stand with the
lowest and the highest round. With --scaling every number of slices runs in processes of its own,
so that each reports its own peak memory. Each run adds lines to sampling.jsonl, with machine,
versions and date. Of the package's optional parts it needs none: VOLUME may be a pack
(pack_volumes.py), which is read without an image library.

It reads its options by argparse, since it also runs on machines without tyro.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

import torch

from common import TINY_NETWORK, add_rows, machine, say
from diffusionblend import (
    DiffusionBlendPP,
    InputError,
    ParallelBeam,
    Projections,
    Volume,
    evaluate,
    read_volume,
    simulate,
    synthetic_chest,
)
from diffusionblend.cli.allocator import keep_freed_memory
from diffusionblend.data.resample import to_square_slices
from diffusionblend.errors import on_the_command_line
from diffusionblend.evaluation.tables import METRIC_COLUMNS, Column, evaluation_row, format_table
from diffusionblend.methods.api import make_method
from diffusionblend.methods.cost import batch_that_fits
from diffusionblend.priors.prior import Prior
from diffusionblend.priors.store import DEFAULT_PRIOR
from diffusionblend.runs.record import peak_memory_mb
from network_speed import NetworkSpeed
from pack_volumes import PACK_SUFFIX, read_pack
from slice_scaling import SCALING_COLUMNS, child_result, scaling_rows
from timed_runs import (
    PublishedScan,
    TimedRun,
    our_run,
    prior_at,
    published_run,
    tiled,
    tiny_prior,
)

LINES_FILE = "sampling.jsonl"
OURS, PUBLISHED = "DiffusionBlend++", "published loop"
LEAST_SECONDS = 0.5
TINY_MATRIX = 256
TINY = {
    "size": TINY_NETWORK.image_size,
    "slices": [12],
    "scaling_slices": [6, 12, 24],
    "steps": 2,
    "rounds": 2,
    "quality_steps": 2,
}

PART_COLUMNS = (
    Column(key="part", header="Part"),
    Column(key="seconds", header="Seconds a step", digits=3),
    Column(key="lowest", header="Lowest", digits=3),
    Column(key="highest", header="Highest", digits=3),
    Column(key="share_percent", header="Share (%)", digits=1),
)
RATE_COLUMNS = (
    Column(key="what", header="What"),
    Column(key="gflop", header="GFLOP a call", digits=1),
    Column(key="gflop_per_s", header="GFLOP/s", digits=1),
    Column(key="lowest", header="Lowest", digits=1),
    Column(key="highest", header="Highest", digits=1),
    Column(key="network_share_percent", header="Network's share of it (%)", digits=1),
)
LOOP_COLUMNS = (
    Column(key="loop", header="Loop"),
    Column(key="seconds", header="Seconds a step", digits=3),
    Column(key="lowest", header="Lowest", digits=3),
    Column(key="highest", header="Highest", digits=3),
    Column(key="network", header="Network", digits=3),
    Column(key="consistency", header="Consistency", digits=3),
    Column(key="blocks_a_step", header="Blocks a step", digits=1),
    Column(key="times_faster", header="Times faster", digits=2),
)
QUALITY_COLUMNS = (
    *METRIC_COLUMNS,
    Column(key="steps", header="Steps", digits=0),
    Column(key="seconds", header="Seconds", digits=1),
)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line; `--tiny` replaces the sizes by those of the tests."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("volume", type=Path, nargs="?", help="volume in HU or pack; a synthetic chest without")
    add("-o", "--output", type=Path, required=True, help=f"folder for {LINES_FILE}")
    add("--prior", default=DEFAULT_PRIOR, help="name or folder; its weights run at any size")
    add("--size", type=int, default=256, help="pixels a side of a slice")
    add("--slices", type=int, nargs="+", default=[133], help="slices, by tiling the volume")
    add("--views", type=int, default=8, help="over 180 degrees, noiseless")
    add("--steps", type=int, default=4, help="reverse steps of a timed run, an even number")
    add("--rounds", type=int, default=3, help="of every measurement, one after another")
    add("--quality-steps", type=int, default=20, help="reverse steps for the PSNR; 0 for none")
    add("--skip-published", action="store_true", help="leave the published loop out")
    add("--batch-blocks", type=int, default=None, help="blocks a network batch; else the default")
    add("--consistency", choices=("cg", "prox"), default="cg")
    add("--device", default="cpu", help="cpu or cuda")
    add("--scaling", action="store_true", help="time and memory against slices, nothing else")
    add("--scaling-slices", type=int, nargs="+", default=[66, 133, 266])
    add("--tiny", action="store_true", help="random weights at 32 x 32, for the tests")
    add("--child-projections", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.tiny:
        vars(chosen).update(TINY)
        torch.set_num_threads(1)
    return chosen


def method_of(chosen: argparse.Namespace, steps: int) -> DiffusionBlendPP:
    """The method's defaults but for what the command line says; from noise, as was published."""
    step = chosen.consistency
    return make_method("diffusionblend++", steps=steps, init="noise", consistency=step)


def prior_of(chosen: argparse.Namespace) -> Prior:
    """The prior to run, at the size asked for."""
    if chosen.tiny:
        return tiny_prior(chosen.device)
    return prior_at(chosen.prior, chosen.size, chosen.device)


def read_truth(path: Path | None, size: int) -> Volume:
    """The volume with square slices; the first one of a pack."""
    if path is None:
        return synthetic_chest(0, shape=(96, size, size), in_plane_mm=360.0 / size)
    if path.suffix == PACK_SUFFIX:
        volume = next(iter(read_pack(path).values()))
    else:
        volume = read_volume(path)
    return to_square_slices(volume, size)


def scan_of(truth: Volume, n_views: int) -> Projections:
    """Noiseless projections by the operator that reconstructs."""
    return simulate(truth, ParallelBeam.fitting(truth.grid, n_views))


def measure(chosen: argparse.Namespace, prior: Prior, truth: Volume) -> dict[str, object]:
    """Every table for one number of slices; prints them."""
    projections = scan_of(truth, chosen.views)
    method = method_of(chosen, chosen.steps)
    batch = chosen.batch_blocks or batch_that_fits(prior, truth.grid.shape)
    batch = min(batch, -(-truth.grid.shape[0] // prior.block_slices))
    speed = NetworkSpeed.of(prior, batch, TINY_MATRIX if chosen.tiny else None)
    published = None
    if not chosen.skip_published:
        published = PublishedScan.of(truth, chosen.views, prior.device)
    our_run(prior, projections, method_of(chosen, 1), chosen.batch_blocks)
    ours: list[TimedRun] = []
    theirs: list[TimedRun] = []
    for _ in range(chosen.rounds):
        ours.append(our_run(prior, projections, method, chosen.batch_blocks))
        if published is not None:
            theirs.append(published_run(prior, published, method))
        speed.round(0.0 if chosen.tiny else LEAST_SECONDS)
    facts = speed.facts()
    found = {
        "parts": part_rows(ours),
        "rates": speed.rows(),
        "network": facts,
        "loops": loop_rows(ours, theirs, chosen.steps),
        "peak_memory_mb": peak_memory_mb(),
    }
    n, size = truth.grid.shape[0], chosen.size
    say(f"{n} slices of {size} x {size}, {chosen.views} views, {chosen.device}")
    say(format_table(found["parts"], PART_COLUMNS, "markdown", title="Parts of a reverse step"))
    say(format_table(found["rates"], RATE_COLUMNS, "markdown", title="The network's rate"))
    say(
        f"A batch of {batch} blocks, {facts['gflop_a_block']:.1f} GFLOP a block, "
        f"{100 * facts['share_of_3x3_convolutions']:.0f} % of them in 3 x 3 convolutions."
    )
    say(format_table(found["loops"], LOOP_COLUMNS, "markdown", title="Against the published loop"))
    if chosen.quality_steps:
        found["quality"] = quality_rows(chosen, prior, truth, projections, published)
        title = f"Quality after {chosen.quality_steps} steps"
        say(format_table(found["quality"], QUALITY_COLUMNS, "markdown", title=title))
    return found


def part_rows(runs: list[TimedRun]) -> list[dict[str, object]]:
    """Each part's seconds a step over the rounds, and its share of the step in the same round."""
    rows = []
    for name in (*runs[0].parts, "step"):
        seconds = [run.parts.get(name, run.step_seconds) for run in runs]
        shares = [100 * s / run.step_seconds for s, run in zip(seconds, runs, strict=True)]
        rows.append({"part": name, **spread(seconds), "share_percent": statistics.median(shares)})
    return rows


def loop_rows(ours: list[TimedRun], theirs: list[TimedRun], steps: int) -> list[dict[str, object]]:
    """Seconds a step of both loops, and how many times faster ours is in the same round."""
    rows = []
    for name, runs in ((OURS, ours), (PUBLISHED, theirs)):
        if not runs:
            continue
        row: dict[str, object] = {"loop": name, **spread([r.step_seconds for r in runs])}
        for part in ("network", "consistency"):
            row[part] = statistics.median(r.parts[part] for r in runs)
        row["blocks_a_step"] = statistics.median(r.blocks / steps for r in runs)
        rows.append(row)
    if theirs:
        ratios = [b.step_seconds / a.step_seconds for a, b in zip(ours, theirs, strict=True)]
        rows[0]["times_faster"] = statistics.median(ratios)
        rows[0]["times_faster_rounds"] = ratios
    return rows


def quality_rows(
    chosen: argparse.Namespace,
    prior: Prior,
    truth: Volume,
    projections: Projections,
    published: PublishedScan | None,
) -> list[dict[str, object]]:
    """PSNR and SSIM of both loops after the same number of steps, each on its own projections."""
    method = method_of(chosen, chosen.quality_steps)
    runs = {OURS: our_run(prior, projections, method, chosen.batch_blocks)}
    if published is not None:
        runs[PUBLISHED] = published_run(prior, published, method)
    return [
        evaluation_row(name, evaluate(run.volume, truth))
        | {"steps": method.steps, "seconds": run.total_seconds}
        for name, run in runs.items()
    ]


def spread(seconds: list[float]) -> dict[str, object]:
    """Median, lowest and highest round."""
    return {
        "seconds": statistics.median(seconds),
        "lowest": min(seconds),
        "highest": max(seconds),
        "rounds": seconds,
    }


def record(chosen: argparse.Namespace, kind: str, prior: Prior, found: dict[str, object]) -> None:
    """Add one line to the output's file."""
    options = {k: v for k, v in vars(chosen).items() if k not in ("output", "volume")}
    options |= {k: str(v) for k, v in options.items() if isinstance(v, Path)}
    line = {
        "kind": kind,
        "machine": machine(chosen.device),
        "prior": prior.weights_sha256[:16] or "random weights",
        "volume": chosen.volume.name if chosen.volume else "synthetic chest",
        "settings": options,
        **found,
    }
    add_rows(chosen.output / LINES_FILE, [line])


@on_the_command_line()
def main(arguments: list[str] | None = None) -> int:
    """Measure what the command line asks for; 1 where an input is refused."""
    chosen = parse(arguments)
    try:
        if chosen.child_projections is not None:
            load = lambda: prior_of(chosen)  # noqa: E731
            method = method_of(chosen, chosen.steps)
            say(child_result(chosen.child_projections, load, method, chosen.batch_blocks))
            return 0
        truth = read_truth(chosen.volume, chosen.size)
        prior = prior_of(chosen)
        if chosen.scaling:
            given = sys.argv[1:] if arguments is None else arguments
            scans = {n: scan_of(tiled(truth, n), chosen.views) for n in chosen.scaling_slices}
            found = scaling_rows(scans, [Path(__file__), *given], chosen.rounds)
            say(format_table(found["rows"], SCALING_COLUMNS, "markdown", title="Against slices"))
            say(found["sentence"])
            record(chosen, "scaling", prior, found)
            return 0
        for n_slices in chosen.slices:
            record(chosen, "sampling", prior, measure(chosen, prior, tiled(truth, n_slices)))
    except InputError as error:
        print(f"sampling: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(main())
