"""Progress on the terminal: a bar with the time left, or plain lines where it is not a terminal."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from diffusionblend.data.printable import printable
from diffusionblend.ranks import rank_and_count

LINE_EVERY_SECONDS = 15.0
FEW_STEPS = 10
"""Of more the time left is not told by the first one, which has all in it that is made once."""
PATIENCE_SECONDS = 2.0
"""What is usually short is shown only once it has taken this long."""

Advance = Callable[[int, int], None]
"""Takes the steps done and in all."""


@contextmanager
def progress(
    task: str, *, after_seconds: float = 0.0, note: Callable[[], str] = str
) -> Iterator[Advance]:
    """A function to call with the steps done and in all; it draws on standard error.

    With `after_seconds` nothing is drawn of a task that ends sooner; a longer one is shown from
    then on, also where the function is never called. Such tasks do not nest. Of several processes
    the first alone draws. note: what stands beside the steps, such as a loss.
    """
    task = printable(task)
    if rank_and_count()[0] > 0:
        yield lambda done, total: None
    elif after_seconds > 0:
        with _late(task, after_seconds) as advance:
            yield advance
    elif sys.stderr.isatty():
        with _bar(task, note) as advance:
            yield advance
    else:
        with _begun(task) as begin:
            draw = _plain_lines(task, note=note)

            def advance(done: int, total: int) -> None:
                begin.cancel()
                draw(done, total)

            yield advance


@contextmanager
def _begun(task: str) -> Iterator[threading.Timer]:
    """A timer that names the task where its first step takes long, until it is cancelled."""
    timer = threading.Timer(
        PATIENCE_SECONDS, lambda: print(f"{task} ...", file=sys.stderr, flush=True)
    )
    timer.daemon = True
    timer.start()
    try:
        yield timer
    finally:
        timer.cancel()


@contextmanager
def _late(task: str, after_seconds: float) -> Iterator[Advance]:
    """Progress that begins to show from a thread of its own, if the task lasts."""
    lock = threading.Lock()
    shown: list[Advance] = []
    latest: list[tuple[int, int]] = []
    with ExitStack() as drawing:

        def show() -> None:
            with lock:
                if timer.finished.is_set():  # the task ended as the time was up
                    return
                if sys.stderr.isatty():
                    shown.append(drawing.enter_context(_bar(task)))
                else:
                    print(f"{task} ...", file=sys.stderr, flush=True)
                    shown.append(_plain_lines(task, started))
                if latest:
                    shown[0](*latest[-1])

        def advance(done: int, total: int) -> None:
            with lock:
                latest[:] = [(done, total)]
                if shown:
                    shown[0](done, total)

        started = time.monotonic()
        timer = threading.Timer(after_seconds, show)
        timer.daemon = True
        timer.start()
        try:
            yield advance
        finally:
            with lock:
                timer.cancel()


@contextmanager
def _bar(task: str, note: Callable[[], str] = str) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        row = bar.add_task(task, total=None, note="")
        yield lambda done, total: bar.update(row, completed=done, total=total, note=note())


def _plain_lines(task: str, started: float | None = None, note: Callable[[], str] = str) -> Advance:
    """Now and then a line with the share done and the time left; one at the end.

    started: when the task began (`time.monotonic`), where that was before now.
    """
    last = time.monotonic()
    paced: tuple[int, float] | None = None if started is None else (0, started)
    ended = False
    started = last if started is None else started

    def advance(done: int, total: int) -> None:
        nonlocal last, paced, ended
        now = time.monotonic()
        if paced is None:  # the first step had all in it that is made once
            paced = (done, now) if total > FEW_STEPS else (done - 1, started)
        if ended or (done < total and now - last < LINE_EVERY_SECONDS):
            return
        ended = done >= total
        last, (first, since) = now, paced
        times = f"{now - started:.0f} s"
        if done > first:
            times += f", {(now - since) / (done - first) * (total - done):.0f} s left"
        beside = f", {note()}" if note() else ""
        print(f"{task}: {done}/{total}, {times}{beside}", file=sys.stderr)

    return advance
