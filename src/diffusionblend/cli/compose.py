"""Two-stage parsing: the method is read first, then the options are composed for it.

A command with a field `method: Method` has the settings of the chosen method, and those of its
data-consistency step, among its own options, without a prefix. Options of others do not exist.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, make_dataclass
from pathlib import Path
from typing import Any

from diffusionblend.cli.options import field_docs, hints_of, in_words, kind_in_words
from diffusionblend.cli.usage import UsageError
from diffusionblend.errors import InputError, did_you_mean
from diffusionblend.io.foreign.edge import reason_of
from diffusionblend.io.json_file import NO_JSON
from diffusionblend.methods import METHODS
from diffusionblend.methods.api import DEFAULT_METHOD
from diffusionblend.methods.base import Method
from diffusionblend.methods.diffusion.consistency import CONSISTENCY_STEPS
from diffusionblend.methods.plain import default_of, from_plain, plain_fields
from diffusionblend.methods.validation import choices_of

METHOD, STEP, FILE = "method", "consistency", "settings"


@dataclass(frozen=True)
class Chosen:
    """What the first stage found.

    kind: the method's class. step: the class of its data-consistency step, None where it has none.
    defaults: settings that a file gave, flat.
    """

    kind: type[Method]
    step: type | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Field]:
        """The fields of the method and its step by name, those of the step after its name."""
        found: dict[str, Field] = {}
        for one in fields(self.kind):
            found[one.name] = one
            if one.name == STEP and self.step is not None:
                found |= {f.name: f for f in fields(self.step)}
        return found

    def default(self, name: str) -> Any:
        """What a setting is where it is not given: as the file has it, or by the method."""
        if name in self.defaults:
            return self.defaults[name]
        if name == STEP and self.step is not None:
            return self.step.name  # type: ignore[attr-defined]
        own = {f.name: f for f in fields(self.kind)}
        if name in own:
            return default_of(own[name])
        usual = default_of(own[STEP])
        if type(usual) is self.step:
            return plain_fields(usual)[name]
        return default_of(self.settings[name])

    def owner_of(self, name: str) -> type:
        """The class that a setting is a field of."""
        return self.kind if name in {f.name for f in fields(self.kind)} else self.step or self.kind


def takes_method(kind: type) -> bool:
    """Whether a command's options depend on a method."""
    return hints_of(kind).get(METHOD) is Method


def choose(arguments: Sequence[str], default_method: str = DEFAULT_METHOD) -> Chosen:
    """The method and the data-consistency step that a command line names, or its settings file.

    Raises UsageError for unknown names, InputError for a file that is none of settings.
    """
    path = _value_of(FILE, arguments)
    from_file = {} if path is None else read_settings(Path(path))
    method = _value_of(METHOD, arguments) or str(from_file.pop(METHOD, default_method))
    from_file.pop(METHOD, None)
    step = _value_of(STEP, arguments) or from_file.get(STEP)
    from_file.pop(STEP, None)
    chosen = chosen_for(method, step)
    unknown = sorted(from_file.keys() - chosen.settings.keys())
    if unknown:
        near = did_you_mean(unknown[0], chosen.settings)
        others = with_setting(unknown[0])
        raise InputError(
            f"{path} has {', '.join(unknown)}, which {_in_words(chosen)} does not have.",
            f"settings among {', '.join(chosen.settings)}",
            (f"{unknown[0]} is a setting of {', '.join(others)}" if others else near)
            or f"diffusionblend settings {method} > my.toml",
        )
    for name, value in from_file.items():
        _check_type(chosen, name, value, path)
    return Chosen(chosen.kind, chosen.step, from_file)


def chosen_for(method: str, step: str | None = None) -> Chosen:
    """A method by its name, with its own or another data-consistency step. Raises UsageError."""
    try:
        kind = METHODS[method]
        own = next((f for f in fields(kind) if f.name == STEP), None)
        if own is None:
            return Chosen(kind)
        return Chosen(kind, type(default_of(own)) if step is None else CONSISTENCY_STEPS[step])
    except InputError as error:
        raise UsageError(error.got, error.expected, error.try_) from error


def read_settings(path: Path) -> dict[str, Any]:
    """The flat settings of a file. Raises InputError."""
    from diffusionblend.io.atomic import check_readable

    text = ""
    if path.exists():
        check_readable(path)
    try:
        text = path.read_text(encoding="utf-8-sig")  # as Windows' Notepad writes it
        found = tomllib.loads(text)
    except FileNotFoundError as error:
        raise InputError(
            f"There is no settings file {path}.",
            "an existing file",
            f"diffusionblend settings {DEFAULT_METHOD} > {path}",
        ) from error
    except (OSError, *NO_JSON) as error:
        _refuse_line(path, text, str(error))
        raise InputError(
            f"The settings {path} cannot be read: {reason_of(error)}.",
            "a TOML file such as 'diffusionblend settings METHOD' prints",
            f"diffusionblend settings {DEFAULT_METHOD} > my.toml",
        ) from error
    nested = [name for name, value in found.items() if isinstance(value, Mapping | list)]
    if nested:
        raise InputError(f"{path} has {', '.join(nested)} with several values.", "name = value")
    return found


def _refuse_line(path: Path, text: str, problem: str) -> None:
    """Raise InputError for a line of settings without a value, or with one in no quotes."""
    at = re.search(r"at line (\d+)", problem)
    lines = text.splitlines()
    if at is None or not 0 < int(at[1]) <= len(lines):
        return
    line = re.match(r"\s*(\w+)\s*=\s*([^#]*)", lines[int(at[1]) - 1])
    if line is None:
        return
    name, value = line[1], line[2].strip()
    raise InputError(
        f"{path}, line {at[1]}: {name} has {'no value' if not value else 'the value ' + value}.",
        f'{name} = VALUE, a text in "quotes"',
        "a # in front of the line, for the default",
    )


