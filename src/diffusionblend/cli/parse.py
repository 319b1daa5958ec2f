"""From the words of a command line to a command, or to its help."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tyro

from diffusionblend.cli.checks import check_line
from diffusionblend.cli.commands import COMMANDS
from diffusionblend.cli.compose import Chosen, built, choose, composed, takes_method
from diffusionblend.cli.help import command_help
from diffusionblend.cli.methods import NONE_SHIPPED, prior_needed
from diffusionblend.cli.options import Option, options_of
from diffusionblend.cli.recorded import Command
from diffusionblend.methods.api import DEFAULT_METHOD
from diffusionblend.methods.base import Method

HELP = ("--help", "-h")
HELP_ALL = "--help-all"


def parsed_command(name: str, arguments: Sequence[str]) -> Command | str:
    """A command with its options, or the text of its help where that is asked for.

    Raises UsageError, InputError for settings that do not fit, and SystemExit by the parser.
    """
    kind = COMMANDS[name].load()
    chosen = choose(arguments) if takes_method(kind) else None
    shape = kind if chosen is None else composed(kind, chosen)
    options = options_of(shape)
    if HELP_ALL in arguments or any(word in arguments for word in HELP):
        return _help_of(name, kind, options, chosen, everything=HELP_ALL in arguments)
    check_line(name, kind, options, arguments, chosen)
    parsed: Any = tyro.cli(
        shape,
        args=list(arguments),
        prog=f"diffusionblend {name}",
        config=(tyro.conf.FlagCreatePairsOff,),
        add_help=True,
    )
    return parsed if chosen is None else built(kind, chosen, parsed)


def _help_of(
    name: str, kind: type, options: Sequence[Option], chosen: Chosen | None, *, everything: bool
) -> str:
    """The help page of a command, in the words of its docstring."""
    text = kind.__doc__ or ""
    if chosen is not None:
        text += f"\n\nMethod {chosen.kind.name}: {chosen.kind.summary}; for {chosen.kind.when}."
        needed = prior_needed(chosen.kind)
        text += f" {needed}" if NONE_SHIPPED in needed else ""
    examples = COMMANDS[name].examples
    if chosen is not None and chosen.kind.name != DEFAULT_METHOD:
        examples = (f"{examples[0]} --method {chosen.kind.name}{_own_priors(chosen.kind)}",)
    return command_help(name, text, options, examples, everything=everything)


def _own_priors(method: type[Method]) -> str:
    """The options that name priors of a method, where none is shipped for it."""
    if NONE_SHIPPED not in prior_needed(method):
        return ""
    coronal = method.prior is not None and method.prior.coronal
    return " --prior priors/mine" + " --coronal-prior priors/coronal" * coronal
