"""The volume of a scan whose panels are given view by view, and what such a scan leaves open."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from diffusionblend.data.raw_scan import RawScan
from diffusionblend.errors import InputError
from diffusionblend.geometry.base import Geometry
from diffusionblend.geometry.circles import cone_of
from diffusionblend.geometry.cone import ConeBeam
from diffusionblend.geometry.grid import Grid
from diffusionblend.geometry.vectors import VectorGeometry
from diffusionblend.preprocessing.circle import seen_half_mm
from diffusionblend.preprocessing.settings import PrepareSettings

STATED = (
    "source_to_axis_mm",
    "source_to_detector_mm",
    "column_mm",
    "row_mm",
    "centre_column",
    "centre_row",
)
TOLD = (
    "the panels are given view by view, as no circle with an upright panel describes them: FBP and "
    "FDK cannot take that; cgls, sirt, admm-tv and the diffusion methods can"
)
TOLD_PARALLEL = (
    "the panels of a parallel beam are given view by view: FBP cannot take that, but cgls, sirt, "
    "admm-tv and the diffusion methods can; of a circle about z give --angles in place of the "
    "vectors, which fbp takes"
)


@dataclass(frozen=True)
class Middles:
    """What the views see of the axis' middle: half the width in mm that all of them see, the
    magnification there, and the height in mm of the panels' middle row.
    """

    half_mm: float
    magnification: float
    height_mm: float


def panel_notes(geometry: Geometry | None) -> list[str]:
    """What methods are left for a geometry of vectors; nothing of others."""
    if not isinstance(geometry, VectorGeometry):
        return []
    cone = cone_of(geometry)
    if cone is None:
        return [TOLD_PARALLEL if geometry.parallel else TOLD]
    return [
        f"the panels, given view by view, lie on one circle: a cone beam with its source "
        f"{cone.source_to_axis_mm:.5g} mm from the axis and {cone.source_to_detector_mm:.5g} mm "
        "from the detector is taken, which fbp (FDK) and all other methods take"
    ]


def panel_scan(scan: RawScan, settings: PrepareSettings) -> tuple[VectorGeometry | ConeBeam, Grid]:
    """The geometry about the volume's middle, and the volume: square slices about the axis, one for
    each row, as wide as all views see.

    Panels on a circle become a cone beam, of which opposite views count too. Raises InputError for
    settings that the panels decide.
    """
    check_not_stated(settings, ("auto", "cone"))
    panels = scan.geometry
    assert isinstance(panels, VectorGeometry)
    seen, cone = _middles(panels), cone_of(panels)
    half_mm = seen.half_mm if cone is None else seen_half_mm(cone)
    u, v = (np.linalg.norm(s, axis=1).mean() for s in (panels.column_steps_mm, panels.row_steps_mm))
    pixel_mm = settings.pixel_mm
    if pixel_mm is None:
        pixel_mm = u / seen.magnification
        if settings.size is not None:
            pixel_mm = 2 * half_mm / settings.size
    size = settings.size or max(1, int(2 * half_mm / pixel_mm + 1e-6))
    spacing_mm = (float(v / seen.magnification), float(pixel_mm), float(pixel_mm))
    half = [-(n - 1) / 2 * s for n, s in zip((panels.n_rows, size, size), spacing_mm, strict=True)]
    half[0] += seen.height_mm
    grid = Grid(
        shape=(panels.n_rows, size, size),
        spacing_mm=spacing_mm,
        origin_mm=(half[2], half[1], half[0]),
    )
    placed = panels.moved(0.0, 0.0, seen.height_mm)
    return cone_of(placed) or placed, grid


def check_not_stated(settings: PrepareSettings, kinds: tuple[str, ...]) -> None:
    """Raise InputError for settings that state what the scan's own geometry says.

    kinds: of a geometry, which may be asked for.
    """
    stated = [f"--{n.replace('_', '-')}" for n in STATED if getattr(settings, n) is not None]
    stated += ["--reverse-angles"] * settings.reverse_angles
    stated += ["--axis-tilt-degrees"] * bool(settings.axis_tilt_degrees)
    if settings.geometry not in kinds:
        stated.append("--geometry")
    if stated:
        raise InputError(
            f"{stated[0]} was given for a scan whose source and detector are known view by view.",
            "one of them",
            "leave it out",
        )


def _middles(panels: VectorGeometry) -> Middles:
    """Where the middle of the axis is seen. Raises InputError where a view does not see it."""
    sources, middles, u, v = (
        np.array(a)
        for a in (
            panels.sources_mm, panels.detectors_mm, panels.column_steps_mm, panels.row_steps_mm
        )
    )  # fmt: skip
    normal = np.cross(u, v)
    if panels.parallel:  # the ray through the axis' middle, in lengths of the direction
        along = (middles * normal).sum(1) / (sources * normal).sum(1)
        reach, hits = np.ones(len(along)), sources * along[:, None] - middles
    else:
        reach = ((middles - sources) * normal).sum(1) / (-sources * normal).sum(1)
        hits = sources * (1 - reach)[:, None] - middles
    steps = np.stack([u, v], axis=2)
    columns, rows = (np.linalg.pinv(steps) @ hits[:, :, None])[:, :, 0].T
    free = panels.n_columns / 2 - np.abs(columns)
    if not (np.isfinite(free).all() and (reach > 0).all() and (free > 0).all()):
        view = int(np.argmin(np.where(np.isfinite(free) & (reach > 0), free, -np.inf)))
        raise InputError(
            f"View {view} does not see the middle of the axis of rotation.",
            "panels across from their sources, with the axis between them",
            "check the offsets of the geometry, or take more columns",
        )
    half_mm = float((free * np.linalg.norm(u, axis=1) / reach).min())
    height_mm = float((-rows * v[:, 2] / reach).mean())
    return Middles(half_mm, float(reach.mean()), height_mm)
