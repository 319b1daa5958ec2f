"""A residual far above what a method leaves is reported, and no other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import diffusionblend as db
from diffusionblend.data.projections import Projections
from diffusionblend.geometry import ParallelBeam
from diffusionblend.geometry.grid import Grid
from diffusionblend.methods.residual import residual_note
from field_scans import HALF, parallel_lines
from tiny_network import TINY, random_prior

ANGLES = HALF[::4]
DISC = ((3, 2, 20, 0.02), (8, -4, 6, 0.02))


def scan_of(*, size=48, shift=0.0, order=None, photons=None):
    lines = parallel_lines(ANGLES, 64, 31.5, rows=1, discs=DISC)
    if photons is not None:
        rng = np.random.default_rng(3)
        lines = -np.log(rng.poisson(photons * np.exp(-lines)) / photons)
    angles = ANGLES if order is None else ANGLES[order]
    geometry = ParallelBeam(
        angles_rad=tuple(angles), n_columns=64, column_mm=1.0, detector_shift_mm=shift
    )
    grid = Grid(shape=(1, size, size), spacing_mm=(1.0, 1.0, 1.0))
    notes = {"source": "simulated"} | ({} if photons is None else {"photons": photons})
    return Projections(lines, geometry, grid, 0.02, notes)


def note(scan, method, **settings):
    made = db.make_method(method, **settings)
    residual = db.reconstruct(scan, made, prior=prior_of(made, scan)).relative_residual
    return residual_note(made, scan, residual)


def prior_of(method, scan):
    """A network that knows nothing, for a method that needs one: what it leaves is the most."""
    if method.prior is None:
        return None
    size = scan.grid.in_plane_shape[0]
    return random_prior(config=replace(TINY, image_size=size, prior_type="slices"))


QUICK_TV = ("admm-tv", {"iterations": 12})
SAMPLERS = [("dds-2d", {"steps": 6, "consistency": step}) for step in ("cg", "prox")]
SAMPLERS += [("diffusion-mbir", {"steps": 6})]


@pytest.mark.parametrize(
    ("method", "settings"), [("fbp", {}), ("cgls", {}), ("sirt", {}), QUICK_TV, *SAMPLERS]
)
@pytest.mark.parametrize("photons", [None, 3e3])
def test_silence_where_the_scan_fits(method, settings, photons):
    assert note(scan_of(photons=photons), method, **settings) is None
    if method != "admm-tv":
        assert note(scan_of(photons=photons)[::4], method, **settings) is None


@pytest.mark.parametrize(("method", "settings"), [("cgls", {}), ("sirt", {}), QUICK_TV, *SAMPLERS])
@pytest.mark.filterwarnings("ignore:The detector")
def test_what_does_not_fit_is_reported(method, settings):
    shuffled = np.random.default_rng(0).permutation(len(ANGLES))
    odd = [scan_of(size=24)]
    odd += [] if method == "admm-tv" else [scan_of(shift=9.0), scan_of(order=shuffled)]
    for scan in odd:
        assert "far above what" in (note(scan, method, **settings) or ""), scan


def test_fbp_of_a_volume_that_is_too_small():
    assert "larger than the volume" in note(scan_of(size=16), "fbp")


def test_unknown_noise_of_a_measured_scan():
    scan = scan_of(photons=300)
    unknown = replace(scan, notes={"source": "measured"})
    made = db.make_method("sirt")
    assert residual_note(made, unknown, 0.15) is None
    assert residual_note(made, unknown, 0.5) is not None
    faint = replace(unknown, values=scan.values / 10)
    assert residual_note(made, faint, 0.5) is None
    assert residual_note(db.make_method("dds"), unknown, 0.15) is None
    assert residual_note(db.make_method("dds", consistency="none"), unknown, 0.9) is None
    assert residual_note(db.make_method("dds", consistency="dps"), unknown, 0.9) is None


def test_a_short_arc_is_named_as_the_cause():
    """Of 90 degrees filtered back-projection leaves much, though nothing is wrong."""
    short = scan_of()[: len(ANGLES) // 2]
    assert "views cover only 88 degrees" in note(short, "fbp")
    assert note(short, "cgls") is None
