"""Geometries as ASTRA and TIGRE describe them, in plain dictionaries; neither is imported.

ASTRA's 3D coordinates grow with column, row and slice as ours do, so its `cone` and `parallel3d`
have our angles. Its 2D ones draw y upwards, so that y changes sign, and the angle of a `parallel`
with it; a `fanflat` is seen in a mirror and becomes a VectorGeometry of one row. ASTRA stores
projections as (row, view, column). TIGRE's source starts on the x axis: its angle is ours less a
quarter turn; it stores (view, row, column).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from diffusionblend.errors import InputError
from diffusionblend.geometry.base import Geometry
from diffusionblend.geometry.cone import ConeBeam
from diffusionblend.geometry.fan import FanBeam
from diffusionblend.geometry.grid import Grid
from diffusionblend.geometry.parallel import ParallelBeam
from diffusionblend.geometry.vectors import PER_VIEW, VectorGeometry, triples

QUARTER_TURN = math.pi / 2
TIGRE_PARALLEL_MM = 1000.0
"""Distance of TIGRE's source and detector in parallel mode, where it means nothing."""
MIRROR_Y = np.array((1.0, -1.0, 1.0))


def to_astra(geometry: Geometry, grid: Grid) -> dict[str, dict[str, Any]]:
    """`proj_geom` and `vol_geom` in mm, as astra.data3d (for a fan astra.data2d) takes them.

    A geometry that ASTRA has no angles for is described by its vectors. Raises InputError for a
    curved detector, and for an unknown geometry whose slices are independent.
    """
    n_z, n_y, n_x = grid.shape
    half_z, half_y, half_x = (n * s / 2 for n, s in zip(grid.shape, grid.spacing_mm, strict=True))
    window = {
        "WindowMinX": -half_x,
        "WindowMaxX": half_x,
        "WindowMinY": -half_y,
        "WindowMaxY": half_y,
    }
    volume: dict[str, Any] = {"GridRowCount": n_y, "GridColCount": n_x, "option": window}
    projections = _ASTRA.get(type(geometry), _astra_of_others)(geometry, grid)
    if "DetectorCount" not in projections:
        volume["GridSliceCount"] = n_z
        window |= {"WindowMinZ": -half_z, "WindowMaxZ": half_z}
    return {"proj_geom": projections, "vol_geom": volume}


def _astra_parallel(geometry: ParallelBeam, grid: Grid) -> dict[str, Any]:
    """`parallel3d`, or its vectors where the detector is shifted."""
    if geometry.detector_shift_mm:
        return _astra_vectors(geometry.to_vectors(grid.shape[0], grid.spacing_mm[0]))
    return {
        "type": "parallel3d",
        "DetectorRowCount": grid.shape[0],
        "DetectorColCount": geometry.n_columns,
        "DetectorSpacingX": geometry.column_mm,
        "DetectorSpacingY": grid.spacing_mm[0],
        "ProjectionAngles": np.array(geometry.angles_rad),
    }


def _astra_fan(geometry: FanBeam, grid: Grid) -> dict[str, Any]:
    """`fanflat_vec`, since ASTRA sees a `fanflat` in a mirror."""
    parts = _vector_columns(geometry.to_vectors()) * MIRROR_Y
    flat = parts[:, :3, :2].reshape(geometry.n_views, 6)
    return {"type": "fanflat_vec", "DetectorCount": geometry.n_columns, "Vectors": flat}


def _astra_cone(geometry: ConeBeam, grid: Grid) -> dict[str, Any]:
    """`cone`, or its vectors where anything is shifted."""
    lifted = geometry.detector_lift_mm or geometry.source_lift_mm
    if lifted or geometry.detector_shift_mm or geometry.axis_shift_mm:
        return _astra_vectors(geometry.to_vectors())
    return {
        "type": "cone",
        "DetectorRowCount": geometry.n_rows,
        "DetectorColCount": geometry.n_columns,
        "DetectorSpacingX": geometry.column_mm,
        "DetectorSpacingY": geometry.row_mm,
        "ProjectionAngles": np.array(geometry.angles_rad),
        "DistanceOriginSource": geometry.source_to_axis_mm,
        "DistanceOriginDetector": geometry.source_to_detector_mm - geometry.source_to_axis_mm,
    }


