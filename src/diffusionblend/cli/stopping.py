"""Ctrl-C, SIGTERM, SIGHUP: at once, or, where a run's state can be kept, after the step at work.

At once means an exception. One that would strike while an output is put in its place or cleaned up
comes a moment later, and so does one that Python prints and drops: in a destructor, or in the
callback of a weak reference.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

EXIT_INTERRUPTED = 128 + signal.SIGINT
EXIT_TERMINATED = 128 + signal.SIGTERM
MOMENT_SECONDS = 0.02
PACKAGE = "diffusionblend."
NOT_WITHIN = {
    *("atomic_output", "atomic_folder", "unfinished"),
    *("_held", "hold_output", "output_held", "release_outputs"),
}
"""Functions of this package that begin and end the writing of outputs; what they enclose, which is
what lasts, is not a part of their frames."""


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

    def receive(self, number: int, frame: FrameType | None) -> None:
        """The handler of the signals."""
        if self.signal_number is not None:
            raise_signal(number, frame)
            return
        self.signal_number = number
        print("diffusionblend: stopping after this step; once more stops at once", file=sys.stderr)


@contextmanager
def signals_raised() -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP within become KeyboardInterrupt and Terminated, and none is lost.

    In the main thread. SIGINT keeps another handler than Python's own.
    """
    numbers = ending_signals()
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        numbers.append(signal.SIGINT)
    previous = {number: signal.signal(number, raise_signal) for number in numbers}
    print_unraisable = sys.unraisablehook

    def raise_again(dropped: sys.UnraisableHookArgs) -> None:
        error = dropped.exc_value
        if isinstance(error, Terminated):
            _raise_later(error.exit_code - 128)
        elif isinstance(error, KeyboardInterrupt):
            _raise_later(signal.SIGINT)
        else:
            print_unraisable(dropped)

    sys.unraisablehook = raise_again
    try:
        yield
    finally:
        sys.unraisablehook = print_unraisable
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in previous.items():
            signal.signal(number, handler)


def raise_signal(number: int, frame: FrameType | None) -> None:
    """The handler of a signal that ends a run: its exception, now or in a moment."""
    while frame is not None and not _is_brief(frame):
        frame = frame.f_back
    if frame is None or not _raise_later(number):
        raise KeyboardInterrupt if number == signal.SIGINT else Terminated(number)


def _is_brief(frame: FrameType) -> bool:
    """Whether a frame is of what must not be interrupted."""
    module = str(frame.f_globals.get("__name__"))
    return frame.f_code.co_name in NOT_WITHIN and module.startswith(PACKAGE)


def _raise_later(number: int) -> bool:
    """Handle a signal again in a moment; False where the system has no timer for that."""
    if not hasattr(signal, "setitimer"):
        return False
    with suppress(ValueError):  # in another thread than the main one, which has no exceptions of it
        signal.signal(signal.SIGALRM, lambda _, frame: raise_signal(number, frame))
        signal.setitimer(signal.ITIMER_REAL, MOMENT_SECONDS)
    return True


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
