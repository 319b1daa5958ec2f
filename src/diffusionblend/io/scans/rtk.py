"""Projections of RTK, the Reconstruction Toolkit: an image (.mha, .mhd) and its geometry (.xml).

RTK's axis of rotation is y, and at gantry angle 0 its source lies on the z axis (RTK's manual,
"3D circular projection geometry"; Rit et al. 2014). With x = x, y = -z, z = y in our axes, its
angle is ours, and detector columns and rows are ours. In the frame that turns with the gantry, by
the angles in the plane of the panel, out of it and of the gantry, the source is at (SourceOffsetX,
SourceOffsetY, source to axis) and the panel in the plane z = source to axis - source to detector,
moved by ProjectionOffsetX and Y.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diffusionblend.data.raw_scan import RawScan
from diffusionblend.errors import InputError
from diffusionblend.geometry.vectors import Triples, VectorGeometry, triples
from diffusionblend.io.atomic import check_readable
from diffusionblend.io.foreign.edge import COPY_AGAIN, WRITE_ANEW, foreign_edge
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

    Floats are line integrals, whole numbers counts, unless `options.values` says. A circle with a
    flat panel that stands still has its distances and centres; where the panel is tilted, the
    source lies above the isocentre, or anything but the angle varies, `geometry` has all. Raises
    InputError for curved detectors and parallel beams.
    """
    path = Path(path)
    data, spacing_mm, origin_mm = _image(path)
    if options.rtk_geometry is None:
        raise InputError(
            f"{path} holds projections without their geometry.",
            "RTK's geometry of them (.xml)",
            "--rtk-geometry FILE.xml; for others save the array as .npy",
        )
    with foreign_edge(options.rtk_geometry):
        views = _views(options.rtk_geometry)
    if len(views.degrees) != len(data):
        raise InputError(
            f"{path} has {len(data)} views, and {options.rtk_geometry} {len(views.degrees)}.",
            "an angle for every view",
            "the geometry of this very scan",
        )
    n_rows, n_columns = data.shape[1:]
    rows, columns = options.window.of_detector(n_rows, n_columns)
    first = (rows.start, columns.start)
    is_float = np.issubdtype(data.dtype, np.floating)
    picked = options.window.views
    part = data[picked, rows, columns]
    placed: dict[str, Any]
    if views.is_circle:
        placed = _circle(views, spacing_mm, origin_mm, first)
    else:
        whole = _panels(views, spacing_mm, origin_mm, (n_rows, n_columns))
        panels = whole.of_views(np.arange(len(data))[picked])
        placed = {"geometry": panels.of_detector(first, part.shape[1:])}
    return RawScan(
        data=part,
        values=options.values or ("lines" if is_float else "counts"),
        angles_rad=np.radians(views.degrees)[picked],
        facts={"format": "RTK"},
        **placed,
        **options.window.place(n_rows, n_columns),
    )


@dataclass(frozen=True, eq=False)
class _Views:
    """RTK's parameters of every view by their names, (view,) each, and the gantry's angles."""

    degrees: np.ndarray
    of: dict[str, np.ndarray]

    @property
    def is_circle(self) -> bool:
        """Whether nothing but the gantry's angle varies, the panel is not tilted, and the source
        turns in the isocentre's plane, from which a circle's heights count.
        """
        still = all(np.ptp(self.of[name]) <= SAME_MM for name in (*DISTANCES, *OFFSETS))
        tilts = [(self.of[name] + 180) % 360 - 180 for name in TURNS]
        in_plane = np.abs(self.of["SourceOffsetY"]).max() <= SAME_MM
        return still and in_plane and all(np.abs(tilt).max() <= SAME_DEGREES for tilt in tilts)

    def rotations(self) -> np.ndarray:
        """From RTK's frame to that of the panel of each view, (view, 3, 3)."""
        in_plane, out_of_plane = (np.radians(self.of[name]) for name in TURNS)
        gantry = np.radians(self.degrees)
        return _rotations(2, -in_plane) @ _rotations(0, -out_of_plane) @ _rotations(1, -gantry)


def _rotations(axis: int, angles_rad: np.ndarray) -> np.ndarray:
    """Rotations about x, y or z, (angle, 3, 3)."""
    one, other = (axis + 1) % 3, (axis + 2) % 3
    found = np.zeros((len(angles_rad), 3, 3))
    found[:, axis, axis] = 1.0
    found[:, one, one] = found[:, other, other] = np.cos(angles_rad)
    found[:, other, one] = np.sin(angles_rad)
    found[:, one, other] = -found[:, other, one]
    return found


def _circle(
    views: _Views,
    spacing_mm: tuple[float, ...],
    origin_mm: tuple[float, ...],
    first: tuple[int, int],
) -> dict[str, float]:
    """The lengths and centres of a circular scan, by the names of a RawScan.

    first: row and column of the detector that are the first of the data.
    """
    single = {name: float(values.mean()) for name, values in views.of.items()}
    to_axis, to_detector = (single[name] for name in DISTANCES)
    offset_x, offset_y, source_x, source_y = (single[name] for name in OFFSETS)
    # where the plane of the source and the axis are seen, of our detector at magnification
    axis_mm = source_x - source_x * to_detector / to_axis - offset_x
    row_mm = source_y - offset_y
    return {
        "column_mm": spacing_mm[0],
        "row_mm": spacing_mm[1],
        "centre_column": (axis_mm - origin_mm[0]) / spacing_mm[0] - first[1],
        "centre_row": (row_mm - origin_mm[1]) / spacing_mm[1] - first[0],
        "source_to_axis_mm": to_axis,
        "source_to_detector_mm": to_detector,
        "axis_shift_mm": -source_x,
    }


