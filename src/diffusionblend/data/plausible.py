"""Whether numbers can be CT numbers: the impossible is refused, the doubtful reported.

HU mean air near -1000 and water 0. A reconstruction may also be in 1/mm, of which every value lies
within 10 of 0.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError
from diffusionblend.units import MAX_NORMALISED

MAX_HU_RANGE = 100_000.0
MAX_CT_HU = 32_767.0
"""The extended scale of CT scanners ends below this, with metal."""
PADDING_HU = -1024.0
"""The lowest value of a 12-bit CT scan: what lies at it or below is padding."""
OFFSET_BAND = (850.0, 1250.0)
"""Where soft tissue lies among stored numbers, which are HU and 1000 or 1024."""
NO_TISSUE_HU = -200.0
"""Air, lung and nearly all fat lie below, something of which every CT scan has."""
SOFT_TISSUE_HU, LEAST_SOFT = (-200.0, 300.0), 0.01
FEW, MANY = 0.001, 0.05
CLIPPED_AT_THE_LOW_END, CLIPPED_AT_THE_HIGH_END = 0.05, 0.01
"""Shares of all voxels that hold the very lowest or highest value of a volume clipped to a window;
a scan's own air and saturated metal are left aside."""
LOWEST_WINDOW_HU, HIGHEST_WINDOW_HU = -900.0, 1000.0
NEAR_HU = 100.0
AIR_HU, DENSEST_HU, MANY_DENSE = -1000.0, 3500.0, 0.01
"""More of a volume above the densest bone is neither bone nor, usually, metal."""
BRIGHT_EDGE_HU = 500.0
SURELY_PADDED_HU, FEW_PADDINGS, MOST_LOOKED_AT = -4000.0, 8, 100_000
"""Further below air than noise goes; scanners write a few values of padding there at most."""
PADDED_AS_TISSUE_HU = -500.0
"""Above, one value in every corner of the slices is no air."""
FEWEST_VOXELS = 10_000
"""In smaller volumes the share of a value says nothing."""
CORNER, STEADY, FEW_BELOW, AIR_SHARE, NOISE_OF_AIR = 16, 0.15, 0.005, 0.01, 0.04
"""The corners of the slices, a sixteenth wide, are one material where their values spread over less
of the range than this, and the lowest one where few others are below it."""
LEAST_SCANNED, MOST_RANKED = 8, 200_000
AT_ONCE = 1 << 16
"""Values that are tested together: more of them, and memory for the outcome is the slow part."""
FEWEST_SLICES, ALTERNATES, LEAST_STEP_HU, LEAST_NOISE_RATIO = 8, 0.95, 2.0, 1.15
"""From how many slices on, in what share of the steps and by how much their mean or noise must go
up and down in turn to be those of two reconstructions."""


def check_hu(volume: Volume, source: Path | str) -> None:
    """Raises InputError for a volume too thin, not finite or plainly not in HU.

    HU means air near -1000 and water 0. Refused: NaN or infinity, a constant, no value below 0
    but for padding (raw or grey values), all within 10 of 0 (fractions, 1/mm), values above 32767
    and a range beyond 100 000.
    """
    check_finite(volume.values, source)
    low, high = float(volume.values.min()), float(volume.values.max())
    problem = _not_hu(low, high) or _stored_numbers(volume.values)
    if problem:
        raise InputError(
            f"{source} is not in HU: its values go from {low:g} to {high:g}, {problem}.",
            "CT numbers in HU: air near -1000, water 0, bone some hundreds",
            "reconstruct with --output-unit hu, where this is a result in 1/mm; else HU are 1000 * "
            "(value - water) / (water - air)"
            if max(abs(low), abs(high)) <= MAX_NORMALISED
            else "apply the rescale slope and intercept of the scan, or import its DICOM folder",
        )


def check_finite(values: np.ndarray, source: Path | str) -> None:
    """Raises InputError for NaN and infinite values."""
    if np.isfinite([values.min(), values.max()]).all():  # NaN is the minimum of what holds one
        return
    n_bad = values.size - np.count_nonzero(np.isfinite(values))
    raise InputError(
        f"{source} holds {n_bad} values that are NaN or infinite.",
        "finite values in HU",
        "replace them by -1000 (air)",
    )


