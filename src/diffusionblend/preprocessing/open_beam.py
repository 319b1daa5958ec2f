"""Whether flat frames show the open beam, and not the sample."""

from __future__ import annotations

import numpy as np

from diffusionblend.data.raw_scan import WHITE_LEVEL, RawScan
from diffusionblend.errors import InputError

PARTS = (16, 32)
"""Rows and columns of parts of the detector whose means are compared."""
REPORTED_STRUCTURE = 0.1
"""By which parts of a flat, over those of the median flat, differ from one another."""
BRIGHTER, OF_DARKER = -0.05, 0.25
"""Line integrals above air's that go so far below 0, and so far against what they reach above, are
brighter than the open beam where the sample is."""
MOST_VALUES = 4_000_000


def flat_notes(scan: RawScan) -> list[str]:
    """A sentence on flat frames with a structure that the others lack, as a sample in the beam."""
    if scan.values != "counts" or scan.flats is None or len(scan.flats) < 3:
        return []
    parts = np.stack([_means(frame) for frame in scan.flats])
    if scan.darks is not None:
        parts -= np.mean([_means(frame) for frame in scan.darks], axis=0)
    usual = np.median(parts, axis=0)
    lit = usual > 0.1 * np.median(usual)
    if not lit.sum() > 2:
        return []
    ratios = parts[:, lit] / usual[lit]
    ratios /= np.median(ratios, axis=1, keepdims=True)
    structure = np.subtract(*np.percentile(ratios, (99, 1), axis=1))
    odd = np.flatnonzero(structure > REPORTED_STRUCTURE)
    if not len(odd):
        return []
    return [
        f"{len(odd)} of {len(scan.flats)} flat frames, the first is frame {odd[0]}, differ from "
        f"the median one by up to {100 * structure.max():.0f} % from place to place: the sample "
        "was in the beam, or the beam moved (flats, without these)"
    ]


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


def _means(frame: np.ndarray) -> np.ndarray:
    """The means of parts of a frame (row, column), of its pixels that are finite."""
    heights, widths = (max(1, n // k) for n, k in zip(frame.shape, PARTS, strict=True))
    rows, columns = frame.shape[0] // heights, frame.shape[1] // widths
    whole = frame[: rows * heights, : columns * widths].astype(np.float64)
    parts = np.where(np.isfinite(whole), whole, np.nanmedian(whole))
    return parts.reshape(rows, heights, columns, widths).mean(axis=(1, 3))
