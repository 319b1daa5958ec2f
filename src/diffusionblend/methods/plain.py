"""Settings as plain values: for files, records and the command line; and back."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import TYPE_CHECKING, Any

from diffusionblend.errors import InputError

if TYPE_CHECKING:
    from diffusionblend.methods.base import Method


def plain_settings(settings: object) -> dict[str, Any]:
    """A dataclass as one flat mapping.

    A nested one becomes its name under the field's, and its own settings beside.
    """
    plain: dict[str, Any] = {}
    for one in fields(settings):  # type: ignore[arg-type]
        value = getattr(settings, one.name)
        if is_dataclass(value):
            plain[one.name] = value.name  # type: ignore[union-attr]
            plain |= plain_settings(value)
        else:
            plain[one.name] = value
    return plain


def from_plain(kind: type[Method], settings: Mapping[str, Any]) -> Method:
    """A method from flat settings. Raises InputError for one that it does not have.

    A nested setting is given as an instance, or by its name with its own settings beside.
    """
    from diffusionblend.methods.diffusion.consistency import CONSISTENCY_STEPS

    left = dict(settings)
    given: dict[str, Any] = {}
    for one in fields(kind):
        if one.name != "consistency":
            if one.name in left:
                given[one.name] = left.pop(one.name)
            continue
        chosen = left.pop(one.name, None)
        default = default_of(one)
        if is_dataclass(chosen) and not isinstance(chosen, type):
            default = chosen
        named = isinstance(chosen, str)
        step = CONSISTENCY_STEPS[chosen] if named else type(default)
        base = {} if type(default) is not step else plain_fields(default)
        own = {f.name: left.pop(f.name) for f in fields(step) if f.name in left}
        given[one.name] = step(**(base | own))
    if left:
        refuse_unknown(kind, sorted(left), given)
    return kind(**given)


def plain_fields(settings: object) -> dict[str, Any]:
    """The fields of a dataclass and their values, not converted."""
    return {f.name: getattr(settings, f.name) for f in fields(settings)}  # type: ignore[arg-type]


def default_of(one: Field) -> Any:
    """The default of a field."""
    return one.default if one.default_factory is MISSING else one.default_factory()


def settings_names(kind: type[Method], consistency: object = None) -> list[str]:
    """All settings of a method with its (or another) data-consistency step, flat."""
    names = []
    for one in fields(kind):
        names.append(one.name)
        if one.name == "consistency":
            step: Any = consistency or default_of(one)
            names += [f.name for f in fields(step)]
    return names


def refuse_unknown(kind: type[Method], unknown: list[str], given: Mapping[str, Any]) -> None:
    """Raise InputError for settings that a method does not have, with near names."""
    known = settings_names(kind, given.get("consistency"))
    near = [m for name in unknown for m in difflib.get_close_matches(name, known, 1)]
    step = given.get("consistency")
    with_step = f" with the data-consistency step {step.name!r}" if step is not None else ""
    raise InputError(
        f"{kind.name}{with_step} has no setting {', '.join(map(repr, unknown))}.",
        f"one of {', '.join(known)}",
        f"did you mean {', '.join(near)}?" if near else "",
    )
