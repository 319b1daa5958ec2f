"""`diffusionblend completion`: a script by which a shell completes commands and options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from diffusionblend.cli.commands import COMMANDS, first_words, subcommands_of
from diffusionblend.cli.common import say
from diffusionblend.cli.compose import chosen_for, composed, takes_method
from diffusionblend.cli.options import Option, options_of
from diffusionblend.methods import METHODS
from diffusionblend.methods.diffusion.consistency import CONSISTENCY_STEPS

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


@dataclass(frozen=True, kw_only=True)
class Completion:
    """Print a script for the shell that completes commands, options and their choices.

    In bash: add eval "$(diffusionblend completion bash)" to ~/.bashrc; in zsh likewise to ~/.zshrc.
    """

    shell: Annotated[Literal["bash", "zsh"], tyro.conf.Positional]
    """Shell that it is for: bash or zsh."""

    def run(self) -> None:
        """Print the script."""
        lines = [FOR_ZSH] if self.shell == "zsh" else []
        say("\n".join([*lines, HEAD, *_cases(), TAIL % " ".join(first_words())]))


def _cases() -> list[str]:
    """What can follow each command, and each option that has choices."""
    cases = []
    for name in COMMANDS:
        options = _all_options(name)
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
    for word in first_words():
        if subcommands_of(word):
            cases.append(f'    "{word} "*) words="{" ".join(subcommands_of(word))}" ;;')
    return cases


def _all_options(name: str) -> list[Option]:
    """The options of a command; those of all methods where it takes one."""
    kind = COMMANDS[name].load()
    if not takes_method(kind):
        found = options_of(kind)
    else:
        found = []
        for method in METHODS:
            steps = CONSISTENCY_STEPS if chosen_for(method).step is not None else (None,)
            for step in steps:
                found += options_of(composed(kind, chosen_for(method, step)))
    return [option for option in found if not option.positional]
