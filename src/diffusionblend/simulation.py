"""Projections simulated from a volume: line integrals, and noise by Beer's law."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np

from diffusionblend.data.projections import Projections
from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError, check_kind
from diffusionblend.geometry import Geometry
from diffusionblend.geometry.base import fields_of
from diffusionblend.memory import available_memory_bytes
from diffusionblend.units import MU_WATER_PER_MM, hu_to_mu

PAPER_PHOTONS = 1.11e6
PAPER_ELECTRONIC_COUNTS = 5.0
FEWEST_COUNTS = 1.0
MOST_PHOTONS = 1e15
"""Above this a column's noise is lost in float32, and NumPy's Poisson draws end at 9e18."""

FIRST_TIMED_VIEWS, MORE_TIMED_VIEWS = 4, 4
TIMED_SECONDS = 0.3
"""Views that are tried to estimate the time of all: so many, and so many times as many again until
they take so long, since few views may be projected in another way than many."""
MOST_VIEWS = 1_000_000
LIBRARIES_BYTES = 420e6
LEAST_HELD = 2
VOLUMES_HELD, PROJECTIONS_HELD = 5, 12
"""Float32 volumes and projections alive at once; noise is drawn in double precision."""


def simulate(
    volume: Volume,
    geometry: Geometry,
    photons: float | None = None,
    electronic_counts: float = 0.0,
    seed: int = 0,
    *,
    mu_water_per_mm: float = MU_WATER_PER_MM,
    oversample: int = 1,
) -> Projections:
    """Projections (view, row, column) of a volume in HU, by the operator that reconstructs.

    oversample: k, for a volume whose pixels are k times as fine as those to be reconstructed: every
    detector column (and row of a cone) is the mean intensity of k rays across its width, and the
    projections are for the grid of k x k pixels taken together, `volume.grid.coarser(k)`. So they
    contain what no operator on that grid explains, as measured ones do. 1: the operator that
    reconstructs simulates as well.

    photons: counted by an unattenuated detector pixel, which draws Poisson noise by `seed`; None:
    no noise. electronic_counts: standard deviation of the electronic noise (Gauss), in counts.
    mu_water_per_mm: attenuation of water, which ties HU to 1/mm. Attenuation below zero (HU under
    -1000) counts as none. Raises InputError for numbers that no scan has, and for
    electronic_counts without photons.
    """
    import torch

    from diffusionblend.operators import XRayTransform

    check_kind(volume, Volume, "The volume to simulate projections of")
    check_kind(geometry, Geometry, "The geometry to simulate")
    check_noise(photons, electronic_counts)
    _check_memory(volume, geometry)
    mu = hu_to_mu(volume.values, mu_water_per_mm).clip(min=0)
    grid = volume.grid if oversample == 1 else volume.grid.coarser(oversample)
    operator = XRayTransform(with_more_rays(geometry, oversample), volume.grid)
    lines = operator.forward(torch.from_numpy(mu)).numpy()
    if oversample > 1:
        lines = _mean_intensity(lines, geometry, oversample)
    notes: dict[str, object] = {
        "source": "simulated",
        "simulator": type(operator).__name__,
        "rays": operator.description,
        "simulated_shape": list(volume.grid.shape),
        "simulated_spacing_mm": list(volume.grid.spacing_mm),
    }
    if oversample > 1:
        notes["oversample"] = oversample
    if photons is not None:
        lines = add_noise(lines, photons, electronic_counts, np.random.default_rng(seed))
        noise = {"photons": float(photons), "electronic_counts": float(electronic_counts)}
        notes |= noise | {"seed": seed}
    return Projections(lines, geometry, grid, mu_water_per_mm, notes)


def with_more_rays(geometry: Geometry, oversample: int) -> Geometry:
    """The same detector with k columns (and k rows of a cone) in place of each. Raises InputError.

    oversample: k, a whole number from 1.
    """
    if isinstance(oversample, bool) or not isinstance(oversample, int) or oversample < 1:
        raise InputError(f"oversample is {oversample!r}.", "a whole number from 1")
    if oversample == 1:
        return geometry
    names = {one.name for one in fields_of(type(geometry))}
    if not {"n_columns", "column_mm"} <= names:
        raise InputError(
            f"Several rays across a column were asked for of a {type(geometry).__name__}.",
            "a geometry with n_columns and column_mm, such as a parallel, fan or cone beam",
            "oversample 1",
        )
    changes: dict[str, Any] = {}
    for count, width in (("n_columns", "column_mm"), ("n_rows", "row_mm")):
        if count in names:
            changes[count] = getattr(geometry, count) * oversample
            changes[width] = getattr(geometry, width) / oversample
    return replace(geometry, **changes)  # type: ignore[type-var]


def _mean_intensity(lines: np.ndarray, geometry: Geometry, k: int) -> np.ndarray:
    """-log of the mean of exp(-line) over k columns (and rows, where there are k for each)."""
    views, rows, columns = lines.shape
    of_rows = k if geometry.couples_slices else 1
    parts = lines.astype(np.float64).reshape(views, rows // of_rows, of_rows, columns // k, k)
    return -np.log(np.exp(-parts).mean((2, 4))).astype(np.float32)


def check_noise(photons: float | None, electronic_counts: float) -> None:
    """Raise InputError for noise that no scan has, and for electronic noise without photons."""
    if photons is not None and not 0 < photons <= MOST_PHOTONS:
        raise InputError(
            f"Asked for {photons} photons per detector pixel.",
            f"a number above 0 and up to {MOST_PHOTONS:g}",
            "no noise at all instead",
        )
    if not 0 <= electronic_counts < np.inf:
        raise InputError(f"The electronic noise is {electronic_counts} counts.", "a number from 0")
    if photons is None and electronic_counts:
        raise InputError(
            f"Electronic noise of {electronic_counts:g} counts was asked for without photons.",
            "photons, the counts of an unattenuated detector pixel",
            f"photons {PAPER_PHOTONS:g}, as in the paper",
        )


def add_noise(
    lines: np.ndarray, photons: float, electronic_counts: float, rng: np.random.Generator
) -> np.ndarray:
    """Noisy line integrals -log(counts / I0), counts ~ Poisson(I0 exp(-line)) + N(0, sigma^2).

    photons: I0. electronic_counts: sigma. Counts below one are taken as one, so that every value is
    finite. Raises InputError as `check_noise`.
    """
    check_noise(photons, electronic_counts)
    counts = rng.poisson(photons * np.exp(-lines.astype(np.float64))).astype(np.float64)
    counts += rng.normal(0.0, electronic_counts, size=counts.shape)
    return -np.log(np.maximum(counts, FEWEST_COUNTS) / photons).astype(np.float32)


def planned_seconds(
    volume: Volume, geometry: Geometry, photons: float | None = None, electronic_counts: float = 0.0
) -> float:
    """About how long `simulate` takes, by a few views; time grows linearly with the views."""

    def timed(n_views: int) -> float:
        few = geometry.of_views(np.arange(n_views))
        seconds = []
        for _ in range(2):  # the first may have to compile
            started = time.perf_counter()
            simulate(volume, few, photons, electronic_counts)
            seconds.append(time.perf_counter() - started)
        return min(seconds)

    fewer, before = 0, 0.0
    tried = min(FIRST_TIMED_VIEWS, geometry.n_views)
    while (seconds := timed(tried)) < TIMED_SECONDS and tried < geometry.n_views:
        fewer, before = tried, seconds
        tried = min(MORE_TIMED_VIEWS * tried, geometry.n_views)
    a_view = max(0.0, seconds - before) / (tried - fewer)
    return seconds + a_view * (geometry.n_views - tried)


def _check_memory(volume: Volume, geometry: Geometry) -> None:
    """Raises InputError where the projections of a volume cannot fit into the free memory."""
    lines = geometry.n_views * geometry.detector_rows(volume.grid) * geometry.n_columns
    needed, free = 4 * LEAST_HELD * lines, available_memory_bytes()
    if free is not None and needed > free:
        raise InputError(
            f"Projections of {geometry.n_views} views would take at least {needed / 1e9:.3g} GB of "
            f"memory, and {free / 1e9:.3g} GB are free.",
            "what fits into the memory",
            "fewer views or slices",
        )


def planned_bytes(volume: Volume, geometry: Geometry) -> int:
    """Host memory that a process takes to simulate projections: an estimate."""
    z, y, x = volume.grid.shape
    lines = geometry.n_views * geometry.detector_rows(volume.grid) * geometry.n_columns
    return int(LIBRARIES_BYTES + 4 * (VOLUMES_HELD * z * y * x + PROJECTIONS_HELD * lines))
