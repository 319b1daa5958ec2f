"""The public names of a package by its stub: imported when first used, suggested when misspelt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import lazy_loader

from diffusionblend.errors import did_you_mean


def attach(
    package: str, file: str, *, inner: Sequence[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], Any], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of a package whose stub lies beside `file`.

    An unknown name is an AttributeError that names a near one, or the inner package that has it.
    """
    get, listed, names = lazy_loader.attach_stub(package, file)

    def found(name: str) -> Any:
        try:
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
