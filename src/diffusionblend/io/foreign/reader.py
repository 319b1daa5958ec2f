"""The parent's side: a reader of foreign files runs in a child process, one for all files.

    @reads_foreign
    def read_volume(path, ...): ...

The child's death, its silence and its excess become an InputError with the file's name, and so does
whatever a library raises. On systems without what that needs (Windows), and where no child can be
started, the reader runs in this process and only the last holds.
"""

from __future__ import annotations

import atexit
import functools
import inspect
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from diffusionblend import errors
from diffusionblend.errors import InputError
from diffusionblend.io.foreign import child, messages
from diffusionblend.io.foreign.edge import COPY_AGAIN, WHOLE_FILE, foreign_edge
from diffusionblend.io.foreign.limits import Limits, in_bytes
from diffusionblend.io.foreign.peek import can_peek
from diffusionblend.io.standard_streams import STANDARD_STREAMS
from diffusionblend.memory import resident_bytes

P = ParamSpec("P")
R = TypeVar("R")

IN_PROCESS = "DIFFUSIONBLEND_READ_IN_PROCESS"
"""Set to 1 in the environment, no child is started."""
REPORTER = "on_"
"""How the arguments of readers begin that are called with their progress and their notes."""
START_SECONDS = 60.0
"""A child that has not begun by then never will; a busy machine may need some of them."""
LOOK_EVERY_SECONDS = 0.5
WATCHED_BY_US = not sys.platform.startswith("linux")
"""Where the system does not enforce the limit on memory, we look."""
QUIET_THREADS = dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"), "1")
"""Reading computes nothing; a thread a core would take address space and time to start."""
START = (
    "import sys; sys.path.insert(0, sys.argv[2]); "
    "from diffusionblend.io.foreign.child import serve; serve(int(sys.argv[1]))"
)


def reads_foreign(function: Callable[P, R]) -> Callable[P, R]:
    """A reader whose first argument is a path, to be run in the child process."""
    signature = inspect.signature(function)
    first = next(iter(signature.parameters))

    @functools.wraps(function)
    def read(*args: P.args, **kwargs: P.kwargs) -> R:
        arguments = dict(signature.bind(*args, **kwargs).arguments)
        source = arguments[first]
        if child.is_child() or not _can_start():
            with foreign_edge(source):
                return function(*args, **kwargs)
        name = f"{function.__module__}:{function.__qualname__}"
        with _lock:
            found, result = _asked(name, source, arguments)
        if not found:
            with foreign_edge(source):
                return function(*args, **kwargs)
        return result

    return read


def close_child() -> None:
    """End the child process, if there is one; the next reader starts another."""
    with _lock:
        _discard()


class _Silent(Exception):
    """The child took longer than it may, or more memory."""


def _beside_streams(connection: socket.socket) -> socket.socket:
    """The connection under a number that is none of a standard stream's, which a program that has
    closed those may give it: they are set to nothing in the child.
    """
    import fcntl

    if connection.fileno() > max(STANDARD_STREAMS):
        return connection
    with connection:
        number = fcntl.fcntl(connection, fcntl.F_DUPFD_CLOEXEC, max(STANDARD_STREAMS) + 1)
    return socket.socket(fileno=number)


class _Child:
    """A started child and the connection to it."""

    def __init__(self) -> None:
        ours, theirs = map(_beside_streams, socket.socketpair())
        with theirs:
            root = str(Path(errors.__file__).parents[1])
            self.process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-P", "-c", START, str(theirs.fileno()), root],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env=os.environ | QUIET_THREADS | {"MALLOC_ARENA_MAX": "2"},
            )
        self.connection = ours
        if hasattr(os, "waitid"):
            threading.Thread(target=_reap, args=[self], daemon=True).start()

    def next_message(self, deadline: float, most_bytes: int) -> tuple[bytes, Any]:
        """What the child sends next. Raises messages.Gone, _Silent."""
        poll = select.poll()
        poll.register(self.connection, select.POLLIN)
        while not poll.poll(1000 * LOOK_EVERY_SECONDS):
            if time.monotonic() > deadline:
                raise _Silent
            if WATCHED_BY_US and (resident_bytes(self.process.pid) or 0) > most_bytes:
                raise MemoryError
        return messages.receive(self.connection, child=self.process.pid)

    def end(self) -> int:
        """Kill it; how it ended."""
        self.connection.close()
        self.process.kill()
        return self.process.wait()


_lock = threading.RLock()
_running: _Child | None = None
_asking = False
"""Whether the thread that holds the lock waits for the child."""


def _can_start() -> bool:
    """Whether this system has what a child needs."""
    has_all = os.name == "posix" and hasattr(socket, "send_fds") and bool(sys.executable)
    return has_all and not getattr(sys, "frozen", False) and os.environ.get(IN_PROCESS) != "1"


def _discard() -> int:
    """End the child that is running, if one is; how it ended."""
    global _running
    ended, _running = _running, None
    return 0 if ended is None else ended.end()


