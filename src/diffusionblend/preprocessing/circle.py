"""The geometry of a scan that circles about its object, or leans as in laminography, and its
volume.
"""

from __future__ import annotations

import math

import numpy as np

from diffusionblend.data.raw_scan import RawScan
from diffusionblend.errors import InputError
from diffusionblend.geometry import ConeBeam, FanBeam, ParallelBeam, VectorGeometry
from diffusionblend.geometry.checks import is_one_sided, leaves_short_side
from diffusionblend.geometry.grid import Grid
from diffusionblend.preprocessing.settings import PrepareSettings


def circle_geometry(
    scan: RawScan, kind: str, centre_column: float
) -> ParallelBeam | FanBeam | ConeBeam:
    """The geometry, its detector shifted so that the axis projects onto its column."""
    n_rows, n_columns = scan.data.shape[1:]
    column_mm = _known(scan.column_mm)
    shift_mm = ((n_columns - 1) / 2 - centre_column) * column_mm
    if kind == "parallel":
        return ParallelBeam(
            angles_rad=tuple(scan.angles_rad),
            n_columns=n_columns,
            column_mm=column_mm,
            detector_shift_mm=shift_mm,
        )
    magnification = _magnification(scan)
    shift_mm += scan.axis_shift_mm * magnification
    if kind == "fan":
        return FanBeam(
            angles_rad=tuple(scan.angles_rad),
            n_columns=n_columns,
            column_mm=column_mm,
            detector_shift_mm=shift_mm,
            source_to_axis_mm=_known(scan.source_to_axis_mm),
            source_to_detector_mm=_known(scan.source_to_detector_mm),
            axis_shift_mm=scan.axis_shift_mm,
        )
    middle_mm = middle_above_plane_mm(scan)
    return ConeBeam(
        angles_rad=tuple(scan.angles_rad),
        n_columns=n_columns,
        column_mm=column_mm,
        detector_shift_mm=shift_mm,
        source_to_axis_mm=_known(scan.source_to_axis_mm),
        source_to_detector_mm=_known(scan.source_to_detector_mm),
        axis_shift_mm=scan.axis_shift_mm,
        n_rows=n_rows,
        row_mm=_known(scan.row_mm),
        detector_lift_mm=middle_mm * (1 - 1 / magnification),
        source_lift_mm=-middle_mm / magnification,
    )


def middle_above_plane_mm(scan: RawScan) -> float:
    """How far the middle of the rows lies above the row of the source's plane, on the detector."""
    return ((scan.data.shape[1] - 1) / 2 - _known(scan.centre_row)) * _known(scan.row_mm)


def row_per_column(scan: RawScan) -> float:
    """A row's height over a column's width."""
    return _known(scan.row_mm) / _known(scan.column_mm)


def _magnification(scan: RawScan) -> float:
    """Of the axis on the detector of a fan or cone."""
    return _known(scan.source_to_detector_mm) / _known(scan.source_to_axis_mm)


def _known(length: float | None) -> float:
    """A length or place that was checked, or filled in, before."""
    assert length is not None
    return length


def axis_column(geometry: ParallelBeam | FanBeam | ConeBeam) -> float | None:
    """The column of a parallel beam's axis, about which opposite views are mirrored."""
    if not isinstance(geometry, ParallelBeam):
        return None
    return (geometry.n_columns - 1) / 2 - geometry.detector_shift_mm / geometry.column_mm


def short_side(geometry: ParallelBeam | FanBeam | ConeBeam) -> int | None:
    """The end (0, 1) of the detector that is nearer to the axis: over a whole turn by a column or
    more, over an arc clearly.
    """
    wide = geometry.with_opposite_rays()
    if is_one_sided(geometry):
        wide = geometry.reaching_both_sides()
    if wide is geometry:
        return None
    return 0 if wide.detector_shift_mm < geometry.detector_shift_mm else 1


def circle_grid(
    scan: RawScan,
    geometry: ParallelBeam | FanBeam | ConeBeam,
    settings: PrepareSettings,
    lines: np.ndarray,
) -> Grid:
    """Square slices about the axis, one for every detector row, as wide as is measured.

    That is what every view sees, or over a whole turn it or its opposite; over an arc what some
    views see, where by its lines (view, row, column) the object leaves a detector beside the axis.
    The slices' heights count from the plane of the source, or from the middle of the whole
    detector, however it is cropped.
    """
    n_rows = scan.data.shape[1]
    column_mm = _known(scan.column_mm)
    half_mm = seen_half_mm(geometry, partly=leaves_short_side(lines, geometry))
    magnification = 1.0 if isinstance(geometry, ParallelBeam) else _magnification(scan)
    pixel_mm = settings.pixel_mm
    if pixel_mm is None:
        own_mm = column_mm / magnification
        pixel_mm = own_mm if settings.size is None else 2 * half_mm / settings.size
    size = settings.size or max(1, math.floor(2 * half_mm / pixel_mm + 1e-6))
    spacing_mm = (_known(scan.row_mm) / magnification, pixel_mm, pixel_mm)
    half = [-(n - 1) / 2 * s for n, s in zip((n_rows, size, size), spacing_mm, strict=True)]
    half[0] += middle_above_plane_mm(scan) / magnification
    return Grid(shape=(n_rows, size, size), spacing_mm=spacing_mm, origin_mm=tuple(half[::-1]))


def seen_half_mm(geometry: ParallelBeam | FanBeam | ConeBeam, *, partly: bool = False) -> float:
    """The radius about the axis that every view or, over a whole turn, its opposite sees.

    partly: what some view sees.
    """
    wide = geometry.with_opposite_rays()
    ends_mm = wide.column_positions_mm[[0, -1]] - wide.axis_position_mm
    reach = max if partly else min
    half_mm = max(float(reach(-ends_mm[0], ends_mm[1])) + geometry.column_mm / 2, 0.0)
    if isinstance(geometry, ParallelBeam):
        return half_mm
    fan_rad = math.atan(half_mm / geometry.source_to_detector_mm)
    return geometry.source_to_axis_mm * math.sin(fan_rad)


def leaning_geometry(
    scan: RawScan, geometry: ParallelBeam | FanBeam | ConeBeam, degrees: float
) -> VectorGeometry:
    """A circular scan whose axis leans along the beam, about the row of the source's plane, by its
    vectors. Raises InputError for a fan, whose slices are independent.
    """
    if isinstance(geometry, FanBeam):
        raise InputError(
            "A fan beam was given with an axis that leans along the beam.",
            "a parallel beam or a cone, whose rays pass from slice to slice then",
            "--geometry cone",
        )
    plane_mm = -middle_above_plane_mm(scan)
    if isinstance(geometry, ParallelBeam):
        upright = geometry.to_vectors(scan.data.shape[1], _known(scan.row_mm))
    else:
        upright, plane_mm = geometry.to_vectors(), geometry.source_lift_mm
    about_plane = upright.moved(0.0, 0.0, plane_mm).tilted(math.radians(degrees))
    return about_plane.moved(0.0, 0.0, -plane_mm)
