"""Limits of settings, written beside their types and checked in one place."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import cache
from numbers import Integral, Number, Real
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin, get_type_hints

from diffusionblend.errors import InputError, UnknownSettingError, did_you_mean


@dataclass(frozen=True)
class Within:
    """A number's limits; None is none. open_low, open_high: the limit itself is left out."""

    low: float | None = None
    high: float | None = None
    open_low: bool = False
    open_high: bool = False

    def holds(self, value: float) -> bool:
        """Whether a finite number is within them."""
        low = self.low is None or (value > self.low if self.open_low else value >= self.low)
        high = self.high is None or (value < self.high if self.open_high else value <= self.high)
        return low and high and abs(value) < math.inf  # NaN never is

    def __str__(self) -> str:
        parts = []
        if self.low is not None:
            parts.append(f"{'above' if self.open_low else 'at least'} {self.low:g}")
        if self.high is not None:
            parts.append(f"{'below' if self.open_high else 'at most'} {self.high:g}")
        return "a number " + " and ".join(parts)


AtLeastOne = Within(1)
NotNegative = Within(0)
Positive = Within(0, open_low=True)
Fraction = Within(0, 1)
BelowOne = Within(0, 1, open_high=True)
StrictFraction = Within(0, 1, open_low=True, open_high=True)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


class Settings:
    """What dataclasses of settings share: unknown ones are refused with near names, limits held."""

    def __new__(cls, *_: object, **given: object) -> Self:
        """A new one, not yet filled in. Raises UnknownSettingError."""
        known = [f.name for f in fields(cls)]  # type: ignore[arg-type]  # of a subclass, decorated
        unknown = [name for name in given if name not in known]
        if unknown:
            raise UnknownSettingError(
                f"{cls.__name__} has no setting {', '.join(map(repr, unknown))}.",
                f"one of {', '.join(known)}" if known else "none: it has no settings",
                did_you_mean(unknown[0], known),
            )
        return super().__new__(cls)

    def __post_init__(self) -> None:
        check_fields(self)


def check_fields(settings: object) -> None:
    """Raise InputError for a field of a dataclass of another type, or outside its limits.

    Numbers of NumPy become Python's, so that settings can be written to a file.
    """
    kind: Any = type(settings)
    for one in fields(settings):  # type: ignore[arg-type]
        hint, value = _hints(kind).get(one.name), getattr(settings, one.name)
        if isinstance(value, Number) and hasattr(value, "item"):
            value = value.item()
            object.__setattr__(settings, one.name, value)
        limits = [m for m in getattr(hint, "__metadata__", ()) if isinstance(m, Within)]
        fits = _accepts(hint, value)
        if not fits or not (value is None or all(limit.holds(value) for limit in limits)):
            raise InputError(f"{one.name} is {value!r}.", _expected(hint, limits))


def _accepts(hint: Any, value: object) -> bool:
    """Whether a value is of a type; any value passes for a type that is not checked here."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _accepts(arguments[0], value)
    if origin in (Union, UnionType):
        return any(_accepts(part, value) for part in arguments)
    if origin is Literal:
        return value in arguments
    if hint in (int, float):
        return isinstance(value, Integral if hint is int else Real) and not isinstance(value, bool)
    return isinstance(value, hint) if isinstance(hint, type) and origin is None else True


def _expected(hint: Any, limits: list[Within]) -> str:
    """What a field takes, in words."""
    plain = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    parts = [part for part in get_args(plain) or (plain,) if part is not NoneType]
    if choices := choices_of(plain):
        return f"one of {', '.join(choices)}"
    whole = "whole " if parts == [int] else ""
    if limits:
        return " and ".join(str(limit) for limit in limits).replace("a number", f"a {whole}number")
    words = {bool: "True or False", int: "a whole number", float: "a number"}
    return " or ".join(words.get(p, f"a {getattr(p, '__name__', p)}") for p in parts)


def choices_of(hint: Any) -> tuple[str, ...]:
    """The texts that a Literal type allows, also within a union with None; () for other types."""
    if get_origin(hint) is Literal:
        return tuple(get_args(hint))
    return tuple(c for part in get_args(hint) for c in choices_of(part))
