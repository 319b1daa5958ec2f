"""Locks, so that two runs do not write one thing: of a file for a moment, of an output for a run.

They are advisory, by `flock` where there is one; an output's lock file also names the process and
machine that hold it, for the message and for disks on which `flock` does not reach other machines.
"""

from __future__ import annotations

import json
import os
import platform
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import IO

from diffusionblend.errors import InputError
from diffusionblend.io.atomic import is_dead, machine_mark, output_mark, write_error

LOCK_FILE = ".lock"
MOST_LETTERS = 1000
"""Of a lock file; ours has fewer."""
RENEW_SECONDS, STALE_SECONDS = 60.0, 300.0
"""How often a lock file's time is set anew, and after which time it is of a run that was killed."""


@contextmanager
def locked(file: IO) -> Iterator[None]:
    """Hold an open file for this process alone, waiting for others; nothing where it cannot be."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with suppress(OSError):  # a disk that knows no locks
        fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_UN)


@contextmanager
def folder_locked(folder: Path | str, what: str) -> Iterator[None]:
    """Hold a folder for a run of this process; the lock file goes with the run.

    what: what runs, such as "training", for the message. The lock of a run that was killed is taken
    over: at once where the system reports that nobody holds it, and where it is of another machine
    once it is no longer renewed. Raises InputError where another run holds the folder, and
    OutputWriteError where none can be kept there.
    """
    with _held(Path(folder) / LOCK_FILE, folder, f"is in use by another {what}"):
        yield


_outputs: dict[Path, ExitStack] = {}
"""The locks of the outputs of the command that this process runs."""


def hold_output(output: Path | str) -> None:
    """Hold an output, a file or a folder, by a lock file beside it until the command ends.

    As `folder_locked`; one that this process holds already stays held.
    """
    path = Path(output).absolute()
    if path in _outputs:
        return
    with ExitStack() as stack:
        for parent in reversed(path.parents):
            if not parent.exists():
                stack.callback(_remove_empty, parent)
        lock = path.with_name(f".{output_mark(path)}{LOCK_FILE}")
        stack.enter_context(_held(lock, output, "is being written by another run"))
        _outputs[path] = stack.pop_all()


@contextmanager
def output_held(output: Path | str) -> Iterator[None]:
    """Hold an output of several within a block; what a killed run left of its lock goes too."""
    hold_output(output)
    try:
        yield
    finally:
        _outputs.pop(Path(output).absolute()).close()


def release_outputs() -> None:
    """Let go of all outputs that this process holds."""
    while _outputs:
        _outputs.popitem()[1].close()


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


@contextmanager
def _held(path: Path, name: Path | str, state: str) -> Iterator[None]:
    """Hold the lock file at `path` for what has a name. state: why it is not to be had."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = _opened(path)
    except OSError as error:
        raise write_error(error, Path(name)) or error from error
    with file:
        if not _is_free(file):
            raise InputError(
                f"{name} {state}{_owner(file)}.",
                "one run at a time",
                f"wait until it ends, or another output; of a run killed on another machine {path} "
                f"may be removed, and expires in {STALE_SECONDS / 60:.0f} minutes",
            )
        ended = Event()
        try:
            _sign(file.fileno(), Path(name))
            Thread(target=_renew, args=(path, ended), daemon=True).start()
            yield
        finally:
            ended.set()
            with suppress(OSError):
                path.unlink(missing_ok=True)


def _sign(descriptor: int, output: Path) -> None:
    """Write who holds a lock. Raises OutputWriteError."""
    owner = {"pid": os.getpid(), "host": platform.node(), "machine": machine_mark()}
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(owner).encode(), 0)
    except OSError as error:
        raise write_error(error, output) or error from error


def _opened(path: Path) -> IO[str]:
    """The lock file, held by the system for us where nobody else holds it.

    Raises InputError for what is no file of ours: a link would have another file written to.
    """
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    while True:
        if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
            raise InputError(
                f"{path} is no file, and stands where the output's lock is kept.",
                "a plain file, or none",
                f"remove {path}, or another output",
            )
        file = os.fdopen(os.open(path, flags, 0o644), "r+", errors="replace")
        _hold(file)
        with suppress(OSError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        file.close()  # its run has just ended and removed it


def _hold(file: IO[str]) -> bool | None:
    """Whether the system gives us the lock at once; None where it does not know."""
    try:
        import fcntl
    except ImportError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a disk that knows no locks
        return None
    return True


def _is_free(file: IO[str]) -> bool:
    """Whether the run that a lock file names has ended."""
    held_by_us = _hold(file)
    owner = _read(file)
    if held_by_us is False:
        return False
    if not owner:
        return True
    if owner.get("machine") != machine_mark():
        return time.time() - os.fstat(file.fileno()).st_mtime > STALE_SECONDS
    pid = owner.get("pid")
    return bool(held_by_us) or not isinstance(pid, int) or is_dead(pid)


def _renew(path: Path, ended: Event) -> None:
    """Show other machines that the run lives."""
    while not ended.wait(RENEW_SECONDS):
        with suppress(OSError):
            os.utime(path)


def _owner(file: IO) -> str:
    """Who holds a lock, for a message."""
    owner = _read(file)
    return f" (process {owner.get('pid')} on {owner.get('host')})" if owner else ""


def _read(file: IO) -> dict:
    """What a lock file says; nothing where it is damaged."""
    with suppress(ValueError, RecursionError):
        file.seek(0)
        found = json.loads(file.read(MOST_LETTERS))
        if isinstance(found, dict) and isinstance(found.get("machine"), str):
            return found
    return {}
