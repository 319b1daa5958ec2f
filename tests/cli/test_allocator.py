"""Freed memory stays with the process: the next array costs no page faults."""

from __future__ import annotations

import subprocess
import sys

import pytest

FAULTS = """
import ctypes, resource, sys
import numpy as np
from diffusionblend.cli.allocator import keep_freed_memory

ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # no huge pages, of which 40 MB are a few only
assert sys.argv[1] == "no" or keep_freed_memory()
for round in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    array = np.ones(5_000_000)
    del array
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's options")
def test_arrays_reuse_the_pages_of_those_before() -> None:
    faults = {
        kept: int(subprocess.check_output([sys.executable, "-c", FAULTS, kept], text=True))
        for kept in ("no", "yes")
    }
    assert faults["yes"] < 100 < faults["no"]
