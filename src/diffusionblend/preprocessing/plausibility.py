"""Signs of faults in valid numbers: a wide object, a saturated detector, an axis along the rows."""

from __future__ import annotations

import numpy as np

from diffusionblend.data.raw_scan import WHITE_LEVEL, RawScan
from diffusionblend.errors import InputError
from diffusionblend.geometry.checks import ABOVE_NOISE, noise_between_views

EDGE_PARTS = 40
"""One column in so many at each end, and at least two, is where air is expected."""
EMPTY_LINE = 0.05
"""Rows whose line integrals stay below hold no object."""
WIDE_SHARE = 0.12
"""Line integrals at an end above this fraction of a row's high ones are reported."""
BRIGHT_LINE = -0.03
"""Line integrals at an end below, in the median of a row's views, are reported."""
DIM_LINE, EVEN_SHARE = 0.05, 0.25
"""Both ends above, and apart by less than this share of it, are a weaker beam more likely than an
object."""
LEAST_DARK, SAME_DARK = 2e-3, 0.25
"""Darks below this share of the open beam are left aside; air that differs from what darks would
explain by less than that share of it is explained by them."""
STEADY_SHARE = 0.2
MOST_BEAM_LOSS = 0.7
"""Ends that vary by less over the views, and read less, may be a beam that became weaker."""
REPORTED_VIEWS = 0.1
"""Ends are reported where this fraction of views and rows is so."""
MOST_VALUES = 4_000_000
"""Of more values, some that lie evenly among them stand for all."""
FEWEST_AT_HIGHEST = 10
SATURATED_SHARE = 1e-3
PILED_UP = 2.0
"""A detector counts as saturated where its highest value is there so many times as often as the
next, which values that only vary never are."""
AIR_SHARE = 0.01
NEAREST_EDGE = 0.1
NEAREST_EDGE_WHOLE_TURN = 0.02
"""An axis that is found closer to an end of the detector, of its columns, is refused."""
FEWEST_FOR_ORIENTATION = 8
MUCH_STEADIER = 0.3
"""How far below that of rows the variation of columns' sums over the views is, where the axis
lies along the rows; and how large the former is at least."""
UNSTEADY = 0.03
UNEVEN_VIEWS = 0.25
FAR_APART_RAD, HARDLY = np.radians(5.0), 0.2
"""Views further apart that differ by less than this fraction of what rows do are reported."""
EMPTY_VIEW = 0.05
"""Views with less than this of what the median view attenuates show no object."""


def saturation_notes(scan: RawScan) -> list[str]:
    """Sentences on flats and views that reach a highest value of the detector too often."""
    notes: list[str] = []
    if scan.values != "counts" or scan.flats is None or WHITE_LEVEL in scan.facts:
        return notes
    for name, frames in (("flat frames", scan.flats), ("views", scan.data)):
        share = _share_at_highest(frames, scan)
        if share:
            notes.append(
                f"{100 * share:.3g} % of the {name}' pixels are at exactly the highest value, "
                f"{np.nanmax(frames):g}: the detector seems to be saturated, so that the open beam "
                "is brighter than it was measured and attenuation comes out too low"
            )
    return notes


