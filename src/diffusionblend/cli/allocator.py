"""Memory that the process keeps once it has it, since volumes are made and freed at every step.

glibc hands large arrays back to the system when they are freed, and the system clears every page
before it gives them out again: on volumes of 35 MB that took most of ADMM-TV's time.
"""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress

MALLOPT = {"M_TRIM_THRESHOLD": (-1, -1), "M_TOP_PAD": (-2, 64 << 20), "M_MMAP_MAX": (-4, 0)}
"""glibc's options: their numbers, and what they are set to: never trim, grow by so many bytes, and
take large arrays from the heap too."""


def give_back_freed_memory() -> None:
    """Have glibc give the system all that is free, so that a peak counted from now on is one's own.

    Other C libraries are left as they are.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def keep_freed_memory() -> bool:
    """Have glibc keep what is freed for the next array; whether this system takes the setting.

    For a program of ours alone: a library has no business to change this for its host.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # another C library
        return False
    results = [mallopt(number, value) for number, value in MALLOPT.values()]  # all of them
    return all(results)
