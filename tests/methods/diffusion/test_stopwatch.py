"""Times of the parts of a run."""

from __future__ import annotations

import pytest

from diffusionblend.methods.diffusion import stopwatch as module
from diffusionblend.methods.diffusion.stopwatch import Stopwatch


def test_parts_add_up_their_own_time(monkeypatch) -> None:
    now = [100.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    stopwatch = Stopwatch("cpu")
    for seconds in (2.0, 3.0):
        with stopwatch.part("slow"):
            now[0] += seconds
        now[0] += 50.0  # of no part
    with stopwatch.part("fast"):
        now[0] += 0.25
    assert stopwatch.seconds() == {"slow": 5.0, "fast": 0.25}
    assert stopwatch.seconds() == {"slow": 5.0, "fast": 0.25}


def test_a_part_that_was_never_begun_is_not_there() -> None:
    with pytest.raises(KeyError):
        Stopwatch("cpu").seconds()["network"]
