"""One reconstruction of a cell, or the mean of several samples with their standard deviation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from diffusionblend.io.jsonl import append_json_line, read_json_lines
from diffusionblend.methods.base import Execution, OnStep, reconstruct_with

if TYPE_CHECKING:
    from diffusionblend.benchmarking.cells import Cell
    from diffusionblend.data.projections import Projections
    from diffusionblend.data.volume import Volume

DONE_FILE = "samples.jsonl"


@dataclass(frozen=True)
class Drawn:
    """What a cell's run gave: a volume, or the mean of several samples, and what it cost.

    deviation: standard deviation of the samples in HU, None for a single reconstruction.
    """

    volume: Volume
    relative_residual: float
    seconds: float
    network_evaluations: int
    samples: int = 1
    deviation: Volume | None = None

    def row(self, truth: Volume) -> dict[str, object]:
        """Costs and residual, and of an ensemble how often the truth lies within its deviation."""
        found: dict[str, object] = {
            "relative_residual": self.relative_residual,
            "seconds": self.seconds,
            "network_evaluations": self.network_evaluations,
        }
        if self.deviation is not None:
            from diffusionblend.evaluation.calibration import calibrate

            fit = calibrate(self.volume, self.deviation, truth, n_samples=self.samples)
            found["calibration"] = fit.to_dict()
        return found


def draw(
    cell: Cell, projections: Projections, device: str, execution: Execution, folder: Path
) -> Drawn:
    """Run a cell. Raises InputError.

    folder: for the samples of an ensemble, each of which is drawn once.
    """
    if cell.samples == 1:
        result = reconstruct_with(cell.method, projections, cell.priors, device, execution)
        return Drawn(
            result.volume,
            result.relative_residual,
            result.seconds["total"],
            result.network_evaluations,
        )
    from diffusionblend.data.ensemble import mean_and_deviation

    volumes = _samples(cell, projections, device, execution, folder)
    mean, deviation = mean_and_deviation(volumes)
    rows = read_json_lines(folder / DONE_FILE)
    return Drawn(
        mean,
        _residual(mean, projections),
        sum(row["seconds"] for row in rows),
        sum(row["network_evaluations"] for row in rows),
        cell.samples,
        deviation,
    )


def sample_file(folder: Path, seed: int) -> Path:
    """Where the sample of a seed lies in the folder of an ensemble."""
    return folder / f"seed-{seed}.nii.gz"


def _samples(
    cell: Cell, projections: Projections, device: str, execution: Execution, folder: Path
) -> Iterator[Volume]:
    """The samples, with seeds from the cell's on; those in the folder are read."""
    from diffusionblend.io.volumes import read_volume, write_volume

    for number in range(cell.samples):
        path = sample_file(folder, cell.seed + number)
        done = {row["sample"] for row in read_json_lines(folder / DONE_FILE)}
        if number not in done:
            one = cell.method.for_ensemble(cell.seed + number, frozenset(cell.priors))
            reports = replace(
                execution, on_step=_of_several(execution.on_step, number, cell.samples)
            )
            result = reconstruct_with(one, projections, cell.priors, device, reports)
            write_volume(result.volume, path, force=True)
            row = {
                "sample": number,
                "seconds": result.seconds["total"],
                "network_evaluations": result.network_evaluations,
            }
            append_json_line(folder / DONE_FILE, row)
        yield read_volume(path, check=False)


def _of_several(on_step: OnStep, number: int, count: int) -> OnStep:
    """Steps of one sample as steps of all."""
    return lambda done, total: on_step(number * total + done, count * total)


def _residual(volume: Volume, projections: Projections) -> float:
    """|A mu - y| / |y| of a volume in HU."""
    import torch

    from diffusionblend.methods.problem import Problem
    from diffusionblend.units import hu_to_network

    with torch.no_grad():
        x = torch.from_numpy(hu_to_network(volume.values))
        return Problem.of(projections).relative_residual(x)
