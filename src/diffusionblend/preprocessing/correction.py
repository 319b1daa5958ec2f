"""Counts to line integrals: flat and dark frames, the logarithm, and invalid pixels."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from diffusionblend.data.raw_scan import WHITE_LEVEL, RawScan
from diffusionblend.errors import InputError
from diffusionblend.preprocessing.repair import fill_from_neighbours

UNLIT_SHARE = 0.1
"""A pixel is dead where the open beam gives less than this of what the median pixel gets."""
HOT = 50.0
"""And dead, or masked by the highest number of its type, where it gives so many times as much."""
MOST_DEAD_PIXELS = 0.05
MOST_BAD_VALUES = 0.05
MOST_BAD_IN_A_VIEW = 0.3
"""Larger shares of dead pixels, or of invalid values, are not replaced but refused."""
REPORTED_FLAT_SPREAD = 0.02
MOST_FLAT_SPREAD = 0.2
"""How far a flat frame's level may lie from the median of all, of it."""
UNEVEN_BEAM = 3.0
"""The beam is reported as uneven where the brightest pixels get so many times what the dimmest."""
FAR_BELOW, LOWEST_SIGNED, WRAPPED_SHARE = -1000, -32768, 1e-3
"""Where more pixels than this share lie so far below 0, and none below what 16 bits hold, they are
counts above 32767 that were taken to have a sign."""
MOST_VALUES = 4_000_000
"""Of more values, some that lie evenly among them stand for all."""
MOST_TRANSMISSION = 2.0
"""Frames in which the median view pixel is brighter than this many flats do not belong together."""


@dataclass(kw_only=True)
class Correction:
    """What was found and replaced on the way to line integrals.

    dead_pixels: of the detector. zero_counts: values at or below the dark frame. not_finite: NaN
    and infinite values. Both are counted outside dead pixels. values: how many there are. notes:
    what a person should know, a sentence each.
    """

    values: int
    dead_pixels: int = 0
    zero_counts: int = 0
    not_finite: int = 0
    notes: list[str] = field(default_factory=list)


def to_line_integrals(scan: RawScan) -> tuple[np.ndarray, Correction]:
    """Line integrals (view, row, column) float32, and what was found on the way.

    -ln((counts - dark) / (flat - dark)), the mean of all flat and dark frames; the logarithm alone
    of transmission; line integrals as they are. Invalid values come from their good neighbours
    along the row. Raises InputError where there are too many of them, where flats are missing or
    disagree, and where flats, darks and counts do not belong together.
    """
    found = Correction(values=scan.data.size)
    dead = np.zeros(scan.data.shape[1:], dtype=bool)
    if scan.values == "lines":
        lines, bad = scan.data, ~np.isfinite(scan.data)
        found.not_finite = int(bad.sum())
    else:
        values, dead = _transmission(scan, found)
        finite, dark = np.isfinite(scan.data) & np.isfinite(values), values <= 0
        found.not_finite = int((~finite & ~dead).sum())
        found.zero_counts = int((finite & dark & ~dead).sum())
        bad = ~finite | dark | dead
        _check_transmission(values[~bad], scan)
        lines = -np.log(np.where(bad, 1.0, values))
    _check_bad(bad, dead, found)
    if bad.any():
        lines = fill_from_neighbours(np.where(bad, np.nan, lines), bad)
    return np.require(lines, np.float32, ["C", "W"]), found


def subtract_air(lines: np.ndarray, air_columns: int) -> np.ndarray:
    """Line integrals less the air that the outer columns of every view and row see.

    (view, row, column). A straight line from the mean of the first `air_columns` columns to that of
    the last is taken off, which mends a beam that grew or fell between the flats and a view. Raises
    InputError where the columns at both ends would meet.
    """
    n_columns = lines.shape[2]
    if not 0 < 2 * air_columns < n_columns:
        raise InputError(
            f"{air_columns} air columns were asked for at each end of {n_columns} columns.",
            "at least 1, and fewer than half of the columns",
        )
    left = lines[:, :, :air_columns].mean(axis=2, keepdims=True)
    right = lines[:, :, -air_columns:].mean(axis=2, keepdims=True)
    middle = (air_columns - 1) / 2
    share = (np.arange(n_columns) - middle) / (n_columns - 1 - 2 * middle)
    return (lines - left - (right - left) * share).astype(np.float32)


def _transmission(scan: RawScan, found: Correction) -> tuple[np.ndarray, np.ndarray]:
    """I / I0 with NaN at dead pixels, (view, row, column), and those pixels, (row, column)."""
    if scan.values == "transmission":
        return scan.data, np.zeros(scan.data.shape[1:], dtype=bool)
    if scan.flats is None:
        raise InputError(
            "The scan has counts, but no flat frames (the open beam).",
            "flat frames, without which the logarithm has no scale",
            "--flats FILES; --white-level with the grey value of the open beam, if frames are "
            "flat-corrected; or --values transmission or --values lines, if they are no counts",
        )
    if scan.darks is None:
        dark = np.zeros(scan.data.shape[1:])
        found.notes.append(
            f"the open beam is taken to be {scan.facts[WHITE_LEVEL]:g} in every pixel, and 0 none"
            if WHITE_LEVEL in scan.facts
            else "no dark frames: the detector is taken to count 0 without a beam"
        )
    else:
        dark = _mean_frame(scan.darks)
    flat = _mean_frame(scan.flats) - dark
    level = float(np.nanmedian(flat)) if np.isfinite(flat).any() else np.nan
    if not level > 0:
        _check_sign(scan)
        raise InputError(
            f"The flat frames less the dark ones have the median {level:g}.",
            "flats brighter than darks",
            "swap --flats and --darks, if they were given in the wrong order; invert frames in "
            "which the open beam is dark",
        )
    dead = ~(flat > UNLIT_SHARE * level) | ~np.isfinite(dark) | (flat > HOT * level)
    found.dead_pixels = int(dead.sum())
    if dead.mean() > MOST_DEAD_PIXELS:
        raise InputError(
            f"{100 * dead.mean():.0f} % of the detector's pixels get less than "
            f"{100 * UNLIT_SHARE:.0f} % of the median beam in the flat frames.",
            f"at most {100 * MOST_DEAD_PIXELS:.0f} %, which are replaced by their neighbours",
            "crop the detector to where the beam is, with --rows and --columns",
        )
    _check_sign(scan)
    _check_flats(scan.flats - dark, flat, dead, found)
    lit = np.where(dead, np.nan, flat).astype(np.float32)
    return (scan.data - dark.astype(np.float32)) / lit, dead


