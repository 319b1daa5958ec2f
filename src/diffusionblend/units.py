"""Hounsfield units: conversions to linear attenuation (1/mm) and the network's range, windows.

The network's range is HU / 1000, so that air is -1 and water 0, and nothing is clipped.
Attenuation and HU are tied by mu = mu_water (1 + HU / 1000).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeVar

if TYPE_CHECKING:
    import numpy as np
    import torch

__all__ = [
    "MU_WATER_PER_MM",
    "hu_difference_to_mu",
    "hu_to_mu",
    "hu_to_network",
    "mu_to_hu",
    "network_to_hu",
]

MU_WATER_PER_MM = 0.02059
"""Linear attenuation of water at 60 keV in 1/mm: 0.2059 cm2/g (NIST XCOM) at 1.0 g/cm3."""

HU_PER_NETWORK_UNIT = 1000.0
AIR_HU = -1000.0
"""No attenuation."""

WINDOWS_HU = {
    "lung": (-1350.0, 150.0),
    "mediastinum": (-160.0, 240.0),
    "bone": (-450.0, 1050.0),
    "full": (-1000.0, 1000.0),
}
"""Display windows by name: (black, white) in HU."""

Unit = Literal["HU", "1/mm"]
MAX_NORMALISED = 10.0
"""Values that stay within plus and minus this are fractions or 1/mm, not HU."""

Values = TypeVar("Values", float, "np.ndarray", "torch.Tensor")
"""A float, a NumPy array or a torch tensor; the result is of the same kind and shape."""


def unit_of(values: np.ndarray) -> Unit:
    """1/mm for values that all lie within 10 of 0, as attenuation does; else HU."""
    return "1/mm" if float(abs(values).max()) <= MAX_NORMALISED else "HU"


def hu_to_mu(hu: Values, mu_water_per_mm: float = MU_WATER_PER_MM) -> Values:
    """HU to linear attenuation in 1/mm, elementwise."""
    return (hu / HU_PER_NETWORK_UNIT + 1.0) * mu_water_per_mm


def mu_to_hu(mu_per_mm: Values, mu_water_per_mm: float = MU_WATER_PER_MM) -> Values:
    """Linear attenuation in 1/mm to HU, elementwise."""
    return (mu_per_mm / mu_water_per_mm - 1.0) * HU_PER_NETWORK_UNIT


def hu_difference_to_mu(hu: Values, mu_water_per_mm: float = MU_WATER_PER_MM) -> Values:
    """A difference or standard deviation in HU to 1/mm, elementwise."""
    return hu / HU_PER_NETWORK_UNIT * mu_water_per_mm


def hu_to_network(hu: Values) -> Values:
    """HU to the network's range (HU / 1000), elementwise."""
    return hu / HU_PER_NETWORK_UNIT


def network_to_hu(x: Values) -> Values:
    """The network's range to HU, elementwise."""
    return x * HU_PER_NETWORK_UNIT
