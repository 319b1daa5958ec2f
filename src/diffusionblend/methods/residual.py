"""Whether a reconstruction reprojects to its scan as well as its method can be expected to."""

from __future__ import annotations

import math

import numpy as np

from diffusionblend.data.projections import Projections
from diffusionblend.geometry.checks import covered_degrees, cut_share
from diffusionblend.methods.advice import views_of_a_turn
from diffusionblend.methods.base import Method

NOISE_FACTOR = 4.0
"""A residual so many times that of the photons' noise is far above it."""
SHOWN_FACTOR = 2.5
"""The same of noise that the views show, which is about half as much where a detector blurs it."""
OF_MEASURED = 0.2
"""The least that is far above of a measured scan: finite voxels leave 0.03 to 0.1 of exact rays of
balls, and hardening and scatter some more."""
OF_MANY_VIEWS = 0.2
"""What filtered back-projection leaves at most, where streaks are no cause of it."""
MANY_VIEWS = 0.5
"""Views of a turn for each pixel across a slice from which on they are none."""
MOST_VALUES = 4_000_000
MEDIAN_OF_SQUARE = 0.4549
"""Median of the square of a normal variable of variance 1."""
CUT_VIEWS = 0.1
"""Views in which the object leaves the detector, from which on the inside is wrong."""

FAR_ABOVE, FAR_ABOVE_FEW, FEW_PHOTONS = 10.0, 1000.0, 1000.0
"""Views that show the noise of so many times the photons that are told contradict them; of fewer
than FEW_PHOTONS, which many rays stop, of so many times more (from 3 patients: 1.2 and 300)."""
ROUNDING = 1e-3
FEWER_THAN_ONE, RAYS_OF_FEWER = 0.5, 1e-3
"""So do lines that so few of the photons that are told would pass, of so large a share of rays."""
FAR_BELOW, FAR_BELOW_OF_ROWS, EDGES_SHOW = 300.0, 60.0, 1e6
"""So do those that show the noise of so many times fewer, of up to EDGES_SHOW: edges alone look
like that of 4e3 photons and more, and between rows of 4e4 (27 patients, 64 to 256 pixels across,
slices of up to 5 mm)."""
FEWEST_ACROSS = 48
"""Fewer pixels are so large that neighbouring rows and columns differ by more than noise."""
NOISE_ALONE, FAR_BELOW_OF_NOISE = 1.5e4, 8.0
"""Rows that show the noise of fewer photons than edges ever look like show that of their own."""
SHORT_ARC_DEGREES = 175.0
"""A shorter arc is itself a cause of what filtered back-projection leaves."""
WIDEST_FAN_DEGREES = 45.0
"""So much more of a source's than of a parallel beam's views for every line."""


def residual_note(method: Method, scan: Projections, relative_residual: float) -> str | None:
    """A sentence where |Ax - y| / |y| is far above what the method leaves of a scan that fits, and
    where filtered back-projection takes an object that leaves the detector as if it did not.

    Methods say by `usual_residual` what they leave at most; the noise of the photons is added, by
    their number where it is known, and else as the views show it.
    """
    measured = scan.notes.get("source") == "measured"
    cut = cut_share(scan.values, scan.geometry) if method.name == "fbp" else 0.0
    if cut > CUT_VIEWS:
        return None if getattr(method, "extrapolate", False) else _cut_note(cut, measured)
    usual, fewest_views = method.usual_residual
    if len(scan) < fewest_views or not math.isfinite(usual):
        return None
    arc = covered_degrees(scan.geometry)
    if method.name == "fbp" and _streaks_are_no_cause(scan, arc):
        usual = min(usual, OF_MANY_VIEWS)
    photons = scan.notes.get("photons")
    known = isinstance(photons, int | float) and photons > 0
    count = float(str(photons)) if known else shown_photons(scan.values)
    noise = (NOISE_FACTOR if known else SHOWN_FACTOR) * _noise_of(scan.values, count)
    usual = max(usual, OF_MEASURED if measured else 0.0, noise)
    if relative_residual <= usual:
        return None
    causes = (
        "an object larger than the volume, a wrong centre of rotation, tilt or pitch, angles in "
        "another order, step or unit, or a changed beam"
    )
    if rho := method.settings().get("rho"):
        causes = f"a rho of {rho:g}, if by it the data count for too little; {causes}"
    if getattr(method, "nonnegative", False):
        causes += "; or values that had to be below zero (--no-nonnegative keeps them)"
    if method.name == "fbp" and arc < SHORT_ARC_DEGREES:
        causes = f"its views cover only {arc:.0f} degrees, which an iterative method can fit; or "
        causes += "a wrong centre of rotation, or angles in another order or unit"
    return (
        f"the residual, {relative_residual:.2f}, is far above what {method.name} leaves of a scan "
        f"that fits its geometry: {causes}"
    )


