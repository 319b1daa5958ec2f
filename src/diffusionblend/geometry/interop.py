"""Geometries as ASTRA and TIGRE describe them, in plain dictionaries; neither is imported.

ASTRA's 3D coordinates grow with column, row and slice as ours do, so its `cone` and `parallel3d`
have our angles. Its 2D ones draw y upwards, so that y changes sign, and the angle of a `parallel`
with it; a `fanflat` is seen in a mirror and becomes a VectorGeometry of one row. ASTRA stores
projections as (row, view, bin). TIGRE's source starts on the x axis: its angle is ours less a
quarter turn; it stores (view, row, bin).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from diffusionblend.errors import InputError
from diffusionblend.geometry.base import Geometry
from diffusionblend.geometry.beams import ConeBeam, FanBeam, ParallelBeam
from diffusionblend.geometry.grid import Grid
from diffusionblend.geometry.vectors import PER_VIEW, VectorGeometry

QUARTER_TURN = math.pi / 2
TIGRE_PARALLEL_MM = 1000.0
"""Distance of TIGRE's source and detector in parallel mode, where it means nothing."""
MIRROR_Y = np.array((1.0, -1.0, 1.0))


def to_astra(geometry: Geometry, grid: Grid) -> dict[str, dict[str, Any]]:
    """`proj_geom` and `vol_geom` in mm, as astra.data3d (for a fan astra.data2d) takes them.

    Raises InputError for a curved detector.
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
    if not isinstance(geometry, FanBeam):
        volume["GridSliceCount"] = n_z
        window |= {"WindowMinZ": -half_z, "WindowMaxZ": half_z}
    return {"proj_geom": _astra_projections(geometry, grid), "vol_geom": volume}


def _astra_projections(geometry: Geometry, grid: Grid) -> dict[str, Any]:
    """ASTRA's proj_geom: by angles where it has a word for all, else by vectors."""
    counts = {"DetectorRowCount": geometry.detector_rows(grid), "DetectorColCount": geometry.n_bins}
    if isinstance(geometry, FanBeam):
        parts = _vector_columns(geometry.to_vectors()) * MIRROR_Y
        flat = parts[:, :3, :2].reshape(geometry.n_views, 6)
        return {"type": "fanflat_vec", "DetectorCount": geometry.n_bins, "Vectors": flat}
    if isinstance(geometry, ParallelBeam):
        if geometry.detector_shift_mm == 0:
            return counts | {
                "type": "parallel3d",
                "DetectorSpacingX": geometry.bin_mm,
                "DetectorSpacingY": grid.spacing_mm[0],
                "ProjectionAngles": np.array(geometry.angles_rad),
            }
        vectors = geometry.to_vectors(grid.shape[0], grid.spacing_mm[0])
    else:
        if isinstance(geometry, ConeBeam) and not (
            geometry.detector_shift_mm or geometry.detector_lift_mm or geometry.axis_shift_mm
        ):
            behind = geometry.source_to_detector_mm - geometry.source_to_axis_mm
            return counts | {
                "type": "cone",
                "DetectorSpacingX": geometry.bin_mm,
                "DetectorSpacingY": geometry.row_mm,
                "ProjectionAngles": np.array(geometry.angles_rad),
                "DistanceOriginSource": geometry.source_to_axis_mm,
                "DistanceOriginDetector": behind,
            }
        vectors = geometry.to_vectors()
    kind = "parallel3d_vec" if vectors.parallel else "cone_vec"
    return counts | {"type": kind, "Vectors": _vector_columns(vectors).reshape(-1, 12)}


