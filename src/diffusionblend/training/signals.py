"""The signals that ask a training to stop."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def signals_noted(note: Callable[[int], None]) -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP (a connection that breaks) are noted by their numbers.

    SIGHUP stays ignored where it is (nohup).
    """
    noted = [signal.SIGINT, signal.SIGTERM]
    hang_up = getattr(signal, "SIGHUP", None)  # which Windows lacks
    if hang_up is not None and signal.getsignal(hang_up) != signal.SIG_IGN:
        noted.append(hang_up)
    previous = {number: signal.signal(number, lambda n, _frame: note(n)) for number in noted}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
