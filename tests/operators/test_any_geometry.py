"""Random geometries of every kind through every way of projecting them, on every device.

Tiny detectors, one view, panels off centre and tilted, voxels of any shape, volumes of one voxel.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffusionblend.geometry import ConeBeam, FanBeam, Geometry, ParallelBeam, VectorGeometry
from diffusionblend.geometry.grid import Grid
from diffusionblend.operators import (
    FiniteDifferences,
    LinearOperator,
    WeightedOperator,
)
from operator_properties import check_gradient, check_operator, random_array, transform_of

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
WAYS = ("parallel matrix", "parallel rays", "fan matrix", "fan rays", "cone", "ray by ray")
OUTSIDE_MM = 30.0
"""Farther than any corner of a volume below."""

lengths = st.floats(0.3, 3.0)
shifts = st.floats(-8.0, 8.0)
angles = st.lists(st.floats(-7, 7), min_size=1, max_size=3).map(tuple)
grids = st.builds(
    Grid,
    shape=st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5)),
    spacing_mm=st.tuples(lengths, lengths, lengths),
)
parallel_beams = st.builds(
    ParallelBeam,
    angles_rad=angles,
    n_columns=st.integers(1, 6),
    column_mm=lengths,
    detector_shift_mm=shifts,
)
from_source = {
    "angles_rad": angles,
    "n_columns": st.integers(1, 5),
    "column_mm": lengths,
    "detector_shift_mm": shifts,
    "source_to_axis_mm": st.floats(OUTSIDE_MM, 300.0),
    "source_to_detector_mm": st.floats(5.0, 400.0),
    "axis_shift_mm": shifts,
}
fan_beams = st.builds(FanBeam, **(from_source | {"source_to_detector_mm": st.floats(20.0, 400.0)}))
curved_fans = st.builds(
    FanBeam,
    **(from_source | {"source_to_detector_mm": st.floats(20.0, 400.0)}),
    curved=st.just(True),
)
panels = {"n_rows": st.integers(1, 4), "row_mm": lengths, "detector_lift_mm": shifts}
cone_beams = st.builds(ConeBeam, **from_source, **panels)


@st.composite
def tilted_panels(draw) -> VectorGeometry:
    """A cone beam whose panels are turned and moved a little, each view in another way."""
    straight = draw(cone_beams).to_vectors()
    parts = {}
    for name in ("sources_mm", "detectors_mm", "column_steps_mm", "row_steps_mm"):
        reach = 0.2 if "steps" in name else 3.0
        off = draw(st.tuples(*[st.floats(-reach, reach)] * 3))
        turned = [np.roll(off, view) for view in range(straight.n_views)]
        parts[name] = np.array(getattr(straight, name)) + turned
    return VectorGeometry(**parts, n_rows=straight.n_rows, n_columns=straight.n_columns)


GEOMETRIES = {
    "parallel matrix": parallel_beams,
    "parallel rays": parallel_beams,
    "fan matrix": fan_beams | curved_fans,
    "fan rays": fan_beams | curved_fans,
    "cone": cone_beams,
    "ray by ray": cone_beams | tilted_panels(),
}


def transform(
    way: str, geometry: Geometry, grid: Grid, dtype: torch.dtype, device: str
) -> LinearOperator:
    """The operator that projects in this way."""
    storage = {"cone": None, "ray by ray": "rays"}.get(way, way.split()[-1])
    return transform_of(geometry, grid, storage=storage, dtype=dtype, device=device)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("way", WAYS)
def test_properties(way, device):
    @settings(max_examples=25, deadline=None)
    @given(geometry=GEOMETRIES[way], grid=grids)
    def check(geometry: Geometry, grid: Grid) -> None:
        operator = transform(way, geometry, grid, torch.float32, device)
        check_operator(operator, device=device)
        weights = random_array(operator.range_shape, 7).square().to(device)
        check_operator(WeightedOperator(operator, weights), device=device)

    check()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("way", WAYS)
def test_gradients(way, device):
    small = st.builds(
        Grid,
        shape=st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 3)),
        spacing_mm=st.tuples(lengths, lengths, lengths),
    )

    @settings(max_examples=4, deadline=None)
    @given(geometry=GEOMETRIES[way], grid=small)
    def check(geometry: Geometry, grid: Grid) -> None:
        check_gradient(transform(way, geometry, grid, torch.float64, device), device=device)

    check()


@settings(max_examples=40, deadline=None)
@given(geometry=fan_beams | parallel_beams, grid=grids)
def test_a_single_slice_is_the_same_in_every_way(geometry, grid):
    """Matrix, rays a slice at a time, a column of one column at a time, and ray by ray."""
    grid = grid.with_slices(1)
    options = {"dtype": torch.float64}
    vectors = geometry.to_vectors()
    by_vectors = [transform_of(vectors, grid, storage=s, **options) for s in (None, "rays")]
    ways = [transform_of(geometry, grid, storage=s, **options) for s in ("matrix", "rays")]
    x, y = (
        random_array(shape, i, torch.float64)
        for i, shape in enumerate((ways[0].domain_shape, ways[0].range_shape))
    )
    lines, back = ways[0].forward(x), ways[0].adjoint(y)
    for other in ways[1:] + by_vectors:
        torch.testing.assert_close(other.forward(x), lines, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(other.adjoint(y), back, rtol=1e-9, atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(geometry=parallel_beams | fan_beams | curved_fans | cone_beams, grid=grids)
def test_no_ray_is_longer_than_its_way_through_the_volume(geometry, grid):
    """A volume of ones, and of the voxels' spread of half a voxel to each side: chords at most."""
    operator = transform_of(geometry, grid)
    lines = operator.forward(torch.ones(grid.shape))
    size = [(n + 1) * mm for n, mm in zip(grid.shape, grid.spacing_mm, strict=True)]
    assert lines.min() >= 0
    assert lines.max() <= math.hypot(*size) * (1 + 1e-5)


@settings(max_examples=25, deadline=None)
@given(shape=st.tuples(*[st.integers(1, 6)] * 3))
def test_differences_of_any_shape(shape):
    check_operator(FiniteDifferences(shape))
