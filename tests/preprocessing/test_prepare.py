"""A scan of an analytic object, from counts to its picture."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from analytic import Ellipsoid, panel_rays
from diffusionblend.data.raw_scan import RawScan
from diffusionblend.errors import InputError
from diffusionblend.geometry import ConeBeam, FanBeam, ParallelBeam, truncated_fraction
from diffusionblend.preprocessing.prepare import prepare_scan
from diffusionblend.preprocessing.settings import PrepareSettings
from diffusionblend.solvers.filtered_back_projection import filtered_back_projection
from measured_scan import OBJECT, half_scan, lines_of, scan_of

ANGLES = half_scan(120)
BALL = Ellipsoid(centre_mm=(5, -4, 0), semi_axes_mm=(9, 9, np.inf), value=0.02)


def picture_of(projections) -> np.ndarray:
    y = torch.from_numpy(projections.values)
    return filtered_back_projection(y, projections.geometry, projections.grid).numpy()


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


@pytest.mark.parametrize("binning", [(1, 1), (1, 2)])
@pytest.mark.parametrize("centre", [31.5, 27.2])
def test_an_off_centre_scan_comes_back_at_its_place(centre, binning):
    scan = scan_of(lines_of(ANGLES, centre_column=centre), ANGLES)
    done = prepare_scan(scan, PrepareSettings(binning=binning))
    assert done.centre.column == pytest.approx(centre, abs=0.15)
    geometry, grid = done.projections.geometry, done.projections.grid
    assert isinstance(geometry, ParallelBeam)
    assert truncated_fraction(geometry, grid) < 0.01
    assert grid.spacing_mm == (1.0, binning[1], binning[1])
    found = picture_of(done.projections)
    truth = sum(e.picture(grid.in_plane_shape, grid.spacing_mm[1:]) for e in OBJECT)
    assert correlation(found[2], truth) > 0.97
    assert found[2][truth > 0.019].mean() == pytest.approx(truth[truth > 0.019].mean(), rel=0.03)
    notes = json.loads(json.dumps(done.projections.notes))
    assert notes["source"] == "measured" and notes["centre"]["method"] == "pairs and wedge"


def test_a_given_axis_counts_in_the_columns_of_the_file():
    """Cropped by 6 and binned by 2, column 27.5 of the file is (27.5 - 6 - 0.5) / 2."""
    lines = lines_of(ANGLES, centre_column=27.5)[:, :, 6:]
    settings = PrepareSettings(binning=(1, 2), centre_column=27.5)
    done = prepare_scan(scan_of(lines, ANGLES, first_column=6), settings)
    assert done.centre is None
    geometry = done.projections.geometry
    at_axis = np.interp(0.0, geometry.column_positions_mm, np.arange(geometry.n_columns))
    assert at_axis == pytest.approx(10.5)
    found = prepare_scan(scan_of(lines, ANGLES, first_column=6), PrepareSettings(binning=(1, 2)))
    assert found.centre.column == pytest.approx(27.5, abs=0.2)


def fan_scan(kind: str) -> RawScan:
    angles = np.arange(90) * np.pi / 45
    positions, heights = (np.arange(80) - 37.5) * 1.0, np.array([-1.0, 0.0, 1.0])
    lines = BALL.line_integrals(
        *panel_rays(angles, positions, heights if kind == "cone" else np.zeros(3), 150.0, 225.0)
    )
    return RawScan(
        data=lines,
        values="lines",
        angles_rad=angles,
        column_mm=1.0,
        centre_column=37.5,
        source_to_axis_mm=150.0,
        source_to_detector_mm=225.0,
    )


@pytest.mark.parametrize(("kind", "beam"), [("fan", FanBeam), ("cone", ConeBeam)])
def test_a_fan_and_a_cone_whose_axis_is_not_in_the_middle(kind, beam):
    done = prepare_scan(fan_scan(kind), PrepareSettings(geometry=kind, size=40))
    geometry, grid = done.projections.geometry, done.projections.grid
    assert isinstance(geometry, beam)
    assert truncated_fraction(replace_rows(geometry), grid) < 0.02
    assert grid.shape == (3, 40, 40) and grid.spacing_mm[0] == pytest.approx(1 / 1.5)
    pixel_mm = grid.spacing_mm[1]
    found = picture_of(done.projections)[1]
    truth = BALL.picture((1, 40, 40), (1, pixel_mm, pixel_mm), parts=8)[0]
    assert correlation(found, truth) > 0.97


def replace_rows(geometry):
    """The fan of a cone, whose rows do not see all of the slices' cylinder."""
    if isinstance(geometry, FanBeam):
        return geometry
    return FanBeam(
        angles_rad=geometry.angles_rad,
        n_columns=geometry.n_columns,
        column_mm=geometry.column_mm,
        detector_shift_mm=geometry.detector_shift_mm,
        source_to_axis_mm=geometry.source_to_axis_mm,
        source_to_detector_mm=geometry.source_to_detector_mm,
    )