def _astra_of_others(geometry: Geometry, grid: Grid) -> dict[str, Any]:
    """Any geometry that couples slices, by its vectors."""
    if not geometry.couples_slices:
        raise InputError(
            f"ASTRA has no words for a {type(geometry).__name__} over independent slices.",
            "a parallel, fan or cone beam, or a geometry that couples slices",
        )
    return _astra_vectors(geometry.to_vectors())


_ASTRA: dict[type, Callable[..., dict[str, Any]]] = {
    ParallelBeam: _astra_parallel,
    FanBeam: _astra_fan,
    ConeBeam: _astra_cone,
}
"""By exact class: a subclass is described by its vectors."""


def _astra_vectors(vectors: VectorGeometry) -> dict[str, Any]:
    """`cone_vec` or `parallel3d_vec`."""
    return {
        "type": "parallel3d_vec" if vectors.parallel else "cone_vec",
        "DetectorRowCount": vectors.n_rows,
        "DetectorColCount": vectors.n_columns,
        "Vectors": _vector_columns(vectors).reshape(-1, 12),
    }


def _vector_columns(vectors: VectorGeometry) -> np.ndarray:
    """Source or direction, detector, column step and row step of every view, (view, 4, 3)."""
    return np.stack([np.array(getattr(vectors, name)) for name in PER_VIEW], axis=1)


def from_astra(proj_geom: dict[str, Any]) -> Geometry:
    """The geometry that a `proj_geom` in mm describes.

    `parallel3d` is taken to have a row per slice. Raises InputError for another type or a missing
    key.
    """
    kind = proj_geom.get("type")
    try:
        if kind in ("cone_vec", "parallel3d_vec"):
            parts = np.asarray(proj_geom["Vectors"], dtype=float).reshape(-1, 4, 3)
            rows, columns = proj_geom["DetectorRowCount"], proj_geom["DetectorColCount"]
            return _from_columns(parts, rows, columns, parallel=kind == "parallel3d_vec")
        if kind in ("fanflat_vec", "parallel_vec"):
            flat = np.asarray(proj_geom["Vectors"], dtype=float).reshape(-1, 3, 2)
            return _from_flat(flat, proj_geom["DetectorCount"], parallel=kind == "parallel_vec")
        if kind in ("parallel", "parallel3d"):
            flat = kind == "parallel"
            angles = np.asarray(proj_geom["ProjectionAngles"], dtype=float)
            return ParallelBeam(
                angles_rad=tuple(-angles if flat else angles),
                n_columns=proj_geom["DetectorCount" if flat else "DetectorColCount"],
                column_mm=proj_geom["DetectorWidth" if flat else "DetectorSpacingX"],
            )
        if kind in ("cone", "fanflat"):
            return _from_distances(proj_geom, flat=kind == "fanflat")
    except KeyError as error:
        raise InputError(
            f"ASTRA's geometry of type {kind!r} lacks {error}.", "proj_geom as ASTRA makes it"
        ) from error
    raise InputError(
        f"ASTRA's geometry is of type {kind!r}.",
        "parallel, fanflat, parallel3d or cone, or one of them with _vec",
    )


def _from_columns(
    parts: np.ndarray, n_rows: int, n_columns: int, *, parallel: bool
) -> VectorGeometry:
    """A vector geometry from its columns (view, 4, 3)."""
    columns: dict[str, Any] = {name: triples(parts[:, i]) for i, name in enumerate(PER_VIEW)}
    return VectorGeometry(**columns, n_rows=n_rows, n_columns=n_columns, parallel=parallel)


