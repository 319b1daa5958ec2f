"""Which methods suit a scan, best first, and why: rules of thumb over views, arc, object and size.

Nothing is computed: the geometry, the grid and the notes of a scan decide.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from diffusionblend.data.projections import Projections
from diffusionblend.geometry.base import Geometry
from diffusionblend.geometry.checks import covered_degrees, lacks_opposite_rays
from diffusionblend.units import Unit

ENOUGH_VIEWS, ENOUGH_WITHOUT_A_PRIOR = 0.5, 0.25
"""Views for each pixel across a slice from which on FBP alone will do: where there is a prior, and
where only total variation is left, which takes its time for many views."""
SHORT_ARC = 0.85
"""Of half a turn: what covers less has a missing wedge."""
PATIENT_MM = (150.0, 700.0)
"""Widths of a field of view that a patient's slice has."""
MANY_VOXELS = 2e7
"""From which on a CPU takes many minutes for 50 steps."""
FEW_PHOTONS = 1e5


@dataclass(frozen=True)
class Advice:
    """A method for a scan, its settings that are not the defaults, the unit to write, and why."""

    method: str
    why: str
    settings: Mapping[str, str | int | float] = field(default_factory=dict)
    unit: Unit = "HU"

    def options(self) -> tuple[str, ...]:
        """As the command line has it: --method and the settings."""
        words = ["--method", self.method]
        for name, value in self.settings.items():
            words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
        return (*words, *(("--output-unit", "1/mm") if self.unit == "1/mm" else ()))


def advise(
    scan: Projections, *, patient: bool | None = None, on_gpu: bool = False
) -> tuple[Advice, ...]:
    """Methods that suit a scan, best first.

    patient: whether it is of one; None: by `seems_a_patient`. on_gpu: whether steps are quick.
    """
    across = max(scan.grid.in_plane_shape)
    arc, half_turn = covered_degrees(scan.geometry), 180.0
    short = arc < SHORT_ARC * half_turn
    n_views = views_of_a_turn(scan.geometry)
    views = f"{n_views} views over {arc:.0f} degrees for slices {across} pixels across"
    is_patient = seems_a_patient(scan) if patient is None else patient
    unit: Unit = "HU" if is_patient else "1/mm"
    fbp = Advice("fbp", f"{views}: a first look, in seconds", unit=unit)
    enough = ENOUGH_VIEWS if is_patient else ENOUGH_WITHOUT_A_PRIOR
    one_sided = lacks_opposite_rays(scan.values, scan.geometry)
    if one_sided:
        fbp = replace(fbp, settings={"extrapolate": True})
    if n_views >= enough * across and not short and not one_sided:
        many = Advice("fbp", f"{views}: enough for filtered back-projection", unit=unit)
        return (many, _without_a_prior(scan, "less noise and fewer streaks, but slow", unit))
    few = f"{views}: {'a short arc' if short else 'few'}"
    if one_sided:
        few = f"{views}, of a detector to one side of the axis: lines are missing"
    if not is_patient:
        why = f"{few}, and no shipped prior has seen such an object (--subject patient for one)"
        return (_without_a_prior(scan, why, unit), fbp)
    settings: dict[str, str | int | float] = {}
    why = f"{few}, of a patient: the learned prior fills in what is not measured"
    if math.prod(scan.grid.shape) > MANY_VOXELS and not on_gpu:
        settings["preset"] = "fast"
        why += "; preset fast, since there are many voxels and no GPU"
    elif short:
        settings["preset"] = "best"
        why += "; preset best, which pays for short arcs"
    safe = "no learned prior, so nothing is invented: shapes come out flatter"
    return (Advice("diffusionblend++", why, settings), _without_a_prior(scan, safe, unit), fbp)


def _without_a_prior(scan: Projections, why: str, unit: Unit) -> Advice:
    """Total variation, said to be heavier where few photons were counted."""
    photons = scan.notes.get("photons")
    if isinstance(photons, int | float) and 0 < photons < FEW_PHOTONS:
        why += f"; with {photons:.2g} photons a pixel a larger --weight may suit"
    return Advice("admm-tv", why, unit=unit)


def seems_a_patient(scan: Projections) -> bool:
    """Whether a scan is simulated from a volume in HU as wide as a patient.

    What was measured is taken for an object: no file of a detector says otherwise.
    """
    widths = (n * mm for n, mm in zip(scan.grid.shape[1:], scan.grid.spacing_mm[1:], strict=True))
    low, high = PATIENT_MM
    return scan.notes.get("source") == "simulated" and low <= max(widths) <= high


def views_of_a_turn(geometry: Geometry) -> int:
    """The views that a slice is measured by: all, or of a source that turns often those of a
    turn.
    """
    angles = getattr(geometry, "angles_rad", ())
    turns = np.ptp(angles) / (2 * np.pi) if len(angles) > 1 else 0.0
    if not getattr(geometry, "turns_often", False) or turns <= 1:
        return geometry.n_views
    return max(1, round((geometry.n_views - 1) / turns))
