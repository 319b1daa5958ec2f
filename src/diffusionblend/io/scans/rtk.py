"""Projections of RTK, the Reconstruction Toolkit: an image (.mha, .mhd) and its geometry (.xml).

RTK's axis of rotation is y, and at gantry angle 0 its source lies on the z axis (RTK's manual,
"3D circular projection geometry"; Rit et al. 2014). With x = x, y = -z, z = y in our axes, its
angle is ours, and detector columns and rows are ours.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np

from diffusionblend.data.raw_scan import RawScan
from diffusionblend.errors import InputError
from diffusionblend.io.atomic import check_readable
from diffusionblend.io.scans.options import ReadOptions

META_IMAGE_SUFFIXES = (".mha", ".mhd")
ROOT, PROJECTION = "RTKThreeDCircularGeometry", "Projection"
DISTANCES = ("SourceToIsocenterDistance", "SourceToDetectorDistance")
OFFSETS = ("ProjectionOffsetX", "ProjectionOffsetY", "SourceOffsetX", "SourceOffsetY")
TURNS = ("InPlaneAngle", "OutOfPlaneAngle")
ANGLE, MATRIX, RADIUS = "GantryAngle", "Matrix", "RadiusCylindricalDetector"
SAME_MM, SAME_DEGREES = 1e-3, 1e-3
"""Lengths and angles that vary by less over the views do not vary."""
SAME_PLACE = 1e-4
"""Of the detector's distance, within which a view's matrix projects as its parameters say."""


def read_rtk_projections(path: Path | str, options: ReadOptions) -> RawScan:
    """A cone-beam scan of RTK: its projections and the geometry that `options` name.

    Floats are line integrals, whole numbers counts, unless `options.values` says. Raises
    InputError for a geometry other than a circle with a flat panel that stands still beside it.
    """
    path = Path(path)
    data, spacing_mm, origin_mm = _image(path)
    if options.rtk_geometry is None:
        raise InputError(
            f"{path} holds projections without their geometry.",
            "RTK's geometry of them (.xml)",
            "--rtk-geometry FILE.xml; for others save the array as .npy",
        )
    geometry = _geometry(options.rtk_geometry)
    angles = geometry.pop("angles_degrees")
    if len(angles) != len(data):
        raise InputError(
            f"{path} has {len(data)} views, and {options.rtk_geometry} {len(angles)}.",
            "an angle for every view",
            "the geometry of this very scan",
        )
    n_rows, n_columns = data.shape[1:]
    views = options.window.views
    rows, columns = options.window.of_detector(n_rows, n_columns)
    offset_x, offset_y, source_x, source_y = (geometry.pop(name) for name in OFFSETS)
    # where the plane of the source and the axis are seen, of our detector at magnification
    magnified = geometry[DISTANCES[1]] / geometry[DISTANCES[0]]
    axis_mm = source_x - source_x * magnified - offset_x
    row_mm = source_y - offset_y
    is_float = np.issubdtype(data.dtype, np.floating)
    return RawScan(
        data=data[views, rows, columns],
        values=options.values or ("lines" if is_float else "counts"),
        angles_rad=np.radians(angles)[views],
        column_mm=spacing_mm[0],
        row_mm=spacing_mm[1],
        centre_column=(axis_mm - origin_mm[0]) / spacing_mm[0] - columns.start,
        centre_row=(row_mm - origin_mm[1]) / spacing_mm[1] - rows.start,
        source_to_axis_mm=geometry[DISTANCES[0]],
        source_to_detector_mm=geometry[DISTANCES[1]],
        axis_shift_mm=-source_x,
        facts={"format": "RTK"},
        **options.window.place(n_rows, n_columns),
    )


def _image(path: Path) -> tuple[np.ndarray, tuple[float, ...], tuple[float, ...]]:
    """The array (view, row, column), and spacing and origin (column, row) in mm. InputError."""
    import SimpleITK as sitk

    check_readable(path)
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise InputError(
            f"{path} could not be read as a MetaImage.",
            "a whole .mha, or .mhd beside its .raw",
            "copy it again, with the file that its ElementDataFile names",
        ) from error
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise InputError(
            f"{path} has {image.GetDimension()} axes and {image.GetNumberOfComponentsPerPixel()} "
            "numbers a pixel.",
            "a stack of projections (column, row, view)",
        )
    direction = np.array(image.GetDirection()).reshape(3, 3)
    if not np.allclose(direction, np.eye(3), atol=1e-6):
        raise InputError(
            f"{path} has the axes {direction.ravel().round(3).tolist()}.",
            "the identity, as RTK's projections have",
        )
    return sitk.GetArrayFromImage(image), image.GetSpacing()[:2], image.GetOrigin()[:2]


def _geometry(path: Path) -> dict[str, Any]:
    """Distances and offsets by RTK's names, and the angles. Raises InputError for what varies."""
    check_readable(path)
    try:
        text = path.read_text(encoding="utf-8")
        if "<!ENTITY" in text:
            raise ValueError("it declares entities")
        root = ElementTree.fromstring(text)  # noqa: S314 (no entities)
        views = root.findall(PROJECTION)
        if root.tag != ROOT or not views:
            raise ValueError(f"its root is {root.tag!r}, with {len(views)} projections")
        found = {name: _values(root, views, name) for name in (*DISTANCES, *OFFSETS, *TURNS)}
        radius = _values(root, views, RADIUS)
        angles = _values(root, views, ANGLE)
        matrices = [view.findtext(MATRIX) for view in views]
        parsed = [None if m is None else np.array(m.split(), float).reshape(3, 4) for m in matrices]
    except (ElementTree.ParseError, ValueError, TypeError) as error:
        raise InputError(
            f"{path} is not a geometry of RTK: {error}.",
            f"a file of {ROOT}, as rtksimulatedgeometry and others write it",
        ) from error
    for name in (*DISTANCES, *OFFSETS):
        _check_constant(path, name, found[name], SAME_MM)
    for name in TURNS:
        _check_constant(path, name, (found[name] + 180) % 360 - 180, SAME_DEGREES, zero=True)
    _check_constant(path, RADIUS, radius, SAME_MM, zero=True)
    single: dict[str, Any] = {n: float(v.mean()) for n, v in found.items() if n not in TURNS}
    if not all(single[name] > 0 for name in DISTANCES):
        raise InputError(
            f"{path} has the distances {single[DISTANCES[0]]:g} and {single[DISTANCES[1]]:g} mm.",
            "a cone beam, whose source is before the axis and the detector",
        )
    _check_matrices(path, single, angles, parsed)
    return single | {"angles_degrees": angles}


