"""Vectors that are a circle about z: the cone beam with the same rays."""

from __future__ import annotations

import math

import numpy as np

from diffusionblend.geometry.cone import ConeBeam
from diffusionblend.geometry.vectors import PER_VIEW, VectorGeometry

SAME = 1e-4
"""Of a pixel, by which places may lie off the circle, and over the panel its ends."""


def cone_of(vectors: VectorGeometry) -> ConeBeam | None:
    """The circular cone beam whose vectors these are; None where panels tilt or move otherwise.

    Its angles lie within a turn of the first, in their order. The circle is about the z axis, at
    any height; rows run along z.
    """
    if vectors.parallel:
        return None
    source, middle, u, v = (np.array(getattr(vectors, name)) for name in PER_VIEW)
    column_mm, row_mm = float(np.linalg.norm(u[0])), float(v[0, 2])
    along, ahead = u / column_mm, np.column_stack([-u[:, 1], u[:, 0], 0 * u[:, 0]]) / column_mm
    to_axis = -float((source * ahead).sum(1).mean())
    behind = float((middle * ahead).sum(1).mean())
    if row_mm <= 0 or to_axis <= 0 or to_axis + behind <= 0:
        return None
    shift = -float((source * along).sum(1).mean())
    cone = ConeBeam(
        angles_rad=tuple(np.unwrap(np.arctan2(u[:, 1], u[:, 0]))),
        n_columns=vectors.n_columns,
        column_mm=column_mm,
        detector_shift_mm=float((middle * along).sum(1).mean()) + shift,
        source_to_axis_mm=to_axis,
        source_to_detector_mm=to_axis + behind,
        axis_shift_mm=shift if abs(shift) > SAME * column_mm else 0.0,
        n_rows=vectors.n_rows,
        row_mm=row_mm,
        detector_lift_mm=float(middle[:, 2].mean()),
        source_lift_mm=float(source[:, 2].mean()),
    )
    pixel = SAME * min(column_mm, row_mm)
    farthest = (pixel, pixel, pixel / vectors.n_columns, pixel / vectors.n_rows)
    own = cone.to_vectors()
    for name, most in zip(PER_VIEW, farthest, strict=True):
        apart = np.array(getattr(own, name)) - np.array(getattr(vectors, name))
        if not math.isfinite(most) or np.abs(apart).max() > most:
            return None
    return cone
