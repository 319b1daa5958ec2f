"""How far each method's samples are from the true posterior, where that is known exactly.

    python benchmarks/posterior_distance.py
    python benchmarks/posterior_distance.py --steps 20 200 --samples 100 --without-data
    python benchmarks/posterior_distance.py --spectrum 2.75 --views 8 --arc-degrees 90

The prior is Gaussian, an AR(1) process along z; in plane pixels are independent, or their cosine
transform has a power law (`--spectrum`), as CT does. Every method is given its exact score (of
blocks, of single slices, of the middle slice among its neighbours). With noiseless data y = A x and
the covariance C_z x C of the prior the posterior is Gaussian too: its mean is m + K (y - A m), its
covariance C_z x (C - K A C), K = C A^T (A C A^T)+. Samples are drawn with many seeds; the table
shows how far their mean is from that mean, what that costs beside the posterior mean's own error,
and how their standard deviation and their correlations compare. All start from noise, and none
bounds its estimate: the Gaussian prior has no lowest value. The weight that a method's
data-consistency step depends on is searched first, on a scan of another draw. Langevin sampling
takes as many rounds as come closest to so many network evaluations.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import islice, repeat
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro
from scipy.fft import dct

from common import versions_in_words
from diffusionblend.benchmarking.setups import Setup, simulated
from diffusionblend.data.volume import Volume
from diffusionblend.evaluation.tables import Column, format_table
from diffusionblend.geometry.grid import Grid
from diffusionblend.methods import (
    Dds,
    Dds2d,
    DiffusionBlend,
    DiffusionBlendPP,
    DiffusionMbir,
    DiffusionMethod,
    Langevin,
    Problem,
    Tpdm,
)
from diffusionblend.methods.api import make_method
from diffusionblend.methods.diffusion.annealing import (
    AnnealedLangevin,
    DataDraw,
    groups_of,
    rounds_of,
    wanted_levels,
)
from diffusionblend.methods.diffusion.consistency.base import ConsistencyStep
from diffusionblend.methods.diffusion.consistency.scaled_state import OnScaledState
from diffusionblend.methods.diffusion.executor import Executor
from diffusionblend.methods.diffusion.loop import ReverseLoop
from diffusionblend.methods.diffusion.state import State
from diffusionblend.methods.diffusion.timesteps import sampling_timesteps
from diffusionblend.priors.partition import Partition, make_partition
from gaussian_prior import GaussianPrior, covariance, power_law

HU_PER_UNIT = 1000.0
SHAPE = (9, 12, 12)
TRUTH_SEED = 2024
RANK = 1e-12
"""Eigenvalues of A C A^T below this share of the largest are taken for zero. Exact data tell of all
others; over a short arc they go down to 3e-11."""

COLUMNS = (
    Column(key="method", header="Method"),
    Column(key="steps", header="Steps", digits=0),
    Column(key="mean_error", header="Error of the mean (in sd of the prior)", digits=3),
    Column(key="sd_ratio", header="Standard deviation over the true one", digits=3),
    Column(key="correlation", header="Correlation of neighbouring slices", digits=3),
    Column(key="residual", header="Residual", digits=4),
    Column(key="in_plane", header="Correlation of neighbouring pixels", digits=3),
    Column(key="loss_db", header="Cost of the mean's error (dB)", digits=2),
)


@dataclass(frozen=True)
class Scheme:
    """A method for Gaussian priors, and its prior; whole: the volume is one block."""

    method: DiffusionMethod | Langevin
    prior: GaussianPrior
    whole: bool = False

    def with_spectrum(self, spectrum: np.ndarray | None) -> Scheme:
        """The same for slices of such a spectrum."""
        return replace(self, prior=replace(self.prior, spectrum=spectrum, seen=[]))

    def partitions(self) -> Iterator[Partition]:
        """As the method draws them with its seed, or the whole volume."""
        if self.whole:
            return repeat(make_partition(SHAPE[0], SHAPE[0], 1, 0))
        return self.method.partitions(SHAPE, self.prior)


PLAIN = {"dual_damping": 0.0, "tail_average_below": 0}
ANCESTRAL = {**PLAIN, "ddim_eta": 1.0}
ALONE = GaussianPrior(block_slices=1)
"""The exact prior of single slices."""


def blend(**settings: object) -> Scheme:
    """DiffusionBlend++ with such settings, from noise as several samples are drawn."""
    return Scheme(make_method(DiffusionBlendPP(preset="best"), **settings), GaussianPrior())


def one_block(**settings: object) -> Scheme:
    """The same loop with the whole volume as one block."""
    return replace(blend(**settings), prior=GaussianPrior(block_slices=SHAPE[0]), whole=True)


SCHEMES = {
    "dds-2d": Scheme(Dds2d(), ALONE),
    "dds": Scheme(make_method(Dds(), tv_z_penalty=1.0), ALONE),
    "diffusion-mbir": Scheme(DiffusionMbir(), ALONE),
    "tpdm": Scheme(Tpdm(), ALONE),
    "diffusionblend": Scheme(DiffusionBlend(), GaussianPrior(middle_alone=True)),
    "diffusionblend++": blend(),
    "diffusionblend++, published": blend(**PLAIN, noise_fraction=0.85),
    "diffusionblend++, dual variable, last estimate": blend(tail_average_below=0),
    "diffusionblend++, ancestral": blend(**ANCESTRAL),
    "diffusionblend++, prox": blend(consistency="prox"),
    "diffusionblend++, hard": blend(consistency="hard", **ANCESTRAL),
    "diffusionblend++, dps": blend(consistency="dps", **ANCESTRAL),
    "one block, noise fraction 0": one_block(**PLAIN, noise_fraction=0.0),
    "one block, ancestral": one_block(**ANCESTRAL),
    "one block, noise fraction 0.85": one_block(**PLAIN, noise_fraction=0.85),
    "langevin": Scheme(Langevin(), GaussianPrior()),
    "langevin, clean neighbours": Scheme(Langevin(), GaussianPrior(clean_neighbours=True)),
}
NEEDS_DATA = ("langevin", "langevin, clean neighbours")
"""Which do not draw from the prior alone."""
NO_SPECTRUM = ("tpdm",)
"""Which have no exact score with a spectrum: that of coronal slices is not written."""


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
    arc_degrees: float = 180.0
    """Arc that the views cover."""
    spectrum: float | None = None
    """Exponent of the power law of slices' cosine transform; by default pixels are independent."""
    without_data: bool = False
    """Sample the prior itself."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """File (.md) for the table; it is printed in any case."""

    def run(self) -> None:
        """Search, draw, compare, print."""
        self._check()
        problem = self._posterior()
        rows = []
        for name in self._chosen():
            scheme, label = self._searched(name)
            for steps in self.steps:
                samples = [problem.sample(scheme, steps, s) for s in range(self.samples)]
                rows.append({"method": label, "steps": steps} | problem.compared(samples))
        data = f"{self.views} views over {self.arc_degrees:g} degrees, noiseless"
        title = "no data" if self.without_data else data
        title += f", {SHAPE} voxels, {self.samples} samples"
        title += "" if self.spectrum is None else f", spectrum (1 + f)^-{self.spectrum:g}"
        title += f"; true correlation {GaussianPrior().correlation:g}"
        title += f", of neighbouring pixels {problem.in_plane:.3f}"
        table = str(format_table(rows, COLUMNS, "markdown", title=title))
        print(table)
        if self.output is not None:
            self.output.write_text(f"{table}\n{versions_in_words()}\n")

    def _posterior(self, truth_seed: int = TRUTH_SEED) -> Posterior:
        return Posterior.of(
            self.views,
            self.without_data,
            truth_seed,
            arc_degrees=self.arc_degrees,
            exponent=self.spectrum,
        )

    def _chosen(self) -> list[str]:
        """The methods that can be compared, and a line of those that cannot."""
        left_out = NEEDS_DATA if self.without_data else ()
        left_out += () if self.spectrum is None else NO_SPECTRUM
        if found := [name for name in self.methods if name in left_out]:
            print(f"Left out: {', '.join(found)}.")
        return [name for name in self.methods if name not in left_out]

    def _searched(self, name: str) -> tuple[Scheme, str]:
        """A method with the value of SEARCHED whose mean is best on a scan of another draw."""
        scheme = SCHEMES[name]
        if self.without_data or name not in SEARCHED:
            return scheme, name
        setting, values = SEARCHED[name]
        other = self._posterior(TRUTH_SEED + 1)
        errors = {}
        for value in values:
            tried = replace(scheme, method=make_method(scheme.method, **{setting: value}))
            samples = [other.sample(tried, SEARCH_STEPS, s) for s in range(SEARCH_SAMPLES)]
            errors[value] = other.compared(samples)["mean_error"]
        best = min(errors, key=errors.__getitem__)
        found = replace(scheme, method=make_method(scheme.method, **{setting: best}))
        return found, f"{name}, {setting} {best:g}"

    def _check(self) -> None:
        """Stop where there is nothing to compare."""
        unknown = [name for name in self.methods if name not in SCHEMES]
        if unknown:
            raise SystemExit(f"Unknown: {', '.join(unknown)}. Known: {', '.join(SCHEMES)}.")
        if self.samples < 2 or min(self.steps, default=0) < 1 or self.views < 1:
            raise SystemExit("At least 2 samples, 1 step and 1 view are needed.")


@dataclass(frozen=True)
class Posterior:
    """A scan of a draw of the prior, and the posterior of it.

    mean (z, y, x) and sd (z, y, x), network range. spectrum: of the prior's slices. in_plane: the
    correlation of neighbouring pixels of the posterior.
    """

    problem: Problem
    mean: np.ndarray
    sd: np.ndarray
    without_data: bool
    spectrum: np.ndarray | None
    in_plane: float

    @classmethod
    def of(
        cls,
        views: int,
        without_data: bool = False,
        truth_seed: int = TRUTH_SEED,
        *,
        arc_degrees: float = 180.0,
        exponent: float | None = None,
    ) -> Posterior:
        """A scan of so many views over an arc. exponent: of the spectrum, None for a white one."""
        prior = GaussianPrior()
        spectrum, of_slice = None, prior.variance * np.eye(SHAPE[1] * SHAPE[2])
        if exponent is not None:
            spectrum = power_law(SHAPE[1:], exponent, prior.variance)
            of_slice = covariance_of(spectrum)
        along = np.linalg.cholesky(covariance(np.arange(SHAPE[0]), 1.0, prior.correlation))
        white = np.random.default_rng(truth_seed).normal(size=SHAPE).reshape(SHAPE[0], -1)
        x = prior.mean + (along @ white @ np.linalg.cholesky(of_slice).T).reshape(SHAPE)
        grid = Grid(shape=SHAPE, spacing_mm=(1.0, 1.0, 1.0))
        setup = Setup(views=views, arc_degrees=arc_degrees)
        problem = Problem.of(simulated(Volume(HU_PER_UNIT * x, grid), setup))
        y = problem.operator.forward(torch.from_numpy(x).float())  # below no attenuation too
        problem = replace(problem, y=y)
        a = problem.operator.matrix.to_dense().double().numpy()
        gain = of_slice @ a.T @ np.linalg.pinv(a @ of_slice @ a.T, rcond=RANK, hermitian=True)
        seen = gain @ a * (not without_data)
        mean = prior.mean + (x - prior.mean).reshape(SHAPE[0], -1) @ seen.T
        left = of_slice - seen @ of_slice
        sd = np.broadcast_to(np.diag(left).clip(0) ** 0.5, mean.shape).reshape(SHAPE)
        return cls(problem, mean.reshape(SHAPE), sd, without_data, spectrum, of_pixels(left))

    def sample(self, scheme: Scheme, steps: int, seed: int) -> np.ndarray:
        """One volume (z, y, x)."""
        scheme = scheme.with_spectrum(self.spectrum)
        if isinstance(scheme.method, Langevin):
            return self._sample_by_langevin(scheme, steps, seed)
        method = make_method(scheme.method, steps=steps, seed=seed).resolved()
        scheme = replace(scheme, method=method)
        times = sampling_timesteps(steps, scheme.prior.schedule.n_timesteps)
        executor = Executor(
            scheme.prior,
            times,
            list(islice(scheme.partitions(), steps)),
            batch_blocks=100,
            coronal_prior=GaussianPrior(along_rows=True),
        )
        loop = self._loop(method, scheme.prior, times)
        generator = torch.Generator().manual_seed(seed)

        def noise() -> torch.Tensor:
            return torch.randn(SHAPE, generator=generator)

        x = loop.start(noise())
        dual = torch.zeros_like(x) if loop.dual_damping else None
        total = torch.zeros_like(x) if loop.averaged > 1 else None
        with torch.no_grad():
            state = State(0, x, generator.get_state(), dual, total)
            found = loop.run(state, executor, noise, lambda state: None)
        return found.double().numpy()

    def _sample_by_langevin(self, scheme: Scheme, evaluations: int, seed: int) -> np.ndarray:
        schedule = scheme.prior.schedule
        rounds = rounds_of(with_evaluations(scheme.method, evaluations), schedule)
        clean = scheme.prior.clean_neighbours
        parts = groups_of(SHAPE[0], scheme.prior.block_slices, clean=clean)
        loop = AnnealedLangevin(rounds, schedule, len(parts), DataDraw(self.problem))
        executor = loop.executor(scheme.prior, parts, batch_blocks=100)
        generator = torch.Generator().manual_seed(seed)

        def draw(shape: Sequence[int]) -> torch.Tensor:
            return torch.randn(tuple(shape), generator=generator)

        state = State(0, draw(SHAPE), generator.get_state())
        with torch.no_grad():
            return loop.run(state, executor, draw, lambda state: None).double().numpy()

    def _loop(
        self, method: DiffusionMethod, prior: GaussianPrior, times: tuple[int, ...]
    ) -> ReverseLoop:
        """The method's loop; without data nothing is kept or averaged, and nothing is clipped."""
        averaging = method.averaging
        if self.without_data:
            averaging = dict.fromkeys(averaging, 0)
        return ReverseLoop(
            abar=[float(prior.schedule.alpha_bar[t]) for t in times],
            consistency=self._consistency(method),
            noise_fraction=method.noise_fraction or 0.0,
            ddim_eta=method.ddim_eta,
            dual_damping=averaging["dual_damping"],
            averaged=max(1, sum(t < averaging["tail_average_below"] for t in times)),
            corrector_snr=method.langevin_snr,
        )

    def compared(self, samples: list[np.ndarray]) -> dict[str, float]:
        """The figures of a method: of its mean, standard deviation, correlation and residual."""
        x = np.stack(samples)
        deviations = x - x.mean(0)
        flat = deviations.reshape(*deviations.shape[:2], -1)
        variance = x.var(0, ddof=1)
        squares = np.square(x.mean(0) - self.mean) - variance / len(x)
        neighbours = (deviations[:, 1:] * deviations[:, :-1]).sum()
        sizes = np.square(deviations[:, 1:]).sum() * np.square(deviations[:, :-1]).sum()
        mean_square = max(0.0, squares.mean())
        residuals = [self.problem.relative_residual(torch.from_numpy(s).float()) for s in x]
        return {
            "mean_error": (mean_square / GaussianPrior().variance) ** 0.5,
            "sd_ratio": (variance.mean() / np.square(self.sd).mean()) ** 0.5,
            "correlation": neighbours / sizes**0.5,
            "residual": float(np.mean(residuals)),
            "in_plane": of_pixels(np.einsum("nzi,nzj->ij", *[flat] * 2)),
            "loss_db": 10 * np.log10(1 + mean_square / np.square(self.sd).mean()),
        }

    def _consistency(self, method: DiffusionMethod) -> ConsistencyStep:
        if self.without_data:
            return ConsistencyStep()
        step = method.consistency.step(self.problem)
        return OnScaledState(step) if method.on_scaled_state else step


