"""FBP, tuned ADMM-TV and DiffusionBlend++ on a real CT volume: 8, 6, 4 views and a 90 degree arc.

    python benchmarks/sparse_view.py VAL.nii.gz --tune-on TRAIN.nii.gz -o results/
    python benchmarks/sparse_view.py VAL.nii.gz --methods diffusionblend++ \
        --partitions fixed adjacent jump alternating --settings-named 8 4 -o ablation/

Projections are simulated, noiseless, from the reference by the operator that reconstructs.
ADMM-TV's weight is searched on the volume of --tune-on (a training patient), for each setting
anew. Every finished row is kept in rows.jsonl, so that an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro
from diffusionblend.methods.method_priors import load_priors, wanted_priors
from diffusionblend.methods.registry import METHODS

from diffusionblend import (
    AdmmTvSettings,
    DiffusionBlendPPSettings,
    FbpSettings,
    ParallelBeam,
    Projections,
    Volume,
    evaluate_volume,
    load_prior,
    read_volume,
    reconstruct,
    simulate,
    write_volume,
)
from diffusionblend.benchmarking.tuning import tune
from diffusionblend.cli.allocator import keep_freed_memory
from diffusionblend.cli.progress import progress
from diffusionblend.data.ensemble import mean_and_deviation
from diffusionblend.data.resample import to_square_slices
from diffusionblend.data.result import Reconstruction
from diffusionblend.evaluation.tables import METRIC_COLUMNS, Column, evaluation_row, format_table
from diffusionblend.methods.problem import Measurement
from diffusionblend.priors.prior import Prior
from diffusionblend.priors.store import DEFAULT_PRIOR
from diffusionblend.report.figures import save_figure, three_planes_figure
from diffusionblend.runs.record import versions
from diffusionblend.units import hu_to_network

BLEND = "diffusionblend++"
SETTINGS = {"8": (8, 180.0), "6": (6, 180.0), "4": (4, 180.0), "90deg": (90, 90.0)}
"""Views and arc in degrees by the name of the setting."""

TUNING_SLICES = 32

COLUMNS = (
    Column(key="setting", header="Views"),
    *METRIC_COLUMNS,
    Column(key="tv_z_ratio", header="TV along z"),
    Column(key="relative_residual", header="Residual", digits=4),
    Column(key="network_calls", header="Calls", digits=0),
    Column(key="seconds", header="Seconds", digits=1),
)


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Methods on one volume that no prior has seen, in all settings of the paper's table."""

    volume: Annotated[Path, tyro.conf.Positional]
    """Reference volume in HU, not one of the training patients."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder for rows.jsonl, table.md, the reconstructions and their pictures."""
    tune_on: Path | None = None
    """Training volume on which ADMM-TV's weight is searched; needed for admm-tv."""
    methods: tuple[Literal["fbp", "admm-tv", "diffusionblend++"], ...] = (
        "fbp",
        "admm-tv",
        "diffusionblend++",
    )
    settings_named: tuple[Literal["8", "6", "4", "90deg"], ...] = ("8", "6", "4", "90deg")
    """Number of views over 180 degrees, or 90 views over 90 degrees."""
    partitions: tuple[Literal["alternating", "adjacent", "jump", "fixed"], ...] = ("alternating",)
    """Partitions of DiffusionBlend++; several make the ablation."""
    prior: str = DEFAULT_PRIOR
    """Name or folder of the prior; its slice size is the size of the benchmark."""
    coarse_prior: str | None = None
    """Of a coarse start; by default the shipped one that goes with a shipped prior, if any."""
    seeds: tuple[int, ...] = (0,)
    """Of the sampler; one row each, and of several one more of their mean volume."""
    blend: Annotated[DiffusionBlendPPSettings, tyro.conf.arg(name="")] = field(
        default_factory=DiffusionBlendPPSettings
    )

    def run(self) -> None:
        """Run every cell that rows.jsonl does not have yet, then print and write the table."""
        if "admm-tv" in self.methods and self.tune_on is None:
            raise SystemExit("admm-tv needs --tune-on, a training volume")
        self.output.mkdir(parents=True, exist_ok=True)
        size = load_prior(self.prior).config.image_size
        priors = self._priors(size)
        truth = to_square_slices(read_volume(self.volume), size)
        for name in self.settings_named:
            projections = scan(truth, name)
            for label, method, chosen in self._cells(name, size):
                if self._row(name, label):
                    continue
                settings = chosen()
                with progress(f"{name} {label}") as on_step:
                    result = reconstruct(
                        projections, method=method, settings=settings, on_step=on_step, **priors
                    )
                self._keep(name, label, result, truth, priors)
            for partition in self.partitions if len(self.seeds) > 1 else ():
                self._keep_mean(name, partition, projections, truth, priors)
            self._draw(name, truth)
        table = format_table(self._rows(), COLUMNS, "markdown")
        facts = ", ".join(f"{k} {v}" for k, v in versions().items())
        (self.output / "table.md").write_text(f"{table}\n\n{facts}\n")
        print(table)

    def _priors(self, size: int) -> dict[str, Prior]:
        """Those of DiffusionBlend++, which the other methods do not look at."""
        method, given = METHODS[BLEND], {"prior": self.prior, "coarse_prior": self.coarse_prior}
        wanted = wanted_priors(method, given, self.blend, pixels=size)
        return load_priors(BLEND, method, wanted, "cpu", pixels=size)

    def _keep(
        self,
        name: str,
        label: str,
        result: Reconstruction,
        truth: Volume,
        priors: dict[str, Prior],
    ) -> None:
        """A finished cell: its volume, and its row."""
        write_volume(result.volume, self._kept(name, label), force=True)
        evaluation = evaluate_volume(
            result.volume, truth, relative_residual=result.relative_residual
        )
        row = evaluation_row(label, evaluation) | {
            "setting": name,
            "network_calls": result.network_calls,
            "network_share": result.network_share,
            "seconds": result.seconds["total"],
            **{option: prior.weights_sha256[:16] for option, prior in priors.items()},
        }
        with self._file.open("a") as file:
            file.write(json.dumps(row) + "\n")

    def _keep_mean(
        self,
        name: str,
        partition: str,
        projections: Projections,
        truth: Volume,
        priors: dict[str, Prior],
    ) -> None:
        """The mean of the seeds' volumes as a cell of its own, at the cost of all of them."""
        label = self._label(partition, f"mean of {len(self.seeds)} seeds")
        if self._row(name, label):
            return
        labels = [self._label(partition, f"seed {seed}") for seed in self.seeds]
        mean, _ = mean_and_deviation(
            read_volume(self._kept(name, one), check=False) for one in labels
        )
        rows = [self._row(name, one) for one in labels]
        total = sum(r["seconds"] for r in rows)
        x = torch.from_numpy(hu_to_network(mean.values))
        result = Reconstruction(
            mean,
            Measurement.of(projections).relative_residual(x),
            sum(r["network_calls"] for r in rows),
            {"total": total, "network": sum(r["network_share"] * r["seconds"] for r in rows)},
        )
        self._keep(name, label, result, truth, priors)

    @property
    def _file(self) -> Path:
        return self.output / "rows.jsonl"

    def _kept(self, setting: str, label: str) -> Path:
        """Where a reconstruction is kept."""
        return self.output / "volumes" / f"{setting} {label}.nii.gz"

    def _draw(self, setting: str, truth: Volume) -> None:
        """A picture of the three planes, truth and every method of a setting, with errors."""
        labels = [r["method"] for r in self._rows() if r["setting"] == setting]
        volumes = {name: read_volume(self._kept(setting, name), check=False) for name in labels}
        figure = three_planes_figure({"truth": truth, **volumes}, "truth")
        save_figure(figure, self.output / f"planes-{setting}.png", force=True)

    def _rows(self) -> list[dict]:
        lines = self._file.read_text().splitlines() if self._file.exists() else []
        return [json.loads(line) for line in lines]

    def _row(self, setting: str, label: str) -> dict | None:
        """The row of a finished cell."""
        found = (r for r in self._rows() if r["setting"] == setting and r["method"] == label)
        return next(found, None)

    def _label(self, partition: str, seed: str) -> str:
        """How a cell of DiffusionBlend++ is called: what there are several of is told."""
        parts = [partition] if len(self.partitions) > 1 else []
        parts += [seed] if len(self.seeds) > 1 else []
        return ", ".join(["DiffusionBlend++", *parts])

    def _cells(self, setting: str, size: int):
        """Label, method and (made when wanted) settings of every cell of a setting."""
        if "fbp" in self.methods:
            yield "FBP", "fbp", FbpSettings
        if "admm-tv" in self.methods:
            yield "ADMM-TV", "admm-tv", lambda: self._tuned(setting, size)
        if "diffusionblend++" not in self.methods:
            return
        for partition in self.partitions:
            for seed in self.seeds:
                label = self._label(partition, f"seed {seed}")
                values = vars(self.blend) | {"partition": partition, "seed": seed}
                yield label, "diffusionblend++", lambda v=values: DiffusionBlendPPSettings(**v)

    def _tuned(self, setting: str, size: int) -> AdmmTvSettings:
        """ADMM-TV with its weight searched, once, on the middle slices of the training volume."""
        file = self.output / "tuned.json"
        known = json.loads(file.read_text()) if file.exists() else {}
        if setting not in known:
            volume = to_square_slices(read_volume(self.tune_on), size)
            part = middle(volume, TUNING_SLICES)
            tuned = tune("admm-tv", scan(part, setting), part)
            scores = {f"{w:g}": round(psnr, 2) for w, psnr in tuned.psnr_by_value.items()}
            known[setting] = {"weight": tuned.settings.weight, "volume_psnr_db": scores}
            file.write_text(json.dumps(known, indent=2) + "\n")
        print(f"{setting}: TV weight {known[setting]}", flush=True)
        return AdmmTvSettings(weight=known[setting]["weight"])


def middle(volume: Volume, slices: int) -> Volume:
    """The middle slices of a volume."""
    first = max(0, (volume.grid.shape[0] - slices) // 2)
    values = volume.values[first : first + slices]
    return Volume(values, volume.grid.with_slices(len(values)))


def scan(volume: Volume, setting: str) -> Projections:
    """Noiseless projections of a volume in a named setting."""
    views, arc_degrees = SETTINGS[setting]
    geometry = ParallelBeam.fitting(volume.grid, views, arc_degrees)
    return simulate(volume, geometry)


if __name__ == "__main__":
    keep_freed_memory()
    tyro.cli(Benchmark).run()