def doubts(volume: Volume, source: Path | str) -> tuple[str, ...]:
    """Sentences on what looks odd in a volume that passes `check_hu`; none for an ordinary one."""
    values = volume.values
    low, high = float(values.min()), float(values.max())
    scanned = _scanned(values)
    found = _doubts_of_scale(values, scanned, source)
    is_scaled = bool(found)
    if not found and values.size >= FEWEST_VOXELS and _share(values, _is_soft) < LEAST_SOFT:
        found.append(
            f"{source} has next to nothing between {SOFT_TISSUE_HU[0]:g} and {SOFT_TISSUE_HU[1]:g} "
            "HU, where water, fat and soft tissue lie: was an intercept applied twice?"
        )
    if values.size >= FEWEST_VOXELS and (
        (low > LOWEST_WINDOW_HU and _share(values, lambda v: v == low) > CLIPPED_AT_THE_LOW_END)
        or (high < HIGHEST_WINDOW_HU and _is_cut_off(values, high))
    ):
        found.append(
            f"{source} seems to be clipped to a display window: many voxels are at the very ends "
            f"of its range, {low:g} to {high:g} HU."
        )
    corners = np.unique(values[:, [0, 0, -1, -1], [0, -1, 0, -1]])
    one = len(corners) == 1 and not is_scaled
    if one and corners[0] > PADDED_AS_TISSUE_HU and low < corners[0] < high:
        found.append(
            f"{source} is {corners[0]:g} HU in every corner of its slices, where air is to be "
            "expected: is that padding of what was not measured? Then replace it by -1000."
        )
    if float(np.median(_edges(values))) > BRIGHT_EDGE_HU:
        found.append(
            f"{source} is bright at the edges of its slices, where air is to be expected: is it "
            "inverted?"
        )
    return (*found, *_alternation(values, source))


def _doubts_of_scale(values: np.ndarray, scanned: np.ndarray, source: Path | str) -> list[str]:
    """At most one sentence on a factor or an offset; scanned: the values that are no padding."""
    low, high = float(values.min()), float(values.max())
    found = []
    if (
        scanned.size
        and _share(scanned, lambda v: v < NO_TISSUE_HU) < FEW
        and _looks_stored(scanned)
    ):
        found.append(
            f"{source} has next to nothing below {NO_TISSUE_HU:g} HU and much between "
            f"{OFFSET_BAND[0]:g} and {OFFSET_BAND[1]:g}: are these stored numbers, 1000 or 1024 "
            "above HU?"
        )
    elif len(np.unique(values[values < SURELY_PADDED_HU][:MOST_LOOKED_AT])) > FEW_PADDINGS:
        found.append(
            f"{source} has many different values far below {PADDING_HU:g} HU, down to {low:g}: HU "
            "that were multiplied, as by 10?"
        )
    elif _seems_multiplied(values, scanned):
        found.append(
            f"{source} has no air near -1000 HU, but {low:g} in much of it and values up to "
            f"{high:g}: HU that were multiplied, as by 10?"
        )
    elif (dense := _share(scanned, lambda v: v > DENSEST_HU)) > MANY_DENSE:
        found.append(
            f"{source} has {100 * dense:.1f} % of its values above "
            f"{DENSEST_HU:g} HU, more than bone has: HU that were multiplied, as by 10?"
        )
    elif (level := _air_elsewhere(values, scanned)) is not None:
        found.append(
            f"{source} has no air near {AIR_HU:g} HU: the corners of its slices, which are the "
            f"lowest of its values, are at {level:.3g}. Are these attenuation times a factor, as "
            "1/m or 1000 times 1/cm, grey values, or HU with another intercept? HU are 1000 * "
            "(value - water) / (water - air)."
        )
    elif low < PADDING_HU and scanned.size and float(scanned.min()) >= 0:
        found.append(f"{source} has no value below 0 HU but for padding of {low:g}.")
    return found


def _alternation(values: np.ndarray, source: Path | str) -> tuple[str, ...]:
    """A sentence on slices of which every second is brighter or noisier than its neighbours."""
    if len(values) < FEWEST_SLICES:
        return ()
    means = values.mean(axis=(1, 2), dtype=np.float64)
    noises = np.array([np.abs(np.diff(v, axis=1)).mean(dtype=np.float64) for v in values])
    step_hu = float(np.median(np.abs(np.diff(means))))
    even, odd = float(np.median(noises[::2])), float(np.median(noises[1::2]))
    ratio = max(even, odd) / max(min(even, odd), 1e-6)
    if step_hu > LEAST_STEP_HU and _goes_up_and_down(means):
        how = f"their mean goes up and down by {step_hu:.3g} HU"
    elif ratio > LEAST_NOISE_RATIO and _goes_up_and_down(noises):
        how = f"their noise goes up and down by {100 * (ratio - 1):.0f} %"
    else:
        return ()
    return (
        f"{source} has slices that alternate: {how} from each to the next. Are two reconstructions "
        "or phases interleaved? Then import each alone.",
    )


def _goes_up_and_down(of_slices: np.ndarray) -> bool:
    """Whether numbers rise and fall in turn, from slice to slice, nearly all along."""
    steps = np.sign(np.diff(of_slices))
    return float(np.mean(steps[1:] * steps[:-1] < 0)) >= ALTERNATES


