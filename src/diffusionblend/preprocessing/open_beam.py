"""Whether flat frames show the open beam, and not the sample."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from diffusionblend.data.raw_scan import WHITE_LEVEL, RawScan
from diffusionblend.errors import InputError

PARTS = (16, 32)
"""Rows and columns of parts of the detector whose means are compared."""
REPORTED_STRUCTURE = 0.1
"""By which parts of a flat, over those of the median flat, differ from one another."""
MOST_BRIGHTER = 0.05
"""A flat that is brighter than the median one in some part by more does not just show a sample."""
FEWEST_FLATS = 3
BRIGHTER, OF_DARKER = -0.05, 0.25
"""Line integrals above air's that go so far below 0, and so far against what they reach above, are
brighter than the open beam where the sample is."""
ALL_BUT_FAULTS = 99.9
"""Percentile of the lines that stands for the highest."""
MOST_VALUES = 4_000_000


def without_odd_flats(scan: RawScan) -> tuple[RawScan, list[str]]:
    """The scan without single flat frames that show the sample, and a sentence on odd ones.

    Odd is a flat with a structure that the median one lacks. One that is darker in places and
    brighter nowhere shows the sample, and is left out if most flats remain; of another the beam
    may have moved.
    """
    ratios = _over_the_median(scan)
    if ratios is None:
        return scan, []
    low, high = np.percentile(ratios, (1, 99), axis=1)
    structure = (high - low) / np.median(ratios, axis=1)
    odd = structure > REPORTED_STRUCTURE
    shows = odd & (low < 1 - REPORTED_STRUCTURE) & (high < 1 + MOST_BRIGHTER)
    if shows.sum() >= len(shows) / 2:
        shows[:] = False
    notes = []
    if shows.any():
        notes.append(
            f"{_counted(shows)}, left out of the mean: darker than the median one by up to "
            f"{100 * (1 - low[shows].min()):.0f} % in places and brighter nowhere, as with the "
            "sample in the beam"
        )
    odd &= ~shows
    if odd.any():
        notes.append(
            f"{_counted(odd)}, differ from the median one by up to "
            f"{100 * structure[odd].max():.0f} % from place to place: the sample was in the beam, "
            "or the beam moved (flats, without these)"
        )
    assert scan.flats is not None
    return (replace(scan, flats=scan.flats[~shows]) if shows.any() else scan), notes


def _over_the_median(scan: RawScan) -> np.ndarray | None:
    """Parts of each flat over those of the median flat (frame, part); None for fewer than three."""
    if scan.values != "counts" or scan.flats is None or len(scan.flats) < FEWEST_FLATS:
        return None
    parts = np.stack([_means(frame) for frame in scan.flats])
    if scan.darks is not None:
        parts -= np.mean([_means(frame) for frame in scan.darks], axis=0)
    usual = np.median(parts, axis=0)
    lit = usual > 0.1 * np.median(usual)
    return parts[:, lit] / usual[lit] if lit.sum() > 2 else None


def _counted(which: np.ndarray) -> str:
    return f"{which.sum()} of {len(which)} flat frames, the first is frame {which.argmax()}"


def check_open_beam(lines: np.ndarray, scan: RawScan) -> None:
    """Raises InputError for views that are brighter than the flats where the sample is.

    lines: (view, row, column) of the scan's counts. So it is with flats that show the sample, whose
    place in them is compared with every other view's. A brighter beam is not that.
    """
    if scan.values != "counts" or scan.flats is None or WHITE_LEVEL in scan.facts:
        return
    some = lines[:: max(1, lines.size // MOST_VALUES)]
    ends = [float(np.median(some[:, :, part])) for part in (slice(0, 2), slice(-2, None))]
    if max(ends) > -BRIGHTER:  # the object may reach there
        return
    air = min(*ends, 0.0)
    low, high = np.percentile(some, (2, 98)) - air
    if low > BRIGHTER or -low < OF_DARKER * high:
        return
    raise InputError(
        f"The views are brighter than the flat frames in places (line integrals of {low:.2f} "
        f"against air at the ends) and darker in others ({high:.2f}): the flats seem to show the "
        "sample.",
        "flats of the open beam, without the sample",
        "--flats with other frames; --white-level, if the views are corrected; or --centre-column, "
        "to insist",
    )


def check_beam_level(lines: np.ndarray, scan: RawScan) -> None:
    """Raises InputError where no line of the scan's counts attenuates: an open beam far too weak.

    lines: (view, row, column).
    """
    if scan.values != "counts" or scan.flats is None:
        return
    some = lines[:: max(1, lines.size // MOST_VALUES)]
    usual, highest = np.percentile(some, (50, ALL_BUT_FAULTS))
    if usual > BRIGHTER or highest > 0:
        return
    raise InputError(
        f"The views are brighter than the open beam everywhere (line integrals of {usual:.2f} in "
        f"the median, and up to {highest:.2f}): the open beam is at most "
        f"{100 * np.exp(usual):.0f} % of the scan's own.",
        "an open beam as bright as air is in the views",
        "--flats of this exposure, the level of air in the views as --white-level, or "
        "--air-columns, which follows the beam",
    )


def _means(frame: np.ndarray) -> np.ndarray:
    """The means of parts of a frame (row, column), of its pixels that are finite."""
    heights, widths = (max(1, n // k) for n, k in zip(frame.shape, PARTS, strict=True))
    rows, columns = frame.shape[0] // heights, frame.shape[1] // widths
    whole = frame[: rows * heights, : columns * widths].astype(np.float64)
    parts = np.where(np.isfinite(whole), whole, np.nanmedian(whole))
    return parts.reshape(rows, heights, columns, widths).mean(axis=(1, 3))