def _check_sign(scan: RawScan) -> None:
    """Raises InputError for counts above 32767 that were stored as numbers with a sign."""
    lowest, share = 0.0, 0.0
    for frames in (scan.data, scan.flats):
        if frames is None:
            continue
        some = frames.reshape(-1)[:: (frames.size // MOST_VALUES) | 1]
        low = float(np.nanmin(some, initial=0.0))
        far = some[some < FAR_BELOW]
        if (far == np.round(far)).all():  # stored numbers, from which nothing was taken off
            lowest, share = min(lowest, low), max(share, far.size / max(some.size, 1))
    if share > WRAPPED_SHARE and lowest >= LOWEST_SIGNED:
        raise InputError(
            f"{100 * share:.0f} % of the views' or flats' pixels are far below 0, down to "
            f"{lowest:g}: counts above 32767 that were read as 16 bits with a sign.",
            "counts from 0",
            "save them without a sign (uint16); in NumPy array.view('uint16') does it",
        )


def _check_flats(flats: np.ndarray, flat: np.ndarray, dead: np.ndarray, found: Correction) -> None:
    """Raise InputError where flat frames differ from one another; note what is uneven."""
    levels = np.nanmedian(flats[:, ~dead], axis=1)
    spread = np.abs(levels / np.median(levels) - 1)
    worst = int(np.argmax(spread))
    if spread[worst] > MOST_FLAT_SPREAD:
        raise InputError(
            f"The flat frames differ: frame {worst} of {len(levels)} has {levels[worst]:.0f} "
            f"counts in the median, all together {np.median(levels):.0f}.",
            f"levels within {100 * MOST_FLAT_SPREAD:.0f} % of each other",
            "--flats with the frames that show the open beam at full strength",
        )
    if spread[worst] > REPORTED_FLAT_SPREAD:
        found.notes.append(
            f"the flat frames' levels differ by up to {100 * spread[worst]:.1f} %: the beam was "
            "not steady (air_columns follows it view by view)"
        )
    low, high = np.percentile(flat[~dead], (1, 99))
    if high > UNEVEN_BEAM * low:
        found.notes.append(
            f"the beam is uneven: the brightest pixels of the flat frames get {high / low:.1f} "
            "times what the dimmest get, so that these are noisier"
        )


def _mean_frame(frames: np.ndarray) -> np.ndarray:
    """The mean of the frames that are finite at a pixel, NaN where none is, (row, column)
    float64.
    """
    finite = np.isfinite(frames)
    total = np.where(finite, frames, 0.0).sum(axis=0, dtype=np.float64)
    count = finite.sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _check_transmission(good: np.ndarray, scan: RawScan) -> None:
    """Raises InputError where good values are far too bright to have passed an object."""
    median = float(np.median(good)) if good.size else np.nan
    if median > MOST_TRANSMISSION:
        raise InputError(
            f"The views are {median:.3g} times as bright as the open beam, in the median.",
            "at most about 1",
            "--values counts, with --flats, or with --white-level where frames are flat-corrected "
            "grey values; --values transmission, if they are I / I0, 1 in air"
            if scan.values == "transmission"
            else "flats of the same scan, exposure and binning",
        )


def _check_bad(bad: np.ndarray, dead: np.ndarray, found: Correction) -> None:
    """Raises InputError where too many values, or a whole view, are invalid."""
    empty = bad.all(axis=(1, 2))
    if empty.any():
        raise InputError(
            f"View {int(empty.argmax())} contains no valid pixel (such views: {int(empty.sum())}): "
            "all values are zero, negative or NaN.",
            "at least some positive counts in every view",
            "exclude these frames; the shutter may have been closed",
        )
    dark = (bad & ~dead).mean(axis=(1, 2))
    worst = int(dark.argmax())
    unlit = dark > MOST_BAD_IN_A_VIEW
    if unlit.any() and unlit.mean() < 0.5:
        raise InputError(
            f"{100 * dark[worst]:.0f} % of view {worst} are zero, negative or NaN (such views: "
            f"{int(unlit.sum())}).",
            "views with light",
            "exclude these frames, if they are darks among the views; check that the dark frames "
            "belong to the scan",
        )
    share = bad.mean() - dead.mean()
    if share > MOST_BAD_VALUES:
        raise InputError(
            f"{100 * share:.0f} % of the values are invalid: {found.zero_counts} are at or below "
            f"the dark frame, {found.not_finite} NaN or infinite.",
            f"at most {100 * MOST_BAD_VALUES:.0f} %, which are replaced by their neighbours",
            "check that the dark frames belong to the scan; crop with --rows and --columns what no "
            "light reaches",
        )
