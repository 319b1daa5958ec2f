"""Quality against network calls: reverse steps, their spacing, and where the sampler starts.

    python benchmarks/fewer_steps.py VAL.nii.gz -o results/

Every cell is one reconstruction; finished ones are kept in rows.jsonl and not repeated. The
presets of `reconstruct` are chosen from the table. Projections are simulated, noiseless, from the
reference.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from diffusionblend import (
    DiffusionBlendPPSettings,
    ParallelBeam,
    evaluate_volume,
    load_prior,
    read_volume,
    reconstruct,
    simulate,
)
from diffusionblend.cli.allocator import keep_freed_memory
from diffusionblend.cli.progress import progress
from diffusionblend.data.resample import to_square_slices
from diffusionblend.evaluation.tables import METRIC_COLUMNS, Column, evaluation_row, format_table
from diffusionblend.priors.store import DEFAULT_PRIOR
from diffusionblend.runs.record import versions
from sparse_view import middle

COLUMNS = (
    Column(key="views", header="Views", digits=0),
    *METRIC_COLUMNS,
    Column(key="network_calls", header="Calls", digits=0),
    Column(key="seconds", header="Seconds", digits=1),
)
POWERS = (1.0, 1.5, 2.0)
STYLES = ("-", "--", ":", "-.")
"""Of the lines of one start."""


@dataclass(frozen=True, kw_only=True)
class FewerSteps:
    """DiffusionBlend++ on the middle slices of one volume, by steps, spacing and start."""

    volume: Annotated[Path, tyro.conf.Positional]
    """Reference volume in HU that the prior has not seen."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder for rows.jsonl, table.md and curve.png."""
    views: tuple[int, ...] = (8, 4)
    """Views over 180 degrees."""
    steps: tuple[int, ...] = (10, 20, 50, 200)
    """Network calls."""
    starts: tuple[str, ...] = ("noise", "fbp", "cg", "tv")
    """Starts: pure noise, or an image of the data noised to a share of the schedule."""
    warm_shares: tuple[float, ...] = (0.25, 0.35, 0.5)
    """Of the timesteps, where a warm start begins."""
    slices: int = 45
    """Middle slices that are reconstructed."""
    prior: str = DEFAULT_PRIOR
    """Name or folder of the prior."""
    seed: int = 0
    """Of the sampler."""

    def run(self) -> None:
        """Run every cell that rows.jsonl does not have, then print and write table and curve."""
        self.output.mkdir(parents=True, exist_ok=True)
        prior = load_prior(self.prior)
        truth = middle(
            to_square_slices(read_volume(self.volume), prior.config.image_size), self.slices
        )
        for views in self.views:
            geometry = ParallelBeam.fitting(truth.grid, views)
            projections = simulate(truth, geometry)
            for label, values in self._cells(prior.schedule.n_timesteps):
                if any(r["views"] == views and r["method"] == label for r in self._rows()):
                    continue
                settings = DiffusionBlendPPSettings(seed=self.seed, **values)
                with progress(f"{views} views, {label}") as on_step:
                    result = reconstruct(
                        projections, settings=settings, prior=prior, on_step=on_step
                    )
                evaluation = evaluate_volume(result.volume, truth)
                row = evaluation_row(label, evaluation) | {
                    "views": views,
                    "network_calls": result.network_calls,
                    "seconds": result.seconds["total"],
                    "prior": prior.weights_sha256[:16],
                }
                with self._file.open("a") as file:
                    file.write(json.dumps(row) + "\n")
        table = format_table(self._rows(), COLUMNS, "markdown")
        facts = ", ".join(f"{k} {v}" for k, v in versions().items())
        (self.output / "table.md").write_text(f"{table}\n\n{facts}\n")
        print(table)
        self._draw()

    def _cells(self, n_timesteps: int) -> list[tuple[str, dict[str, Any]]]:
        """Label and settings of every cell of one number of views."""
        cells = []
        for steps in self.steps:
            for start in self.starts:
                shares = (None,) if start == "noise" else self.warm_shares
                for share in shares:
                    for power in POWERS if start == "noise" else POWERS[:1]:
                        values = {"steps": steps, "start": start, "time_power": power}
                        label = f"{start}, power {power:g}"
                        if share is not None:
                            values["first_timestep"] = round(share * n_timesteps) - 1
                            label += f", from {share:g} T"
                        cells.append((f"{label}, {steps} steps", values))
        return cells

    def _draw(self) -> None:
        """Volume PSNR against calls, a line for each start and spacing, a panel for each scan."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(5 * len(self.views) + 3, 4.5), layout="constrained")
        panels = figure.subplots(1, len(self.views), squeeze=False)[0]
        kinds = list(dict.fromkeys(row["method"].rpartition(", ")[0] for row in self._rows()))
        starts = list(dict.fromkeys(kind.partition(",")[0] for kind in kinds))
        for panel, views in zip(panels, self.views, strict=True):
            rows = [row for row in self._rows() if row["views"] == views]
            for kind in kinds:
                start = kind.partition(",")[0]
                alike = [k for k in kinds if k.partition(",")[0] == start]
                points = sorted(
                    (row["network_calls"], row["psnr_volume_db"])
                    for row in rows
                    if row["method"].rpartition(", ")[0] == kind
                )
                style = {"color": f"C{starts.index(start)}", "linestyle": STYLES[alike.index(kind)]}
                panel.plot(*zip(*points, strict=True), marker=".", label=kind, **style)
            panel.set(xscale="log", title=f"{views} views", xlabel="network calls")
            calls = sorted({row["network_calls"] for row in rows})
            panel.set_xticks(calls, [str(n) for n in calls])
            panel.set_xticks([], minor=True)
        panels[0].set_ylabel("volume PSNR (dB)")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right", fontsize="small")
        figure.savefig(self.output / "curve.png", dpi=120)

    @property
    def _file(self) -> Path:
        return self.output / "rows.jsonl"

    def _rows(self) -> list[dict]:
        lines = self._file.read_text().splitlines() if self._file.exists() else []
        return [json.loads(line) for line in lines]


if __name__ == "__main__":
    keep_freed_memory()
    tyro.cli(FewerSteps).run()
