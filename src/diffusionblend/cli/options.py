"""The options of a command, read from its dataclass: names, kinds, defaults and their help."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import tyro

REQUIRED = MISSING


@dataclass(frozen=True)
class Option:
    """An option of a command, or one of its positional arguments.

    name: as on the line, "--steps", or "PROJECTIONS". aliases: "-o". kind: of its value, in
    capitals or "a|b"; "" for a flag. default: REQUIRED where there is none. group: the heading that
    it stands under. basic: whether the short help shows it.
    """

    name: str
    kind: str
    help: str
    default: Any = REQUIRED
    aliases: tuple[str, ...] = ()
    positional: bool = False
    group: str = "options"
    basic: bool = True

    @property
    def is_flag(self) -> bool:
        """Whether it takes no value."""
        return not self.kind


def options_of(kind: type, prefix: str = "") -> list[Option]:
    """The options of a dataclass, nested ones under their names.

    A field's metadata may have its `group` and whether it is `basic`, which those with a prefix
    are not by default; its `help` replaces the string below the field.
    """
    found: list[Option] = []
    for one in fields(kind):
        found += _options_of_field(kind, one, prefix)
    return found


def _options_of_field(kind: type, one: Field, prefix: str) -> Iterator[Option]:
    hint = hints_of(kind)[one.name]
    plain, marks = _unwrapped(hint)
    arg = next((m for m in marks if hasattr(m, "aliases")), None)
    default = one.default if one.default_factory is MISSING else one.default_factory()
    name = one.name.rstrip("_").replace("_", "-")
    if is_dataclass(plain):
        named = name if arg is None or arg.name is None else arg.name
        inner = f"{prefix}{named}." if named else prefix
        yield from options_of(plain, inner)  # type: ignore[arg-type]
        return
    whole = arg is None or arg.prefix_name is not False
    flag = plain is bool
    label = f"--{prefix if whole else ''}{name}"
    text = one.metadata.get("help") or field_docs(kind).get(one.name, "")
    positional = tyro.conf.Positional in marks
    if flag and default is True:
        label, text = (
            f"--{prefix if whole else ''}no-{name}",
            f"Do not {text[:1].lower()}{text[1:]}",
        )
    yield Option(
        name=one.name.upper() if positional else label,
        kind="" if flag else one.metadata.get("kind") or kind_in_words(plain),
        help=text,
        default=None if flag else default,
        aliases=tuple(getattr(arg, "aliases", None) or ()),
        positional=positional,
        group=one.metadata.get("group", prefix.rstrip(".") or "options"),
        basic=one.metadata.get("basic", not (prefix and whole)),
    )


def kind_in_words(hint: Any) -> str:
    """What a value of a type looks like: INT, FLOAT, PATH, "fbp|cg"."""
    plain, _ = _unwrapped(hint)
    if get_origin(plain) in (Union, UnionType):
        parts = [kind_in_words(p) for p in get_args(plain) if p is not NoneType]
        return "|".join(dict.fromkeys(parts))
    if get_origin(plain) is Literal:
        return "|".join(map(str, get_args(plain)))
    if get_origin(plain) in (tuple, list):
        inner = [a for a in get_args(plain) if a is not Ellipsis]
        if Ellipsis in get_args(plain):
            return f"{kind_in_words(inner[0])} ..."
        return " ".join(map(kind_in_words, inner))
    names = {int: "INT", float: "FLOAT", str: "TEXT", Path: "PATH", bool: "True|False"}
    return names.get(plain, getattr(plain, "__name__", str(plain)).upper())


def in_words(kind: str) -> str:
    """A kind of value as a message says it: "a whole number" for INT."""
    names = {"INT": "a whole number", "FLOAT": "a number", "TEXT": "text", "PATH": "a path"}
    if "|" in kind and kind.islower():
        return f"one of {', '.join(kind.split('|'))}"
    if kind == "True|False":
        return "true or false"
    return " or ".join(names.get(part, part) for part in kind.split("|"))


@cache
def hints_of(kind: type) -> dict[str, Any]:
    """The types of a dataclass's fields, with what is annotated."""
    return get_type_hints(kind, include_extras=True)


def _unwrapped(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    if get_origin(hint) is Annotated:
        inner, marks = _unwrapped(hint.__origin__)
        return inner, (*hint.__metadata__, *marks)
    return hint, ()


@cache
def field_docs(kind: type) -> dict[str, str]:
    """The strings below the fields of a dataclass and of those it derives from, on one line each.

    Empty where the source cannot be read.
    """
    found: dict[str, str] = {}
    for owner in reversed(kind.__mro__):
        try:
            source = textwrap.dedent(inspect.getsource(owner))
        except (OSError, TypeError):
            continue
        body = ast.parse(source).body[0]
        found |= dict(_docs_in(body.body)) if isinstance(body, ast.ClassDef) else {}
    return found


def _docs_in(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    """Name and text of each annotated assignment that is followed by a string."""
    for statement, after in pairwise(body):
        if not (isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)):
            continue
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            yield statement.target.id, " ".join(str(after.value.value).split())
