"""Ctrl-C, SIGTERM, SIGHUP: at once, or, where a run's state can be kept, after the step at work."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

EXIT_INTERRUPTED = 128 + signal.SIGINT
EXIT_TERMINATED = 128 + signal.SIGTERM


def ending_signals() -> list[int]:
    """SIGTERM, and SIGHUP of a connection that breaks, where the system has it.

    One that was ignored when the program began (nohup) stays so.
    """
    numbers = [signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)]
    return [n for n in dict.fromkeys(numbers) if signal.getsignal(n) != signal.SIG_IGN]


class Terminated(BaseException):
    """SIGTERM or SIGHUP, as an exception, so that temporary files are removed on the way out."""

    def __init__(self, signal_number: int = signal.SIGTERM) -> None:
        super().__init__(signal_number)
        self.exit_code = 128 + signal_number


class Stopped(BaseException):
    """A run that was asked to stop and has kept its state."""

    def __init__(self, done: int, steps: int, signal_number: int) -> None:
        super().__init__(f"stopped at step {done} of {steps}; the same command continues")
        self.exit_code = 128 + signal_number


@dataclass
class StopRequest:
    """The signal that asked for an end, None while there is none."""

    signal_number: int | None = None

    def receive(self, number: int, frame: object) -> None:
        """The handler of the signals."""
        if self.signal_number is not None:
            raise KeyboardInterrupt if number == signal.SIGINT else Terminated(number)
        self.signal_number = number
        print("diffusionblend: stopping after this step; once more stops at once", file=sys.stderr)


@contextmanager
def stopped_between_steps() -> Iterator[StopRequest]:
    """Signals within are noted instead of raised; a second one is raised.

    Outside the main thread, where Python takes no handlers, nothing changes.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    numbers = ending_signals()
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        numbers.append(signal.SIGINT)
    previous = {number: signal.signal(number, request.receive) for number in numbers}
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
