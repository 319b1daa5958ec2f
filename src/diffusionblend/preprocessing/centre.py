"""The centre of rotation of a parallel beam: the detector column onto which the axis projects.

First a view and its opposite, mirrored, are registered. Then the position is refined: the
two-dimensional Fourier transform of the sinogram of a full scan lies in a double wedge (Vo,
Drakopoulos, Atwood, Reinhard, Optics Express 22, 2014), and a wrong centre leaves a seam between
the measured 180° scan and its mirror image that completes it. Where no views are opposite each
other, the centre of mass decides: it follows a sine about the axis.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from diffusionblend.errors import InputError
from diffusionblend.preprocessing.correction import subtract_air
from diffusionblend.preprocessing.overlap import FEWEST_OVERLAPPING, overlap_centre_column, summit

HALF_SCAN_RAD = math.pi
PAIR_TOLERANCE_STEPS = 1.5
"""Views count as opposite where they miss 180 degrees by at most so many median steps."""
MOST_PAIR_TOLERANCE_RAD = math.radians(5.0)
MOST_PAIRS = 12
SAME_MISS_RAD = 1e-3
"""Of pairs only those count that miss 180 degrees by hardly more than the best."""
WIDEST_GAP_STEPS = 1.5
"""A 180° scan is even where no gap is wider than so many median steps."""
ROUNDING_STEPS = 0.05
SAME_ANGLE_RAD = 1e-9
FEWEST_EVEN_VIEWS = 12
ROWS = 24
"""How many rows, those with most in them, are looked at for the refinement."""
REACH_COLUMNS = 4.0
COARSE_COLUMNS, FINE_COLUMNS = 0.5, 0.1
"""How far and in which steps the refinement looks."""
WEDGE_MARGIN = 3
"""Cycles a turn that are left to the wedge beyond its edge."""
HIGHEST_FREQUENCY = 0.25
"""Cycles a column; above there is more noise than object."""
AIR_PERCENT = 1.0
"""The lowest line integrals, which air has if any column sees it."""
CUT_SHARE = 0.12
"""Of the high line integrals, above which an end of the detector lies within the object."""
EDGE_SHARE = 50
"""One column in so many, at each end, is brought to zero, so that a sinogram may repeat itself."""


@dataclass(frozen=True, kw_only=True)
class Centre:
    """The column of the centre of rotation, and how it was found.

    method: "pairs", "pairs and wedge", "wedge", "overlap", "mass", or of a fan or cone
    "opposite rays". pair_column, mass_column: what
    registration and the centre of mass alone say, where they could be asked; the latter is only
    right where the detector sees all of the object.
    """

    column: float
    method: str
    pair_column: float | None = None
    mass_column: float | None = None


def find_centre(lines: np.ndarray, angles_rad: np.ndarray) -> Centre:
    """The axis of rotation of line integrals (view, row, column) of a parallel beam.

    Raises InputError for fewer than 3 views, and where it cannot be found: no views are opposite
    each other, and the detector does not see the whole object or its centre of mass.
    """
    if len(lines) < 3 or lines.shape[2] < 8:
        raise InputError(
            f"The centre of rotation was to be found in {len(lines)} views of {lines.shape[2]} "
            "columns.",
            "3 views of 8 columns, better a 180° scan of many",
            "--centre-column with the column of the centre of rotation",
        )
    mass_column = centre_of_mass_column(lines, angles_rad)
    pairs = opposite_pairs(angles_rad)
    overlap = _overlap_of_cut(lines, angles_rad, pairs)
    if overlap is not None:
        return Centre(column=overlap, method="overlap", mass_column=mass_column)
    pair_column = pair_centre_column(lines, pairs) if pairs else None
    start = mass_column if pair_column is None else pair_column
    half_scan = even_half_scan(lines[:, _fullest_rows(lines)], angles_rad)
    if half_scan is not None and start is not None:
        found = wedge_centre_column(half_scan, start)
        method = "wedge" if pair_column is None else "pairs and wedge"
        return Centre(column=found, method=method, pair_column=pair_column, mass_column=mass_column)
    if pair_column is not None:
        return Centre(
            column=pair_column, method="pairs", pair_column=pair_column, mass_column=mass_column
        )
    if mass_column is None:
        raise InputError(
            "The centre of rotation could not be found: no views are opposite each other, and the "
            "centre of mass lies outside the detector.",
            "views over 180 degrees, or an object that the detector sees whole",
            "--centre-column with the column of the centre of rotation",
        )
    return Centre(column=mass_column, method="mass", mass_column=mass_column)


def _overlap_of_cut(
    lines: np.ndarray, angles_rad: np.ndarray, pairs: list[tuple[int, int]]
) -> float | None:
    """Where mirrored opposite views overlap best, of an object that the detector does not see
    whole; None of others. Raises InputError where no views are opposite each other, or the axis
    lies at the detector's end.
    """
    above_air = _above_air(lines)
    if not _is_cut(above_air):
        return None
    if not pairs:
        raise InputError(
            "The centre of rotation could not be found: the detector does not see the whole "
            "object, and no views are opposite each other.",
            "views 180 degrees apart, or an object that the detector sees whole",
            "--centre-column with the column of the centre of rotation",
        )
    return overlap_centre_column(above_air, opposite_pairs(angles_rad, spread=True))


def column_of_opposite_views(lines: np.ndarray, angles_rad: np.ndarray) -> float | None:
    """Where opposite views mirror each other; None where there are none, or no place is clear."""
    pairs = opposite_pairs(angles_rad)
    if not pairs or lines.shape[2] < FEWEST_OVERLAPPING:
        return None
    above_air = _above_air(lines)
    if not _is_cut(above_air):
        return pair_centre_column(lines, pairs)
    try:
        return overlap_centre_column(above_air, opposite_pairs(angles_rad, spread=True))
    except InputError:
        return None


def is_cut(lines: np.ndarray) -> bool:
    """Whether the detector ends within the object, in the median view (view, row, column)."""
    return _is_cut(_above_air(lines))


def _above_air(lines: np.ndarray) -> np.ndarray:
    """The fullest rows, less what their lowest values read: a weaker beam is no object."""
    rows = lines[:, _fullest_rows(lines)]
    return rows - np.percentile(rows, AIR_PERCENT)


def opposite_pairs(angles_rad: np.ndarray, *, spread: bool = False) -> list[tuple[int, int]]:
    """Pairs of views 180 degrees apart, the nearest to it first, up to 12.

    spread: of those that are as near, some that lie evenly in the order of the views.
    """
    steps = np.diff(np.unique(np.round(np.asarray(angles_rad) / SAME_ANGLE_RAD))) * SAME_ANGLE_RAD
    usual = float(np.median(steps)) if len(steps) else 0.0
    tolerance = min(PAIR_TOLERANCE_STEPS * usual, MOST_PAIR_TOLERANCE_RAD)
    apart = np.asarray(angles_rad)[None, :] - np.asarray(angles_rad)[:, None] - HALF_SCAN_RAD
    apart = np.abs((apart + HALF_SCAN_RAD) % (2 * HALF_SCAN_RAD) - HALF_SCAN_RAD)
    first, second = np.nonzero(np.triu(apart <= tolerance + 1e-9, k=1))
    best = np.argsort(apart[first, second].round(6), kind="stable")
    nearest = apart[first, second].min(initial=np.inf)
    best = best[apart[first, second][best] <= nearest + SAME_MISS_RAD]
    if spread:
        best = np.sort(best)[:: max(1, len(best) // MOST_PAIRS)]
    return [(int(first[i]), int(second[i])) for i in best[:MOST_PAIRS]]


def pair_centre_column(lines: np.ndarray, pairs: list[tuple[int, int]]) -> float:
    """The median over pairs of opposite views of where mirroring one gives the other.

    By the peak of the cross-correlation of their slopes along the columns, summed over the rows,
    and a parabola through it: to about a tenth of a column. Slopes, since views may differ in
    brightness.
    """
    n_columns = lines.shape[2]
    length = 2 * n_columns
    found = []
    for first, second in pairs:
        one = np.fft.rfft(np.diff(lines[first], axis=1), length)
        other = np.fft.rfft(np.diff(lines[second][:, ::-1], axis=1), length)
        match = np.fft.irfft((one * other.conj()).sum(axis=0), length)
        peak = int(match.argmax())
        shift = peak + summit(*match[(peak + np.arange(-1, 2)) % length])
        found.append((n_columns - 1 + (shift - length if shift > n_columns else shift)) / 2)
    return float(np.median(found))


def _is_cut(lines: np.ndarray) -> bool:
    """Whether the detector ends within the object, in the median view."""
    high = np.percentile(lines, 95)
    ends = (np.median(lines[:, :, part].mean(axis=(1, 2))) for part in _END_PARTS)
    return high > 0 and max(ends) > CUT_SHARE * high


_END_PARTS = (slice(0, 2), slice(-2, None))


def centre_of_mass_column(lines: np.ndarray, angles_rad: np.ndarray) -> float | None:
    """The constant of the sine that the views' centre of mass follows; None outside the detector.

    The consistency condition of first order of Helgason and Ludwig (Natterer 1986, II.4).
    """
    fit = _fitted_sine(lines, angles_rad)
    if fit is None:
        return None
    constant = float(fit[1][0])
    return constant if 0 <= constant <= lines.shape[2] - 1 else None


def sine_of_mass(lines: np.ndarray, angles_rad: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """The views' centres of mass in columns, and the sine nearest to them, each (view,)."""
    fit = _fitted_sine(lines, angles_rad)
    return None if fit is None else (fit[0], _waves(angles_rad) @ fit[1])