def _from_flat(flat: np.ndarray, n_columns: int, *, parallel: bool) -> VectorGeometry:
    """One row of a vector geometry from ASTRA's 2D columns (view, 3, 2), y upwards."""
    parts = np.zeros((len(flat), 4, 3))
    parts[:, :3, :2] = flat
    parts[:, 3, 2] = 1.0
    return _from_columns(parts * MIRROR_Y, 1, n_columns, parallel=parallel)


def _from_distances(proj_geom: dict[str, Any], *, flat: bool) -> Geometry:
    """ASTRA's `cone` or `fanflat`."""
    source = float(proj_geom["DistanceOriginSource"])
    shared: dict[str, Any] = {
        "angles_rad": np.asarray(proj_geom["ProjectionAngles"], dtype=float),
        "source_to_axis_mm": source,
        "source_to_detector_mm": source + float(proj_geom["DistanceOriginDetector"]),
    }
    if not flat:
        return ConeBeam(
            **shared,
            n_rows=proj_geom["DetectorRowCount"],
            row_mm=proj_geom["DetectorSpacingY"],
            n_columns=proj_geom["DetectorColCount"],
            column_mm=proj_geom["DetectorSpacingX"],
        )
    n_columns, column_mm = proj_geom["DetectorCount"], proj_geom["DetectorWidth"]
    vectors = FanBeam(**shared, n_columns=n_columns, column_mm=column_mm).to_vectors()
    return _from_flat(_vector_columns(vectors)[:, :3, :2], n_columns, parallel=False)


def to_tigre(geometry: Geometry, grid: Grid) -> dict[str, Any]:
    """The attributes of a tigre.geometry, and its `angles`, lengths in mm.

    Raises InputError for a curved detector, a fan over several slices, general vectors, and
    geometries of other classes.
    """
    describe = _TIGRE.get(type(geometry))
    if describe is None:
        raise InputError(
            f"TIGRE has no word for a {type(geometry).__name__}.",
            "a parallel, fan or cone beam on a flat detector",
        )
    voxels, spacing = np.array(grid.shape), np.array(grid.spacing_mm)
    described = {
        "nVoxel": voxels,
        "dVoxel": spacing,
        "sVoxel": voxels * spacing,
        "offOrigin": np.zeros(3),
        "rotDetector": np.zeros(3),
        "accuracy": 0.5,
    } | describe(geometry, grid)
    return described | {"sDetector": described["nDetector"] * described["dDetector"]}


def _tigre_parallel(geometry: ParallelBeam, grid: Grid) -> dict[str, Any]:
    return {
        "mode": "parallel",
        "DSO": TIGRE_PARALLEL_MM,
        "DSD": TIGRE_PARALLEL_MM,
        "nDetector": np.array((grid.shape[0], geometry.n_columns)),
        "dDetector": np.array((grid.spacing_mm[0], geometry.column_mm)),
        "offDetector": np.array((0.0, geometry.detector_shift_mm)),
        "COR": 0.0,
        "angles": np.array(geometry.angles_rad) - QUARTER_TURN,
    }


def _tigre_fan(geometry: FanBeam, grid: Grid) -> dict[str, Any]:
    """A cone of one row, as high as the slice."""
    if geometry.curved:
        raise InputError(
            "TIGRE has no word for a FanBeam on a curved detector.",
            "a parallel, fan or cone beam on a flat detector",
        )
    if grid.shape[0] != 1:
        raise InputError(
            f"TIGRE has fans for one slice; the volume has {grid.shape[0]}.",
            "one slice",
            "grid.with_slices(1)",
        )
    return _tigre_from_source(geometry, 1, grid.spacing_mm[0], 0.0)


def _tigre_cone(geometry: ConeBeam, grid: Grid) -> dict[str, Any]:
    lift_mm = geometry.detector_lift_mm - geometry.source_lift_mm
    described = _tigre_from_source(geometry, geometry.n_rows, geometry.row_mm, lift_mm)
    return described | {"offOrigin": np.array((-geometry.source_lift_mm, 0.0, 0.0))}


