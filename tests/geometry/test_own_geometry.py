"""Geometries of somebody else's: one class is enough to trace, store and reconstruct them.

An unknown class is traced by its vectors and refused by FBP and FDK, also where it is derived from
a class that they know: its rays may be others.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch

from diffusionblend import reconstruct
from diffusionblend.data.projections import Projections
from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError
from diffusionblend.geometry import (
    ConeBeam,
    FanBeam,
    Geometry,
    Grid,
    ParallelBeam,
    VectorGeometry,
    equally_spaced_angles,
    truncated_fraction,
)
from diffusionblend.geometry.base import settle
from diffusionblend.geometry.interop import to_astra, to_tigre
from diffusionblend.io.projections import read_projections, write_projections
from diffusionblend.operators import XRayTransform
from diffusionblend.solvers.fdk import feldkamp_davis_kress
from diffusionblend.solvers.filtered_back_projection import filtered_back_projection
from diffusionblend.units import mu_to_hu
from operator_properties import check_operator, random_array, transform_of

MU_WATER = 0.02
GRID = Grid(shape=(6, 12, 12), spacing_mm=(1.5, 1.0, 1.0))


@dataclass(frozen=True, kw_only=True)
class Helix(ConeBeam, name="test-helix"):
    """A cone beam whose source and panel climb by pitch_mm a turn, from below to above z = 0."""

    pitch_mm: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, pitch_mm=float)

    def to_vectors(self) -> VectorGeometry:
        """The circular scan's, moved along z."""
        circle = super().to_vectors()
        turns = np.array(self.angles_rad) / (2 * math.pi)
        climb = np.outer(self.pitch_mm * (turns - turns.mean()), (0, 0, 1))
        return replace(
            circle,
            sources_mm=np.array(circle.sources_mm) + climb,
            detectors_mm=np.array(circle.detectors_mm) + climb,
        )


@dataclass(frozen=True, kw_only=True)
class Line(Geometry, name="test-line"):
    """A source that moves along a line over a fixed row of columns, slice by slice."""

    places_mm: tuple[float, ...]
    n_columns: int
    column_mm: float
    couples_slices: ClassVar[bool] = False

    @property
    def n_views(self) -> int:
        return len(self.places_mm)

    def detector_rows(self, grid: Grid) -> int:
        return grid.shape[0]

    def to_vectors(self) -> VectorGeometry:
        n = self.n_views
        return VectorGeometry(
            sources_mm=[(x, -50.0, 0.0) for x in self.places_mm],
            detectors_mm=[(0.0, 30.0, 0.0)] * n,
            column_steps_mm=[(self.column_mm, 0.0, 0.0)] * n,
            row_steps_mm=[(0.0, 0.0, 1.0)] * n,
            n_rows=1,
            n_columns=self.n_columns,
        )


def helix(grid: Grid = GRID, pitch_mm: float = 8.0, **options) -> Helix:
    angles = equally_spaced_angles(20, 720)
    fitted = Helix.fitting(
        grid, angles_rad=angles, source_to_axis_mm=60.0, source_to_detector_mm=90.0
    )
    return replace(fitted, pitch_mm=pitch_mm, **options)


LINE = Line(places_mm=(-20.0, 0.0, 5.0, 20.0), n_columns=60, column_mm=1.2)


def disc_volume() -> Volume:
    y, x = np.indices((12, 12)) - 5.5
    values = np.full(GRID.shape, -1000.0)
    values[:, np.hypot(x, y) < 4.5] = 100.0
    values[2:4, 4:7, 5:8] = 600.0
    return Volume(values, GRID)


def scan_of(geometry: Geometry, volume: Volume) -> Projections:
    mu = MU_WATER * (1 + volume.values / 1000)
    lines = XRayTransform(geometry, volume.grid) @ mu
    return Projections(lines, geometry, volume.grid, MU_WATER, {"source": "test"})


@pytest.mark.parametrize("geometry", [helix(), LINE], ids=["helix", "line"])
def test_it_is_traced_by_its_vectors(geometry):
    operator = transform_of(geometry, GRID, dtype=torch.float64)
    check_operator(operator, dtype=torch.float64)
    x = random_array(GRID.shape, 0, torch.float64)
    if geometry.couples_slices:
        by_vectors = transform_of(geometry.to_vectors(), GRID, dtype=torch.float64)
        assert torch.equal(operator @ x, by_vectors @ x)
        circle = ConeBeam(**{k: v for k, v in vars(geometry).items() if k != "pitch_mm"})
        assert ((transform_of(circle, GRID, dtype=torch.float64) @ x) - (operator @ x)).any()
    else:
        one = GRID.with_slices(1)
        by_vectors = transform_of(geometry.to_vectors(), one, dtype=torch.float64)
        for i in range(GRID.shape[0]):
            expected = (by_vectors @ x[i : i + 1])[:, 0]
            torch.testing.assert_close((operator @ x)[:, i], expected, rtol=1e-9, atol=1e-9)


def test_a_helix_through_files_and_an_iterative_method_and_refused_by_fbp(tmp_path):
    volume = disc_volume()
    written = scan_of(helix(), volume)
    write_projections(written, tmp_path / "helix.h5")
    scan = read_projections(tmp_path / "helix.h5")
    assert scan.geometry == written.geometry and type(scan.geometry) is Helix
    assert scan.geometry.pitch_mm == 8.0
    found = reconstruct(scan, method="cgls").volume
    error = np.abs(found.values - volume.values).mean()
    assert error < 0.25 * np.abs(volume.values - volume.values.mean()).mean()
    with pytest.raises(InputError, match="no filtered back-projection of a Helix"):
        reconstruct(scan, method="fbp")


