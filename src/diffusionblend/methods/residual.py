"""Whether a reconstruction reprojects to its scan as well as its method can be expected to."""

from __future__ import annotations

import math

import numpy as np

from diffusionblend.data.projections import Projections
from diffusionblend.methods.advice import covered_degrees
from diffusionblend.methods.base import Method

NOISE_FACTOR = 4.0
"""A residual so many times that of the photons' noise is far above it."""
OF_UNKNOWN_NOISE = 0.2
"""The least that is far above, where the photons of a measured scan are not known."""
EMPTY_LINE = 0.3
"""Where the high line integrals stay below, noise of unknown size may be all there is."""

SHORT_ARC_DEGREES = 175.0
"""A shorter arc is itself a cause of what filtered back-projection leaves."""


def residual_note(method: Method, scan: Projections, relative_residual: float) -> str | None:
    """A sentence where |Ax - y| / |y| is far above what the method leaves of a scan that fits.

    Methods say by `usual_residual` what they leave at most; the noise of known photons is added.
    """
    usual, fewest_views = method.usual_residual
    photons = scan.notes.get("photons")
    if len(scan) < fewest_views or not math.isfinite(usual):
        return None
    if isinstance(photons, int | float) and photons > 0:
        usual = max(usual, NOISE_FACTOR * _noise_of(scan.values, float(photons)))
    elif scan.notes.get("source") == "measured":
        usual = max(usual, OF_UNKNOWN_NOISE)
        if np.percentile(scan.values, 99) < EMPTY_LINE:
            return None
    if relative_residual <= usual:
        return None
    causes = (
        "an object larger than the volume, a wrong centre of rotation, angles in another order or "
        "unit, or a changed beam"
    )
    arc = covered_degrees(scan.geometry)
    if method.name == "fbp" and arc < SHORT_ARC_DEGREES:
        causes = f"its views cover only {arc:.0f} degrees, which an iterative method can fit; or "
        causes += "a wrong centre of rotation, or angles in another order or unit"
    return (
        f"the residual, {relative_residual:.2f}, is far above what {method.name} leaves of a scan "
        f"that fits its geometry: {causes}"
    )


def _noise_of(lines: np.ndarray, photons: float) -> float:
    """The norm of the noise of line integrals, of variance 1 / counts, over theirs."""
    variance = np.exp(lines, dtype=np.float64).mean() / photons
    power = float(np.square(lines, dtype=np.float64).mean())
    return math.sqrt(variance / power) if power > 0 else math.inf