def _air_elsewhere(values: np.ndarray, scanned: np.ndarray) -> float | None:
    """The level of the corners that seem to be air and are not near -1000; None where none is.

    In a part cut out of a body the corners are of several tissues, or others are below them.
    """
    some = scanned[:: max(scanned.size // MOST_RANKED, 1) | 1]
    if values.size < FEWEST_VOXELS or _share(some, _is_near_air) > AIR_SHARE:
        return None
    ny, nx = (max(n // CORNER, 1) for n in values.shape[1:])
    corners = np.concatenate([values[:, :ny], values[:, -ny:]], axis=1)
    corners = np.concatenate([corners[..., :nx], corners[..., -nx:]], axis=2).ravel()
    corners = corners[corners > PADDING_HU]
    if corners.size < LEAST_SCANNED:  # padded beyond a circle, which the edges touch
        corners = _edges(values)
        corners = corners[corners > PADDING_HU]
    if corners.size < LEAST_SCANNED:
        return None
    low, level, high = (float(v) for v in np.percentile(corners, (10, 50, 90)))
    bottom, top = (float(v) for v in np.percentile(some, (0.5, 99.5)))
    spread = high - low
    if spread == 0:  # set to the value of air beyond a circle, within which air has noise
        spread = NOISE_OF_AIR * (top - bottom)
    is_steady = spread < STEADY * (top - bottom)
    is_lowest = _share(some, lambda v: v < level - 2 * spread) < FEW_BELOW
    is_clipped = _share(some, lambda v: v == level) > MANY and level == float(scanned.min())
    bulk = _share(some, lambda v: v > level + 2 * spread) > MANY
    return level if is_steady and is_lowest and bulk and not is_clipped else None


def _seems_multiplied(values: np.ndarray, scanned: np.ndarray) -> bool:
    """Whether what should be air lies far below it, and nothing where air should be."""
    far = _share(values, lambda v: v < SURELY_PADDED_HU)
    outside = far > MANY and _share(values, _is_near_air) < FEW
    return bool(outside and scanned.size and float(scanned.min()) < 0)


def _edges(values: np.ndarray) -> np.ndarray:
    """The outermost rows and columns of all slices."""
    rows, columns = values[:, [0, -1], :], values[:, :, [0, -1]]
    return np.concatenate([rows.ravel(), columns.ravel()])


def _not_hu(low: float, high: float) -> str:
    """Why a range of values cannot be HU; empty where it can."""
    if low == high:
        return "a constant"
    if max(abs(low), abs(high)) <= MAX_NORMALISED:
        return "which look like fractions or attenuation (1/mm, 1/cm)"
    if low >= 0:
        return "none below 0, as raw or grey values are"
    if high - low > MAX_HU_RANGE:
        return "far beyond any CT number"
    if high > MAX_CT_HU:
        return (
            f"and no CT number is above {MAX_CT_HU:g} (padding of -2000, stored without its sign, "
            "is 63536)"
        )
    return ""


def _stored_numbers(values: np.ndarray) -> str:
    """Why values are stored numbers with padding below; empty where they need not be."""
    if float(values.min()) > PADDING_HU:
        return ""
    scanned = _scanned(values)
    if scanned.size and _share(scanned, lambda v: v < 0) < FEW and _looks_stored(scanned):
        return (
            "and but for the padding none lies below 0, while soft tissue seems to lie near "
            f"{float(np.median(scanned[_in_band(scanned)])):.0f}: stored numbers without intercept"
        )
    return ""


def _is_cut_off(values: np.ndarray, high: float) -> bool:
    """Whether many values are at the highest one, while others come close to it.

    The densest material of a phantom without noise has nothing beside it.
    """
    if _share(values, lambda v: v == high) <= CLIPPED_AT_THE_HIGH_END:
        return False
    return _share(values, lambda v: (v > high - NEAR_HU) & (v < high)) > FEW


def _looks_stored(scanned: np.ndarray) -> bool:
    return _share(scanned, _in_band) > MANY


def _in_band(values: np.ndarray) -> np.ndarray:
    return (values >= OFFSET_BAND[0]) & (values <= OFFSET_BAND[1])


def _is_soft(values: np.ndarray) -> np.ndarray:
    return (values > SOFT_TISSUE_HU[0]) & (values < SOFT_TISSUE_HU[1])


def _is_near_air(values: np.ndarray) -> np.ndarray:
    return np.abs(values - AIR_HU) < NEAR_HU


def _scanned(values: np.ndarray) -> np.ndarray:
    """The values that are no padding, in one row; all of them are not copied."""
    is_padded = float(values.min()) <= PADDING_HU
    return values[values > PADDING_HU] if is_padded else values.reshape(-1)


def _share(values: np.ndarray, test: Callable[[np.ndarray], np.ndarray]) -> float:
    """The share of values that pass a test, which looks at so many at once as a cache holds."""
    row = values.reshape(-1)
    parts = (row[i : i + AT_ONCE] for i in range(0, row.size, AT_ONCE))
    return sum(int(np.count_nonzero(test(part))) for part in parts) / max(row.size, 1)