def _tigre_from_source(
    geometry: FanBeam | ConeBeam, n_rows: int, row_mm: float, lift_mm: float
) -> dict[str, Any]:
    return {
        "mode": "cone",
        "DSO": geometry.source_to_axis_mm,
        "DSD": geometry.source_to_detector_mm,
        "nDetector": np.array((n_rows, geometry.n_columns)),
        "dDetector": np.array((row_mm, geometry.column_mm)),
        "offDetector": np.array((lift_mm, geometry.detector_shift_mm)),
        "COR": -geometry.axis_shift_mm,
        "angles": np.array(geometry.angles_rad) - QUARTER_TURN,
    }


_TIGRE: dict[type, Callable[..., dict[str, Any]]] = {
    ParallelBeam: _tigre_parallel,
    FanBeam: _tigre_fan,
    ConeBeam: _tigre_cone,
}
"""By exact class: a subclass is refused."""


def from_tigre(described: dict[str, Any]) -> tuple[Geometry, Grid]:
    """The geometry and grid that the attributes of a tigre.geometry and its `angles` describe.

    A volume off the axis (offOrigin) makes it a VectorGeometry. Raises InputError for a missing
    key, a turned detector, and offsets that change from view to view.
    """
    missing = {"mode", "DSO", "DSD", "nDetector", "dDetector", "nVoxel", "dVoxel", "angles"}
    missing -= set(described)
    if missing or described["mode"] not in ("cone", "parallel"):
        raise InputError(
            f"TIGRE's geometry lacks {sorted(missing)} or has mode {described.get('mode')!r}.",
            "mode cone or parallel, and the attributes of a tigre.geometry",
        )
    if np.any(described.get("rotDetector", 0.0)):
        raise InputError("TIGRE's geometry has a turned detector.", "rotDetector 0")
    off_z, off_y, off_x = _constant(described, "offOrigin", 3)
    lift_mm, shift_mm = _constant(described, "offDetector", 2)
    (axis_moves_mm,) = _constant(described, "COR", 1)
    (source_mm,), (detector_mm,) = (_constant(described, name, 1) for name in ("DSO", "DSD"))
    grid = Grid(shape=tuple(described["nVoxel"]), spacing_mm=tuple(described["dVoxel"]))
    n_rows, n_columns = (int(n) for n in described["nDetector"])
    row_mm, column_mm = (float(s) for s in described["dDetector"])
    angles = np.ravel(described["angles"]) + QUARTER_TURN
    shared: dict[str, Any] = {"angles_rad": angles, "n_columns": n_columns, "column_mm": column_mm}
    if described["mode"] == "parallel":
        beam = ParallelBeam(**shared, detector_shift_mm=shift_mm + axis_moves_mm)
        row_per_slice = (n_rows, row_mm) == (grid.shape[0], grid.spacing_mm[0])
        if row_per_slice and not (lift_mm or off_z or off_x or off_y):
            return beam, grid
        vectors = beam.to_vectors(n_rows, row_mm).moved(0.0, 0.0, -lift_mm)
        return vectors.moved(off_x, off_y, off_z), grid
    geometry = ConeBeam(
        **shared,
        n_rows=n_rows,
        row_mm=row_mm,
        source_to_axis_mm=source_mm,
        source_to_detector_mm=detector_mm,
        detector_shift_mm=shift_mm,
        detector_lift_mm=lift_mm,
        axis_shift_mm=-axis_moves_mm,
    )
    if off_x or off_y or off_z:
        return geometry.to_vectors().moved(off_x, off_y, off_z), grid
    return geometry, grid


def _constant(described: dict[str, Any], name: str, n: int) -> tuple[float, ...]:
    """n numbers of an attribute, 0 where it is missing, the same in every view. InputError else."""
    values = np.asarray(described.get(name, np.zeros(n)), dtype=float).reshape(-1, n)
    if not (values == values[0]).all():
        raise InputError(
            f"TIGRE's {name} changes from view to view.",
            "one value",
            "a VectorGeometry made view by view",
        )
    return tuple(float(v) for v in values[0])
