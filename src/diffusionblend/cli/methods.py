"""`diffusionblend methods`: what there is to reconstruct with, what it needs, when to choose it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from diffusionblend.cli.common import say
from diffusionblend.methods.method import Method
from diffusionblend.methods.registry import METHODS

NAME_WIDTH = 17
NOTE = (
    "a prior of a type: 'diffusionblend train VOLUMES -o PRIOR --prior-type TYPE'; chest-128, "
    "which comes with the package, is joint\nat length: docs/choosing-a-method.md"
)


@dataclass(frozen=True, kw_only=True)
class Methods:
    """List the methods: what each is, which prior it needs, when to choose it."""

    json: bool = False
    """Print JSON instead of lines: a list of objects."""

    def run(self) -> None:
        """Print them, a line each, in the order of the benchmark's tables."""
        rows = [_row(name, method) for name, method in METHODS.items()]
        if self.json:
            say(json.dumps(rows, indent=2))
            return
        for row in rows:
            name = f"{row['name']:{NAME_WIDTH}}"
            say(f"{name}{row['summary']}; prior: {row['needs']}; for {row['when']}")
        say(NOTE)


def _row(name: str, method: Method) -> dict[str, str]:
    """What there is to say of a method."""
    layouts = [layout for layout in (method.layout, method.perpendicular) if layout is not None]
    needs = " and ".join(layouts) or "none"
    return {"name": name, "summary": method.summary, "needs": needs, "when": method.when}