def composed(kind: type, chosen: Chosen) -> type:
    """A dataclass of the command's own options and those of the chosen method, flat."""
    parts: list[tuple[str, Any, Any]] = []
    for one in fields(kind):
        if one.name == METHOD:
            parts += _method_parts(one, chosen)
        elif one.name not in unused_by(kind, chosen.kind):
            parts.append((one.name, hints_of(kind)[one.name], _copied(one, field_docs(kind))))
    names = [name for name, _, _ in parts]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(
            f"The method {chosen.kind.name} has settings that are options of every method: "
            f"{', '.join(twice)}.",
            "other names for them",
        )
    return make_dataclass(kind.__name__, parts, kw_only=True, frozen=True)


def unused_by(kind: type, method: type[Method]) -> frozenset[str]:
    """The options of a command that a method has no use for."""
    find = getattr(kind, "unused_by", None)
    return frozenset() if find is None else find(method)


def built(kind: type, chosen: Chosen, parsed: Any) -> Any:
    """The command from what was parsed as its composed class. Raises InputError for settings."""
    values = {f.name: getattr(parsed, f.name) for f in fields(parsed)}
    settings = {name: values.pop(name) for name in chosen.settings}
    own = {f.name for f in fields(kind)}
    common = {n: v for n, v in values.items() if n in own and n != METHOD}
    return kind(**common, method=from_plain(chosen.kind, settings))


def with_setting(name: str) -> list[str]:
    """What has a setting of this name: methods, and data-consistency steps."""
    methods, steps = METHODS.usable(), CONSISTENCY_STEPS.usable()
    return [
        f"--{option} {one}"
        for option, kinds in (("method", methods), ("consistency", steps))
        for one, kind in kinds.items()
        if name in {f.name for f in fields(kind)}
    ]


def _in_words(chosen: Chosen) -> str:
    step = "" if chosen.step is None else f" with --consistency {chosen.step.name}"  # type: ignore[attr-defined]
    return f"{chosen.kind.name}{step}"


def _method_parts(own: Field, chosen: Chosen) -> list[tuple[str, Any, Any]]:
    """The options that stand in place of the field `method`."""
    group = own.metadata.get("group", "options")
    name = {
        "help": f"Each has its own options ('--method NAME --help'): {', '.join(METHODS)}.",
        "group": group,
        "kind": "NAME",
    }
    file = {
        "help": "File of settings, as 'diffusionblend settings METHOD' prints it; options on the "
        "line override it.",
        "group": group,
    }
    parts: list[tuple[str, Any, Any]] = [
        (METHOD, str, field(default=chosen.kind.name, metadata=name)),
        (FILE, Path | None, field(default=None, metadata=file)),
    ]
    steps = [f.name for f in fields(chosen.step)] if chosen.step is not None else []
    for setting in chosen.settings:
        owner = chosen.owner_of(setting)
        metadata: dict[str, Any] = {
            "help": field_docs(owner).get(setting, ""),
            "group": f"settings of {chosen.kind.name}",
            "basic": setting in chosen.kind.basic,
        }
        if setting == STEP:
            metadata["kind"] = "|".join(CONSISTENCY_STEPS)
        if setting in steps:
            metadata["group"] += f", --consistency {chosen.step.name}"  # type: ignore[union-attr]
        hint = str if setting == STEP else hints_of(owner)[setting]
        parts.append((setting, hint, field(default=chosen.default(setting), metadata=metadata)))
    basic = list(chosen.kind.basic)
    order = {METHOD: -2, FILE: -1} | {name: i for i, name in enumerate(basic)}
    last = len(basic) + 1
    return sorted(
        parts, key=lambda part: last if part[0] in steps else order.get(part[0], last - 1)
    )


def _copied(one: Field, docs: Mapping[str, str]) -> Any:
    """A field for another class, with its help."""
    metadata = {"help": docs.get(one.name, ""), **one.metadata}
    if one.default is not MISSING:
        return field(default=one.default, metadata=metadata)
    if one.default_factory is not MISSING:
        return field(default_factory=one.default_factory, metadata=metadata)
    return field(metadata=metadata)


def _value_of(option: str, arguments: Iterable[str]) -> str | None:
    """The last value that a command line gives an option."""
    found, awaited = None, False
    for argument in arguments:
        if awaited:
            found, awaited = argument, False
        elif argument == f"--{option}":
            awaited = True
        elif argument.startswith(f"--{option}="):
            found = argument.partition("=")[2]
    return found


def _check_type(chosen: Chosen, name: str, value: object, path: str | None) -> None:
    """Raise InputError for a value of a file that is no value of a setting."""
    hint = hints_of(chosen.owner_of(name))[name]
    wanted = kind_in_words(hint)
    choices = choices_of(hint)
    if choices:
        fits = isinstance(value, str) and value in choices
    elif isinstance(value, bool):
        fits = wanted == "True|False"
    else:
        kinds = {"INT": int, "FLOAT": int | float, "TEXT": str, "PATH": str, "True|False": bool}
        fits = isinstance(value, kinds.get(wanted, object))
    if not fits:
        near = did_you_mean(value, choices) if choices and isinstance(value, str) else ""
        raise InputError(f"{path} has {name} = {value!r}.", f"{in_words(wanted)} for {name}", near)
