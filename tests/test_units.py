from __future__ import annotations

import numpy as np
import pytest
import torch

from diffusionblend.units import (
    MU_WATER_PER_MM,
    hu_difference_to_mu,
    hu_to_mu,
    hu_to_network,
    mu_to_hu,
    network_to_hu,
)


def test_air_water_and_bone():
    """By the definition of the Hounsfield unit: 1000 (mu - mu_water) / mu_water."""
    assert hu_to_mu(-1000.0) == 0
    assert hu_to_mu(0.0) == MU_WATER_PER_MM
    assert hu_to_mu(1000.0) == pytest.approx(2 * MU_WATER_PER_MM)
    assert mu_to_hu(0.0) == -1000
    assert mu_to_hu(0.04, mu_water_per_mm=0.02) == pytest.approx(1000)
    assert hu_to_mu(500.0, mu_water_per_mm=0.02) == pytest.approx(0.03)
    apart = hu_to_mu(350.0, 0.02) - hu_to_mu(100.0, 0.02)
    assert hu_difference_to_mu(250.0, 0.02) == pytest.approx(apart)
    assert (hu_to_network(-1000.0), hu_to_network(0.0)) == (-1.0, 0.0)


def test_water_at_60_kev():
    """NIST XCOM: 0.2059 cm2/g, at 1 g/cm3."""
    assert pytest.approx(0.2059 / 10) == MU_WATER_PER_MM


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_there_and_back_keeps_values_kind_and_precision(kind):
    hu = kind(np.linspace(-1024, 3071, 50, dtype=np.float32).reshape(2, 5, 5))
    for back in (mu_to_hu(hu_to_mu(hu)), network_to_hu(hu_to_network(hu))):
        assert type(back) is type(hu)
        assert back.dtype == hu.dtype
        np.testing.assert_allclose(np.asarray(back), np.asarray(hu), atol=1e-3)
