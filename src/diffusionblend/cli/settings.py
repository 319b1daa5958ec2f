"""`diffusionblend settings`: a settings file of a method, with the help of every setting."""

from __future__ import annotations

import json
import textwrap
from dataclasses import dataclass
from typing import Annotated

import tyro

from diffusionblend.cli.common import say
from diffusionblend.cli.compose import METHOD, STEP, Chosen, chosen_for
from diffusionblend.cli.methods import prior_needed
from diffusionblend.cli.options import field_docs, hints_of, kind_in_words

WIDTH = 100


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Print a settings file of a method: every setting with its help, defaults commented out.

    Change what should differ, and give the file to 'reconstruct --settings'.
    """

    method: Annotated[str, tyro.conf.Positional]
    """Name of the method, see 'diffusionblend methods'."""
    consistency: str | None = None
    """Data-consistency step whose settings are printed; by default the method's own (default: that
    of the method)."""

    def run(self) -> None:
        """Print the file."""
        say(settings_file(chosen_for(self.method, self.consistency), self.consistency is not None))


def settings_file(chosen: Chosen, with_step: bool = False) -> str:
    """The settings of a method and its data-consistency step as TOML.

    with_step: write the step's name as a setting of its own, not as a comment.
    """
    kind = chosen.kind
    lines = _comment(f"{kind.name}: {kind.summary}; for {kind.when}.")
    lines += _comment(prior_needed(kind))
    lines += ["# A line without '#' in front of it is a setting; the rest are the defaults.", ""]
    lines.append(f"{METHOD} = {_toml(kind.name)}")
    for name in chosen.settings:
        owner = chosen.owner_of(name)
        lines += ["", *_comment(field_docs(owner).get(name, ""))]
        lines += _comment(f"({kind_in_words(hints_of(owner)[name])})") if name != STEP else []
        default = chosen.default(name)
        if default is None:
            lines.append(f"# {name} =")
        else:
            mark = "" if name == STEP and with_step else "# "
            lines.append(f"{mark}{name} = {_toml(default)}")
    return "\n".join(lines)


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="# ")


def _toml(value: object) -> str:
    """A value as TOML writes it; JSON's form is the same for these kinds."""
    return json.dumps(value)
