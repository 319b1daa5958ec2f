"""A ball off the axis through the transform of every geometry, against its exact line integrals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from analytic import Ellipsoid, panel_rays, rays_of_helix
from diffusionblend.geometry import (
    ConeBeam,
    FanBeam,
    Geometry,
    Helix,
    ParallelBeam,
    VectorGeometry,
)
from diffusionblend.geometry.base import _registered
from diffusionblend.geometry.grid import Grid
from operator_properties import check_adjoint, check_linearity, transform_of

GRID = Grid(shape=(28, 48, 48), spacing_mm=(1.0, 0.75, 0.75))
BALL = Ellipsoid(centre_mm=(4, -3, 1), semi_axes_mm=(9, 9, 9), value=0.02)
TURN = np.arange(6) * np.pi / 3 + 0.2
LEAN = 0.4
"""Of the axis against the panel, as in laminography, in radians."""
COLUMNS: dict[str, Any] = {"angles_rad": tuple(TURN), "n_columns": 48, "column_mm": 1.2}
SOURCE: dict[str, Any] = {"source_to_axis_mm": 90.0, "source_to_detector_mm": 120.0}
ROWS: dict[str, Any] = {"n_rows": 36, "row_mm": 1.2}
HELIX = COLUMNS | {"angles_rad": tuple(TURN * 2), **SOURCE, **ROWS, "pitch_mm": 5, "start_mm": -4}
ASIDE: dict[str, Any] = {"detector_shift_mm": 20.0}
"""A detector to one side of the axis."""
Rays = tuple[np.ndarray, np.ndarray]


def parallel_rays(geometry: ParallelBeam, lean: float = 0.0, heights: Any = None) -> Rays:
    """Points and directions (view, row, column, 3), of slices or of rows at heights on a panel."""
    t = np.array(geometry.angles_rad)[:, None, None, None]
    flat = 0 * t
    across = np.concatenate([np.cos(t), np.sin(t), flat], axis=-1)
    c, s = np.cos(lean), np.sin(lean)
    ahead = np.concatenate([-np.sin(t) * c, np.cos(t) * c, flat + s], axis=-1)
    up = np.concatenate([np.sin(t) * s, -np.cos(t) * s, flat + c], axis=-1)
    if heights is None:
        heights = (np.arange(GRID.shape[0]) - (GRID.shape[0] - 1) / 2) * GRID.spacing_mm[0]
    points = geometry.column_positions_mm[:, None] * across + heights[:, None, None] * up
    return points, np.broadcast_to(ahead, points.shape)


def source_rays(geometry: Any) -> Rays:
    """Those of a fan in every slice, or of a cone."""
    cone = isinstance(geometry, ConeBeam)
    numbers = (geometry.source_to_axis_mm, geometry.source_to_detector_mm)
    heights = geometry.row_positions_mm if cone else np.zeros(1)
    curved = not cone and geometry.curved
    rays = panel_rays(
        geometry.angles_rad, geometry.column_positions_mm, heights, *numbers, curved=curved
    )
    if cone:
        return rays
    up = np.zeros((GRID.shape[0], 1, 3))
    up[:, 0, 2] = (np.arange(GRID.shape[0]) - (GRID.shape[0] - 1) / 2) * GRID.spacing_mm[0]
    return rays[0] + up, np.broadcast_to(rays[1], (rays[0] + up).shape)


def leaning_parallel() -> tuple[VectorGeometry, Rays]:
    beam = ParallelBeam(**COLUMNS)
    heights = (np.arange(36) - 17.5) * 1.2
    return beam.to_vectors(36, 1.2).tilted(LEAN), parallel_rays(beam, LEAN, heights)


def leaning_cone() -> tuple[VectorGeometry, Rays]:
    """The same panels, and the rays through their pixels from a source on the beam's way."""
    _, (pixels, ahead) = leaning_parallel()
    back = SOURCE["source_to_detector_mm"] - SOURCE["source_to_axis_mm"]
    sources = np.broadcast_to(-SOURCE["source_to_axis_mm"] * ahead[:, :1, :1], pixels.shape)
    cone = ConeBeam(**COLUMNS, **SOURCE, **ROWS).to_vectors().tilted(LEAN)
    return cone, (sources, pixels + back * ahead - sources)


