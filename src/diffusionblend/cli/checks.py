"""The words of a command line against the options of its command, before the parser sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from diffusionblend.cli.commands import COMMANDS
from diffusionblend.cli.compose import Chosen, unused_by, with_setting
from diffusionblend.cli.options import REQUIRED, Option, in_words
from diffusionblend.cli.usage import UsageError
from diffusionblend.devices import NO_MPS
from diffusionblend.errors import did_you_mean
from diffusionblend.methods import METHODS
from diffusionblend.methods.api import DEFAULT_METHOD

NUMBERS = {"INT": int, "FLOAT": float}
ANY_NUMBER = "..."
MEANT = {"gpu": "cuda", "quick": "fast", "quickest": "fast", "slow": "best"}
"""Choices by what they are called elsewhere."""
WHY_NOT = {"mps": NO_MPS}
"""Choices that others have, with the reason why they are none here."""
RENAMED = {
    "--air-bins": "--air-columns",
    "--average-below": "--tail-average-below",
    "--bin-mm": "--column-mm",
    "--bins": "--columns",
    "--centre-bin": "--centre-column",
    "--coarse-start": "--coarse-init",
    "--data-step": "--consistency",
    "--dual-decay": "--dual-damping",
    "--eta": "--noise-fraction",
    "--first-timestep": "--init-timestep",
    "--layout": "--prior-type",
    "--perpendicular-prior": "--coronal-prior",
    "--ring-bins": "--ring-columns",
    "--share": "--shard",
    "--start": "--init",
}
"""Options by the names that they had."""
PREFIXES = {"tv": "admm-tv", "mbir": "diffusion-mbir", "blend": "diffusionblend"}
"""Methods by what stood before the dot of their options."""


def check_line(
    name: str, kind: type, options: Sequence[Option], words: Sequence[str], chosen: Chosen | None
) -> None:
    """Raise UsageError for an unknown option, a missing or wrong value, and too many words.

    kind: the command's class.
    """
    known = {n: o for o in options for n in (o.name, *o.aliases) if n.startswith("-")}
    loose: list[str] = []
    at = 0
    while at < len(words):
        word, assigned, value = words[at].partition("=")
        option = word.replace("_", "-") if word.startswith("--") else word
        at += 1
        if option in known:
            given = [value] if assigned else _values(words[at:], known[option], known)
            _check_values(name, known[option], option, given)
            at += 0 if assigned else len(given)
        elif _is_option(word):
            raise _unknown(name, kind, option, sorted(known), chosen)
        else:
            loose.append(words[at - 1])
    _check_loose(name, options, loose)
    _check_required(name, options, words, loose)


def _is_option(word: str) -> bool:
    return word.startswith("-") and len(word.strip("-")) > 0 and not _is_number(word)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _values(rest: Sequence[str], option: Option, known: dict[str, Option]) -> list[str]:
    """The words after an option that are its values."""
    if option.is_flag:
        return []
    most = len(rest) if ANY_NUMBER in option.kind else len(option.kind.split())
    given: list[str] = []
    for word in rest[:most]:
        if word.partition("=")[0].replace("_", "-") in known or _is_option(word):
            break
        given.append(word)
    return given


def _check_values(command: str, option: Option, name: str, given: Sequence[str]) -> None:
    """Raise UsageError for too few values, and for one of another kind."""
    if option.is_flag:
        return
    kinds = option.kind.split()
    if ANY_NUMBER not in kinds and len(given) < len(kinds):
        few = "no value" if not given else f"{len(given)} of {len(kinds)} values"
        example = _example_of(option)
        line = next((e for e in COMMANDS[command].examples if f" {name} " in e), "")
        raise UsageError(
            f"{name} was given {few}.",
            f"{name} {option.kind}: {option.help.rstrip('.')}",
            f"{name} {example}" if example else line,
        )
    kind = kinds[0]
    for value in given:
        _check_value(option, kind, value)


def _example_of(option: Option) -> str:
    """The default as the line has it, else the first of the choices."""
    if isinstance(option.default, int | float | str):
        return str(option.default)
    if isinstance(option.default, tuple) and option.default:
        return " ".join(map(str, option.default))
    if option.kind.islower() and "|" in option.kind:
        return option.kind.split("|")[0]
    return {"INT": "20", "FLOAT": "0.5"}.get(option.kind, "")


def _check_value(option: Option, kind: str, value: str) -> None:
    """Raise UsageError where a word is none of an option's choices, or no number."""
    if kind in NUMBERS:
        try:
            NUMBERS[kind](value)
        except ValueError as error:
            raise UsageError(f"{option.name} is {value!r}.", in_words(kind)) from error
    elif "|" in kind and kind.islower():
        choices = kind.split("|")
        if value in choices:
            return
        meant = MEANT.get(value.lower())
        hint = f"did you mean {meant}?" if meant in choices else did_you_mean(value, choices)
        default = f"{option.name} {option.default}" if option.default in choices else ""
        why = f"; {WHY_NOT[value]}" if value in WHY_NOT else ""
        raise UsageError(
            f"{option.name} is {value!r}{why}.", f"one of {', '.join(choices)}", hint or default
        )


