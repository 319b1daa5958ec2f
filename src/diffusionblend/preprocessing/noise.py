"""How many photons a detector pixel of the open beam counts, by how flat frames differ from one
another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from diffusionblend.data.raw_scan import RawScan

FEWEST_FRAMES = 3
"""Of flats for their variance to be estimated; of darks likewise."""


@dataclass(frozen=True, kw_only=True)
class CountingNoise:
    """Photons of an unattenuated detector pixel, and the electronic noise as so many of them."""

    photons: float
    electronic_counts: float


def counting_noise(scan: RawScan) -> CountingNoise | None:
    """The noise of a scan with at least three flat frames, None where they do not determine it.

    Photons are Poisson distributed, and a detector that makes a grey value of g of each gives
    frames whose variance is g times their mean, beside that of the dark frames. Frames are first
    brought to the same level, for a beam that is not steady. A detector that blurs counts as having
    more photons than it has.
    """
    if scan.values != "counts" or scan.flats is None or len(scan.flats) < FEWEST_FRAMES:
        return None
    darks = np.zeros_like(scan.flats[:1]) if scan.darks is None else scan.darks
    flats = scan.flats - darks.mean(axis=0)
    levels = np.nanmedian(flats, axis=(1, 2), keepdims=True)
    steady = flats / levels * levels.mean()
    lit = np.isfinite(steady).all(axis=0) & np.isfinite(darks).all(axis=0)
    level = float(levels.mean())
    of_darks = _variance(darks, lit) if len(darks) >= FEWEST_FRAMES else 0.0
    grey_per_photon = (_variance(steady, lit) - of_darks) / float(steady.mean(axis=0)[lit].mean())
    if not (level > 0 and grey_per_photon > 0):
        return None
    return CountingNoise(
        photons=level / grey_per_photon, electronic_counts=of_darks**0.5 / grey_per_photon
    )


def _variance(frames: np.ndarray, lit: np.ndarray) -> float:
    """The mean over pixels of the variance between frames (frame, row, column)."""
    return float(frames[:, lit].var(axis=0, ddof=1, dtype=np.float64).mean())