def _reap(child_of_ours: _Child) -> None:
    """Wait for the end of a child that serves nobody, as an idle one's, so that no zombie is left.

    While a reader runs the lock is not ours, and its own message says what ended the child.
    """
    with suppress(ChildProcessError):  # WNOWAIT: until then nobody else gets the number
        os.waitid(os.P_PID, child_of_ours.process.pid, os.WEXITED | os.WNOWAIT)
    with _lock:
        if _running is child_of_ours:
            _discard()


def _forget() -> None:
    """In a process that was forked: the child is the other process's, and so may the lock be."""
    global _running, _lock, _asking
    inherited, _running, _lock, _asking = _running, None, threading.RLock(), False
    if inherited is not None:
        inherited.connection.close()
        inherited.process.returncode = 0


atexit.register(_discard)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _asked(name: str, source: object, arguments: dict[str, Any]) -> tuple[bool, Any]:
    """As `_ask`; (False, None) within another reader of this thread, as `on_step` may call one."""
    global _asking
    if _asking:
        return False, None
    _asking = True
    try:
        return _ask(name, source, arguments)
    finally:
        _asking = False


def _ask(name: str, source: object, arguments: dict[str, Any]) -> tuple[bool, Any]:
    """Have the child run a reader; (False, None) where no child can be had. Raises InputError."""
    global _running
    reporters = {n: f for n, f in arguments.items() if n.startswith(REPORTER) and f is not None}
    arguments = {n: value for n, value in arguments.items() if n not in reporters}
    limits = Limits.for_file(_bytes_of([*arguments.values()]))
    request = {
        "function": name,
        "source": str(source),
        "arguments": arguments,
        "reporters": list(reporters),
        "limits": limits,
        "path": sys.path,
        "folder": _folder(),
        "from_memory": can_peek(),
    }
    for _ in range(2):  # the first one may just have ended, being idle
        try:
            _running = _running or _Child()
            messages.send(_running.connection, messages.REQUEST, request)
            patience = max(limits.clock_seconds, START_SECONDS)
            _running.next_message(time.monotonic() + patience, limits.memory_bytes)
        except (OSError, messages.Gone, _Silent):
            _discard()
        except BaseException:
            _discard()
            raise
        else:
            return True, _result(_running, limits, source, reporters)
    warnings.warn(
        "no process of its own could be started to read files in; they are read in this one",
        stacklevel=3,
    )
    return False, None


def _result(
    running: _Child, limits: Limits, source: object, reporters: dict[str, Callable[..., None]]
) -> Any:
    """What the reader returned. Raises InputError for its failure, its end, silence or excess."""
    try:
        while True:
            deadline = time.monotonic() + limits.clock_seconds  # every step counts anew
            kind, value = running.next_message(deadline, limits.memory_bytes)
            if kind == messages.RESULT:
                return value
            if kind == messages.FAILURE:
                told, is_sound, tale = value
                break
            if kind == messages.WARNING:
                warnings.warn(value, stacklevel=4)
                continue
            reporter, step = value
            reporters[reporter](*step)
    except _Silent:
        _discard()
        raise _too_slow(source, limits) from None
    except MemoryError:
        _discard()
        raise InputError(
            f"{source} took more than {in_bytes(limits.memory_bytes)} of memory to read.",
            WHOLE_FILE,
            COPY_AGAIN,
        ) from None
    except (messages.Gone, OSError, pickle.UnpicklingError) as error:
        raise _ended(_discard(), source, limits) from error
    except BaseException:  # Ctrl-C; what comes next gets a fresh child
        _discard()
        raise
    if not is_sound:
        _discard()
    kind, *words = told
    raise getattr(errors, str(kind), InputError)(*words) from (RuntimeError(tale) if tale else None)


def _ended(code: int, source: object, limits: Limits) -> InputError:
    """Why the child is gone, by its exit code."""
    if -code == getattr(signal, "SIGXCPU", 0):
        return _too_slow(source, limits)
    how = f"ended with {code}"
    if -code == getattr(signal, "SIGKILL", 0):
        return InputError(
            f"{source} could not be read: the process that reads it was killed, as systems do "
            "where memory runs out.",
            "enough free memory",
            "the same again, with fewer other programs running",
        )
    if code < 0:
        with suppress(ValueError):
            how = f"was ended by {signal.Signals(-code).name}"
    return InputError(
        f"{source} could not be read: the library that reads it {how}.", WHOLE_FILE, COPY_AGAIN
    )


def _too_slow(source: object, limits: Limits) -> InputError:
    return InputError(
        f"{source} was not read within {limits.cpu_seconds:.0f} s of computing, which is far more "
        "than files of its size take.",
        WHOLE_FILE,
        COPY_AGAIN,
    )


def _folder() -> str:
    """Where this process stands, by which relative paths are meant."""
    with suppress(OSError):
        return str(Path.cwd())
    return os.sep


def _bytes_of(values: object) -> int:
    """The size of all files, and of the files of all folders, that some values name."""
    if isinstance(values, str | Path):
        with suppress(OSError, ValueError):
            path = Path(values)
            files = path.rglob("*") if path.is_dir() else [path]
            return sum(p.stat().st_size for p in files if p.is_file())
        return 0
    if is_dataclass(values):
        values = [getattr(values, f.name) for f in fields(values)]
    return sum(map(_bytes_of, values)) if isinstance(values, list | tuple) else 0