def _vector_columns(vectors: VectorGeometry) -> np.ndarray:
    """Source or direction, detector, bin step and row step of every view, (view, 4, 3)."""
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
            rows, bins = proj_geom["DetectorRowCount"], proj_geom["DetectorColCount"]
            return _from_columns(parts, rows, bins, parallel=kind == "parallel3d_vec")
        if kind in ("fanflat_vec", "parallel_vec"):
            flat = np.asarray(proj_geom["Vectors"], dtype=float).reshape(-1, 3, 2)
            return _from_flat(flat, proj_geom["DetectorCount"], parallel=kind == "parallel_vec")
        if kind in ("parallel", "parallel3d"):
            flat = kind == "parallel"
            angles = np.asarray(proj_geom["ProjectionAngles"], dtype=float)
            return ParallelBeam(
                angles_rad=-angles if flat else angles,
                n_bins=proj_geom["DetectorCount" if flat else "DetectorColCount"],
                bin_mm=proj_geom["DetectorWidth" if flat else "DetectorSpacingX"],
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


def _from_columns(parts: np.ndarray, n_rows: int, n_bins: int, *, parallel: bool) -> VectorGeometry:
    """A vector geometry from its columns (view, 4, 3)."""
    columns = {name: parts[:, i] for i, name in enumerate(PER_VIEW)}
    return VectorGeometry(**columns, n_rows=n_rows, n_bins=n_bins, parallel=parallel)


def _from_flat(flat: np.ndarray, n_bins: int, *, parallel: bool) -> VectorGeometry:
    """One row of a vector geometry from ASTRA's 2D columns (view, 3, 2), y upwards."""
    parts = np.zeros((len(flat), 4, 3))
    parts[:, :3, :2] = flat
    parts[:, 3, 2] = 1.0
    return _from_columns(parts * MIRROR_Y, 1, n_bins, parallel=parallel)


def _from_distances(proj_geom: dict[str, Any], *, flat: bool) -> Geometry:
    """ASTRA's `cone` or `fanflat`."""
    source = float(proj_geom["DistanceOriginSource"])
    shared = {
        "angles_rad": np.asarray(proj_geom["ProjectionAngles"], dtype=float),
        "source_to_axis_mm": source,
        "source_to_detector_mm": source + float(proj_geom["DistanceOriginDetector"]),
    }
    if not flat:
        return ConeBeam(
            **shared,
            n_rows=proj_geom["DetectorRowCount"],
            row_mm=proj_geom["DetectorSpacingY"],
            n_bins=proj_geom["DetectorColCount"],
            bin_mm=proj_geom["DetectorSpacingX"],
        )
    n_bins, bin_mm = proj_geom["DetectorCount"], proj_geom["DetectorWidth"]
    vectors = FanBeam(**shared, n_bins=n_bins, bin_mm=bin_mm).to_vectors()
    return _from_flat(_vector_columns(vectors)[:, :3, :2], n_bins, parallel=False)


def to_tigre(geometry: Geometry, grid: Grid) -> dict[str, Any]:
    """The attributes of a tigre.geometry, and its `angles`, lengths in mm.

    Raises InputError for a curved detector, a fan over several slices, and general vectors.
    """
    curved = getattr(geometry, "curved", False)
    if isinstance(geometry, VectorGeometry) or curved:
        raise InputError(
            f"TIGRE has no word for a {type(geometry).__name__}{' on a curved detector' * curved}.",
            "a parallel, fan or cone beam on a flat detector",
        )
    if isinstance(geometry, FanBeam) and grid.shape[0] != 1:
        raise InputError(
            f"TIGRE has fans for one slice; the volume has {grid.shape[0]}.",
            "one slice",
            "grid.with_slices(1)",
        )
    parallel = isinstance(geometry, ParallelBeam)
    row_mm = getattr(geometry, "row_mm", grid.spacing_mm[0])
    counts = np.array((geometry.detector_rows(grid), geometry.n_bins))
    steps = np.array((row_mm, geometry.bin_mm))
    voxels, spacing = np.array(grid.shape), np.array(grid.spacing_mm)
    lift_mm = getattr(geometry, "detector_lift_mm", 0.0)
    return {
        "mode": "parallel" if parallel else "cone",
        "DSO": TIGRE_PARALLEL_MM if parallel else geometry.source_to_axis_mm,
        "DSD": TIGRE_PARALLEL_MM if parallel else geometry.source_to_detector_mm,
        "nDetector": counts,
        "dDetector": steps,
        "sDetector": counts * steps,
        "nVoxel": voxels,
        "dVoxel": spacing,
        "sVoxel": voxels * spacing,
        "offOrigin": np.zeros(3),
        "offDetector": np.array((lift_mm, geometry.detector_shift_mm)),
        "COR": 0.0 if parallel else -geometry.axis_shift_mm,
        "rotDetector": np.zeros(3),
        "accuracy": 0.5,
        "angles": np.array(geometry.angles_rad) - QUARTER_TURN,
    }


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
    n_rows, n_bins = (int(n) for n in described["nDetector"])
    row_mm, bin_mm = (float(s) for s in described["dDetector"])
    angles = np.ravel(described["angles"]) + QUARTER_TURN
    shared = {"angles_rad": angles, "n_bins": n_bins, "bin_mm": bin_mm}
    if described["mode"] == "parallel":
        geometry = ParallelBeam(**shared, detector_shift_mm=shift_mm + axis_moves_mm)
        row_per_slice = (n_rows, row_mm) == (grid.shape[0], grid.spacing_mm[0])
        if row_per_slice and not (lift_mm or off_z or off_x or off_y):
            return geometry, grid
        vectors = geometry.to_vectors(n_rows, row_mm).moved(0.0, 0.0, -lift_mm)
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
