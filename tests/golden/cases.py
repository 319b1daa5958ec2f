"""The golden cases: every method, prior type and data-consistency step, as it is called.

CASES is the one table: a name, the method, and its settings as keyword arguments. Only `run` and
`priors_for` know how `reconstruct` is called with them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np

from diffusionblend.data.projections import Projections
from diffusionblend.data.volume import Volume
from diffusionblend.geometry import ConeBeam, FanBeam
from diffusionblend.methods import METHODS
from diffusionblend.methods.api import reconstruct
from diffusionblend.priors.prior import Prior
from diffusionblend.simulation import simulate
from small_scan import scan, small_volume
from tiny_network import TINY, random_prior

VIEWS = 6
N_SLICES = 11
"""Enough for blocks of three slices that jump, and no multiple of a block."""
SOURCE_MM = {"source_to_axis_mm": 300.0, "source_to_detector_mm": 500.0}
NOISE = {"photons": 1e4, "electronic_counts": 5.0}
PICKS = 40
"""About so many voxels are kept of each volume, at equal strides through it."""
RANGE_HU = 2000.0
"""The range in the definition of PSNR here, over the whole volume."""


@dataclass(frozen=True)
class Case:
    """A call of `reconstruct`: the method, its settings, and the scan as named in `scan_of`.

    prior_type: where it is not the method's usual one.
    """

    method: str
    settings: dict[str, object] = field(default_factory=dict)
    scan: str = "parallel"
    prior_type: str | None = None


CASES = {
    "fbp": Case("fbp"),
    "fbp, hann window": Case("fbp", {"window": "hann"}),
    "fbp, fan beam": Case("fbp", scan="fan"),
    "fbp, cone beam": Case("fbp", scan="cone"),
    "sirt": Case("sirt", {"iterations": 10}),
    "cgls": Case("cgls", {"iterations": 5}),
    "cgls, cone beam": Case("cgls", {"iterations": 5}, scan="cone"),
    "admm-tv": Case("admm-tv", {"iterations": 10}),
    "admm-tv, highest_hu": Case("admm-tv", {"iterations": 10, "highest_hu": 600.0}),
    "fbp-unet": Case("fbp-unet"),
    "dds-2d": Case("dds-2d", {"steps": 4}),
    "dds": Case("dds", {"steps": 4}),
    "dds, variables kept": Case("dds", {"steps": 4, "tv_z_keep": True}),
    "dds, cone beam": Case("dds", {"steps": 3}, scan="cone"),
    "dds, cg": Case("dds", {"steps": 3, "consistency": "cg"}),
    "dds, cg with rho": Case("dds", {"steps": 3, "consistency": "cg", "rho": 0.5}),
    "dds, cg weighted": Case("dds", {"steps": 3, "consistency": "cg", "weighted": True}, "noisy"),
    "dds, cg to the noise": Case(
        "dds",
        {"steps": 3, "consistency": "cg", "cg_iterations": 20, "stop_at_noise": True},
        "noisy",
    ),
    "dds, prox": Case("dds", {"steps": 3, "consistency": "prox", "rho": 0.1}),
    "dds, hard": Case("dds", {"steps": 3, "consistency": "hard"}),
    "dds, dps": Case("dds", {"steps": 3, "consistency": "dps"}),
    "dds, none": Case("dds", {"steps": 3, "consistency": "none"}),
    "dds, dual variable kept": Case("dds", {"steps": 4, "dual_damping": 0.85}),
    "dds, mean of the last estimates": Case("dds", {"steps": 5, "tail_average_below": 500}),
    "dds, other times and noise": Case(
        "dds",
        {"steps": 4, "time_power": 2.0, "ddim_eta": 0.5, "nonnegative": False},
    ),
    "diffusion-mbir": Case("diffusion-mbir", {"steps": 3}),
    "diffusion-mbir, no corrector": Case("diffusion-mbir", {"steps": 3, "corrector_snr": 0.0}),
    "tpdm": Case("tpdm", {"steps": 6}),
    "tpdm, cg": Case("tpdm", {"steps": 4, "consistency": "cg", "seed": 2}),
    "diffusionblend": Case("diffusionblend", {"steps": 4}),
    "langevin": Case("langevin", {"rounds": 3}),
    "langevin, clean neighbours": Case("langevin", {"rounds": 3}, prior_type="neighbours"),
    "langevin, cone beam": Case("langevin", {"rounds": 2, "init": "noise"}, scan="cone"),
    "diffusionblend++, from noise": Case(
        "diffusionblend++", {"consistency": "cg", "steps": 4, "init": "noise"}
    ),
    "diffusionblend++, from fbp": Case(
        "diffusionblend++", {"consistency": "cg", "steps": 4, "init": "fbp"}
    ),
    "diffusionblend++, from cg": Case(
        "diffusionblend++", {"consistency": "cg", "steps": 3, "init": "cg"}
    ),
    "diffusionblend++, from tv": Case(
        "diffusionblend++", {"consistency": "cg", "steps": 3, "init": "tv"}
    ),
    "diffusionblend++, coarse-to-fine initialisation": Case(
        "diffusionblend++", {"consistency": "cg", "steps": 4, "fine_steps": 3}, scan="fine"
    ),
    "diffusionblend++, fast": Case(
        "diffusionblend++", {"consistency": "cg", "preset": "fast", "steps": 4}
    ),
    "diffusionblend++, best": Case(
        "diffusionblend++", {"consistency": "cg", "preset": "best", "steps": 4}
    ),
    "diffusionblend++, adjacent": Case(
        "diffusionblend++", {"consistency": "cg", "steps": 3, "partition": "adjacent"}
    ),
    "diffusionblend++, jump": Case(
        "diffusionblend++", {"consistency": "cg", "steps": 3, "partition": "jump"}
    ),
    "diffusionblend++, fixed": Case(
        "diffusionblend++", {"consistency": "cg", "steps": 3, "partition": "fixed"}
    ),
    "diffusionblend++, dps": Case("diffusionblend++", {"steps": 3, "consistency": "dps"}),
    "diffusionblend++, cone beam": Case(
        "diffusionblend++", {"consistency": "cg", "steps": 3}, scan="cone"
    ),
    "diffusionblend++, as it is": Case("diffusionblend++", {"steps": 4}),
    "diffusionblend++, noisy data": Case("diffusionblend++", {"steps": 4}, "noisy"),
    "diffusionblend++, solved, coarse": Case(
        "diffusionblend++", {"steps": 4, "fine_steps": 3}, scan="fine"
    ),
    "diffusionblend++, solved, cone": Case("diffusionblend++", {"steps": 3}, scan="cone"),
    "dds, prox by the noise": Case("dds", {"steps": 3, "consistency": "prox"}, "noisy"),
}
"""Every case by its name; priors are those of `priors_for`, the seed 0 where none is set."""


@dataclass(frozen=True)
class Golden:
    """What is kept of a reconstruction: PSNR in dB over RANGE_HU, and PICKS voxels in HU."""

    psnr_db: float
    hu: tuple[float, ...]


def run(case: Case, projections: Projections | None = None) -> Golden:
    """A case computed on the CPU; `projections` take the place of the scan, to try others."""
    projections = projections or scan_of(case.scan)
    result = reconstruct(
        projections, case.method, **priors_for(case), device="cpu", **case.settings
    )
    hu = result.volume.values.astype(np.float64)
    mean_square = float(np.mean((hu - truth(case.scan).values) ** 2))
    picks = hu.ravel()[:: hu.size // PICKS | 1]  # odd, so that every column is met
    return Golden(
        round(10 * float(np.log10(RANGE_HU**2 / mean_square)), 4),
        tuple(round(float(v), 2) for v in picks),
    )


def priors_for(case: Case) -> dict[str, Prior]:
    """Tiny networks of random weights for a case, as `reconstruct` takes them."""
    needed = METHODS[case.method].prior
    if needed is None:
        return {}
    if case.scan == "fine":
        fine = random_prior(0, replace(TINY, prior_type=needed.prior_type, image_size=32))
        return {"prior": fine, "coarse_prior": prior(needed.prior_type)}
    given = {"prior": prior(case.prior_type or needed.prior_type)}
    if needed.coronal:
        given["coronal_prior"] = prior("coronal")
    return given


@cache
def prior(prior_type: str) -> Prior:
    """A prior of random weights of a type, for 16 x 16 pixels."""
    made = random_prior(1, replace(TINY, prior_type=prior_type))
    made.trained = {"settings": {"views": VIEWS, "arc_degrees": 180.0}}
    return made


@cache
def truth(name: str) -> Volume:
    """The volume behind a scan."""
    return small_volume((N_SLICES, 32, 32) if name == "fine" else (N_SLICES, 16, 16))


@cache
def scan_of(name: str) -> Projections:
    """A scan by its name."""
    volume = truth(name)
    if name in ("parallel", "fine"):
        return scan(volume, VIEWS)
    if name == "noisy":
        geometry = scan(volume, VIEWS).geometry
        return simulate(volume, geometry, **NOISE, seed=4)
    make = {"fan": FanBeam, "cone": ConeBeam}[name]
    return simulate(volume, make.fitting(volume.grid, 12, **SOURCE_MM))