def _fitted_sine(lines: np.ndarray, angles_rad: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Centres of mass, and constant, cosine and sine of their fit; None where they have none."""
    mass = lines.sum(axis=(1, 2), dtype=np.float64)
    if not (mass > 0).all():
        return None
    moments = (lines.sum(axis=1, dtype=np.float64) * np.arange(lines.shape[2])).sum(axis=1) / mass
    parts, _, rank, _ = np.linalg.lstsq(_waves(angles_rad), moments, rcond=None)
    return (moments, parts) if rank == 3 else None


def _waves(angles_rad: np.ndarray) -> np.ndarray:
    return np.column_stack([np.ones_like(angles_rad), np.cos(angles_rad), np.sin(angles_rad)])


def even_half_scan(lines: np.ndarray, angles_rad: np.ndarray) -> np.ndarray | None:
    """A 180° scan in exactly even steps, (view, row, column); None where there is none.

    The views lie between measured ones, linearly, where the steps do not divide 180 degrees
    or differ; none of the gaps between measured views may be above 1.5 median steps. The view that
    completes the 180 degrees is not among them.
    """
    turned = np.asarray(angles_rad) % (2 * HALF_SCAN_RAD)
    order = np.argsort(turned, kind="stable")
    gaps = np.diff(turned[order], append=turned[order[0]] + 2 * HALF_SCAN_RAD)
    order = np.roll(order, -1 - int(np.argmax(gaps)))  # the widest gap behind the last view
    angles = (turned[order] - turned[order[0]]) % (2 * HALF_SCAN_RAD)
    order, angles = order[np.argsort(angles)], np.sort(angles)
    first = np.diff(angles, prepend=-1.0) > SAME_ANGLE_RAD  # of views of one angle
    order, angles = order[first], angles[first]
    if len(angles) < FEWEST_EVEN_VIEWS:
        return None
    step = float(np.median(np.diff(angles)))
    count = math.floor(HALF_SCAN_RAD / step + ROUNDING_STEPS)
    wanted = np.arange(count) * HALF_SCAN_RAD / count
    covered = angles <= wanted[-1] + 2 * step if count else angles < 0
    if count < FEWEST_EVEN_VIEWS or angles[-1] < wanted[-1] - ROUNDING_STEPS * step:
        return None
    if np.diff(angles[covered]).max() > WIDEST_GAP_STEPS * step:
        return None
    high = np.clip(np.searchsorted(angles, wanted), 1, len(angles) - 1)
    between = np.maximum(angles[high] - angles[high - 1], SAME_ANGLE_RAD)
    share = np.clip((wanted - angles[high - 1]) / between, 0, 1).astype(np.float32)[:, None, None]
    return lines[order[high - 1]] * (1 - share) + lines[order[high]] * share


def wedge_centre_column(lines: np.ndarray, start_column: float) -> float:
    """The centre near `start_column` that leaves least outside the double wedge, to 0.1 columns or
    better.

    lines: (view, row, column), a 180° scan of parallel rays in even steps.
    """
    level = subtract_air(lines, max(1, lines.shape[2] // EDGE_SHARE))
    waves = np.fft.rfft(level, axis=2)
    per_column = np.fft.rfftfreq(lines.shape[2])
    low = per_column <= HIGHEST_FREQUENCY
    halves = _Halves(waves[..., low].transpose(1, 2, 0), per_column[low], lines.shape[2])
    coarse = (
        np.arange(-REACH_COLUMNS, REACH_COLUMNS + COARSE_COLUMNS / 2, COARSE_COLUMNS) + start_column
    )
    best = coarse[np.argmin([halves.outside_wedge(c) for c in coarse])]
    fine = np.arange(-COARSE_COLUMNS, COARSE_COLUMNS + FINE_COLUMNS / 2, FINE_COLUMNS) + best
    left = [halves.outside_wedge(c) for c in fine]
    i = int(np.clip(np.argmin(left), 1, len(fine) - 2))
    return float(fine[i] + np.clip(summit(*left[i - 1 : i + 2]), -1, 1) * FINE_COLUMNS)


@dataclass(frozen=True, eq=False)
class _Halves:
    """A 180° scan in Fourier space along the columns, (row, frequency, view), frequencies per
    column.
    """

    waves: np.ndarray
    per_column: np.ndarray
    n_columns: int

    def outside_wedge(self, centre_column: float) -> float:
        """The mean Fourier modulus outside the double wedge of it and its mirror image.

        Mirroring about column c takes l(k) to l(2 c - k), whose transform is the conjugate times a
        phase: exact for any c, so that no interpolation blurs the noise of some and not of others.
        """
        phase = np.exp(-4j * math.pi * self.per_column * centre_column)[:, None]
        turn = np.concatenate([self.waves, self.waves.conj() * phase], axis=2)
        modulus = np.abs(np.fft.fft(turn, axis=2))
        n_views = turn.shape[2]
        per_turn = np.abs(np.fft.fftfreq(n_views) * n_views)
        reach = math.pi * self.n_columns * self.per_column[:, None] + WEDGE_MARGIN
        return float(modulus[:, per_turn > reach].mean())


def _fullest_rows(lines: np.ndarray) -> np.ndarray:
    """Up to 24 rows in which the views differ most from one another along the columns."""
    return np.sort(np.argsort(lines.var(axis=(0, 2)))[-ROWS:])