@cache
def with_evaluations(method: Langevin, evaluations: int) -> Langevin:
    """The method with as many rounds as come closest to so many network evaluations."""
    tried = [replace(method, rounds=n) for n in range(1, evaluations + 1)]
    return min(tried, key=lambda one: abs(sum(map(len, wanted_levels(one))) - evaluations))


def covariance_of(spectrum: np.ndarray) -> np.ndarray:
    """Of the pixels (y x, y x) of slices whose cosine transform has such variances (y, x)."""
    rows, columns = (dct(np.eye(n), norm="ortho", axis=0) for n in spectrum.shape)
    both = np.kron(rows, columns)
    return both.T @ (spectrum.ravel()[:, None] * both)


def of_pixels(covariance: np.ndarray) -> float:
    """The correlation of neighbouring pixels along y and x by a slice's covariance (y x, y x)."""
    numbers = np.arange(len(covariance)).reshape(SHAPE[1:])
    here = np.concatenate([numbers[:-1].ravel(), numbers[:, :-1].ravel()])
    there = np.concatenate([numbers[1:].ravel(), numbers[:, 1:].ravel()])
    own = np.diag(covariance)
    return float(covariance[here, there].sum() / (own[here].sum() * own[there].sum()) ** 0.5)


if __name__ == "__main__":
    tyro.cli(PosteriorDistance).run()
