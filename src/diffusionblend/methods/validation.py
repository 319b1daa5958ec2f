"""Limits of settings, written beside their types and checked in one place."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from diffusionblend.errors import InputError


@dataclass(frozen=True)
class Within:
    """A number's limits; None is none. open_low, open_high: the limit itself is left out."""

    low: float | None = None
    high: float | None = None
    open_low: bool = False
    open_high: bool = False

    def holds(self, value: float) -> bool:
        """Whether a number is within them; NaN never is."""
        low = self.low is None or (value > self.low if self.open_low else value >= self.low)
        high = self.high is None or (value < self.high if self.open_high else value <= self.high)
        return low and high and value == value

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


def check_fields(settings: object) -> None:
    """Raise InputError for a field of a dataclass outside its limits or its choices."""
    kind: Any = type(settings)
    for one in fields(settings):  # type: ignore[arg-type]
        hint, value = _hints(kind).get(one.name), getattr(settings, one.name)
        limits = [m for m in getattr(hint, "__metadata__", ()) if isinstance(m, Within)]
        plain = get_args(hint)[0] if get_origin(hint) is Annotated else hint
        for limit in limits:
            if value is not None and not (_is_number(value) and limit.holds(value)):
                raise InputError(f"{one.name} is {value!r}.", str(limit))
        choices = choices_of(plain)
        if choices and value is not None and value not in choices:
            raise InputError(f"{one.name} is {value!r}.", f"one of {', '.join(choices)}")


def choices_of(hint: Any) -> tuple[str, ...]:
    """The texts that a Literal type allows, also within a union with None; () for other types."""
    if get_origin(hint) is Literal:
        return tuple(get_args(hint))
    return tuple(c for part in get_args(hint) for c in choices_of(part))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
