"""Random geometries and grids, in which ties, level rays, single voxels and misses are frequent."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import torch

from diffusionblend.errors import InputError
from diffusionblend.geometry import ConeBeam, FanBeam, Geometry, ParallelBeam, VectorGeometry
from diffusionblend.geometry.grid import Grid
from diffusionblend.operators import XRayTransform

KINDS = ("parallel", "flat fan", "curved fan", "cone", "parallel panels", "any panels")
TIED_ANGLES = (0.0, np.pi / 2, np.pi, np.pi / 4, 3 * np.pi / 4, -np.pi / 2, 1e-9, 2 * np.pi)
SLICES = (1, 2, 3, 63, 64, 65, 130)
"""Around what one program of the kernels takes."""
LIMIT = {torch.float64: 1e-12, torch.float32: 1e-5}
"""Of a difference, relative to the largest value."""


def transform_of(geometry: Geometry, grid: Grid, **options: object) -> XRayTransform:
    """The transform, also of a detector that does not see all of the volume, without a warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The detector is too small")
        return XRayTransform(geometry, grid, **options)  # type: ignore[arg-type]


def random_operators(
    kind: str, seed: int, dtypes: tuple[torch.dtype, ...]
) -> Iterator[XRayTransform]:
    """Operators of a kind without end, in turn of each dtype; without what is refused."""
    rng, made = np.random.default_rng([seed, *kind.encode()]), 0
    while True:
        try:
            operator = _operator(kind, rng, dtypes[made % len(dtypes)])
        except InputError:  # a source inside the volume, a panel seen edge on
            continue
        made += 1
        yield operator


def _operator(kind: str, rng: np.random.Generator, dtype: torch.dtype) -> XRayTransform:
    grid, views = _grid(rng), int(rng.integers(1, 4))
    columns, width = int(rng.integers(1, 12)), float(rng.uniform(0.5, 3))
    shift = float(rng.choice([0.0, rng.uniform(-3, 3), 40.0], p=[0.4, 0.5, 0.1]))  # 40: past it
    beam = {"angles_rad": _angles(rng, views), "n_columns": columns, "column_mm": width}
    beam["detector_shift_mm"] = shift
    to_axis = float(rng.uniform(15, 60))
    tube = {
        "source_to_axis_mm": to_axis,
        "source_to_detector_mm": to_axis * float(rng.uniform(1.1, 2)),
        "axis_shift_mm": float(rng.uniform(-1, 1)),
    }
    rows = {"n_rows": int(rng.integers(1, 7)), "row_mm": float(rng.uniform(0.5, 3))}
    options = {"scale": float(rng.uniform(0.3, 2)), "dtype": dtype, "storage": "rays"}
    if kind in ("parallel", "flat fan", "curved fan"):
        n_slices = int(rng.choice(SLICES, p=[0.2, 0.2, 0.3, 0.1, 0.1, 0.05, 0.05]))
        grid = grid.with_slices(n_slices)
        if kind == "parallel":
            return transform_of(ParallelBeam(**beam), grid, **options)
        fan = FanBeam(**beam, **tube, curved=kind == "curved fan")
        return transform_of(fan, grid, **options)
    if kind == "cone":
        lift = {"detector_lift_mm": float(rng.uniform(-3, 3))}
        return transform_of(ConeBeam(**beam, **tube, **rows, **lift), grid, **options)
    if kind == "parallel panels":
        return transform_of(ParallelBeam(**beam).to_vectors(*rows.values()), grid, **options)
    return transform_of(_panels(rng, views, columns, width, rows["n_rows"]), grid, **options)


def _panels(
    rng: np.random.Generator, views: int, columns: int, width: float, rows: int
) -> VectorGeometry:
    """Panels anywhere; some before their source, which see nothing, some rays along an axis."""
    directions = rng.standard_normal((views, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    if rng.random() < 0.4:
        directions = np.eye(3)[rng.integers(3, size=views)]
    u = np.cross(directions, rng.standard_normal((views, 3)))
    v = np.cross(directions, u) + 0.2 * rng.standard_normal((views, 3))
    return VectorGeometry(
        sources_mm=-30 * directions,
        detectors_mm=(-60 if rng.random() < 0.4 else 20) * directions,
        column_steps_mm=u * width,
        row_steps_mm=v,
        n_rows=rows,
        n_columns=columns,
    )


def _grid(rng: np.random.Generator) -> Grid:
    """A small grid; now and then of a single voxel along an axis."""
    shape = [int(n) for n in rng.integers(1, 8, 3)]
    if rng.random() < 0.3:
        shape[int(rng.integers(3))] = 1
    z, y, x = rng.uniform(0.4, 2.5, 3)
    return Grid(shape=tuple(shape), spacing_mm=(float(z), float(y), float(x)))


def _angles(rng: np.random.Generator, n: int) -> tuple[float, ...]:
    """Angles of which about half are those where axes tie or slopes vanish."""
    tied = rng.choice(TIED_ANGLES, n)
    return tuple(float(a) for a in np.where(rng.random(n) < 0.5, tied, rng.uniform(0, 7, n)))


def both_ways(operator: XRayTransform, seed: int) -> tuple[torch.Tensor, ...]:
    """A x and A* y of random data, every third time with another layout in memory; and x, y."""
    generator = torch.Generator().manual_seed(seed)
    x, y = (
        torch.randn(shape, generator=generator, dtype=torch.float64).to(operator.dtype)
        for shape in (operator.domain_shape, operator.range_shape)
    )
    if seed % 3 == 0:
        x, y = (torch.stack([part, part + 1], dim=-1)[..., 0] for part in (x, y))
    return operator.forward(x), operator.adjoint(y), x, y


def worst_error(found: tuple[torch.Tensor, ...], expected: tuple[torch.Tensor, ...]) -> float:
    """Of A x and A* y, relative to their largest values, and of <A x, y> = <x, A* y>."""
    (ours, back, x, y), (theirs, their_back, *_) = found, expected
    errors = []
    for mine, other in ((ours, theirs), (back, their_back)):
        assert mine.dtype == other.dtype and mine.shape == other.shape
        largest = max(float(other.abs().max()), 1e-30)
        errors.append(float((mine.double() - other.double()).abs().max()) / largest)
    products = float((ours.double() * y.double()).sum() - (x.double() * back.double()).sum())
    norm = float(ours.double().norm() * y.double().norm())
    return max(*errors, abs(products) / max(norm, 1e-30))
