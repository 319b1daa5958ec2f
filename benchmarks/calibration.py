"""How sure a mean of samples may be: how often the truth lies within its standard deviation.

    python benchmarks/calibration.py VAL.nii.gz -o results/

Samples a volume that the prior has not seen several times at 8 and 4 views, takes mean and standard
deviation, and counts by tissue how often the truth lies within one and two of them; see
`evaluation/calibration.py`. Projections are noiseless, simulated from the reference by the operator
that reconstructs. Every finished sample is kept, so that an interrupted run goes on where it
stopped. Writes calibration.jsonl, table.md and for each number of views a picture.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro

from diffusionblend import (
    DiffusionBlendPPSettings,
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
from diffusionblend.cli.allocator import keep_freed_memory
from diffusionblend.cli.progress import progress
from diffusionblend.data.ensemble import mean_and_deviation
from diffusionblend.data.resample import to_square_slices
from diffusionblend.evaluation.calibration import COLUMNS, calibrate
from diffusionblend.evaluation.tables import Column, format_table
from diffusionblend.priors.prior import Prior
from diffusionblend.priors.store import DEFAULT_PRIOR
from diffusionblend.report.figures import save_figure, uncertainty_figure
from diffusionblend.runs.record import versions
from sparse_view import middle

LINES_FILE, TABLE_FILE, SAMPLES_FOLDER = "calibration.jsonl", "table.md", "samples"
MARK_LETTERS = 12
TABLE_COLUMNS = (Column(key="views", header="Views", digits=0), *COLUMNS)


@dataclass(frozen=True, kw_only=True)
class CalibrationBenchmark:
    """Mean and standard deviation of samples of DiffusionBlend++ against the truth, by tissue."""

    volume: Annotated[Path, tyro.conf.Positional]
    """Reference volume in HU that the prior has not seen."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder for the samples, the figures and the pictures."""
    views: tuple[int, ...] = (8, 4)
    """Views over 180 degrees."""
    samples: int = 4
    """Of each scan, with seeds from the settings' seed on."""
    slices: int | None = None
    """Only so many slices from the middle of the volume."""
    prior: str = DEFAULT_PRIOR
    """Name or folder of the prior; its slice size is the size of the benchmark."""
    blend: Annotated[DiffusionBlendPPSettings, tyro.conf.arg(name="")] = field(
        default_factory=DiffusionBlendPPSettings
    )

    def run(self) -> None:
        """Make the samples that are not there, then print and write table and pictures."""
        prior = load_prior(self.prior)
        truth = to_square_slices(read_volume(self.volume), prior.config.image_size)
        truth = truth if self.slices is None else middle(truth, self.slices)
        rows, lines = [], []
        for views in self.views:
            mean, deviation = mean_and_deviation(self._samples(views, truth, prior))
            found = calibrate(mean, deviation, truth, n_samples=self.samples)
            rows += [{"views": views} | row for row in found.rows()]
            lines.append(
                {
                    "volume": self.volume.name,
                    "views": views,
                    "prior": prior.weights_sha256[:16],
                    "steps": self.blend.resolved().steps,
                    "volume_psnr_db": evaluate_volume(mean, truth).volume_psnr_db,
                    "versions": versions(),
                    **found.to_dict(),
                }
            )
            figure = uncertainty_figure(mean, deviation, truth)
            save_figure(figure, self.output / f"uncertainty-{views}.png", force=True)
        table = format_table(rows, TABLE_COLUMNS, "markdown")
        (self.output / LINES_FILE).write_text("".join(json.dumps(x) + "\n" for x in lines))
        facts = ", ".join(f"{k} {v}" for k, v in versions().items())
        (self.output / TABLE_FILE).write_text(f"{table}\n{facts}\n")
        print(table)

    def _samples(self, views: int, truth: Volume, prior: Prior):
        """The samples of a scan, one after the other, each made once."""
        geometry = ParallelBeam.fitting(truth.grid, views)
        projections = simulate(truth, geometry)
        folder = self.output / SAMPLES_FOLDER / self._mark(truth, prior)
        for number in range(self.samples):
            settings = replace(self.blend, seed=self.blend.seed + number)
            path = folder / f"{views} views, seed {settings.seed}.nii.gz"
            if not path.exists():
                write_volume(self._sample(projections, settings, prior), path)
            yield read_volume(path, check=False)

    def _mark(self, truth: Volume, prior: Prior) -> str:
        """A few letters that stand for all but views and seed that a sample depends on."""
        settings = repr(replace(self.blend.resolved(), seed=0, batch_blocks=None))
        digest = hashlib.sha256(f"{prior.weights_sha256} {settings}".encode())
        digest.update(truth.values.tobytes())
        return digest.hexdigest()[:MARK_LETTERS]

    def _sample(
        self, projections: Projections, settings: DiffusionBlendPPSettings, prior: Prior
    ) -> Volume:
        views = projections.geometry.n_views
        with progress(f"{views} views, seed {settings.seed}") as on_step:
            return reconstruct(projections, settings=settings, prior=prior, on_step=on_step).volume


if __name__ == "__main__":
    keep_freed_memory()
    tyro.cli(CalibrationBenchmark).run()
