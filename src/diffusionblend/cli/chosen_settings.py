"""Which of a verb's groups of settings a method takes, and that none was given to another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass

from diffusionblend.errors import InputError

_FIELDS = {"admm-tv": "tv", "diffusionblend++": "diffusionblend", "diffusionblend": "neighbours"}
_PREFIXES = {"diffusionblend": "--", "neighbours": "--diffusionblend."}


def settings_field(method: str) -> str:
    """The field of a verb that holds a method's settings: its name, but for a few."""
    return _FIELDS.get(method, method.replace("-", "_"))


def check_settings_are_of(method: str, verb: object) -> None:
    """Raise InputError where settings of another method than the chosen one were given.

    verb: a dataclass with a group of settings for each method; one that is not its default counts
    as given.
    """
    chosen = settings_field(method)
    given = [(group, name) for group, name in _changed(verb) if group != chosen]
    if not given:
        return
    group, name = given[0]
    listed = ", ".join(_option(g, n) for g, n in given)
    mine = {f.name for f in fields(getattr(verb, chosen))}
    raise InputError(
        f"{listed} was given, which {method} does not look at.",
        f"settings of {method}: {_option(chosen, '*')}",
        _option(chosen, name) if name in mine else f"it without {_option(group, name)}",
    )


def _changed(verb: object) -> Iterator[tuple[str, str]]:
    """Group and name of each setting that is not the default."""
    for group in fields(verb):
        settings = getattr(verb, group.name)
        if not is_dataclass(settings) or group.default_factory is MISSING:
            continue
        default = group.default_factory()
        for one in fields(settings):
            if getattr(settings, one.name) != getattr(default, one.name):
                yield group.name, one.name


def _option(group: str, name: str) -> str:
    """A setting as the command line has it."""
    prefix = _PREFIXES.get(group, f"--{group.replace('_', '-')}.")
    return prefix + name.replace("_", "-")
