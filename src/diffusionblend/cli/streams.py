"""Standard streams that are closed, or break in the middle of a run."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Any, TextIO

STANDARD = (0, 1, 2)


def open_closed_streams() -> None:
    """Put /dev/null in the place of standard streams that are closed.

    Else the next file that is opened takes their number, and what is printed goes into it.
    """
    for number in STANDARD:
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
    for name, number in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            mode = "r" if number == 0 else "w"
            stream = os.fdopen(os.dup(number), mode, encoding="utf-8", errors="replace")
            setattr(sys, name, stream)


class Tolerant:
    """Standard error of a program that goes on when its terminal is gone."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write what can be written."""
        with suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush what can be flushed."""
        with suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
