"""The help of a command: usage, basic options first, all of them with `--help-all`, examples."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence

from diffusionblend.cli.options import REQUIRED, Option

WIDEST = 100
INDENT = "    "


def columns() -> int:
    """How wide help is printed."""
    return min(WIDEST, shutil.get_terminal_size().columns)


def command_help(
    name: str, summary: str, options: Sequence[Option], examples: Sequence[str], *, everything: bool
) -> str:
    """The help page of a command.

    everything: also the options that are not basic.
    """
    width = columns()
    shown = [o for o in options if o.basic or everything]
    positional = " ".join(o.name for o in options if o.positional)
    required = [
        f"{[*o.aliases, o.name][0]} {o.kind}"
        for o in options
        if not o.positional and _is_required(o)
    ]
    usage = " ".join(["usage: diffusionblend", name, positional, *required, "[options]"])
    lines = [*_wrapped(" ".join(usage.split()), width), "", *_paragraphs(summary, width)]
    for group in dict.fromkeys(o.group for o in shown):
        lines += ["", f"{group}:"]
        for option in shown:
            if option.group == group:
                lines += _entry(option, width)
    hidden = len(options) - len(shown)
    if hidden:
        lines += ["", *_wrapped(f"{hidden} more options: --help-all prints them too.", width)]
    if examples:
        lines += ["", "examples:", *(x for example in examples for x in _example(example, width))]
    return "\n".join(lines)


def _example(line: str, width: int) -> list[str]:
    """A command to copy, broken by backslashes where it is too long."""
    parts = textwrap.wrap(line, width - len(INDENT), break_on_hyphens=False, break_long_words=False)
    ends = [" \\"] * (len(parts) - 1) + [""]
    indents = ["  ", *["      "] * (len(parts) - 1)]
    return [f"{a}{part}{end}" for a, part, end in zip(indents, parts, ends, strict=True)]


def _entry(option: Option, width: int) -> list[str]:
    """An option with its help, run in, later lines indented."""
    head = f"  {_names(option)}" + (f" {option.kind}" if option.kind else "")
    if option.positional:
        head = f"  {option.name}"
    body = " ".join(part for part in (option.help, _default_of(option)) if part)
    lines = textwrap.wrap(
        body,
        width,
        initial_indent=head + "  ",
        subsequent_indent=INDENT,
        break_on_hyphens=False,
        break_long_words=False,
    )
    if sys.stdout.isatty():
        lines[0] = lines[0].replace(_names(option), f"\x1b[1m{_names(option)}\x1b[0m", 1)
    return lines


def _names(option: Option) -> str:
    return ", ".join([*option.aliases, option.name])


def _is_required(option: Option) -> bool:
    return option.default is REQUIRED and not option.positional


def _default_of(option: Option) -> str:
    """The default in brackets; nothing for flags and for None."""
    if _is_required(option):
        return "(required)"
    if option.is_flag or option.default in (None, ()) or option.default is REQUIRED:
        return ""
    value = option.default
    text = " ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
    return f"(default: {text})"


def _paragraphs(text: str, width: int) -> list[str]:
    lines: list[str] = []
    for paragraph in text.split("\n\n"):
        lines += [*([""] if lines else []), *_wrapped(" ".join(paragraph.split()), width)]
    return lines


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False)
