"""What a network evaluation costs in each number format of this processor, in turn in one process.

    python benchmarks/precisions.py --prior chest -o results/

int8 needs the extra `openvino` and is left out without it; its network is made before anything is
timed. Each format's error is the RMS of its difference from float32, over the RMS of what the
network gives there.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
import tyro

from common import add_rows, machine, say
from diffusionblend import Grid, load_prior
from diffusionblend.evaluation.tables import Column, format_table
from diffusionblend.priors import integer_engine
from diffusionblend.priors.precision import PRECISIONS, has_bfloat16
from diffusionblend.priors.prior import Prior
from diffusionblend.priors.store import DEFAULT_PRIOR

ROWS_FILE = "precisions.jsonl"
EXACT = "float32"
TIMESTEP = 200
FIELD_OF_VIEW_MM, SPACING_MM = 360.0, 2.5
COLUMNS = (
    Column(key="pixels", header="Pixels a side", digits=0),
    Column(key="precision", header="Number format"),
    Column(key="milliseconds", header="ms a block", digits=1),
    Column(key="highest", header="Highest round", digits=1),
    Column(key="times_faster", header="Times faster than float32", digits=2),
    Column(key="error_percent", header="Error (%)", digits=2),
)


@dataclass(frozen=True, kw_only=True)
class Precisions:
    """Time one prior in every number format that this machine computes."""

    prior: str = DEFAULT_PRIOR
    """Name or folder."""
    sizes: tuple[int, ...] = (128, 256)
    """Pixels along each side of a slice."""
    blocks: int = 4
    """In a batch, as the sampler makes them."""
    rounds: int = 7
    """Of which the fastest counts; the formats take turns."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Folder for the rows, JSON lines."""

    def run(self) -> None:
        """Print the table."""
        priors = {name: load_prior(self.prior, precision=name) for name in self._formats()}
        rows = [row for size in self.sizes for row in self._rows(priors, size)]
        facts = {
            "prior": priors[EXACT].weights_sha256[:16],
            "bfloat16_in_hardware": has_bfloat16("cpu"),
            "vnni": integer_engine.has_integer_products(),
            "machine": machine(),
        }
        say(format_table(rows, COLUMNS, "markdown"))
        if self.output is not None:
            add_rows(self.output / ROWS_FILE, [row | facts for row in rows])

    def _formats(self) -> list[str]:
        left_out = {"auto"} | ({"int8"} if integer_engine.missing() else set())
        return [name for name in PRECISIONS if name not in left_out]

    def _rows(self, priors: dict[str, Prior], size: int) -> list[dict[str, object]]:
        """Every format's fastest and slowest round at one size, and its error."""
        torch.manual_seed(0)
        x = torch.randn(self.blocks, priors[EXACT].block_slices, size, size)
        placed = {name: _at(prior, size) for name, prior in priors.items()}
        given = {name: prior.denoise(x, TIMESTEP, 0.0)[0] for name, prior in placed.items()}
        seconds: dict[str, list[float]] = {name: [] for name in placed}
        for _ in range(self.rounds):
            for name, prior in placed.items():
                began = time.perf_counter()
                prior.denoise(x, TIMESTEP, 0.0)
                seconds[name].append(time.perf_counter() - began)
        rms = given[EXACT].square().mean().sqrt()
        return [
            {
                "pixels": size,
                "precision": name,
                "milliseconds": 1e3 * min(found) / self.blocks,
                "highest": 1e3 * max(found) / self.blocks,
                "times_faster": min(seconds[EXACT]) / min(found),
                "error_percent": 100
                * float((given[name] - given[EXACT]).square().mean().sqrt() / rms),
                "rounds": found,
            }
            for name, found in seconds.items()
        ]


def _at(prior: Prior, size: int) -> Prior:
    """The prior for slices of a size, as of a chest, whatever size it was trained at."""
    pixel_mm = FIELD_OF_VIEW_MM / size
    grid = Grid(shape=(prior.block_slices, size, size), spacing_mm=(SPACING_MM, pixel_mm, pixel_mm))
    return replace(prior, config=replace(prior.config, image_size=size)).for_grid(grid)


if __name__ == "__main__":
    tyro.cli(Precisions).run()
