"""Timesteps of the reverse loop: any spacing, never the same one twice."""

from __future__ import annotations

import numpy as np
import pytest

from diffusionblend.errors import InputError
from diffusionblend.methods.diffusion.timesteps import sampling_timesteps


@pytest.mark.parametrize("steps", [1, 2, 7, 50, 200, 667, 999, 1000])
def test_timesteps_fall_evenly_from_the_last_and_never_repeat(steps: int) -> None:
    times = sampling_timesteps(steps, 1000)
    assert times[0] == 999
    assert len(times) == steps
    assert times[-1] == pytest.approx(1000 / steps - 1, abs=0.51)
    gaps = -np.diff([*times, -1])
    assert (np.abs(gaps - 1000 / steps) <= 1).all()
    assert (gaps >= 1).all()


@pytest.mark.parametrize("power", [1.0, 1.5, 2.0, 3.0])
@pytest.mark.parametrize(("steps", "first"), [(1, 0), (20, 19), (20, 400), (50, 999), (1000, 999)])
def test_timesteps_never_repeat_and_end_clean_with_any_spacing(
    steps: int, first: int, power: float
) -> None:
    times = sampling_timesteps(steps, 1000, first=first, power=power)
    assert len(times) == steps
    assert times[0] == first
    gaps = -np.diff([*times, -1])
    assert (gaps >= 1).all()
    if steps == 50 and power > 1:
        expected = 1000 * (1 - np.arange(25) / 50) ** power - 1
        assert (np.abs(np.array(times[:25]) - expected) <= 0.5).all()


def test_impossible_first_timesteps_and_powers_are_refused() -> None:
    for bad in ({"first": 1000}, {"first": -1}, {"power": 0.5}, {"power": float("nan")}):
        with pytest.raises(InputError):
            sampling_timesteps(10, 1000, **bad)
    with pytest.raises(InputError, match="1 to 6"):
        sampling_timesteps(10, 1000, first=5)


@pytest.mark.parametrize("steps", [0, -1, 1001, 3000])
def test_impossible_numbers_of_steps_are_refused(steps: int) -> None:
    with pytest.raises(InputError, match="steps"):
        sampling_timesteps(steps, 1000)