def test_the_other_sense_of_rotation_mirrors_the_object():
    scan = scan_of(lines_of(ANGLES), ANGLES)
    one, other = (
        picture_of(prepare_scan(scan, PrepareSettings(reverse_angles=r)).projections)[1]
        for r in (False, True)
    )
    assert correlation(other, one[::-1]) > 0.99
    assert correlation(other, one) < 0.9


def test_air_and_rings_are_corrected_when_asked():
    angles = half_scan(90)
    truth = lines_of(angles)
    stripes = np.zeros(64)
    stripes[25] = 0.2
    scan = scan_of(truth + 0.2 + stripes, angles)
    done = prepare_scan(scan, PrepareSettings(air_columns=3, ring_columns=5, centre_column=31.5))
    away = np.arange(64) != 25
    found = done.projections.values
    np.testing.assert_allclose(found[..., away].mean(0), truth[..., away].mean(0), atol=0.06)
    assert np.abs((found - truth).mean(0)[:, 25]).max() < 0.1
    assert done.projections.notes["settings"]["ring_columns"] == 5


@pytest.mark.parametrize(
    ("changes", "settings", "words"),
    [
        ({"column_mm": None}, {}, ("width of its detector columns", "column_mm; 1 leaves")),
        ({}, {"geometry": "fan"}, ("distances of a fan", "source_to_axis_mm and")),
        ({"source_to_axis_mm": 5.0}, {"geometry": "parallel"}, ("parallel beam was asked",)),
        ({"source_to_axis_mm": 9.0, "source_to_detector_mm": 90.0}, {"size": 64, "pixel_mm": 1},
         ("lies inside the volume",)),
        ({}, {"centre_column": 64.0}, ("at column 64", "0 to 63")),
        ({"first_column": 10}, {"centre_column": 4.0}, ("at column 4", "10 to 73")),
        ({"data": np.ones((5, 3, 64))}, {}, ("5 views and 120 angles",)),
        ({"flats": np.ones((1, 3, 60))}, {}, ("flats have (3, 60)", "(3, 64)")),
        ({"data": np.ones((120, 64))}, {}, ("shape (120, 64)", "(view, row, column)")),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_reported(changes, settings, words):
    with pytest.raises(InputError) as caught:
        prepare_scan(scan_of(lines_of(ANGLES), ANGLES, **changes), PrepareSettings(**settings))
    assert "Expected: " in str(caught.value)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("column_mm", v) for v in (0.0, -1.0, np.nan)),
        *(("mu_water_per_mm", v) for v in (0.0, np.inf)),
        ("size", 0),
        ("air_columns", -1),
        ("centre_column", np.nan),
    ],
)
def test_settings_that_no_scan_has(name, value):
    with pytest.raises(InputError, match=name):
        PrepareSettings(**{name: value})


def test_what_a_detector_does_not_see_is_reported():
    scan = scan_of(lines_of(ANGLES), ANGLES)
    done = prepare_scan(scan, PrepareSettings(size=90, pixel_mm=1))
    assert "does not see" in done.correction.notes[-1]


def test_the_default_slices_of_a_good_cone_are_not_called_too_large():
    """The panel misses some of the first and last slices in any cone; wider ones are reported."""
    scan = replace(fan_scan("cone"), source_to_axis_mm=60.0, source_to_detector_mm=90.0)
    tall = replace(scan, data=np.repeat(scan.data, 20, axis=1), row_mm=1.0)
    settings = PrepareSettings(geometry="cone", centre_row=29.5)
    assert "does not see" not in " ".join(prepare_scan(tall, settings).correction.notes)
    wide = replace(settings, size=80, pixel_mm=1.0)
    assert "does not see" in " ".join(prepare_scan(tall, wide).correction.notes)