def turned_panels() -> tuple[VectorGeometry, Rays]:
    """Panels turned in their plane and out of it, in another way in every view."""
    rng = np.random.default_rng(0)
    straight = ConeBeam(**COLUMNS, **SOURCE, **ROWS).to_vectors()
    steps = [np.array(s) + rng.uniform(-0.2, 0.2, (6, 3)) for s in (
        straight.column_steps_mm, straight.row_steps_mm
    )]  # fmt: skip
    geometry = VectorGeometry(
        sources_mm=straight.sources_mm,
        detectors_mm=straight.detectors_mm,
        column_steps_mm=steps[0],
        row_steps_mm=steps[1],
        n_rows=36,
        n_columns=48,
    )
    u, v = (step[:, None, None] for step in steps)
    pixels = np.array(straight.detectors_mm)[:, None, None]
    pixels = (
        pixels + (np.arange(48) - 23.5)[:, None] * u + (np.arange(36) - 17.5)[:, None, None] * v
    )
    sources = np.broadcast_to(np.array(straight.sources_mm)[:, None, None], pixels.shape)
    return geometry, (sources, pixels - sources)


def with_rays(geometry: Any, rays: Any) -> tuple[Geometry, Rays]:
    return geometry, rays(geometry)


CASES = {
    "parallel": lambda: with_rays(ParallelBeam(**COLUMNS), parallel_rays),
    "parallel, aside": lambda: with_rays(ParallelBeam(**COLUMNS, **ASIDE), parallel_rays),
    "fan": lambda: with_rays(FanBeam(**COLUMNS, **SOURCE), source_rays),
    "fan, curved": lambda: with_rays(FanBeam(**COLUMNS, **SOURCE, curved=True), source_rays),
    "fan, aside": lambda: with_rays(FanBeam(**COLUMNS, **SOURCE, **ASIDE), source_rays),
    "cone": lambda: with_rays(ConeBeam(**COLUMNS, **SOURCE, **ROWS), source_rays),
    "cone, aside": lambda: with_rays(ConeBeam(**COLUMNS, **SOURCE, **ROWS, **ASIDE), source_rays),
    "helix": lambda: with_rays(Helix(**HELIX), rays_of_helix),
    "helix, curved": lambda: with_rays(Helix(**HELIX, curved=True), rays_of_helix),
    "helix, aside": lambda: with_rays(Helix(**HELIX, **ASIDE), rays_of_helix),
    "vectors, turned panels": turned_panels,
    "vectors, laminography, parallel": leaning_parallel,
    "vectors, laminography, cone": leaning_cone,
}


@pytest.mark.parametrize("name", CASES)
def test_a_ball_is_measured_as_it_is_by_a_linear_operator_with_its_adjoint(name):
    geometry, rays = CASES[name]()
    assert geometry.registered_name == name.partition(",")[0]
    operator = transform_of(geometry, GRID)
    check_linearity(operator)
    check_adjoint(operator)
    exact = BALL.line_integrals(*rays)
    picture = torch.from_numpy(BALL.picture(GRID.shape, GRID.spacing_mm)).float()
    found = operator.forward(picture).numpy()
    assert found.shape == exact.shape and (exact.max(axis=(1, 2)) > 0.3).sum() >= 3
    assert np.linalg.norm(found - exact) < 0.05 * np.linalg.norm(exact)
    np.testing.assert_allclose(found.sum(), exact.sum(), rtol=0.005)


def test_no_geometry_of_this_package_is_left_out():
    own = [n for n, kind in _registered.items() if kind.__module__.startswith("diffusionblend.")]
    assert {name.partition(",")[0] for name in CASES} == set(own)
