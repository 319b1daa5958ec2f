"""A residual far above what a method leaves is reported, and no other."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

import diffusionblend as db
from analytic import Ellipsoid, rays_of_helix
from diffusionblend.data.projections import Projections
from diffusionblend.geometry import ConeBeam, Helix, ParallelBeam
from diffusionblend.geometry.grid import Grid
from diffusionblend.methods.residual import (
    photons_between_rows,
    photons_note,
    residual_note,
    shown_photons,
)
from diffusionblend.phantom import synthetic_chest
from diffusionblend.simulation import simulate
from field_scans import HALF, parallel_lines
from tiny_network import TINY, random_prior

ANGLES = HALF[::4]
DISC = ((3, 2, 20, 0.02), (8, -4, 6, 0.02))


def scan_of(*, size=48, shift=0.0, order=None, photons=None, thinner=1):
    lines = parallel_lines(ANGLES, 64, 31.5, rows=1, discs=DISC) / thinner
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
    faint = replace(scan_of(photons=300, thinner=10), notes={"source": "measured"})
    assert residual_note(made, faint, 0.9) is None
    assert residual_note(db.make_method("dds"), unknown, 0.15) is None
    assert residual_note(db.make_method("dds", consistency="none"), unknown, 0.9) is None
    assert residual_note(db.make_method("dds", consistency="dps"), unknown, 0.9) is None


@pytest.mark.parametrize("photons", [100, 1e3])
def test_unknown_noise_of_a_scan_made_in_python(photons):
    """Of discs that attenuate by 0.13 at most, nearly all of what FBP leaves is noise."""
    scan = replace(scan_of(photons=photons, thinner=8), notes={})
    assert db.reconstruct(scan, "fbp").relative_residual > 0.25
    assert note(scan, "fbp") is None
    assert note(scan, "sirt") is None
    shuffled = np.random.default_rng(0).permutation(len(ANGLES))
    assert note(replace(scan_of(order=shuffled), notes={}), "sirt")


def test_a_short_arc_is_named_as_the_cause():
    """Of 90 degrees filtered back-projection leaves much, though nothing is wrong."""
    short = scan_of()[: len(ANGLES) // 2]
    assert "views cover only 88 degrees" in note(short, "fbp")
    assert note(short, "cgls") is None


def test_photons_are_counted_by_how_rows_differ() -> None:
    """Rows of one object that differ in noise alone show it to ten percent, whatever its edges."""
    scan = scan_of(photons=None)
    rng, lines = np.random.default_rng(0), np.repeat(scan.values, 4, axis=1)
    for photons in (100, 1e4, 1e6):
        noisy = -np.log(rng.poisson(photons * np.exp(-lines)) / photons)
        assert photons_between_rows(noisy) == pytest.approx(photons, rel=0.1)
    assert photons_between_rows(lines) == math.inf
    assert photons_between_rows(scan.values) == 0.0


def test_photons_are_counted_by_the_views_alone():
    assert shown_photons(scan_of().values) > 1e5  # the edges of two discs are no noise
    for photons in (100, 3e3):
        assert shown_photons(scan_of(photons=photons).values) == pytest.approx(photons, rel=0.2)


# ---- a small ball, whose line integrals of 0.2 and less once passed for noise

BALL = Ellipsoid(centre_mm=(7, -3, 1), semi_axes_mm=(5, 5, 5), value=0.02)
VOLUME = Grid(shape=(8, 24, 24), spacing_mm=(1.5, 1.5, 1.5))
SOURCE = {"source_to_axis_mm": 120.0, "source_to_detector_mm": 180.0}
HELIX = Helix.fitting(VOLUME, 60, n_rows=8, **SOURCE)
CONE = ConeBeam.fitting(VOLUME, 60, arc_degrees=360.0, **SOURCE)
LEANING = CONE.to_vectors().tilted(0.5)


def lines_of(geometry) -> np.ndarray:
    """Exact line integrals of the ball along the rays of vectors or a helix."""
    if isinstance(geometry, Helix):
        return BALL.line_integrals(*rays_of_helix(geometry))
    vectors = geometry.to_vectors()
    source, middle, u, v = (
        place[:, None, None] for place in np.moveaxis(vectors.panels().places_mm, 1, 0)
    )
    rows, columns = (np.arange(n) - (n - 1) / 2 for n in (vectors.n_rows, vectors.n_columns))
    pixels = middle + rows[:, None, None] * v + columns[:, None] * u
    return BALL.line_integrals(np.broadcast_to(source, pixels.shape), pixels - source)


def note_of_ball(seen, taken, method, photons=None, **settings):
    """Of a scan whose geometry is one and is taken for another."""
    lines = lines_of(seen)
    if photons is not None:
        lines = -np.log(np.random.default_rng(0).poisson(photons * np.exp(-lines)) / photons)
    scan = Projections(lines.astype(np.float32), taken, VOLUME, 0.02, {"source": "measured"})
    return note(scan, method, **settings)


@pytest.mark.filterwarnings("ignore:The detector is too small", "ignore:.*over half a turn")
@pytest.mark.parametrize(
    ("seen", "wrong", "method"),
    [
        (HELIX, replace(HELIX, pitch_mm=HELIX.pitch_mm * 0.6), "fbp"),
        (HELIX, replace(HELIX, pitch_mm=HELIX.pitch_mm * 1.5), "sirt"),
        (LEANING, LEANING.tilted(-0.5), "sirt"),
        (CONE, replace(CONE, detector_shift_mm=7.0), "fbp"),
        (CONE, replace(CONE, angles_rad=tuple(np.array(CONE.angles_rad) / 12)), "sirt"),
    ],
    ids=["pitch", "pitch, sirt", "tilt", "axis", "step"],
)
def test_a_wrong_geometry_of_a_small_ball_is_reported(seen, wrong, method):
    assert "tilt or pitch" in note_of_ball(seen, wrong, method)
    assert note_of_ball(seen, seen, method) is None
    assert note_of_ball(seen, seen, method, photons=500) is None


def test_an_object_that_leaves_the_detector():
    """Without extrapolation the inside is wrong and the residual low; with it, the reverse."""
    lines = parallel_lines(ANGLES, 30, 14.5, rows=1, discs=DISC)
    geometry = ParallelBeam(angles_rad=tuple(ANGLES), n_columns=30, column_mm=1.0)
    scan = Projections(lines, geometry, Grid(shape=(1, 28, 28), spacing_mm=(1.0,) * 3), 0.02, {})
    assert "leaves the detector in 100 % of the views" in note(scan, "fbp")
    assert "--air-columns" not in note(scan, "fbp")
    measured = replace(scan, notes={"source": "measured"})
    assert "if the outermost columns see air" in note(measured, "fbp")
    assert "'projections import --air-columns 5'" in note(measured, "fbp")
    assert note(scan, "fbp", extrapolate=True) is None


def test_a_rho_that_outweighs_the_data_is_named() -> None:
    words = note(scan_of(), "dds-2d", steps=6, consistency="prox", rho=1e5)
    assert words is not None and "a rho of 100000, if by it the data count for too little" in words
    wrong = note(scan_of(shift=3.0), "dds-2d", steps=6, consistency="prox")
    assert wrong is not None and "rho" not in wrong


@pytest.mark.parametrize(
    ("photons", "told", "words"),
    [
        (1e6, 1e6, None),
        (1e4, 1e4, None),
        (1e3, 1e3, None),
        (20.0, 20.0, None),
        (3.0, 3.0, None),
        (1e6, 20.0, "said to have 20 photons"),
        (1e4, 100.0, "line integrals up to 5.88, whose rays none of so few would pass"),
        (1e4, 3e5, "the noise of about 9e+03"),
        (1e6, 1e4, "said to have 1e+04 photons"),
        (None, 3.0, "said to have 3 photons"),
        (1e3, 1e6, "the noise of about 1e+03"),
        (1e4, 1e9, "the noise of about 9e+03"),
        (None, 1e9, None),
        (None, None, None),
    ],
)
def test_a_photon_count_far_from_the_noise_is_told(photons, told, words) -> None:
    volume = synthetic_chest(1, shape=(3, 256, 256), in_plane_mm=1.4)
    taken = simulate(volume, ParallelBeam.fitting(volume.grid, views=16), photons=photons, seed=0)
    note = photons_note(replace(taken, notes={**taken.notes, "photons": told}))
    assert (note is None) == (words is None)
    assert words is None or (note is not None and words in note)


def test_pixels_of_centimetres_look_like_no_number_of_photons() -> None:
    """The edges of so few differ like noise, so that a right count would seem far too high."""
    volume = synthetic_chest(2, shape=(6, 16, 16), in_plane_mm=25.0, slice_mm=30.0)
    taken = simulate(volume, ParallelBeam.fitting(volume.grid, views=16), photons=1e9, seed=0)
    assert 60 * max(photons_between_rows(taken.values), shown_photons(taken.values)) < 1e6
    assert photons_note(taken) is None
