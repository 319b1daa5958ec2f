"""A script by which a shell completes commands, options and their choices.

In bash, `eval "$(diffusionblend --completion bash)"` in ~/.bashrc; in zsh likewise in ~/.zshrc.
"""

from __future__ import annotations

from collections.abc import Mapping

from diffusionblend.cli.compose import chosen_for, composed, takes_method
from diffusionblend.cli.options import Option, options_of
from diffusionblend.cli.recorded import Entry
from diffusionblend.methods import METHODS
from diffusionblend.methods.diffusion.consistency import CONSISTENCY_STEPS

SHELLS = ("bash", "zsh")
HEAD = """\
_diffusionblend() {
  local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}"
  local command="${COMP_WORDS[1]}" words=""
  case "$command ${COMP_WORDS[2]}" in"""
TAIL = """\
  esac
  if [ "$COMP_CWORD" -eq 1 ]; then words="%s"; fi
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -o default -F _diffusionblend diffusionblend"""
FOR_ZSH = "autoload -U +X bashcompinit && bashcompinit"


def completion_script(shell: str, commands: Mapping[str, Entry]) -> str:
    """The script for a shell, of `SHELLS`."""
    lines = [FOR_ZSH] if shell == "zsh" else []
    words = dict.fromkeys(name.partition(" ")[0] for name in commands)
    return "\n".join([*lines, HEAD, *_cases(commands), TAIL % " ".join(words)])


def _cases(commands: Mapping[str, Entry]) -> list[str]:
    """What can follow each command, and each option that has choices."""
    cases = []
    for name, entry in commands.items():
        options = _all_options(entry.load())
        choices = {o.name: o.kind.split("|") for o in options if o.kind.islower() and "|" in o.kind}
        if any(o.name == "--method" for o in options):
            choices["--method"] = list(METHODS)
        pattern = f'"{name}"' if " " in name else f'"{name} "*'
        cases.append(f'    {pattern}) words="{" ".join(sorted({o.name for o in options}))}"')
        if choices:
            cases.append('      case "$before" in')
            cases += [f'        {o}) words="{" ".join(c)}" ;;' for o, c in sorted(choices.items())]
            cases.append("      esac")
        cases[-1] += " ;;"
    inner: dict[str, list[str]] = {}
    for first, _, second in (name.partition(" ") for name in commands):
        if second:
            inner.setdefault(first, []).append(second)
    cases += [f'    "{first} "*) words="{" ".join(words)}" ;;' for first, words in inner.items()]
    return cases


def _all_options(kind: type) -> list[Option]:
    """The options of a command; those of all methods where it takes one."""
    if not takes_method(kind):
        found = options_of(kind)
    else:
        found = []
        steps = tuple(CONSISTENCY_STEPS.usable())
        for method in METHODS.usable():
            for step in steps if chosen_for(method).step is not None else (None,):
                found += options_of(composed(kind, chosen_for(method, step)))
    return [option for option in found if not option.positional]
