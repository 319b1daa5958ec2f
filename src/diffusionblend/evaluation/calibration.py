"""Whether a standard deviation is the right size: how often the truth lies within it, by tissue.

The truth of a voxel is counted as covered at k where |truth - mean| <= k sd. Were mean and sd those
of a normal distribution that the truth is drawn from, 68.3 and 95.4 % would be covered at 1 and 2.
Of N samples both are estimates; if the truth and the samples are then drawn alike, (truth - mean) /
(sd sqrt(1 + 1 / N)) follows Student's t with N - 1 degrees of freedom, which gives the share that a
sampler without fault would cover. A calibrated band holds the truth where |truth - mean| is at most
half its width. Only voxels inside the reference's body count.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from diffusionblend.data.ensemble import check_deviation
from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError
from diffusionblend.evaluation.body import body_mask
from diffusionblend.evaluation.tables import Column
from diffusionblend.evaluation.tissues import TISSUES, Tissue
from diffusionblend.geometry.grid import check_same_grid

WIDTHS = (1, 2)
"""In standard deviations to either side of the mean."""

WHOLE = "whole body"
EVERYWHERE = Tissue(WHOLE, -math.inf, math.inf)

COLUMNS = (
    Column(key="tissue", header="Tissue"),
    Column(key="range", header="Reference (HU)"),
    Column(key="percent", header="Voxels (%)", digits=1),
    *(Column(key=f"within_{k}", header=f"Within {k} sd (%)", digits=1) for k in WIDTHS),
    Column(key="within_band", header="Within the 90 % band (%)", digits=1),
    Column(key="mean_deviation_hu", header="Mean sd (HU)", digits=1),
    Column(key="rms_error_hu", header="RMS error (HU)", digits=1),
)


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """How often the truth of one tissue lies within so many standard deviations of the mean.

    within: share of the voxels, by the number of deviations; None, like the figures below it, where
    there is no such voxel. mean_deviation_hu: mean of sd. rms_error_hu: root of the mean of
    (mean - truth)^2. within_band: share within the calibrated band, None without one.
    """

    low_hu: float
    high_hu: float
    n_voxels: int
    within: dict[int, float] | None
    mean_deviation_hu: float | None
    rms_error_hu: float | None
    within_band: float | None = None


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Coverage by tissue inside the body, the whole body first, and what would be right.

    expected: share by number of deviations, for `n_samples` samples of a sampler without fault, or
    for exact mean and sd where the number is not known.
    """

    tissues: dict[str, Coverage]
    expected: dict[int, float]
    n_samples: int | None = None

    def to_dict(self) -> dict[str, object]:
        """The figures as strict JSON can hold them: an infinite end of a range becomes None."""
        tissues = {}
        for name, coverage in self.tissues.items():
            facts = asdict(coverage)
            for end in ("low_hu", "high_hu"):
                facts[end] = facts[end] if math.isfinite(facts[end]) else None
            if coverage.within_band is None:
                del facts["within_band"]
            tissues[name] = facts | {"within": _by_text(coverage.within)}
        return {
            "n_samples": self.n_samples,
            "expected_within": _by_text(self.expected),
            "tissues": tissues,
        }

    def rows(self) -> list[dict[str, object]]:
        """One row for each tissue, and one of what would be right, for COLUMNS."""
        body = self.tissues[WHOLE].n_voxels
        rows = [_row(name, c, body) for name, c in self.tissues.items()]
        right = "exact mean and sd" if self.n_samples is None else f"{self.n_samples} samples"
        expected = {f"within_{k}": 100 * share for k, share in self.expected.items()}
        return [*rows, {"tissue": f"to be expected ({right})", **expected}]


def calibrate(
    mean: Volume,
    deviation: Volume,
    reference: Volume,
    *,
    n_samples: int | None = None,
    band: Volume | None = None,
) -> Calibration:
    """How often the reference lies within 1 and 2 standard deviations of the mean, by tissue.

    All (z, y, x) in HU on one grid. n_samples: that mean and deviation were taken of, where known.
    band: half the width of a calibrated band, whose share is counted as well. Raises InputError
    where the grids differ, or where deviation or band is none.
    """
    check_same_grid(mean.grid, reference.grid)
    check_deviation(deviation, mean)
    if band is not None:
        check_deviation(band, mean, "The band")
    inside = body_mask(reference)
    truth = reference.values[inside].astype(np.float64)
    error = np.abs(mean.values[inside] - truth)
    sd = deviation.values[inside].astype(np.float64)
    half = None if band is None else band.values[inside]
    tissues = {
        tissue.label: _coverage(error, sd, truth, tissue, half)
        for tissue in (EVERYWHERE, *TISSUES.values())
    }
    expected = {k: expected_share(k, n_samples) for k in WIDTHS}
    return Calibration(tissues=tissues, expected=expected, n_samples=n_samples)


def expected_share(width: float, n_samples: int | None = None) -> float:
    """The share of truths within `width` standard deviations, 0 to 1, if nothing is wrong.

    Of normal distributions: erf(width / sqrt 2) for exact mean and sd, and by Student's t for those
    of `n_samples` samples drawn like the truth (see the module). Raises InputError below 2.
    """
    if n_samples is None:
        return math.erf(width / math.sqrt(2))
    if n_samples < 2:
        raise InputError(f"A deviation was said to be of {n_samples} sample(s).", "two or more")
    from scipy.stats import t

    return float(1 - 2 * t.sf(width / math.sqrt(1 + 1 / n_samples), n_samples - 1))


def _coverage(
    error: np.ndarray, sd: np.ndarray, truth: np.ndarray, tissue: Tissue, half: np.ndarray | None
) -> Coverage:
    """Of the voxels whose truth lies in the range; all flat arrays of the body's voxels, in HU.

    half: half the width of a band, None without one.
    """
    chosen = tissue.mask(truth)
    n_voxels = int(chosen.sum())
    if n_voxels == 0:
        return Coverage(
            low_hu=tissue.low_hu,
            high_hu=tissue.high_hu,
            n_voxels=0,
            within=None,
            mean_deviation_hu=None,
            rms_error_hu=None,
        )
    held = None if half is None else float((error <= half)[chosen].mean())
    error, sd = error[chosen], sd[chosen]
    return Coverage(
        low_hu=tissue.low_hu,
        high_hu=tissue.high_hu,
        n_voxels=n_voxels,
        within={k: float((error <= k * sd).mean()) for k in WIDTHS},
        mean_deviation_hu=float(sd.mean()),
        rms_error_hu=float(np.sqrt((error**2).mean())),
        within_band=held,
    )


def _row(name: str, coverage: Coverage, body_voxels: int) -> dict[str, object]:
    """One tissue for COLUMNS, shares in percent."""
    within = coverage.within or {}
    return {
        "tissue": name,
        "range": Tissue(name, coverage.low_hu, coverage.high_hu).range_in_words,
        "percent": 100 * coverage.n_voxels / body_voxels,
        "mean_deviation_hu": coverage.mean_deviation_hu,
        "rms_error_hu": coverage.rms_error_hu,
        "within_band": None if coverage.within_band is None else 100 * coverage.within_band,
        **{f"within_{k}": 100 * share for k, share in within.items()},
    }


def _by_text(shares: Mapping[int, float] | None) -> dict[str, float] | None:
    return None if shares is None else {str(k): v for k, v in shares.items()}
