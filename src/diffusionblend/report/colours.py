"""How a standard deviation is coloured, the same in the report, the viewer and figures.

The colour says how large it is, from 0 to a limit, and small ones let the picture below through.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

COLOURS = ((255, 236, 130), (255, 178, 40), (255, 98, 24), (236, 20, 60), (190, 0, 140))
"""Red, green and blue, 0 to 255, at equal distances from 0 to the limit."""
SOLID_SHARE = 0.5
"""The share of the limit from which on a colour covers what is below; down to 0 it fades out."""
OPACITY = 0.6
"""Of the whole overlay, at first."""

LIMIT_PERCENTILE = 99.5
ROUND_STEPS = (1, 2, 3, 5, 10)


def deviation_limit_hu(deviations: Iterable[np.ndarray]) -> float:
    """A round number in HU that all but the largest values of some deviations lie below.

    1, 2, 3 or 5 times a power of ten, at least 1; one limit for all, so that colours compare.
    """
    highest = max((float(np.percentile(d, LIMIT_PERCENTILE)) for d in deviations), default=0.0)
    if highest <= 1:
        return 1.0
    power = 10.0 ** math.floor(math.log10(highest))
    return next(s * power for s in ROUND_STEPS if s * power >= highest)


def overlay_rgba(values_hu: np.ndarray, limit_hu: float) -> np.ndarray:
    """Red, green, blue and opacity, 0 to 1, of values in HU: shape (..., 4)."""
    share = np.clip(values_hu / limit_hu, 0.0, 1.0)
    places = np.linspace(0.0, 1.0, len(COLOURS))
    channels = [np.interp(share, places, np.array(c) / 255) for c in zip(*COLOURS, strict=True)]
    return np.stack([*channels, np.minimum(1.0, share / SOLID_SHARE)], axis=-1)


def on_black(rgba: np.ndarray) -> np.ndarray:
    """Colours of `overlay_rgba` laid over black, (..., 3), 0 to 1."""
    return rgba[..., :3] * rgba[..., 3:]