def dark_notes(lines: np.ndarray, scan: RawScan) -> list[str]:
    """A sentence on air that is brighter than the open beam by just what the darks are.

    lines: (view, row, column) of the scan's counts. So it is with flats from which the darks were
    taken off before.
    """
    if scan.values != "counts" or scan.flats is None or scan.darks is None:
        return []
    dark = float(np.nanmean(scan.darks))
    beam = float(np.nanmedian(scan.flats)) - dark
    if not (beam > 0 and dark > LEAST_DARK * beam):
        return []
    n_edge = min(max(2, lines.shape[2] // EDGE_PARTS), lines.shape[2])
    wanted = -np.log1p(dark / beam)
    for part in (slice(0, n_edge), slice(-n_edge, None)):
        of_views = lines[:, :, part].mean(axis=(1, 2))
        if abs(np.median(of_views) - wanted) > SAME_DARK * abs(wanted):
            return []
    return [
        f"air is {100 * np.expm1(-wanted):.2g} % brighter than the open beam, which is what the "
        f"darks are of it: the darks ({dark:g}) seem to have been taken off the flats before "
        "(leave out --darks, or give the flats as measured)"
    ]


WIDE = (
    "an object wider than the detector, which makes values too high and bright at the rim (fbp "
    "--extrapolate, or a margin, keeps the inside right to some per cent); or a beam that became "
    "weaker after the flats (air_columns)"
)
WIDE_BY_VECTORS = (
    "an object wider than the detector, of which a volume that holds all of it (--size, "
    "--pixel-mm) keeps the inside right; or a beam that became weaker after the flats (air_columns)"
)
BESIDE_THE_AXIS = (
    "and those of the other end are air: a detector to one side of the axis. Over a whole turn "
    "that is right in slices that hold the whole object (--size, --pixel-mm); the default ones "
    "hold what all views see"
)


def edge_notes(
    lines: np.ndarray,
    *,
    air_columns: int = 0,
    short_side: int | None = None,
    by_vectors: bool = False,
) -> list[str]:
    """Sentences on line integrals (view, row, column) that are far from 0 at the detector's ends.

    air_columns: the line that will be taken off through as many. short_side: 0 or 1, the end that
    lies within the object by design, of a detector off the middle over a whole turn. by_vectors:
    the panels are given view by view, which FBP does not take.
    """
    n_edge = min(max(2, lines.shape[2] // EDGE_PARTS), lines.shape[2])
    ends = [lines[:, :, :n_edge].mean(axis=2), lines[:, :, -n_edge:].mean(axis=2)]
    if short_side is not None:
        ends.pop(short_side)
    high = np.percentile(lines[:: max(1, lines.size // MOST_VALUES)], 95, axis=(0, 2))
    air = np.min([np.median(end, axis=0) for end in ends], axis=0)
    filled = high - np.minimum(air, 0.0) > EMPTY_LINE
    if not filled.any():
        return []
    ends = [end[:, filled] for end in ends]
    noise = max(noise_between_views(end) for end in ends)
    least = WIDE_SHARE * high[filled] + ABOVE_NOISE * noise
    far = np.max(ends, axis=0) > least
    notes = []
    level = float(np.median(np.max(ends, axis=0)[far])) if far.any() else 0.0
    steady = max(float(end.std(axis=0).mean()) for end in ends) < STEADY_SHARE * level
    follows = air_columns > 0 and steady and level < MOST_BEAM_LOSS
    if far.mean() > REPORTED_VIEWS and not follows:
        one_end = min((end > least).mean() for end in ends) <= REPORTED_VIEWS
        cause = WIDE_BY_VECTORS if by_vectors else WIDE
        if by_vectors and one_end:
            cause = BESIDE_THE_AXIS
        notes.append(
            f"the outermost columns {'of one end ' if cause is BESIDE_THE_AXIS else ''}read "
            f"{level:.2f}, and not air, in {100 * far.mean():.0f} % of views and rows"
            f"{', ' if cause is BESIDE_THE_AXIS else ': '}{cause}"
        )
    if len(ends) == 2 and not air_columns and not notes:
        both, apart = np.min(ends, axis=0), np.ptp(ends, axis=0)
        dim = (both > DIM_LINE) & (apart < EVEN_SHARE * both)
        if dim.mean() > REPORTED_VIEWS:
            notes.append(
                f"both ends of the detector read up to {both[dim].max():.2f}, and not air, in "
                f"{100 * dim.mean():.0f} % of views and rows: the beam became weaker than in the "
                "flats (air_columns follows it), or the object reaches both ends"
            )
    bright = air[filled] < BRIGHT_LINE
    if bright.mean() > REPORTED_VIEWS and not air_columns:
        lowest = min(float(np.median(end)) for end in ends)
        notes.append(
            f"the outermost columns are brighter than the open beam (line integrals of "
            f"{lowest:.2f}): the beam has changed since the flats (air_columns follows it), or "
            "they are of another exposure"
        )
    return notes


def view_notes(lines: np.ndarray, scan: RawScan) -> list[str]:
    """Sentences on views without an object, views that are the same, and a single view."""
    notes = []
    if len(lines) == 1:
        notes.append("the scan has a single view, which does not determine a slice")
    means = lines.mean(axis=(1, 2), dtype=np.float64)
    empty = np.flatnonzero(means < EMPTY_VIEW * np.median(means))
    if len(lines) > 2 and len(empty) and np.median(means) > 0:
        notes.append(
            f"{len(empty)} view(s) show no object, the first is view {empty[0]}: flat frames among "
            "the views"
        )
    same = [i for i in range(1, len(lines)) if np.array_equal(scan.data[i], scan.data[i - 1])]
    noisy = scan.values == "counts" and scan.flats is not None and _is_noisy(scan.flats)
    if same and noisy:
        notes.append(
            f"{len(same)} view(s) hold the same numbers as the one before, the first is view "
            f"{same[0]}: copied files, or a detector that stood still"
        )
    return notes


def check_axis(column: float, n_columns: int, *, whole_turn: bool) -> None:
    """Raises InputError for an axis of rotation, found and not stated, at the detector's end."""
    share = NEAREST_EDGE_WHOLE_TURN if whole_turn else NEAREST_EDGE
    nearest = min(column + 0.5, n_columns - 0.5 - column)
    if nearest < share * n_columns:
        raise InputError(
            f"The axis of rotation was found at column {column:.1f} of {n_columns} (as taken), at "
            "the end of the detector or beyond.",
            "an axis well within the detector, along its columns",
            "--horizontal-axis, if it lies along the rows; --centre-column, if it is known; and "
            "check the order and the unit of the angles",
        )


def check_upright(lines: np.ndarray) -> None:
    """Raises InputError where the axis of rotation seems to lie along the detector's rows.

    What a slice attenuates in all is the same from everywhere (the condition of order zero of
    Helgason and Ludwig; Natterer 1986, II.4): rows' sums do not vary over the views. Where columns'
    sums vary far less, these are the slices. lines: (view, row, column) of parallel rays.
    """
    if min(lines.shape) < FEWEST_FOR_ORIENTATION:
        return
    of_rows, of_columns = (_variation(lines.sum(axis=a, dtype=np.float64)) for a in (2, 1))
    if of_rows > UNSTEADY and of_columns < MUCH_STEADIER * of_rows:
        raise InputError(
            f"The axis of rotation seems to lie along the detector's rows: over the views the sums "
            f"of rows vary by {100 * of_rows:.0f} %, those of columns by {100 * of_columns:.1f} %.",
            "an axis along the columns, so that a row sees a slice",
            "--horizontal-axis, which turns the frames; or --centre-column, to insist",
        )


def check_order(lines: np.ndarray) -> None:
    """Raises InputError where views and columns seem to be exchanged.

    What an object attenuates in all hardly varies over the views, and falls to nothing towards the
    detector's ends. lines: (view, row, column).
    """
    if min(lines.shape[0], lines.shape[2]) < FEWEST_FOR_ORIENTATION:
        return
    totals = lines.sum(axis=1, dtype=np.float64)
    of_views, of_columns = (_spread(totals.sum(axis=a)) for a in (1, 0))
    if of_views > UNEVEN_VIEWS and of_columns < MUCH_STEADIER * of_views:
        raise InputError(
            f"What the views attenuate in all varies by {100 * of_views:.0f} %, what the columns "
            f"do by {100 * of_columns:.0f} %: views and columns seem to be exchanged.",
            "the views along the first axis, the columns along the last",
            "turn the array with numpy.moveaxis; or --centre-column, to insist",
        )


def order_notes(lines: np.ndarray, angles_rad: np.ndarray) -> list[str]:
    """Sentences on views that hardly differ while rows do: sinograms that were taken for views.

    lines: (view, row, column).
    """
    n_views, n_rows, _ = lines.shape
    if n_views < 2 or n_rows < max(FEWEST_FOR_ORIENTATION, n_views):
        return []
    steps = np.abs(np.diff(angles_rad))
    stride = max(1, n_rows // n_views)
    between_views = float(np.abs(np.diff(lines, axis=0)).mean())
    between_rows = float(np.abs(lines[:, stride:] - lines[:, :-stride]).mean())
    if np.median(steps) < FAR_APART_RAD or between_views > HARDLY * between_rows:
        return []
    return [
        f"views {np.degrees(np.median(steps)):.0f} degrees apart hardly differ, and their rows do: "
        "sinograms that are read as views (sinograms), or a round object"
    ]


def _spread(totals: np.ndarray) -> float:
    """How much sums vary, of their mean."""
    mean = abs(float(totals.mean()))
    return float(totals.std()) / mean if mean > 0 else 0.0


def _variation(sums: np.ndarray) -> float:
    """How much sums (view, place) vary over the views, of their mean."""
    mean = np.abs(sums.mean(axis=0)).sum()
    return float(sums.std(axis=0).sum() / mean) if mean > 0 else 0.0


def _share_at_highest(frames: np.ndarray, scan: RawScan) -> float:
    """The share of values at the highest one, where that is piled up; else 0."""
    some = frames.reshape(-1)[:: (frames.size // MOST_VALUES) | 1]
    finite = some[np.isfinite(some)]
    if not finite.size:
        return 0.0
    highest = finite.max()
    n_highest = int((finite == highest).sum())
    below = finite[finite < highest]
    if n_highest < max(FEWEST_AT_HIGHEST, SATURATED_SHARE * finite.size):
        return 0.0
    n_next = int((below == below.max()).sum()) if below.size else 0
    if not below.size and (scan.data == highest).mean() < AIR_SHARE:
        return 0.0  # flats without noise
    return n_highest / finite.size if n_highest > PILED_UP * n_next else 0.0


def _is_noisy(flats: np.ndarray) -> bool:
    """Whether flat frames differ from one another."""
    return bool(len(flats) > 1 and (flats[0] != flats[1]).any())
