"""Compiled kernels over the threads that torch may use; no second pool of OpenMP threads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch


def in_parts(kernel: Callable[..., None], n: int, *arguments: object) -> None:
    """Run kernel(first, last, *arguments) over range(n), split evenly over torch's threads.

    The kernel releases the GIL, and calls write to places of their own, so that the result does
    not depend on the number of threads.
    """
    parts = max(1, min(torch.get_num_threads(), n))
    edges = [n * i // parts for i in range(parts + 1)]
    if parts == 1:
        kernel(0, n, *arguments)
        return
    with ThreadPoolExecutor(parts) as pool:
        calls = [pool.submit(kernel, edges[i], edges[i + 1], *arguments) for i in range(parts)]
        for call in calls:
            call.result()