def test_fbp_and_fdk_refuse_what_they_do_not_know_and_subclasses_too():
    class NamedAlike(ParallelBeam):
        """May have other rays."""

    alike = NamedAlike(**vars(ParallelBeam.fitting(GRID, 4)))
    for geometry in (helix(), helix(pitch_mm=0.0), LINE, alike):
        shape = geometry.n_views, geometry.detector_rows(GRID), geometry.n_columns
        with pytest.raises(InputError, match=type(geometry).__name__) as raised:
            filtered_back_projection(torch.ones(shape), geometry, GRID)
        assert "ParallelBeam, FanBeam, ConeBeam" in raised.value.expected
    with pytest.raises(InputError, match="Helix"):
        feldkamp_davis_kress(torch.ones(helix().n_views, 1, 1), helix(), GRID)
    exact = filtered_back_projection(
        torch.from_numpy(scan_of(ParallelBeam.fitting(GRID, 90), disc_volume()).values),
        ParallelBeam.fitting(GRID, 90),
        GRID,
    )
    assert mu_to_hu(exact, MU_WATER)[0, 6, 6] == pytest.approx(100, abs=60)


def test_other_programs_get_its_vectors_or_a_refusal():
    described = to_astra(helix(), GRID)["proj_geom"]
    assert described["type"] == "cone_vec"
    np.testing.assert_allclose(described["Vectors"][:, :3], helix().to_vectors().sources_mm)
    with pytest.raises(InputError, match="Line"):
        to_astra(LINE, GRID)
    for geometry in (helix(), LINE):
        with pytest.raises(InputError, match=type(geometry).__name__):
            to_tigre(geometry, GRID)


def test_a_helix_is_not_blamed_for_its_ends():
    low = replace(helix(), n_rows=3)
    assert truncated_fraction(low, GRID) == 0
    circle = ConeBeam(**{k: v for k, v in vars(low).items() if k != "pitch_mm"})
    assert truncated_fraction(circle, GRID) > 0.3


@pytest.mark.parametrize(
    "geometry",
    [
        helix(),
        LINE,
        ParallelBeam.fitting(GRID, 3),
        FanBeam.fitting(GRID, 3, curved=True),
        ConeBeam.fitting(GRID, 3),
        ConeBeam.fitting(GRID, 3).to_vectors(),
    ],
    ids=lambda geometry: type(geometry).__name__,
)
def test_a_dictionary_of_plain_values_makes_it_again(geometry):
    described = geometry.to_dict()
    assert described["type"] == type(geometry).registered_name
    assert Geometry.from_dict(described) == geometry
    assert Geometry.from_dict(json.loads(json.dumps(described))) == geometry


def test_a_class_without_a_name_is_not_stored(tmp_path):
    @dataclass(frozen=True, kw_only=True)
    class Wobble(ConeBeam):
        """Derived from a registered class, but not registered itself."""

    geometry = Wobble(**vars(ConeBeam.fitting(GRID, 3)))
    with pytest.raises(InputError, match="Wobble is not registered") as raised:
        write_projections(scan_of(geometry, disc_volume()), tmp_path / "a.h5")
    assert 'class Wobble(ConeBeam, name="wobble")' in raised.value.try_
    assert not list(tmp_path.iterdir())


def test_a_class_that_does_not_come_back_is_not_stored():
    @dataclass(frozen=True, kw_only=True)
    class Forgetful(Line, name="test-forgetful"):
        def __post_init__(self) -> None:
            object.__setattr__(self, "places_mm", tuple(x + 1 for x in self.places_mm))

    class NoDataclass(Line, name="test-no-dataclass"):
        pass

    with pytest.raises(InputError, match="do not make an equal one"):
        Forgetful(**vars(LINE)).to_dict()
    with pytest.raises(InputError, match="no dataclass itself"):
        NoDataclass(**vars(LINE)).to_dict()


def test_unknown_names_and_fields_are_refused_and_names_taken_once():
    with pytest.raises(InputError, match="'spiral' is unknown") as raised:
        Geometry.from_dict({"type": "spiral"})
    assert "'parallel'" in raised.value.expected and "import" in raised.value.try_
    with pytest.raises(InputError, match="places"):
        Geometry.from_dict(LINE.to_dict() | {"places": 3})
    with pytest.raises(InputError, match="column_mm"):
        Geometry.from_dict({k: v for k, v in LINE.to_dict().items() if k != "column_mm"})
    with pytest.raises(InputError, match="Two geometries are called 'cone'"):

        class Another(ConeBeam, name="cone"):
            pass


def test_vectors_that_leave_the_slice_or_disagree_in_shape_are_refused():
    class Tilted(Line):
        def to_vectors(self) -> VectorGeometry:
            return super().to_vectors().moved(0, 0, 1.0)

    class Wider(Helix):
        def detector_rows(self, grid: Grid) -> int:
            return self.n_rows + 1

    with pytest.raises(InputError, match="z = 0") as raised:
        XRayTransform(Tilted(**vars(LINE)), GRID)
    assert "couples_slices" in raised.value.try_
    with pytest.raises(InputError, match="vectors of Wider"):
        transform_of(Wider(**vars(helix())), GRID)


def test_some_views_of_a_helix_stay_where_they_were():
    whole, some = helix(), helix().of_views(np.array([3, 17]))
    assert type(some) is VectorGeometry
    assert some.sources_mm == tuple(whole.to_vectors().sources_mm[i] for i in (3, 17))
    with pytest.raises(InputError, match="views of a Line"):
        LINE.of_views(np.array([0]))