def _cut_note(share: float, measured: bool) -> str:
    note = (
        f"the object leaves the detector in {100 * share:.0f} % of the views, which filtered "
        "back-projection takes for air there, so that values inside are wrong whatever the "
        "residual: --extrapolate, or an iterative method with --margin-mm"
    )
    weaker = "; or, if the outermost columns see air, the beam is weaker than its flats were: "
    return f"{note}{weaker}'projections import --air-columns 5'" if measured else note


def _streaks_are_no_cause(scan: Projections, arc_degrees: float) -> bool:
    """Whether views are so many, over such an arc, that every line is measured densely."""
    needed = SHORT_ARC_DEGREES
    if scan.geometry.source_positions_mm() is not None:
        needed += WIDEST_FAN_DEGREES
    across = max(scan.grid.in_plane_shape)
    return arc_degrees >= needed and views_of_a_turn(scan.geometry) >= MANY_VIEWS * across


def shown_photons(lines: np.ndarray) -> float:
    """About how many photons a pixel of the open beam counts, by line integrals (view, row, column)
    alone; infinite where they show no noise.

    By second differences between neighbouring columns, and between views, of variance 1.5 exp(line)
    / photons: their median, since the object's edges are few, and the larger of both numbers, since
    the object turns.
    """
    stride = max(1, math.ceil(math.sqrt(lines.size / MOST_VALUES)))
    views = (lines[::stride, ::stride], lines[:, ::stride, ::stride].swapaxes(0, 2))
    return max(_photons_of(some, some) for some in views) or math.inf


def photons_between_rows(lines: np.ndarray) -> float:
    """The same by how neighbouring rows differ, which have most edges in common; 0 of one row.

    Only for the noise of each row by itself: a detector may share the light between rows.
    """
    stride = max(1, math.ceil(lines.size / MOST_VALUES))
    some = lines[::stride]
    if some.shape[1] < 2:
        return 0.0
    difference = (some[:, 1:] - some[:, :-1]) / math.sqrt(2)
    return _photons_of(difference, (some[:, 1:] + some[:, :-1]) / 2)


def _photons_of(values: np.ndarray, lines: np.ndarray) -> float:
    """The photons of an open beam by the noise of values along their last axis; 0 of too few."""
    if values.shape[2] < 3:
        return 0.0
    bent = values[..., 1:-1] - (values[..., :-2] + values[..., 2:]) / 2
    square = np.median(np.square(bent, dtype=np.float64) * np.exp(-lines[..., 1:-1]))
    return 1.5 * MEDIAN_OF_SQUARE / float(square) if square > 0 else math.inf


def photons_note(scan: Projections) -> str | None:
    """A sentence where the photon count in a scan's notes and the noise of its views disagree.

    Views show more noise than the photons make, since the object has edges, and less where hardly
    any photon passes, so that only large contradictions are reported.
    """
    told = scan.notes.get("photons")
    if not isinstance(told, int | float) or scan.photons is not None or told <= 0:
        return None
    some = scan.values[:: max(1, math.ceil(scan.values.size / MOST_VALUES))]
    stopped = float((some > math.log(told / FEWER_THAN_ONE)).mean())
    if stopped > RAYS_OF_FEWER:
        return _count_note(
            told,
            f"hold line integrals up to {some.max():.3g}, whose rays none of so few would pass",
        )
    shown = shown_photons(scan.values)
    if math.isinf(shown) and float(scan.values.max()) <= math.log(told) + ROUNDING:
        return None  # single counts: no line of so few photons is longer
    too_few = shown > (FAR_ABOVE if told >= FEW_PHOTONS else FAR_ABOVE_FEW) * told
    by_rows = photons_between_rows(scan.values)
    shown, far = max(shown, by_rows), FAR_BELOW_OF_ROWS if by_rows else FAR_BELOW
    if by_rows and shown < NOISE_ALONE:
        far = FAR_BELOW_OF_NOISE
    fine = max(scan.grid.in_plane_shape) >= FEWEST_ACROSS
    too_many = fine and min(told, EDGES_SHOW) > far * shown
    if not too_few and not too_many:
        return None
    seen = "hardly any noise" if math.isinf(shown) else f"the noise of about {shown:.1g} photons"
    if too_few and math.isfinite(shown):  # edges look like noise
        seen = f"no more noise than {shown:.1g} photons would make"
    return _count_note(told, f"show {seen}")


def _count_note(told: float, what: str) -> str:
    return (
        f"the scan is said to have {told:.3g} photons per unattenuated pixel, but its views "
        f"{what}: methods weigh the data by that count; import or simulate again with another "
        "--photons if it is wrong"
    )


def _noise_of(lines: np.ndarray, photons: float) -> float:
    """The norm of the noise of line integrals, of variance 1 / counts, over theirs."""
    variance = np.exp(lines, dtype=np.float64).mean() / photons
    power = float(np.square(lines, dtype=np.float64).mean())
    return math.sqrt(variance / power) if power > 0 else math.inf
