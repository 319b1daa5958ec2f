"""The projector benchmark measures what it says; no figure is held to a bar here."""

from __future__ import annotations

import json
import math
import statistics

import numpy as np
import pytest
import torch

import projectors
from analytic import Ellipse, Ellipsoid, panel_rays
from diffusionblend import Grid, ParallelBeam
from diffusionblend.geometry import ConeBeam, Helix
from projector_accuracy import CENTRE, RADIUS, VALUE_PER_MM, adjoint_error, phantom, phantom_error
from projector_growth import growth_rows
from projector_peers import ASTRA, OURS, RTK, RTK_VOXELS, Ours, installed_peers, peers_of

pytestmark = pytest.mark.filterwarnings("ignore:builtin type")
"""Of itk's wrappers, as they are loaded; an error there ends the process."""
GRID = Grid(shape=(4, 24, 24), spacing_mm=(1.2, 1.5, 1.5))
BEAM = ParallelBeam.fitting(GRID, 7)
CONE_GRID = Grid(shape=(12, 16, 16), spacing_mm=(1.2, 1.5, 1.5))
CONE = ConeBeam.fitting(
    CONE_GRID, angles_rad=(0.3, 1.9, 4.0), source_to_axis_mm=60.0, source_to_detector_mm=90.0
)
HELIX = Helix.fitting(
    CONE_GRID, 5, n_rows=6, start_rad=0.3, source_to_axis_mm=60.0, source_to_detector_mm=90.0
)
SCENES = {"parallel": (BEAM, GRID), "cone": (CONE, CONE_GRID), "helix": (HELIX, CONE_GRID)}


TINY = {"sizes": ("16x3",), "views": (4, 60), "cone_size": 10, "cone_views": 3, "rounds": 2}
TINY |= {"helix_size": "16x14", "helix_views": 24, "helix_rows": 6}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> tuple[dict, str]:
    """What a tiny run records, and its tables; without itk, whose import alone takes long."""
    folder, quick = tmp_path_factory.mktemp("projectors"), [ASTRA] * (ASTRA in installed_peers())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("projector_peers.installed_peers", lambda: quick)
        projectors.Projectors(output=folder, threads=1, **TINY).run()
    (line,) = (folder / projectors.LINES_FILE).read_text().splitlines()
    return json.loads(line), (folder / projectors.TABLES_FILE).read_text()


def test_ratios_follow_from_the_rounds(tiny):
    line, tables = tiny
    cases = {row["case"] for row in line["parallel"]}
    assert len(cases) == 2
    for case in [*cases, line["cone"][0]["case"], line["helix"][0]["case"]]:
        rows = line["parallel"] + line["cone"] + line["helix"]
        rows = [row for row in rows if row["case"] == case]
        assert rows[0]["name"].startswith(OURS)
        for row in rows:
            for way in ("forward", "back", "pair"):
                rounds = zip(row[f"{way}_rounds"], rows[0][f"{way}_rounds"], strict=True)
                assert row[f"{way}_ratio"] == pytest.approx(
                    statistics.median(theirs / ours for theirs, ours in rounds)
                )
            assert row["pair_s"] > 0 and row["name"] in tables
    (prox,) = line["prox"]
    assert prox["times_faster"] == pytest.approx(
        statistics.median(
            cg / own for own, cg in zip(prox["rounds"]["prox"], prox["rounds"]["cg"], strict=True)
        )
    )
    assert abs(line["helix_fbp"][0]["mean_error"]) < 6
    assert "torch" in line["versions"] and line["machine"]["processor"]


def test_bars_are_those_of_sixty_views():
    rows = [
        {"case": f"{views}", "views": views, "name": name, "pair_ratio": 17.0}
        for views in (8, 60)
        for name in (f"{OURS}, rays", RTK, RTK_VOXELS, ASTRA)
    ]
    bars = projectors.bar_rows({"parallel": rows, "prox": [{"case": "p", "times_faster": 3.0}]})
    assert [(b["wanted"], b["found"], b["met"]) for b in bars] == [
        (15.0, 17.0, "yes"),
        (20.0, 17.0, "no"),
        (4.0, 3.0, "no"),
    ]


