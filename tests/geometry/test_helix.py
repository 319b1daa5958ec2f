"""The helix: what it is made of, what it refuses, its files, and where its views lie."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import numpy as np
import pytest

import diffusionblend as db
from diffusionblend.data.projections import Projections
from diffusionblend.errors import InputError
from diffusionblend.geometry import Geometry, Grid, Helix, truncated_fraction
from diffusionblend.geometry.checks import check_sources
from diffusionblend.geometry.interop import to_astra, to_tigre
from diffusionblend.io.projections import read_projections, write_projections

GRID = Grid(shape=(6, 16, 16), spacing_mm=(2.0, 1.5, 1.5))
SPOTS = ((-0.7, 0.0, -0.4), (0.7, 0.1, 0.4))


def helix(**options) -> Helix:
    given = {"source_to_axis_mm": 60.0, "source_to_detector_mm": 90.0, "n_rows": 4}
    return Helix.fitting(GRID, 12, **(given | options))


def test_the_source_advances_by_the_pitch_in_a_turn_and_measures_every_slice():
    geometry = helix(pitch_mm=6.0, start_rad=0.5)
    sources = geometry.source_positions_mm()
    assert sources[12, 2] - sources[0, 2] == pytest.approx(6.0)
    np.testing.assert_allclose(sources[12, :2], sources[0, :2], atol=1e-9)
    np.testing.assert_allclose(np.hypot(*sources[:, :2].T), 60.0)
    np.testing.assert_allclose(sources[0, :2], (60 * math.sin(0.5), -60 * math.cos(0.5)))
    # a quarter turn and half the fan beyond the outermost slices
    fan = math.asin(math.hypot(24, 24) / 2 / 60)
    margin = 6.0 * (math.pi / 2 + fan) / (2 * math.pi)
    assert sources[0, 2] == pytest.approx(-5 - margin)
    assert 5 + margin <= sources[-1, 2] < 5 + margin + 2 * 6.0 / 12
    down = helix(pitch_mm=-6.0)
    assert down.heights_mm[0] == pytest.approx(5 + margin) and down.heights_mm[-1] < -5
    later = helix(pitch_mm=6.0, start_mm=0.0)
    assert later.heights_mm[0] == 0.0 and later.n_views < geometry.n_views
    assert helix().pitch_mm == pytest.approx(4 * 2.0)  # all rows at the axis


def test_long_helices_are_not_taken_for_degrees():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert helix(pitch_mm=0.5).angles_rad[-1] > 8 * math.pi


def test_some_views_stay_where_they_were():
    geometry = helix(spots_mm=SPOTS, curved=True)
    views = np.array([3, 4, 9])
    some = geometry.of_views(views)
    assert type(some) is Helix and some.n_views == 3
    np.testing.assert_allclose(
        some.source_positions_mm(), geometry.source_positions_mm()[views], atol=1e-12
    )
    whole = geometry.panels().places_mm.reshape(geometry.n_views, -1)
    np.testing.assert_allclose(some.panels().places_mm.reshape(3, -1), whole[views], atol=1e-12)


def test_the_cells_of_a_curved_detector_lie_about_the_centre_whatever_the_spot_does():
    geometry = helix(spots_mm=SPOTS, curved=True)
    panels = geometry.panels()
    places = panels.places_mm.reshape(geometry.n_views, geometry.n_columns, 4, 3)
    centre = geometry.circle_mm()
    away = places[:, :, 1] - centre[:, None]
    np.testing.assert_allclose(np.linalg.norm(away[..., :2], axis=-1), 90.0)
    steps = np.arccos((away[:, 1:] * away[:, :-1]).sum(-1) / 90.0**2)
    np.testing.assert_allclose(steps, geometry.column_mm / 90.0, rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(places[0, :, 0] - centre[0], axis=-1), 0.8062257748)
    assert panels.n_columns == 1 and panels.n_rows == 4
    assert (geometry.source_positions_mm() - centre)[0, 2] == pytest.approx(-0.4)


@pytest.mark.parametrize("curved", [False, True])
@pytest.mark.parametrize("spots", [(), SPOTS])
def test_it_sees_what_its_columns_reach(curved, spots):
    """A point put on a ray near the end of a row is seen, one just beyond is not."""
    geometry = helix(curved=curved, spots_mm=spots, source_to_detector_mm=100.0)
    view = 3
    source = geometry.source_positions_mm()[view]
    u, n = (axis[view] for axis in geometry.axes())
    for column, is_seen in ((0, True), (geometry.n_columns, False), (-1, False)):
        place = (column - (geometry.n_columns - 1) / 2) * geometry.column_mm
        place += 0.1 * geometry.column_mm * (1 if column < 1 else -1) * (1 if is_seen else -1)
        angle = place / 100.0
        cell = place * u + 100.0 * n
        if curved:
            cell = 100.0 * (math.sin(angle) * u + math.cos(angle) * n)
        target = geometry.circle_mm()[view] + cell
        point = source + 0.6 * (target - source)
        assert geometry.sees(point[None], np.array([view]))[0] == is_seen


def test_ends_along_z_do_not_count_as_truncation_and_narrow_rows_do():
    assert truncated_fraction(helix(), GRID) == 0
    assert truncated_fraction(replace(helix(curved=True), n_columns=10), GRID) > 0.3
    check_sources(helix(), GRID)


@pytest.mark.parametrize("options", [{}, {"curved": True, "spots_mm": SPOTS, "pitch_mm": -5.0}])
def test_files_keep_all_of_it(tmp_path, options):
    geometry = helix(**options)
    values = np.ones((geometry.n_views, 4, geometry.n_columns), np.float32)
    scan = Projections(values, geometry, GRID, 0.02)
    write_projections(scan, tmp_path / "helix.h5")
    read = read_projections(tmp_path / "helix.h5")
    assert read.geometry == geometry and type(read.geometry) is Helix
    assert Geometry.from_dict(geometry.to_dict()) == geometry
    assert read[::2].geometry == geometry.of_views(np.arange(0, geometry.n_views, 2))
    assert db.Helix is Helix


def test_astra_gets_its_vectors_and_what_has_no_flat_panels_is_refused():
    described = to_astra(helix(), GRID)["proj_geom"]
    assert described["type"] == "cone_vec"
    np.testing.assert_allclose(described["Vectors"][:, :3], helix().source_positions_mm())
    with pytest.raises(InputError, match="curved detector"):
        to_astra(helix(curved=True), GRID)
    with pytest.raises(InputError, match="TIGRE has no word for a Helix"):
        to_tigre(helix(), GRID)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"pitch_mm": 0.0}, "pitch is 0"),
        ({"pitch_mm": math.nan}, "pitch is nan"),
        ({"pitch_mm": 1e-9}, "views was asked for"),
        ({"start_mm": 500.0}, "starts at 500 mm"),
        ({"n_rows": 0, "pitch_mm": 5.0}, "0 rows"),
        ({"n_rows": 0}, "0 rows"),
        ({"source_to_axis_mm": 10.0}, "from the axis"),
        ({"spots_mm": ((100.0, 0.0, 0.0),)}, "focal spot moves"),
    ],
)
def test_what_no_helix_could_be_is_refused(options, said):
    with pytest.raises(InputError, match=said):
        helix(**options)


def test_wrong_fields_are_refused():
    with pytest.raises(InputError, match="spot_offsets_mm has shape"):
        replace(helix(), spot_offsets_mm=((0.0, 0.0, 1.0),))
    with pytest.raises(InputError, match="pitch_mm inf"):
        replace(helix(), pitch_mm=math.inf)
    with pytest.raises(InputError, match="degrees to a side"):
        replace(helix(curved=True), column_mm=20.0)
    with pytest.raises(InputError, match="views a turn"):
        Helix.fitting(GRID, 2.5)
