"""Times of the parts of a run."""

from __future__ import annotations

import time

import pytest

from diffusionblend.methods.diffusion.stopwatch import Stopwatch


def test_parts_add_up_their_own_time() -> None:
    stopwatch = Stopwatch("cpu")
    for seconds in (0.02, 0.03):
        with stopwatch.part("slow"):
            time.sleep(seconds)
    with stopwatch.part("fast"):
        pass
    seconds = stopwatch.seconds()
    assert set(seconds) == {"slow", "fast"}
    assert seconds["slow"] >= 0.05
    assert seconds["fast"] < 0.02
    assert stopwatch.seconds() == seconds


def test_a_part_that_was_never_begun_is_not_there() -> None:
    with pytest.raises(KeyError):
        Stopwatch("cpu").seconds()["network"]
