"""The bytes of another process's arrays, copied from its memory into ours by the system (Linux).

That takes a quarter to a half of the time of a file in shared memory, whose pages are small. Where
the system has no such call, or forbids it (some containers), the arrays travel by such a file.

The child gives back what has been copied part by part, so that both together never hold an array
twice: virtual machines may get memory from their host as it is first touched, which is slow.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from diffusionblend.memory import address_space_bytes

PART_BYTES = 64 << 20
"""Of an array, copied by all threads together and then given back by the child."""
THREADS = 4
"""Memory that is touched for the first time comes the faster the more ask for it, up to some."""
MADV_DONTNEED = 4


class _Range(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def can_peek() -> bool:
    """Whether this system has the call."""
    return _call() is not None


def address_of(raw: memoryview) -> int:
    """Where a buffer of this process lies, for the other one."""
    import numpy as np

    return int(np.frombuffer(raw, np.uint8).ctypes.data)


def parts_of(places: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Addresses and sizes that are copied one after the other, of places of any size."""
    for address, n_bytes in places:
        for start in range(0, n_bytes, PART_BYTES):
            yield address + start, min(PART_BYTES, n_bytes - start)


def peek(
    pid: int, places: Sequence[tuple[int, int]], on_part: Callable[[], object]
) -> list[memoryview] | None:
    """Copies of the bytes at addresses and of sizes in a child's memory; None where refused.

    Nothing is allocated for more than the child holds. on_part: called after each of the
    `parts_of` the places, which the child may then give back.
    """
    import numpy as np

    held = address_space_bytes(pid)
    if held is not None and sum(n_bytes for _, n_bytes in places) > held:
        return None
    copies = [np.empty(n_bytes, np.uint8) for _, n_bytes in places]
    ours = parts_of([(int(copy.ctypes.data), len(copy)) for copy in copies])
    with ThreadPoolExecutor(THREADS) as threads:  # the child waits, so its processor is free
        for (address, n_bytes), (own, _) in zip(parts_of(places), ours, strict=True):
            share = -(-n_bytes // THREADS)
            starts = range(0, n_bytes, share)
            if not all(
                threads.map(
                    _copy,
                    [pid] * len(starts),
                    [address + start for start in starts],
                    [own + start for start in starts],
                    [min(share, n_bytes - start) for start in starts],
                )
            ):
                return None
            on_part()
    return [copy.data for copy in copies]


def give_back(address: int, n_bytes: int) -> None:
    """Give the memory of a part of an array back to the system: it reads as zeros from now on."""
    first = -(-address // mmap.PAGESIZE) * mmap.PAGESIZE
    n_bytes = (address + n_bytes - first) // mmap.PAGESIZE * mmap.PAGESIZE
    if n_bytes > 0:
        ctypes.CDLL(None).madvise(ctypes.c_void_p(first), ctypes.c_size_t(n_bytes), MADV_DONTNEED)


def _copy(pid: int, address: int, own: int, n_bytes: int) -> bool:
    """Copy from an address in the child's memory to one of ours; whether all of it was there."""
    call, done = _call(), 0
    while call is not None and done < n_bytes:
        here, there = _Range(own + done, n_bytes - done), _Range(address + done, n_bytes - done)
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
