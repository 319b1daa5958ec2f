"""Kernels and networks over the threads that torch may use; no second pool of OpenMP threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import TypeVar

import torch

Item = TypeVar("Item")
Found = TypeVar("Found")

PARTS_A_THREAD = 2
"""More parts than threads, so that none waits long for a thread that the machine holds up."""


def in_parts(kernel: Callable[..., None], n: int, *arguments: object) -> None:
    """Run kernel(first, last, *arguments) over range(n), split over torch's threads.

    The kernel releases the GIL, and calls write to places of their own, so that the result does
    not depend on the number of threads.
    """
    threads = torch.get_num_threads()
    parts = min(PARTS_A_THREAD * threads, n) if threads > 1 else 1
    edges = [n * i // parts for i in range(parts + 1)] if parts else []
    on_threads(lambda i: kernel(edges[i], edges[i + 1], *arguments), range(parts))


def in_one(kernel: Callable[..., None], n: int, *arguments: object) -> None:
    """Run kernel(0, n, *arguments), for work that is shared out already."""
    kernel(0, n, *arguments)


def on_threads(call: Callable[[int], None], items: Sequence[int]) -> None:
    """call(item) for all items, on torch's number of threads."""
    threads = torch.get_num_threads()
    if threads == 1 or len(items) <= 1:
        for item in items:
            call(item)
        return
    for done in [_pool(threads).submit(call, item) for item in items]:
        done.result()


def side_by_side(call: Callable[[Item], Found], items: Sequence[Item]) -> list[Found]:
    """call(item) for all items at once, torch's threads shared out among them.

    A network computes its blocks faster so than one after another on all threads: its layers wait
    for all threads otherwise. Without gradients.
    """
    threads = torch.get_num_threads()
    if threads == 1 or len(items) <= 1:
        return [call(item) for item in items]
    each = max(1, threads // len(items))

    def alone(item: Item) -> Found:
        torch.set_num_threads(each)  # of this thread
        with torch.no_grad():
            return call(item)

    running = [_pool(threads).submit(alone, item) for item in items]
    try:
        return [one.result() for one in running]
    finally:
        torch.set_num_threads(threads)  # also what threads that begin later take


@contextmanager
def one_thread() -> Iterator[None]:
    """Has torch compute on one thread, on whose number a Fourier transform's rounding hangs."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="diffusionblend")


def _after_fork() -> None:
    """In a forked child, which has none of its parent's threads: compute on the one there is.

    OpenMP, by which torch computes, would wait for the others for ever.
    """
    _pool.cache_clear()
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
