"""Objects wider than the detector: continued projections, and larger grids, keep the inside."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from analytic import Ellipse, Ellipsoid, panel_rays
from diffusionblend import reconstruct
from diffusionblend.data.projections import Projections
from diffusionblend.errors import InputError
from diffusionblend.geometry import (
    ConeBeam,
    FanBeam,
    Grid,
    ParallelBeam,
    VectorGeometry,
    equally_spaced_angles,
)
from diffusionblend.solvers.extrapolation import extrapolated
from diffusionblend.solvers.filtered_back_projection import filtered_back_projection

MU = 0.02
N, MM = 40, 2.0
GRID = Grid(shape=(1, N, N), spacing_mm=(1.0, MM, MM))
BODY = Ellipse(x_mm=3, y_mm=-2, a_mm=70, b_mm=50, turn_rad=0.3, value=MU)
SPOT = Ellipse(x_mm=8, y_mm=-5, a_mm=8, b_mm=8, value=0.2 * MU)
y_mm, x_mm = (np.indices((N, N)) - (N - 1) / 2) * MM
INSIDE = np.hypot(x_mm, y_mm) < 32
ANGLES = equally_spaced_angles(150, 360)


def geometry_of(kind: str) -> ParallelBeam | FanBeam:
    shared = {"angles_rad": ANGLES, "n_columns": N, "column_mm": MM}
    if kind == "parallel":
        return ParallelBeam(**shared)
    distances = {"source_to_axis_mm": 300.0, "source_to_detector_mm": 450.0}
    return FanBeam(**shared | {"column_mm": 1.5 * MM} | distances, curved=kind == "curved")


def lines_of(kind: str) -> torch.Tensor:
    geometry = geometry_of(kind)
    if kind == "parallel":
        args = np.array(ANGLES), geometry.column_positions_mm, MM
        lines = sum(part.column_means(*args) for part in (BODY, SPOT))[:, None]
        return torch.from_numpy(lines).float()
    points, ahead = panel_rays(
        ANGLES, geometry.column_positions_mm, np.zeros(1), 300.0, 450.0, curved=kind == "curved"
    )
    # as ellipses by turning the rays instead
    c, s = np.cos(-BODY.turn_rad), np.sin(-BODY.turn_rad)

    def turned(v: np.ndarray) -> np.ndarray:
        return np.stack(
            [c * v[..., 0] - s * v[..., 1], s * v[..., 0] + c * v[..., 1], v[..., 2]], -1
        )

    lines = 0.0
    for part in (BODY, SPOT):
        centre = turned(np.array((part.x_mm, part.y_mm, 0.0)))
        body = Ellipsoid(
            centre_mm=tuple(centre), semi_axes_mm=(part.a_mm, part.b_mm, np.inf), value=part.value
        )
        lines = lines + body.line_integrals(turned(points), turned(ahead))
    return torch.from_numpy(lines).float()


def errors_hu(image: np.ndarray) -> np.ndarray:
    truth = sum(part.picture((N, N), (MM, MM)) for part in (BODY, SPOT))
    return 1000 * (image - truth)[INSIDE] / MU


@pytest.mark.parametrize("kind", ["parallel", "fan", "curved"])
def test_the_inside_keeps_its_hu_where_the_object_leaves_the_detector(kind):
    geometry, y = geometry_of(kind), lines_of(kind)
    cut = errors_hu(filtered_back_projection(y, geometry, GRID)[0].numpy())
    wide, wider = extrapolated(y, geometry, MU)
    assert wide.shape[-1] == wider.n_columns > 1.5 * N
    torch.testing.assert_close(wide[..., (wider.n_columns - N) // 2 :][..., :N], y)
    mended = errors_hu(filtered_back_projection(wide, wider, GRID)[0].numpy())
    assert abs(cut.mean()) > 200
    assert abs(mended.mean()) < 60 and mended.std() < 25


def test_ends_in_air_and_of_an_object_that_fits_stay_air():
    small = Ellipse(x_mm=2, y_mm=1, a_mm=25, b_mm=20, value=MU)
    geometry = geometry_of("parallel")
    lines = small.column_means(np.array(ANGLES), geometry.column_positions_mm, MM)[:, None]
    wide, wider = extrapolated(torch.from_numpy(lines), geometry, MU)
    added = (wider.n_columns - N) // 2
    assert not wide[..., :added].any() and not wide[..., -added:].any()


def test_by_method_and_by_a_larger_grid():
    """FBP with its option, and least squares on more than the volume that is asked for."""
    scan = Projections(lines_of("parallel").numpy(), geometry_of("parallel"), GRID, MU)

    def error(image: np.ndarray) -> float:
        return float(np.abs(errors_hu(MU * (1 + image[0] / 1000))).mean())

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The detector is too small")
        plain, mended = (
            error(reconstruct(scan, "fbp", extrapolate=yes).volume.values) for yes in (False, True)
        )
        assert mended < 60 < plain
        wide, inside = scan.with_margin(50.0)
        assert wide.grid.shape == (1, N + 50, N + 50)
        larger = reconstruct(wide, "cgls", iterations=20).volume[inside]
        alone = reconstruct(scan, "cgls", iterations=20).volume
        assert larger.grid == GRID
        assert error(larger.values) < 0.5 * error(alone.values)
        # what is left is nearly constant, which no inner ray determines
        spread, before = (
            errors_hu(MU * (1 + one.values[0] / 1000)).std() for one in (larger, alone)
        )
        assert spread < 25 < 100 < before


def test_a_margin_of_a_cone_goes_along_z_too_and_stays_in_place():
    grid = Grid(shape=(3, 4, 6), spacing_mm=(2.0, 1.0, 1.5), origin_mm=(5.0, -3.0, 7.0))
    cone = ConeBeam.fitting(replace(grid, spacing_mm=(2.0, 1.0, 1.0)), 3)
    scan = Projections(np.ones((3, cone.n_rows, cone.n_columns)), cone, grid, MU)
    wide, inside = scan.with_margin(3.5)
    assert wide.grid.shape == (3 + 4, 4 + 8, 6 + 6)
    assert wide.grid.part(*inside) == grid
    assert scan.with_margin(0.0)[0].grid == grid
    with pytest.raises(InputError, match="margin is -1"):
        scan.with_margin(-1.0)


def test_what_cannot_be_continued_is_refused():
    geometry, y = geometry_of("parallel"), lines_of("parallel")
    with pytest.raises(InputError, match="off the middle"):
        extrapolated(y, replace(geometry, detector_shift_mm=8.0), MU)
    vectors = geometry.to_vectors(1, 1.0)
    assert isinstance(vectors, VectorGeometry)
    with pytest.raises(InputError, match="of a VectorGeometry"):
        extrapolated(y, vectors, MU)
