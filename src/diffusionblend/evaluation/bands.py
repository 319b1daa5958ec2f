"""Calibrated bands: how many standard deviations hold a share of the truth, by tissue.

One factor for each tissue is a split-conformal quantile: of |truth - mean| / max(sd, floor) over
the voxels of reference patients, such that mean +- factor x max(sd, floor) holds the share of them.
Every patient counts alike, whatever its number of voxels (the averaged distribution functions of
Dunn, Wasserman and Ramdas 2023, section 4.1). Tissues are told apart by the mean's HU, since where
a band is wanted the truth is not known. The share holds on average over voxels of patients like
those of the fit, not for every voxel or every patient.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from diffusionblend.data.ensemble import check_deviation
from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError
from diffusionblend.evaluation.body import body_mask
from diffusionblend.evaluation.tissues import TISSUES, Tissue
from diffusionblend.geometry.grid import check_same_grid

SHARE = 0.9
"""Of the truth's voxels that a band is to hold."""
FLOOR_HU = 5.0
"""Smaller standard deviations count as this: samples that agree by chance would ask for factors
without end."""
FEWEST_VOXELS = 200
"""A tissue of fewer voxels in a patient has no say there; one without a say anywhere takes the
factor of the whole body."""
WHOLE = "whole body"

BAND_TISSUES = (
    TISSUES["air"],
    TISSUES["lung"],
    Tissue("between lung and fat", -500.0, -150.0),
    TISSUES["fat"],
    TISSUES["soft_tissue"],
    Tissue("between soft tissue and bone", 150.0, 300.0),
    TISSUES["bone"],
)
"""By the mean's HU, without gaps, so that every voxel has a factor."""
_EDGES = np.array([tissue.low_hu for tissue in BAND_TISSUES[1:]])


@dataclass(frozen=True, eq=False)
class Errors:
    """What a patient's mean and standard deviation got wrong, one entry for each voxel of the body.

    tissue: number in BAND_TISSUES, by the mean. ratio: |truth - mean| / max(sd, floor). width_hu:
    max(sd, floor). truth_hu: the reference.
    """

    tissue: np.ndarray
    ratio: np.ndarray
    width_hu: np.ndarray
    truth_hu: np.ndarray

    @classmethod
    def of(cls, mean: Volume, deviation: Volume, reference: Volume) -> Errors:
        """Of volumes (z, y, x) in HU on one grid. Raises InputError, also without a body."""
        check_same_grid(mean.grid, reference.grid)
        check_deviation(deviation, mean)
        inside = body_mask(reference)
        truth, middle = reference.values[inside], mean.values[inside]
        width = np.maximum(deviation.values[inside], FLOOR_HU)
        return cls(tissue_numbers(middle), np.abs(truth - middle) / width, width, truth)


def tissue_numbers(mean_hu: np.ndarray) -> np.ndarray:
    """The number in BAND_TISSUES of every voxel of a mean in HU, of the same shape."""
    return np.digitize(mean_hu, _EDGES).astype(np.uint8)


def fit_factors(patients: Sequence[Errors], share: float = SHARE) -> dict[str, float]:
    """The factor of each tissue in BAND_TISSUES, by its name, that holds a share of the truth.

    Raises InputError for no patient.
    """
    if not patients:
        raise InputError("Bands were to be fitted on no patient.", "at least one")
    whole = _quantile([p.ratio for p in patients], share)
    factors = {}
    for number, tissue in enumerate(BAND_TISSUES):
        ratios = [p.ratio[p.tissue == number] for p in patients]
        enough = [r for r in ratios if len(r) >= FEWEST_VOXELS]
        factors[tissue.label] = _quantile(enough, share) if enough else whole
    return factors


def _quantile(groups: Sequence[np.ndarray], share: float) -> float:
    """The least ratio that a share of all does not exceed, where each group weighs the same.

    As in split conformal prediction n values count as n + 1, one of them beyond all.
    """
    ratios = np.concatenate(groups)
    weights = np.concatenate([np.full(len(g), 1 / (len(groups) * len(g))) for g in groups])
    order = np.argsort(ratios)
    below = np.cumsum(weights[order])
    wanted = min(1.0, share * (1 + 1 / len(ratios)))
    place = min(int(np.searchsorted(below, wanted - 1e-12)), len(ratios) - 1)
    return float(ratios[order[place]])


def half_width(mean: Volume, deviation: Volume, factors: Mapping[str, float]) -> Volume:
    """The half width in HU of the band around a mean of samples, voxel by voxel.

    factors: as of `fit_factors`. Raises InputError where one is missing or the grids differ.
    """
    check_same_grid(mean.grid, deviation.grid)
    missing = [t.label for t in BAND_TISSUES if t.label not in factors]
    if missing:
        raise InputError(
            f"The factors of a band lack {', '.join(missing)}.",
            f"one for each of {', '.join(t.label for t in BAND_TISSUES)}",
            "'diffusionblend calibrate' to fit them again",
        )
    by_number = np.array([factors[t.label] for t in BAND_TISSUES])
    width = np.maximum(deviation.values, FLOOR_HU)
    return deviation.with_values(by_number[tissue_numbers(mean.values)] * width)


def coverage(patient: Errors, factors: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """The share of a patient's voxels that the bands hold: by the mean's and the reference's HU.

    Two mappings, "by_mean" and "by_reference", from the tissue to the share, the whole body first;
    tissues with fewer than FEWEST_VOXELS voxels are left out.
    """
    by_number = np.array([factors[t.label] for t in BAND_TISSUES])
    held = patient.ratio <= by_number[patient.tissue]
    whole = {WHOLE: float(held.mean())}
    by_mean = {t.label: held[patient.tissue == i] for i, t in enumerate(BAND_TISSUES)}
    by_reference = {t.label: held[t.mask(patient.truth_hu)] for t in TISSUES.values()}
    return {
        name: whole | {k: float(h.mean()) for k, h in found.items() if len(h) >= FEWEST_VOXELS}
        for name, found in (("by_mean", by_mean), ("by_reference", by_reference))
    }


def left_out_coverage(patients: Mapping[str, Errors]) -> dict[str, dict[str, dict[str, float]]]:
    """The `coverage` of every patient, by name, by the factors that are fitted on the others.

    Raises InputError for fewer than two.
    """
    if len(patients) < 2:
        raise InputError(
            f"Bands were to be tried on patients left out, and there are {len(patients)}.",
            "two or more patients",
        )
    return {
        name: coverage(tried, fit_factors([p for n, p in patients.items() if n != name]))
        for name, tried in patients.items()
    }


def mean_half_widths(
    patients: Sequence[Errors], factors: Mapping[str, float]
) -> dict[str, float | None]:
    """The mean half width of the bands in HU by tissue, patients alike; None where none has it."""
    found: dict[str, float | None] = {}
    for number, tissue in enumerate(BAND_TISSUES):
        widths = [p.width_hu[p.tissue == number] for p in patients]
        means = [float(w.mean()) for w in widths if len(w)]
        found[tissue.label] = (
            factors[tissue.label] * math.fsum(means) / len(means) if means else None
        )
    return found