def _values(root: Any, views: list[Any], name: str) -> np.ndarray:
    """A parameter's value for each view: its own, else the file's, else 0."""
    common = root.findtext(name, "0")
    return np.array([float(view.findtext(name, common)) for view in views])


def _check_constant(
    path: Path, name: str, values: np.ndarray, tolerance: float, *, zero: bool = False
) -> None:
    """Raises InputError where a parameter varies over the views, or is not 0 where it has to be."""
    low, high = float(values.min()), float(values.max())
    if high - low > tolerance or (zero and max(abs(low), abs(high)) > tolerance):
        raise InputError(
            f"{path} has {name} from {low:g} to {high:g}.",
            f"{'0' if zero else 'one value'} in all views: a circle and a flat panel",
            "a VectorGeometry made view by view, in Python (docs/file-layouts.md)",
        )


def _check_matrices(
    path: Path, single: dict[str, Any], angles: np.ndarray, matrices: list[np.ndarray | None]
) -> None:
    """Raises InputError where a view's own matrix projects elsewhere than its parameters say."""
    to_axis, to_detector = (single[name] for name in DISTANCES)
    offset_x, offset_y, source_x, source_y = (single[name] for name in OFFSETS)
    point = np.array((0.1, 0.05, 0.07)) * to_axis
    for view, (degrees, matrix) in enumerate(zip(angles, matrices, strict=True)):
        if matrix is None:
            continue
        cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        x, z = cos * point[0] - sin * point[2], sin * point[0] + cos * point[2]
        scale = to_detector / (to_axis - z)
        by_parameters = np.array(
            (
                (x - source_x) * scale + source_x - offset_x,
                (point[1] - source_y) * scale + source_y - offset_y,
            )
        )
        projected = matrix @ np.append(point, 1.0)
        if np.abs(projected[:2] / projected[2] - by_parameters).max() > SAME_PLACE * to_detector:
            raise InputError(
                f"{path} contradicts itself: the matrix of view {view} projects a point to "
                f"{(projected[:2] / projected[2]).round(2).tolist()} mm, its parameters to "
                f"{by_parameters.round(2).tolist()} mm.",
                "a matrix that follows from the parameters",
                "write the geometry again with RTK",
            )
