"""Progress on the terminal: a bar with the time left, or plain lines where it is not a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from diffusionblend.ranks import rank_and_count

LINE_EVERY_SECONDS = 15.0


@contextmanager
def progress(task: str) -> Iterator[Callable[[int, int], None]]:
    """A function to call with the steps done and in all; it draws on standard error."""
    if rank_and_count()[0] > 0:
        yield lambda done, total: None
    elif sys.stderr.isatty():
        with _bar(task) as advance:
            yield advance
    else:
        yield _plain_lines(task)


@contextmanager
def _bar(task: str) -> Iterator[Callable[[int, int], None]]:
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
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        row = bar.add_task(task, total=None)
        yield lambda done, total: bar.update(row, completed=done, total=total)


def _plain_lines(task: str) -> Callable[[int, int], None]:
    """Now and then a line with the share done and the time left; one at the end."""
    started = last = time.monotonic()
    first_done: int | None = None

    def advance(done: int, total: int) -> None:
        nonlocal last, first_done
        now = time.monotonic()
        if first_done is None:
            first_done = done - 1
        if done < total and now - last < LINE_EVERY_SECONDS:
            return
        last, elapsed = now, now - started
        left = elapsed / max(1, done - first_done) * (total - done)
        print(f"{task}: {done}/{total}, {elapsed:.0f} s, {left:.0f} s left", file=sys.stderr)

    return advance