def _panels(
    views: _Views,
    spacing_mm: tuple[float, ...],
    origin_mm: tuple[float, ...],
    shape: tuple[int, int],
) -> VectorGeometry:
    """Source and panel of every view, in our axes."""
    to_axis, to_detector = (views.of[name] for name in DISTANCES)
    offset_x, offset_y, source_x, source_y = (views.of[name] for name in OFFSETS)
    back = views.rotations().transpose(0, 2, 1)
    middle = [
        o + (n - 1) / 2 * s for o, n, s in zip(origin_mm, shape[::-1], spacing_mm, strict=True)
    ]

    def placed(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> Triples:
        x, y, z = (back @ np.stack([x, y, z], axis=1)[:, :, None])[:, :, 0].T
        return triples(np.stack([x, -z, y], axis=1))

    zero = np.zeros(len(back))
    return VectorGeometry(
        sources_mm=placed(source_x, source_y, to_axis),
        detectors_mm=placed(middle[0] + offset_x, middle[1] + offset_y, to_axis - to_detector),
        column_steps_mm=placed(zero + spacing_mm[0], zero, zero),
        row_steps_mm=placed(zero, zero + spacing_mm[1], zero),
        n_rows=shape[0],
        n_columns=shape[1],
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
            "the stack that RTK reads",
        )
    direction = np.array(image.GetDirection()).reshape(3, 3)
    if not np.allclose(direction, np.eye(3), atol=1e-6):
        raise InputError(
            f"{path} has the axes {direction.ravel().round(3).tolist()}.",
            "the identity, as RTK's projections have",
            "turn the projections, and write them anew",
        )
    return sitk.GetArrayFromImage(image), image.GetSpacing()[:2], image.GetOrigin()[:2]


def _views(path: Path) -> _Views:
    """The parameters of every view. Raises InputError for what is no cone beam on a flat panel."""
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
            WRITE_ANEW,
        ) from error
    if not all(np.isfinite(values).all() for values in (angles, radius, *found.values())):
        raise InputError(
            f"{path} has parameters that are not finite.",
            "finite numbers",
            COPY_AGAIN,
        )
    if np.abs(radius).max() > SAME_MM:
        raise InputError(
            f"{path} has {RADIUS} from {radius.min():g} to {radius.max():g}.",
            "0 in all views: a flat panel",
            "a VectorGeometry made view by view, in Python (docs/file-layouts.md)",
        )
    lacking = [n for n in DISTANCES if any(place.find(n) is None for place in views)]
    lacking = [n for n in lacking if root.find(n) is None]
    if lacking:
        raise InputError(
            f"{path} lacks {' and '.join(lacking)}.",
            "both distances, of the whole scan or of every view",
            "write the geometry again with RTK",
        )
    if not all((found[name] > 0).all() for name in DISTANCES):
        shown = " and ".join(f"{found[name].min():g}" for name in DISTANCES)
        raise InputError(
            f"{path} has the distances {shown} mm.",
            "a cone beam, whose source is before the axis and the detector",
            "check the distances in the geometry",
        )
    geometry = _Views(angles, found)
    _check_matrices(path, geometry, parsed)
    return geometry


def _values(root: Any, views: list[Any], name: str) -> np.ndarray:
    """A parameter's value for each view: its own, else the file's, else 0. Raises ValueError."""
    for place in (root, *views):
        if len(place.findall(name)) > 1:
            raise ValueError(f"it gives {name} twice in one place")
    common = root.findtext(name, "0")
    return np.array([float(view.findtext(name, common)) for view in views])


def _check_matrices(path: Path, views: _Views, matrices: list[np.ndarray | None]) -> None:
    """Raises InputError where a view's own matrix projects elsewhere than its parameters say."""
    rotations = views.rotations()
    for view, matrix in enumerate(matrices):
        if matrix is None:
            continue
        to_axis, to_detector = (views.of[name][view] for name in DISTANCES)
        offset_x, offset_y, source_x, source_y = (views.of[name][view] for name in OFFSETS)
        point = np.array((0.1, 0.05, 0.07)) * to_axis
        x, y, z = rotations[view] @ point
        scale = to_detector / (to_axis - z)
        by_parameters = np.array(
            (
                (x - source_x) * scale + source_x - offset_x,
                (y - source_y) * scale + source_y - offset_y,
            )
        )
        projected = matrix @ np.append(point, 1.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            apart = np.abs(projected[:2] / projected[2] - by_parameters).max()
        if not apart <= SAME_PLACE * to_detector:
            raise InputError(
                f"{path} contradicts itself: the matrix of view {view} projects a point to "
                f"{(projected[:2] / projected[2]).round(2).tolist()} mm, its parameters to "
                f"{by_parameters.round(2).tolist()} mm.",
                "a matrix that follows from the parameters",
                "write the geometry again with RTK",
            )
