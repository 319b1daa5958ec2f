"""The child process: it reads what it is asked to, one file after another, and ends when idle."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from diffusionblend.errors import InputError
from diffusionblend.io.foreign import messages
from diffusionblend.io.foreign.edge import as_input_error
from diffusionblend.io.foreign.limits import apply_limits
from diffusionblend.io.standard_streams import STANDARD_STREAMS

IDLE_SECONDS = 60
FIRST_TO_END = "500"
"""The system ends this process before others where memory runs out."""
MOST_LETTERS = 4000
"""Of each sentence of a message, which may list what a file holds."""
_inside = False


def is_child() -> bool:
    """Whether this process is the child that reads files."""
    return _inside


def serve(descriptor: int) -> None:
    """Answer requests until the parent is gone, or asks for nothing for a while."""
    global _inside
    _inside = True
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the parent decides
    _prepare_process()
    connection = socket.socket(fileno=descriptor)
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    while poll.poll(1000 * IDLE_SECONDS):
        try:
            _, request = messages.receive(connection, trusting=True)
            _answer(connection, request)
        except (messages.Gone, BrokenPipeError, ConnectionError):
            return


def _prepare_process() -> None:
    """No core files of what crashes, no limit on the arrays' file, and quiet libraries."""
    import resource

    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in STANDARD_STREAMS:
        os.dup2(nowhere, stream)
    for kind, soft in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, None)):
        _, hard = resource.getrlimit(kind)
        with suppress(ValueError, OSError):
            resource.setrlimit(kind, (hard if soft is None else soft, hard))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(FIRST_TO_END)


def _answer(connection: socket.socket, request: dict[str, Any]) -> None:
    """Do what is asked for and send what came out."""
    messages.send(connection, messages.BEGUN, None)
    sys.path += [entry for entry in request["path"] if entry not in sys.path]
    with suppress(OSError):
        os.chdir(request["folder"])
    apply_limits(request["limits"])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", UserWarning)
            warnings.showwarning = lambda message, *_, **__: messages.send(
                connection, messages.WARNING, str(message)
            )
            result = _read(connection, request)
    except Exception as error:
        own = isinstance(error, InputError)
        is_sound = own and error.__cause__ is None  # no library stumbled
        tale = "" if own else traceback.format_exc()
        _tell_failure(connection, error, request["source"], is_sound=is_sound, tale=tale)
        return
    try:
        messages.send(connection, messages.RESULT, result, from_memory=request["from_memory"])
    except (MemoryError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            raise
        tale = traceback.format_exc()
        _tell_failure(connection, MemoryError(), request["source"], is_sound=False, tale=tale)


def _tell_failure(
    connection: socket.socket, error: Exception, source: str, *, is_sound: bool, tale: str
) -> None:
    """Send an error as an InputError's words. is_sound: this process may serve on."""
    wrong = as_input_error(error, source)
    words = (wrong.got, wrong.expected, wrong.try_)
    told = (type(wrong).__name__, *(text and text[:MOST_LETTERS] for text in words))
    messages.send(connection, messages.FAILURE, (told, is_sound, tale))


def _read(connection: socket.socket, request: dict[str, Any]) -> object:
    module, _, name = request["function"].partition(":")
    function: Callable[..., object] = getattr(import_module(module), name).__wrapped__
    arguments = request["arguments"]
    for reporter in request["reporters"]:
        arguments[reporter] = lambda *step, n=reporter: messages.send(
            connection, messages.STEP, (n, step)
        )
    return function(**arguments)
