"""How far each method's samples are from the true posterior, where that is known exactly.

    python benchmarks/posterior_distance.py
    python benchmarks/posterior_distance.py --steps 20 200 --samples 100 --without-data

The prior is Gaussian: pixels independent, each with an AR(1) process along z; every method is given
its exact score (of blocks, of single slices, of the middle slice among its neighbours). With
noiseless data y = A x the posterior is Gaussian too: its mean is m + A+ (y - A m), its covariance
C_z x (I - A+ A). Samples are drawn with many seeds; the table tells how far their mean is from that
mean, and how their spread and its correlation between neighbouring slices compare. All start from
noise, and none bounds its estimate: the Gaussian prior has no lowest value. The weight that a
method's data step hangs on is searched first, on a scan of another draw.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice, repeat
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro
from diffusionblend.methods.consistencies import make_consistency
from diffusionblend.methods.diffusion.sampler import Sampler
from diffusionblend.methods.settings import (
    Dds2dSettings,
    DdsSettings,
    DiffusionBlendPPSettings,
    DiffusionBlendSettings,
    DiffusionMbirSettings,
    SamplingSettings,
    TpdmSettings,
)

from diffusionblend.benchmarking.cells import scan
from diffusionblend.benchmarking.tables import Setting
from diffusionblend.data.volume import Volume
from diffusionblend.evaluation.tables import Column, format_table
from diffusionblend.geometry.grid import Grid
from diffusionblend.methods.diffusion.consistency import Consistency, OnScaledState
from diffusionblend.methods.diffusion.timesteps import sampling_timesteps
from diffusionblend.methods.diffusion.tpdm import draw_planes
from diffusionblend.methods.problem import Measurement
from diffusionblend.priors.partition import (
    Partition,
    draw_partitions,
    make_partition,
    neighbour_partition,
    slice_partition,
)
from diffusionblend.runs.record import versions

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from gaussian_prior import GaussianPrior, covariance

HU_PER_UNIT = 1000.0
SHAPE = (9, 12, 12)
TRUTH_SEED = 2024

COLUMNS = (
    Column(key="method", header="Method"),
    Column(key="steps", header="Steps", digits=0),
    Column(key="mean_error", header="Error of the mean (in sd of the prior)", digits=3),
    Column(key="sd_ratio", header="Spread over the true one", digits=3),
    Column(key="correlation", header="Correlation of neighbouring slices", digits=3),
    Column(key="residual", header="Residual", digits=4),
)


@dataclass(frozen=True)
class Scheme:
    """A method for Gaussian priors: its prior, partitions and settings."""

    settings: SamplingSettings
    prior: GaussianPrior
    partitions: Callable[[int], Iterator[Partition]]
    on_state: bool = False


def alone() -> GaussianPrior:
    """The exact prior of single slices."""
    return GaussianPrior(block_slices=1)


def blended(seed: int) -> Iterator[Partition]:
    """Adjacent and jump partitions in turn, as by default."""
    generator = torch.Generator().manual_seed(seed)
    options = {"kind": "alternating", "jump_stride": 3, "jump_every": 2}
    return draw_partitions(SHAPE[0], 3, generator=generator, **options)


def planes(seed: int) -> Iterator[Partition]:
    """Axial or coronal slices, as by default."""
    return draw_planes(SHAPE, TpdmSettings().plane_ratio, torch.Generator().manual_seed(seed))


def slices(seed: int) -> Iterator[Partition]:
    """Single slices, always."""
    return repeat(slice_partition(SHAPE[0]))


def whole(seed: int) -> Iterator[Partition]:
    """The whole volume as one block."""
    return repeat(make_partition(SHAPE[0], SHAPE[0], 1, 0))


def neighbours(seed: int) -> Iterator[Partition]:
    """Every slice among its neighbours."""
    return repeat(neighbour_partition(SHAPE[0], 3))


PLAIN = {"preset": "best", "dual_decay": 0.0, "average_below": 0}
ANCESTRAL = {**PLAIN, "eta": 1.0, "renewal": "ddim"}
ONE_BLOCK = GaussianPrior(block_slices=SHAPE[0])


def blend(**settings: object) -> Scheme:
    """DiffusionBlend++ with such settings, from noise as several samples are drawn."""
    return Scheme(
        DiffusionBlendPPSettings(**({"preset": "best"} | settings)), GaussianPrior(), blended
    )


def one_block(**settings: object) -> Scheme:
    """The same loop with the whole volume as one block."""
    return Scheme(DiffusionBlendPPSettings(**settings), ONE_BLOCK, whole)


SCHEMES = {
    "dds-2d": Scheme(Dds2dSettings(), alone(), slices),
    "dds": Scheme(DdsSettings(tv_z_penalty=1.0), alone(), slices),
    "diffusion-mbir": Scheme(DiffusionMbirSettings(), alone(), slices, on_state=True),
    "tpdm": Scheme(TpdmSettings(), alone(), planes),
    "diffusionblend": Scheme(
        DiffusionBlendSettings(), GaussianPrior(middle_alone=True), neighbours
    ),
    "diffusionblend++": blend(),
    "diffusionblend++, published": blend(**PLAIN | {"eta": 0.85}),
    "diffusionblend++, dual variable, last estimate": blend(average_below=0),
    "diffusionblend++, ancestral": blend(**ANCESTRAL),
    "diffusionblend++, prox": blend(consistency="prox"),
    "diffusionblend++, hard": blend(consistency="hard", **ANCESTRAL),
    "diffusionblend++, dps": blend(consistency="dps", **ANCESTRAL),
    "one block, eta 0": one_block(**PLAIN | {"eta": 0.0}),
    "one block, ancestral": one_block(**ANCESTRAL),
    "one block, share 0.85": one_block(**PLAIN | {"eta": 0.85}),
}


TV_WEIGHTS = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
SEARCHED: dict[str, tuple[str, tuple[float, ...]]] = {
    "dds": ("tv_z_weight", TV_WEIGHTS),
    "diffusion-mbir": ("tv_z_weight", TV_WEIGHTS),
    "tpdm": ("dps_step", (0.3, 1.0, 3.0, 10.0)),
}
SEARCH_STEPS, SEARCH_SAMPLES = 50, 12


@dataclass(frozen=True, kw_only=True)
class PosteriorDistance:
    """Draw samples by every method from a Gaussian prior and compare them with the posterior."""

    steps: tuple[int, ...] = (10, 25, 50, 100, 200)
    """Numbers of reverse steps."""
    samples: int = 48
    """Samples of each."""
    views: int = 4
    """Views of the scan."""
    methods: tuple[str, ...] = field(default_factory=lambda: tuple(SCHEMES))
    """Which; by default all."""
    without_data: bool = False
    """Sample the prior itself."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """File (.md) for the table; it is printed in any case."""

    def run(self) -> None:
        """Search, draw, compare, print."""
        self._check()
        problem = Problem.of(self.views, self.without_data)
        rows = []
        for name in self.methods:
            scheme, label = self._searched(name)
            for steps in self.steps:
                samples = [problem.sample(scheme, steps, s) for s in range(self.samples)]
                rows.append({"method": label, "steps": steps} | problem.compared(samples))
        data = "no data" if self.without_data else f"{self.views} views, noiseless"
        title = f"{data}, {SHAPE} voxels, {self.samples} samples; true correlation "
        title += f"{GaussianPrior().correlation:g}"
        table = str(format_table(rows, COLUMNS, "markdown", title=title))
        print(table)
        if self.output is not None:
            facts = ", ".join(f"{k} {v}" for k, v in versions().items())
            self.output.write_text(f"{table}\n{facts}\n")

    def _searched(self, name: str) -> tuple[Scheme, str]:
        """A method with the value of SEARCHED whose mean is best on a scan of another draw."""
        scheme = SCHEMES[name]
        if self.without_data or name not in SEARCHED:
            return scheme, name
        setting, values = SEARCHED[name]
        other = Problem.of(self.views, truth_seed=TRUTH_SEED + 1)
        errors = {}
        for value in values:
            tried = replace(scheme, settings=replace(scheme.settings, **{setting: value}))
            samples = [other.sample(tried, SEARCH_STEPS, s) for s in range(SEARCH_SAMPLES)]
            errors[value] = other.compared(samples)["mean_error"]
        best = min(errors, key=errors.__getitem__)
        found = replace(scheme, settings=replace(scheme.settings, **{setting: best}))
        return found, f"{name}, {setting} {best:g}"

    def _check(self) -> None:
        """Stop where there is nothing to compare."""
        unknown = [name for name in self.methods if name not in SCHEMES]
        if unknown:
            raise SystemExit(f"Unknown: {', '.join(unknown)}. Known: {', '.join(SCHEMES)}.")
        if self.samples < 2 or min(self.steps, default=0) < 1 or self.views < 1:
            raise SystemExit("A spread needs 2 samples, a sampler 1 step, a scan 1 view at least.")


@dataclass(frozen=True)
class Problem:
    """A scan of a draw of the prior, and the posterior of it.

    mean (z, y, x) and sd (z, y, x), network range.
    """

    measurement: Measurement
    mean: np.ndarray
    sd: np.ndarray
    without_data: bool

    @classmethod
    def of(cls, views: int, without_data: bool = False, truth_seed: int = TRUTH_SEED) -> Problem:
        """A scan with so many views over 180 degrees."""
        prior = GaussianPrior()
        c = covariance(np.arange(SHAPE[0]), prior.variance, prior.correlation)
        white = np.random.default_rng(truth_seed).normal(size=SHAPE)
        x = prior.mean + np.einsum("ij,jyx->iyx", np.linalg.cholesky(c), white)
        grid = Grid(shape=SHAPE, spacing_mm=(1.0, 1.0, 1.0))
        measurement = Measurement.of(scan(Volume(HU_PER_UNIT * x, grid), Setting(views)))
        y = measurement.operator.forward(torch.from_numpy(x).float())  # below no attenuation too
        measurement = replace(measurement, y=y)
        a = measurement.operator.matrix.to_dense().double().numpy()
        seen = np.zeros((a.shape[1],) * 2) if without_data else np.linalg.pinv(a, rcond=1e-6) @ a
        columns = x.reshape(SHAPE[0], -1).T
        mean = prior.mean + seen @ (columns - prior.mean)
        variance = prior.variance * np.clip(1 - np.diag(seen), 0, None)
        sd = np.broadcast_to(variance**0.5, (SHAPE[0], len(variance)))
        return cls(measurement, mean.T.reshape(SHAPE), sd.reshape(SHAPE), without_data)

    def sample(self, scheme: Scheme, steps: int, seed: int) -> np.ndarray:
        """One volume (z, y, x)."""
        settings = scheme.settings.resolved()
        meets = not self.without_data  # no dual variable where nothing is met
        times = sampling_timesteps(steps, scheme.prior.schedule.n_timesteps)
        sampler = Sampler(
            scheme.prior,
            self._consistency(scheme),
            times,
            list(islice(scheme.partitions(seed), steps)),
            eta=settings.eta,
            batch_blocks=100,
            renewal=settings.renewal,
            perpendicular=GaussianPrior(along_rows=True),
            corrector_snr=getattr(settings, "corrector_snr", 0.0),
            dual_decay=settings.dual_decay if meets else 0.0,
            average_below=settings.average_below if meets else 0,
        )
        with torch.no_grad():
            start = sampler.start(SHAPE, torch.Generator().manual_seed(seed))
            x, _ = sampler.run(start)
        scheme.prior.seen.clear()
        return x.double().numpy()

    def compared(self, samples: list[np.ndarray]) -> dict[str, float]:
        """The figures of a method: its mean's, spread's and correlation's, and the residual."""
        x = np.stack(samples)
        deviations = x - x.mean(0)
        variance = x.var(0, ddof=1)
        squares = np.square(x.mean(0) - self.mean) - variance / len(x)
        neighbours = (deviations[:, 1:] * deviations[:, :-1]).sum()
        sizes = np.square(deviations[:, 1:]).sum() * np.square(deviations[:, :-1]).sum()
        residuals = [self.measurement.relative_residual(torch.from_numpy(s).float()) for s in x]
        return {
            "mean_error": max(0.0, squares.mean()) ** 0.5 / GaussianPrior().variance ** 0.5,
            "sd_ratio": (variance.mean() / np.square(self.sd).mean()) ** 0.5,
            "correlation": neighbours / sizes**0.5,
            "residual": float(np.mean(residuals)),
        }

    def _consistency(self, scheme: Scheme) -> Consistency:
        if self.without_data:
            return Consistency()
        step = make_consistency(scheme.settings, self.measurement)
        return OnScaledState(step) if scheme.on_state else step


if __name__ == "__main__":
    tyro.cli(PosteriorDistance).run()
