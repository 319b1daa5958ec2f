"""The bytes of a file that is not packed, mapped in place of read.

The parent copies the child's arrays. Of a mapped file that is the only copy, so that a large volume
takes no longer than in the parent's own process. A file that another program cuts off meanwhile
ends the child (SIGBUS), which the parent tells; in its own process nothing is mapped.
"""

from __future__ import annotations

import mmap
import os
from contextlib import suppress
from typing import BinaryIO

import numpy as np

from diffusionblend.io.foreign.child import is_child


def mapped_in_child(file: BinaryIO, n_bytes: int) -> np.ndarray | None:
    """The next bytes of an open file, uint8; None outside the child, or where none can be mapped.

    To write to them changes this process's own copy alone. The file stands behind them afterwards.
    """
    if not is_child() or n_bytes <= 0:
        return None
    start = file.tell()
    before = start % mmap.ALLOCATIONGRANULARITY
    with suppress(OSError, ValueError, OverflowError):  # ValueError: the file is shorter
        whole = mmap.mmap(
            file.fileno(), before + n_bytes, access=mmap.ACCESS_COPY, offset=start - before
        )
        file.seek(n_bytes, os.SEEK_CUR)
        return np.frombuffer(whole, np.uint8, n_bytes, before)
    return None
