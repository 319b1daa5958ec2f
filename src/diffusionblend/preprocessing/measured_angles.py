"""What views give away of their angles: an end measured twice, half a turn, a stopped stage."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from diffusionblend.geometry import ConeBeam, FanBeam, ParallelBeam
from diffusionblend.geometry.checks import lacks_opposite_rays, one_sided_words

UNEVEN_STEPS = 0.1
"""Steps that differ by more of their median are not even."""
AS_GOOD_AS_SAME = 0.6
"""Of what neighbouring views differ by, below which two views are of one angle."""
SMOOTHED = 16
"""One part in so many of the columns is averaged before views are compared."""
FEWEST_EVEN, FEWEST_STOPPED = 8, 3
JUMP, MOST_ROWS = 3.0, 32
LEAST_ALTERNATING, LEAST_ALTERNATING_COLUMNS, SURELY = 0.005, 0.25, 5.0
"""Halves of what every other view differs by, of the mean and in columns, and how often their error
that must be."""
GROWING = 1.5
"""Views of one angle whose first and last differ by so many times what neighbours do have moved."""


def angle_notes(
    lines: np.ndarray, angles_rad: np.ndarray, axis_column: float | None = None
) -> list[str]:
    """Sentences on views (view, row, column) that contradict their angles.

    axis_column: of a parallel beam, in which the view at 180 degrees mirrors the first.
    """
    found = (
        _both_ends(lines, angles_rad, axis_column),
        _stopped(lines, angles_rad),
        _jump(lines, angles_rad),
        _alternating(lines, angles_rad),
    )
    return [note for note in found if note is not None]


def offset_note(lines: np.ndarray, geometry: ParallelBeam | FanBeam | ConeBeam) -> str | None:
    """A sentence on a detector to one side of the axis, of an object that it does not see whole.

    None where the opposite rays measure what one side does not see, as over a whole turn.
    """
    if not lacks_opposite_rays(lines, geometry):
        return None
    return (
        f"{one_sided_words(geometry)}, in some of which the object seems to leave the short "
        "side: those lines are not measured from the opposite side either. Views over 360 degrees "
        "complete them; else take admm-tv, cgls or sirt with slices that hold the whole object, "
        "since fbp refuses"
    )


def _both_ends(lines: np.ndarray, angles_rad: np.ndarray, axis_column: float | None) -> str | None:
    """Whether the last view is the first one again, though its angle is a step short of that."""
    step = even_step(angles_rad)
    if step is None:
        return None
    for arc, again in ((2 * math.pi, lines[-1]), (math.pi, mirrored(lines[-1], axis_column))):
        covered = len(lines) * abs(step)
        if again is None or abs(covered - arc) > abs(step) / 2:
            continue
        neighbours = min(views_apart(lines[i], lines[i + 1]) for i in (0, len(lines) - 2))
        if views_apart(lines[0], again) < AS_GOOD_AS_SAME * neighbours:
            n_views, degrees = len(lines), round(math.degrees(arc))
            return (
                f"the last view {'mirrors' if arc < 4 else 'is'} the first, so that the {n_views} "
                f"views seem to cover {degrees} degrees with both ends, in steps of "
                f"{degrees / (n_views - 1):.4g} and not {math.degrees(abs(step)):.4g} degrees: "
                "give their angles"
            )
    return None


def _jump(lines: np.ndarray, angles_rad: np.ndarray) -> str | None:
    """Whether, at even steps, two views differ far more than those before and after them."""
    if even_step(angles_rad) is None:
        return None
    some = lines[:, :: max(1, lines.shape[1] // MOST_ROWS)]
    apart = np.array([views_apart(a, b) for a, b in pairwise(some)])
    near = np.pad(apart, 2, mode="reflect")
    around = np.max([near[k : k + len(apart)] for k in (0, 1, 3, 4)], axis=0)
    jumps = np.flatnonzero(apart > JUMP * np.maximum(around, np.median(apart)))
    if not len(jumps):
        return None
    first = int(jumps[0])
    return (
        f"views {first} and {first + 1} differ {apart[first] / around[first]:.0f} times as much as "
        "those before and after them, at even steps of the angle: views are missing or in another "
        "order, two scans follow one another, or the object moved"
    )


def _alternating(lines: np.ndarray, angles_rad: np.ndarray) -> str | None:
    """Whether every other view holds more in all, or lies more to one side, than those between."""
    if even_step(angles_rad) is None:
        return None
    totals = lines.sum(axis=(1, 2), dtype=np.float64)
    if not (totals > 0).all():
        return None
    columns = np.arange(lines.shape[2])
    middles = (lines.sum(axis=1, dtype=np.float64) * columns).sum(axis=1) / totals
    for name, values, least in (
        ("attenuation", totals / totals.mean(), LEAST_ALTERNATING),
        ("place", middles, LEAST_ALTERNATING_COLUMNS),
    ):
        bent = (values[1:-1] - (values[:-2] + values[2:]) / 2) / 2
        signs = np.where(np.arange(len(bent)) % 2, -1.0, 1.0)
        share = float((bent * signs).mean())
        error = float((bent - share * signs).std()) / np.sqrt(len(bent))
        if abs(share) > max(least, SURELY * error):
            what = (
                f"{200 * abs(share):.2g} %"
                if name == "attenuation"
                else (f"{2 * abs(share):.2g} columns")
            )
            return (
                f"every other view differs in its {name} by {what} from those between: views of "
                "two energies or exposures, or of both ways of a stage"
            )
    return None


def even_step(angles_rad: np.ndarray) -> float | None:
    """The step of angles that are equally spaced; None of others, and of few."""
    steps = np.diff(angles_rad)
    step = float(np.median(steps)) if len(steps) else 0.0
    few = len(angles_rad) < FEWEST_EVEN
    return None if few or np.abs(steps - step).max() > UNEVEN_STEPS * abs(step) else step


def views_apart(view: np.ndarray, other: np.ndarray) -> float:
    """How far two views (row, column) differ, smoothed, where both are known."""
    width = max(1, view.shape[1] // SMOOTHED)
    sums = np.cumsum(np.pad(view - other, ((0, 0), (1, 0))), axis=1, dtype=np.float64)
    means = (sums[:, width:] - sums[:, :-width]) / width
    return float(np.sqrt(np.square(means).mean()))


def mirrored(view: np.ndarray, axis_column: float | None) -> np.ndarray | None:
    """A view (row, column) as seen from the other side; 0, as air, where it was not measured."""
    if axis_column is None:
        return None
    columns = np.arange(view.shape[1])
    wanted = 2 * axis_column - columns
    return np.stack([np.interp(wanted, columns, row, 0.0, 0.0) for row in view])


def _stopped(lines: np.ndarray, angles_rad: np.ndarray) -> str | None:
    """Whether views of one angle move on, as of a stage whose read-out stopped."""
    ends = np.flatnonzero(np.diff(angles_rad) != 0) + 1
    stopped, first = 0, None
    for group in np.split(np.arange(len(angles_rad)), ends):
        if len(group) < FEWEST_STOPPED:
            continue
        whole, neighbour = (
            float(np.abs(lines[group[0]] - lines[group[i]]).mean()) for i in (-1, 1)
        )
        if whole > GROWING * neighbour:
            stopped += len(group)
            first = int(group[0]) if first is None else first
    if not stopped:
        return None
    return (
        f"{stopped} views have the angle of the one before and differ more and more, the first is "
        f"view {first}: their angles were not recorded; FBP counts them as one direction"
    )
