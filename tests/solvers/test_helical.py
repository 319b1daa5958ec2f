"""Helical filtered back-projection of exact integrals: scale, place, ends, and what is refused."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from analytic import Ellipsoid, rays_of_helix
from diffusionblend import reconstruct
from diffusionblend.data.projections import Projections
from diffusionblend.errors import InputError
from diffusionblend.geometry import Grid, Helix
from diffusionblend.solvers.fdk import feldkamp_davis_kress
from diffusionblend.solvers.filtered_back_projection import filtered_back_projection

VALUE = 0.02
GRID = Grid(shape=(10, 48, 48), spacing_mm=(2.0, 1.5, 1.5))
CENTRE = (13.0, -11.0, 1.0)
BALL = Ellipsoid(centre_mm=CENTRE, semi_axes_mm=(15, 15, 8), value=VALUE)
CORE = Ellipsoid(centre_mm=CENTRE, semi_axes_mm=(11, 11, 4), value=VALUE)
SPOTS = ((-0.8, 0.0, -0.6), (0.8, 0.0, 0.6))


def helix(views: int = 72, **options) -> Helix:
    given = {"source_to_axis_mm": 220.0, "source_to_detector_mm": 360.0, "n_rows": 12}
    return Helix.fitting(GRID, views, **(given | options))


def lines_of(geometry: Helix) -> torch.Tensor:
    return torch.from_numpy(BALL.line_integrals(*rays_of_helix(geometry))).float()


def core_and_air(volume: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    core = CORE.picture(GRID.shape, GRID.spacing_mm) > 0.999 * VALUE
    assert core.sum() > 100
    return volume[core], volume[BALL.picture(GRID.shape, GRID.spacing_mm) == 0]


@pytest.mark.parametrize(
    "geometry",
    [
        helix(),
        helix(pitch_mm=-30.0),
        helix(pitch_mm=8.0),
        helix(curved=True),
        helix(curved=True, spots_mm=SPOTS),
        helix(spots_mm=SPOTS, start_rad=2.0),
        helix(views=73, start_mm=-40.0),
        replace(helix(), detector_shift_mm=0.6),
        replace(helix(curved=True), axis_shift_mm=0.4, detector_shift_mm=0.5, detector_lift_mm=1.0),
        replace(helix(), pitch_mm=0.0, start_mm=0.0, n_rows=20),
    ],
    ids=[
        *("flat", "downwards", "low pitch", "curved", "curved with flying spots"),
        *("flat with flying spots", "odd views", "quarter offset", "shifted", "circle"),
    ],
)
def test_a_ball_comes_back_as_it_is_off_centre(geometry):
    volume = filtered_back_projection(lines_of(geometry), geometry, GRID).numpy()
    core, air = core_and_air(volume)
    np.testing.assert_allclose(core.mean(), VALUE, rtol=0.005)
    assert core.std() < 0.01 * VALUE
    assert np.abs(air).mean() < 0.03 * VALUE
    truth = BALL.picture(GRID.shape, GRID.spacing_mm)
    apart = [
        (image * axis).sum() / image.sum()
        for axis in np.indices(GRID.shape)
        for image in (np.where(volume > VALUE / 2, VALUE, 0), np.where(truth > VALUE / 2, VALUE, 0))
    ]
    np.testing.assert_allclose(apart[::2], apart[1::2], atol=0.1)  # the same place, in voxels


def test_slices_beyond_the_helix_are_reported_and_the_others_are_right():
    geometry = helix(start_mm=-5.0, pitch_mm=14.0)
    with pytest.warns(UserWarning, match="slices are not measured over half a turn.*: 0"):
        volume = filtered_back_projection(lines_of(geometry), geometry, GRID).numpy()
    core, _ = core_and_air(volume)
    np.testing.assert_allclose(core.mean(), VALUE, rtol=0.005)


def test_a_pitch_that_leaves_gaps_is_refused():
    geometry = helix(n_rows=4, row_mm=1.0, pitch_mm=20.0)
    with pytest.raises(InputError, match="No slice is measured over half a turn") as raised:
        filtered_back_projection(lines_of(geometry), geometry, GRID)
    assert "admm-tv" in raised.value.try_


def test_what_has_no_helical_back_projection_is_refused():
    class Another(Helix):
        pass

    geometry = helix()
    y = lines_of(geometry)
    with pytest.raises(InputError, match="of a Another"):
        filtered_back_projection(y, Another(**vars(geometry)), GRID)
    with pytest.raises(InputError, match="asked for a Helix"):
        feldkamp_davis_kress(y, geometry, GRID)
    off = replace(geometry, detector_shift_mm=10.0)
    with pytest.raises(InputError, match="about the axis"):
        filtered_back_projection(y, off, GRID)
    views = np.r_[0:20, 40 : geometry.n_views]
    with pytest.raises(InputError, match="even steps"):
        filtered_back_projection(y[views], geometry.of_views(views), GRID)
    flying = np.random.default_rng(0).normal(size=(geometry.n_views, 3))
    with pytest.raises(InputError, match=r"focal spot takes \d+ positions"):
        filtered_back_projection(y, replace(geometry, spot_offsets_mm=flying), GRID)
    with pytest.raises(InputError, match="window"):
        filtered_back_projection(y, geometry, GRID, window="none")


@pytest.mark.parametrize("method", ["fbp", "cgls", "sirt", "admm-tv"])
def test_methods_give_the_ball_in_hu(method):
    geometry = helix(curved=True, spots_mm=SPOTS)
    scan = Projections(lines_of(geometry).numpy(), geometry, GRID, VALUE)
    settings = {"cgls": {"iterations": 12}, "sirt": {"iterations": 30}, "fbp": {}}
    given = settings.get(method, {"iterations": 12, "weight": 0.2})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        volume = reconstruct(scan, method, device="cpu", **given).volume
    core, air = core_and_air(VALUE * (1 + volume.values / 1000))
    np.testing.assert_allclose(core.mean(), VALUE, rtol=0.02)
    assert np.abs(air).mean() < 0.05 * VALUE