def _check_loose(name: str, options: Sequence[Option], loose: Sequence[str]) -> None:
    """Raise UsageError for words that belong to no option."""
    places = [o for o in options if o.positional]
    if any(ANY_NUMBER in o.kind for o in places) or len(loose) <= len(places):
        return
    extra = loose[len(places) :]
    raise UsageError(
        f"{name} was given {' '.join(extra)} beside its options.",
        " and ".join(o.name for o in places) + " alone" if places else "options alone",
        did_you_mean(f"--{extra[0]}", [o.name for o in options]) or COMMANDS[name].examples[0],
    )


def _check_required(
    name: str, options: Sequence[Option], words: Sequence[str], loose: Sequence[str]
) -> None:
    """Raise UsageError where something that has to be given is not."""
    given = {word.partition("=")[0].replace("_", "-") for word in words}
    places = [o for o in options if o.positional and ANY_NUMBER not in o.kind]
    missing = [o for o in places[len(loose) :] if o.default is REQUIRED]
    for option in options:
        names = {*option.aliases, option.name}
        if option.default is REQUIRED and not option.positional and not given & names:
            missing.append(option)
    if missing:
        names_of = [" or ".join([*o.aliases, o.name]) for o in missing]
        needed = [o.help.rstrip(".") for o in missing]
        if len(missing) > 1:
            needed = [f"{n}: {t}" for n, t in zip(names_of, needed, strict=True)]
        raise UsageError(
            f"{name} was given no {' and no '.join(names_of)}.",
            "; ".join(needed),
            COMMANDS[name].examples[0],
        )


def _unknown(
    name: str, kind: type, option: str, known: Sequence[str], chosen: Chosen | None
) -> UsageError:
    """What to say of an option that the command does not have: a near one, or whose it is."""
    of = name if chosen is None else f"{name} --method {chosen.kind.name}"
    prefix, dot, plain = option[2:].partition(".")
    renamed = RENAMED.get(option)
    if renamed in known:
        hint = f"{renamed}, its name now"
    elif dot and chosen is not None:
        hint = _without_prefix(
            PREFIXES.get(prefix, prefix), RENAMED.get(f"--{plain}", f"--{plain}")
        )
    elif chosen is not None and _as_field(option) in unused_by(kind, chosen.kind):
        hint = f"a method that uses it, such as --method {DEFAULT_METHOD}"
    else:
        others = [] if chosen is None else with_setting(_as_field(renamed or option))
        whose = f"{renamed or option} is an option of {', '.join(others)}"
        hint = whose if others else did_you_mean(option, known)
    return UsageError(
        f"{of} has no option {option}.",
        f"the options that 'diffusionblend {of} --help-all' prints",
        hint,
    )


def _as_field(option: str) -> str:
    return option[2:].replace("-", "_")


def _without_prefix(method: str, option: str) -> str:
    """How an option with a method's name before it is given now."""
    if method in METHODS and _as_field(option) in {f.name for f in fields(METHODS[method])}:
        return f"--method {method} {option}, options have no prefix"
    others = with_setting(_as_field(option))
    return f"{option} is an option of {', '.join(others)}" if others else ""
