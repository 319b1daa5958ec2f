"""From the words of a command line to a command, or to its help."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

import tyro

from diffusionblend.cli.commands import COMMANDS
from diffusionblend.cli.compose import (
    Chosen,
    built,
    choose,
    composed,
    takes_method,
    with_setting,
)
from diffusionblend.cli.help import command_help
from diffusionblend.cli.methods import NONE_SHIPPED, prior_needed
from diffusionblend.cli.options import REQUIRED, Option, options_of
from diffusionblend.cli.recorded import Command
from diffusionblend.cli.usage import UsageError, did_you_mean

HELP = ("--help", "-h")
HELP_ALL = "--help-all"
NUMBERS = {"INT": int, "FLOAT": float}


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
    _check_words(name, options, arguments, chosen)
    _check_required(name, options, arguments)
    parsed = tyro.cli(
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
    return command_help(name, text, options, COMMANDS[name].examples, everything=everything)


def _check_words(
    name: str, options: Sequence[Option], arguments: Sequence[str], chosen: Chosen | None
) -> None:
    """Raise UsageError for an option that the command does not have, and for what is no value."""
    known = {n: o for o in options for n in (o.name, *o.aliases) if n.startswith("-")}
    for argument, after in zip_longest(arguments, arguments[1:]):
        option, assigned, value = argument.partition("=")
        option = option.replace("_", "-")
        if option in known:
            _check_value(known[option], value if assigned else after)
        elif option.startswith("--") and option[2:3].isalpha():
            raise _unknown(name, option, sorted(known), chosen)


def _check_required(name: str, options: Sequence[Option], arguments: Sequence[str]) -> None:
    """Raise UsageError where an option that has to be given is not."""
    given = {argument.partition("=")[0] for argument in arguments}
    for option in options:
        names = [*option.aliases, option.name]
        if option.default is REQUIRED and not option.positional and not given & set(names):
            raise UsageError(
                f"{name} was given no {' or '.join(names)}.",
                option.help.rstrip("."),
                COMMANDS[name].examples[0],
            )


def _unknown(name: str, option: str, known: Sequence[str], chosen: Chosen | None) -> UsageError:
    """What to say of an option that the command does not have: a near one, or whose it is."""
    of = name if chosen is None else f"{name} --method {chosen.kind.name}"
    hint = did_you_mean(option, known)
    others = [] if chosen is None else with_setting(option[2:].replace("-", "_"))
    if others:
        hint = f"{option} is an option of {', '.join(others)}"
    return UsageError(
        f"{of} has no option {option}.",
        f"the options that 'diffusionblend {of} {HELP_ALL}' prints",
        hint,
    )


def _check_value(option: Option, value: str | None) -> None:
    """Raise UsageError where the word after an option is none of its choices, or no number."""
    if value is None or option.is_flag:
        return
    if option.kind in NUMBERS:
        try:
            NUMBERS[option.kind](value)
        except ValueError as error:
            raise UsageError(
                f"{option.name} is {value!r}.",
                "a whole number" if option.kind == "INT" else "a number",
            ) from error
    elif "|" in option.kind and " " not in option.kind and option.kind.islower():
        choices = option.kind.split("|")
        if value not in choices:
            raise UsageError(
                f"{option.name} is {value!r}.",
                f"one of {', '.join(choices)}",
                did_you_mean(value, choices),
            )
