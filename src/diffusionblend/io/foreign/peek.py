"""The bytes of another process's arrays, copied from its memory into ours by the system (Linux).

That takes a quarter to a half of the time of a file in shared memory, whose pages are small. Where
the system has no such call, or forbids it (some containers), the arrays travel by such a file.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

from diffusionblend.memory import address_space_bytes

if TYPE_CHECKING:
    import numpy as np

PART_BYTES = 32 << 20
THREADS = 4
"""Memory that is touched for the first time comes as fast as they ask for it, up to some."""


class _Range(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def can_peek() -> bool:
    """Whether this system has the call."""
    return _call() is not None


def address_of(raw: memoryview) -> int:
    """Where a buffer of this process lies, for the other one."""
    import numpy as np

    return int(np.frombuffer(raw, np.uint8).ctypes.data)


def peek(pid: int, places: Sequence[tuple[int, int]]) -> list[memoryview] | None:
    """Copies of the bytes at addresses and of sizes in a child's memory; None where refused.

    Nothing is allocated for more than the child holds.
    """
    import numpy as np

    held = address_space_bytes(pid)
    if held is not None and sum(n_bytes for _, n_bytes in places) > held:
        return None
    copies = [np.empty(n_bytes, np.uint8) for _, n_bytes in places]
    parts = [
        (address + start, copy[start : start + PART_BYTES])
        for (address, n_bytes), copy in zip(places, copies, strict=True)
        for start in range(0, n_bytes, PART_BYTES)
    ]
    with ThreadPoolExecutor(THREADS) as threads:  # the child waits, so its processor is free
        if not all(threads.map(lambda part: _copy(pid, *part), parts)):
            return None
    return [copy.data for copy in copies]


def _copy(pid: int, address: int, ours: np.ndarray) -> bool:
    """Fill an array of bytes from an address in the child's memory; whether all of it was there."""
    call, done = _call(), 0
    while call is not None and done < len(ours):
        here = _Range(ours.ctypes.data + done, len(ours) - done)
        there = _Range(address + done, len(ours) - done)
        n = int(call(pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0))
        if n <= 0:
            return False
        done += n
    return call is not None


@functools.cache
def _call() -> Callable[..., int] | None:
    with suppress(AttributeError, OSError):
        call = ctypes.CDLL(None).process_vm_readv
        number = ctypes.c_ulong
        call.argtypes = (ctypes.c_int, ctypes.c_void_p, number, ctypes.c_void_p, number, number)
        call.restype = ctypes.c_ssize_t
        return call
    return None
