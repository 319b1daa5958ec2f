"""The tissues of every table and report: ranges of the reference's HU, defined once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Tissue:
    """A tissue by the reference's HU: low_hu <= HU < high_hu. label: for readers."""

    label: str
    low_hu: float
    high_hu: float

    def mask(self, reference_hu: np.ndarray) -> np.ndarray:
        """Where a reference (any shape, HU) is of this tissue."""
        return (reference_hu >= self.low_hu) & (reference_hu < self.high_hu)

    @property
    def range_in_words(self) -> str:
        """The range of HU, such as "below -950"."""
        low, high = self.low_hu, self.high_hu
        if math.isinf(low):
            return "any" if math.isinf(high) else f"below {high:.0f}"
        return f"from {low:.0f}" if math.isinf(high) else f"{low:.0f} to {high:.0f}"


TISSUES = {
    "air": Tissue("air", -math.inf, -950.0),
    "lung": Tissue("lung", -950.0, -500.0),
    "fat": Tissue("fat", -150.0, -30.0),
    "soft_tissue": Tissue("soft tissue", -30.0, 150.0),
    "bone": Tissue("bone", 300.0, math.inf),
}
"""What lies between counts for the whole volume or body alone; bright contrast medium counts as
bone."""

BIAS_TISSUES = ("lung", "soft_tissue", "bone")
"""Those whose HU bias is reported."""
