"""Standard streams that are closed, or break in the middle of a run."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from typing import Any, TextIO

from diffusionblend.io.standard_streams import STANDARD_STREAMS

_spoken = threading.Event()
_speaking = threading.Event()
"""Set once a first word stands on a line that is not ended."""
_speaker: threading.Thread | None = None
_turn = threading.RLock()
"""Held while a first word or the end of its line is written: neither cuts into the other."""


def open_closed_streams() -> None:
    """Put /dev/null in the place of standard streams that are closed.

    Else the next file that is opened takes their number, and what is printed goes into it.
    """
    for number in STANDARD_STREAMS:
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
    for name, number in zip(("stdin", "stdout", "stderr"), STANDARD_STREAMS, strict=True):
        if getattr(sys, name) is None:
            mode = "r" if number == 0 else "w"
            stream = os.fdopen(os.dup(number), mode, encoding="utf-8", errors="replace")
            setattr(sys, name, stream)


def note_output() -> None:
    """Remember that this command prints something, and end the line of a first word before it."""
    if _spoken.is_set() or threading.current_thread() is _speaker:
        return
    with _turn:
        if _spoken.is_set():
            return
        _spoken.set()
        if _speaking.is_set():
            _append("\n")


def promise_first_word(text: str, after_seconds: float) -> None:
    """Print a word at a terminal, unless something else has been printed until then.

    What a command needs is loaded before its own first line, which can take seconds: a dot is added
    as often as the word had to be waited for, until something else is printed.
    """
    global _speaker
    if not sys.stderr.isatty():
        return
    _spoken.clear()
    _speaking.clear()

    def speak() -> None:
        word = text
        while not _spoken.wait(after_seconds):
            with _turn:
                if _spoken.is_set():
                    return
                _speaking.set()
                _append(word)
            word = "."

    _speaker = threading.Thread(target=speak, daemon=True)
    _speaker.start()


def _append(text: str) -> None:
    with suppress(OSError, ValueError):
        print(text, end="", file=sys.stderr, flush=True)


class Tolerant:
    """Standard error of a program that goes on when its terminal is gone."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write what can be written."""
        note_output()
        with suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush what can be flushed."""
        with suppress(OSError, ValueError):
            self._stream.flush()

    def reconfigure(self, **options: Any) -> None:
        """The same of the stream, where it can be (not that of a notebook)."""
        with suppress(AttributeError):
            self._stream.reconfigure(**options)  # type: ignore[attr-defined]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