@pytest.mark.parametrize("kind", SCENES)
def test_ours_is_exact_and_its_own_adjoint(kind):
    geometry, grid = SCENES[kind]
    ours = Ours(geometry, grid)
    volume, exact = phantom(geometry, grid)
    y = np.random.default_rng(0).standard_normal(ours.operator.range_shape, np.float32)
    error = phantom_error(ours, volume, exact)
    assert error < (0.05 if kind == "parallel" else 0.16)
    assert adjoint_error(ours, y) < 1e-6
    forward = ours.forward
    ours.forward = lambda volume: 1.5 * forward(volume)
    assert adjoint_error(ours, y) == pytest.approx(0.5, rel=1e-3)
    assert phantom_error(ours, volume, exact) > 3 * error


def test_the_phantom_is_the_tests_own():
    width_mm = 24 * 1.5
    x, y, _z = (c * width_mm for c in CENTRE)
    radius = RADIUS * width_mm
    volume, lines = phantom(BEAM, GRID)
    disc = Ellipse(x_mm=x, y_mm=y, a_mm=radius, b_mm=radius, value=VALUE_PER_MM)
    np.testing.assert_allclose(
        lines[:, 2], disc.line_integrals(BEAM.angles_rad, BEAM.column_positions_mm), atol=1e-6
    )
    np.testing.assert_allclose(volume[1], disc.picture((24, 24), (1.5, 1.5), 4), atol=1e-6)
    width_mm = 12 * 1.2
    centre = tuple(c * width_mm for c in CENTRE)
    radius = RADIUS * width_mm
    ball = Ellipsoid(centre_mm=centre, semi_axes_mm=(radius,) * 3, value=VALUE_PER_MM)
    volume, lines = phantom(CONE, CONE_GRID)
    rays = panel_rays(CONE.angles_rad, CONE.column_positions_mm, CONE.row_positions_mm, 60.0, 90.0)
    np.testing.assert_allclose(lines, ball.line_integrals(*rays), atol=1e-6)
    np.testing.assert_allclose(volume, ball.picture((12, 16, 16), (1.2, 1.5, 1.5)), atol=1e-6)


@pytest.mark.skipif(not installed_peers(), reason="no peer is installed")
@pytest.mark.parametrize("kind", SCENES)
def test_the_peers_project_the_same(kind):
    geometry, grid = SCENES[kind]
    rng = np.random.default_rng(0)
    volume = np.zeros(grid.shape, np.float32)
    volume[1:-1, 3:-3, 3:-3] = rng.random(volume[1:-1, 3:-3, 3:-3].shape, np.float32)
    ours = Ours(geometry, grid)
    lines = rng.random(ours.operator.range_shape, np.float32)
    expected = ours.forward(ours.volume_in(volume)).numpy()
    back = ours.back(ours.lines_in(lines)).numpy()
    for peer in peers_of(geometry, grid, 1):
        found = peer.lines_out(peer.forward(peer.volume_in(volume)))
        inner = slice(1, -1) if kind == "parallel" else slice(None)
        difference = np.linalg.norm(found[:, inner] - expected[:, inner])
        assert difference < 2e-3 * np.linalg.norm(expected), peer.name
        its = peer.volume_out(peer.back(peer.lines_in(lines)))
        if peer.name != RTK_VOXELS:
            inside = (slice(1, -1), slice(2, -2), slice(2, -2))
            difference = np.linalg.norm(its[inside] - back[inside])
            assert difference < 5e-3 * np.linalg.norm(back), peer.name


def test_growth_shows_what_is_held(tmp_path):
    rows, table = growth_rows([16], 1)
    assert [row["name"] for row in rows] == ["parallel, matrix", "parallel, rays", "cone"]
    assert all(row["forward_s"] > 0 for row in rows) and "16" in table
    projectors.draw_growth(rows, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").stat().st_size > 5000
    operator = Ours(BEAM, GRID, "matrix").operator
    n_entries = int(operator.matrix.values().numel())
    pointers = math.prod((7, BEAM.n_columns)) + 1 + 24 * 24 + 1
    assert operator.held_bytes == 2 * n_entries * 8 + 4 * pointers
    rays = Ours(BEAM, GRID, "rays").operator
    assert rays.held_bytes == 7 * BEAM.n_columns * 6 * 8
    assert torch.equal(rays.matrix.to_dense(), operator.matrix.to_dense())
