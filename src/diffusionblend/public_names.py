"""The public names of a package by its stub: imported when first used, suggested when misspelt."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import lazy_loader

from diffusionblend.errors import did_you_mean

FORK_WAITS_SECONDS = 20.0
_changed = threading.Condition()
_importing: Counter[int] = Counter()
"""How many imports each thread is within."""


@contextmanager
def importing() -> Iterator[None]:
    """An import while the program runs, for whose end a fork of another thread waits.

    In a forked process the locks of modules that were being imported stay locked for good.
    """
    thread = threading.get_ident()
    with _changed:
        _importing[thread] += 1
    try:
        yield
    finally:
        with _changed:
            _importing[thread] -= 1
            _changed.notify_all()


def _before_fork() -> None:
    """Wait for the imports of other threads, as long as is sensible, and let none begin."""
    thread = threading.get_ident()
    _changed.acquire()
    _changed.wait_for(
        lambda: not any(n for other, n in _importing.items() if other != thread),
        FORK_WAITS_SECONDS,
    )


def _after_fork_in_child() -> None:
    """This thread is the only one that is left."""
    global _changed
    thread = threading.get_ident()
    _changed, own = threading.Condition(), _importing[thread]
    _importing.clear()
    _importing[thread] = own


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=lambda: _changed.release(),
        after_in_child=_after_fork_in_child,
    )


def attach(
    package: str, file: str, *, inner: Sequence[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], Any], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of a package whose stub lies beside `file`.

    An unknown name is an AttributeError that names a near one, or the inner package that has it.
    """
    get, listed, names = lazy_loader.attach_stub(package, file)

    def found(name: str) -> Any:
        try:
            with importing():
                return get(name)
        except AttributeError:
            if name in names or name.startswith("_"):
                raise
            said = f"module {package!r} has no attribute {name!r}"
            hint = did_you_mean(name, names) or _place_of(name, package, inner)
        raise AttributeError(f"{said}; {hint}" if hint else said)

    return found, listed, names


def _place_of(name: str, package: str, inner: Sequence[str]) -> str:
    """Which inner package has a name, in words; nothing where none has it."""
    for one in inner:
        if name in getattr(import_module(f".{one}", package), "__all__", ()):
            return f"it is in {package}.{one}"
    return ""
