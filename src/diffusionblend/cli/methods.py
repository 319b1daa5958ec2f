"""`diffusionblend methods`: what there is to reconstruct with, what it needs, when to choose it."""

from __future__ import annotations

import json
import shlex
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from diffusionblend.cli.common import choose_device, say
from diffusionblend.cli.compose import Chosen, chosen_for
from diffusionblend.cli.options import field_docs
from diffusionblend.cli.run_input import kind_of
from diffusionblend.errors import InputError
from diffusionblend.methods import METHODS
from diffusionblend.methods.base import Method
from diffusionblend.priors.store import shipped_of_type

NAME_WIDTH = 17
WIDTH = 100
NONE_SHIPPED = "none is shipped"
NOTE = (
    "To train a prior of a type: 'diffusionblend train VOLUMES -o PRIOR --prior-type TYPE'; "
    "'diffusionblend priors' lists the shipped ones.\n'diffusionblend methods NAME' describes a "
    "method, and the documentation's page 'Choosing a method' compares them."
)


@dataclass(frozen=True, kw_only=True)
class Methods:
    """List the methods, describe one, or say which suit a scan."""

    method: Annotated[str | None, tyro.conf.Positional] = None
    """Method to describe, with its settings; by default all are listed."""
    for_: Annotated[Path | None, tyro.conf.arg(name="for")] = None
    """Projections file (.h5) for which to list the methods that suit it, best first, with their
    commands."""
    json: bool = False
    """Print JSON instead of lines: a list, or one object where a method is named."""

    def run(self) -> None:
        """Print them, a line each, in the order of the benchmark's tables."""
        if self.for_ is not None:
            self._say_what_suits(self.for_)
            return
        if self.method is not None:
            chosen = chosen_for(self.method)
            card = _row(chosen.kind) | {"settings": _settings_of(chosen)}
            say(json.dumps(card, indent=2) if self.json else "\n".join(_card(chosen)))
            return
        rows = [_row(kind) for kind in METHODS.usable().values()]
        if self.json:
            say(json.dumps(rows, indent=2))
            return
        for row in rows:
            name = f"{row['name']:{NAME_WIDTH}}"
            say(f"{name}{row['summary']}; prior: {row['needs']}; for {row['when']}")
        say(NOTE)

    def _say_what_suits(self, scan_file: Path) -> None:
        """The methods that suit a scan, with reasons and commands. Raises InputError."""
        from diffusionblend.io.projections import read_projections
        from diffusionblend.methods.advice import advise

        if self.method is not None:
            raise InputError(
                f"Both the method {self.method} and a scan were given.",
                "one of them",
                f"diffusionblend methods --for {scan_file}",
            )
        if scan_file.exists() and kind_of(scan_file) != "projections":
            raise InputError(
                f"{scan_file} is no projections file.",
                "projections as 'simulate' and 'projections import' write them",
                f"'diffusionblend run {shlex.quote(str(scan_file))} -o results' chooses too",
            )
        found = advise(read_projections(scan_file), on_gpu=choose_device("auto") != "cpu")
        rows = [
            {
                "method": one.method,
                "why": one.why,
                "command": f"diffusionblend reconstruct {shlex.quote(str(scan_file))} "
                f"-o volume.nii.gz {' '.join(one.options())}",
            }
            for one in found
        ]
        if self.json:
            say(json.dumps(rows, indent=2))
            return
        for row in rows:
            say(f"{row['method']:{NAME_WIDTH}}{row['why']}\n  {row['command']}")


def prior_needed(method: type[Method]) -> str:
    """Which prior a method needs, and where it comes from, in a sentence or two."""
    if method.prior is None:
        return "It needs no prior."
    said = []
    kinds = {method.prior.prior_type: "--prior"}
    if method.prior.coronal:
        kinds["coronal"] = "--coronal-prior"
    for kind, option in kinds.items():
        shipped, *others = shipped_of_type(kind) or (None,)
        where = (
            f"{NONE_SHIPPED}; train one with 'train --prior-type {kind}', and give it as {option}"
            if shipped is None
            else f"by default {shipped}"
        )
        if others:
            where += f"; also shipped: {', '.join(others)}"
        also = method.prior.also if kind == method.prior.prior_type else ()
        said.append(f"It needs a prior of the type {' or '.join((kind, *also))}: {where}.")
    return " ".join(said)


def _row(method: type[Method]) -> dict[str, object]:
    """What there is to say of a method."""
    needs = []
    if method.prior is not None:
        needs = [method.prior.prior_type] + method.prior.coronal * ["coronal"]
    return {
        "name": method.name,
        "summary": method.summary,
        "needs": " and ".join(needs) or "none",
        "when": method.when,
    }


def _settings_of(chosen: Chosen) -> dict[str, object]:
    return {name: chosen.default(name) for name in chosen.settings}


def _card(chosen: Chosen) -> list[str]:
    """A method, a fact a line, then its settings."""
    row = _row(chosen.kind)
    lines = [
        f"{row['name']}: {row['summary']}",
        f"choose it for: {row['when']}",
        prior_needed(chosen.kind),
    ]
    package = METHODS.package_of(chosen.kind.name)
    if package is not None:
        lines.append(f"from the package: {package}")
    lines += ["", "settings:"]
    for name, default in _settings_of(chosen).items():
        text = field_docs(chosen.owner_of(name)).get(name, "")
        value = "" if default is None else f" (default: {default})"
        head = f"  {name}  "
        lines += textwrap.wrap(
            f"{text}{value}", WIDTH, initial_indent=head, subsequent_indent="      "
        ) or [head.rstrip()]
    return lines
