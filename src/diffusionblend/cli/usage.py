"""Wrong usage of the command line, and the names that were probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from diffusionblend.errors import InputError


class UsageError(InputError):
    """A command line that does not parse; the program exits with 2."""

    exit_code = 2


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question with the nearest known name; nothing where none is near."""
    near = difflib.get_close_matches(name, list(known), 1)
    return f"did you mean {near[0]}?" if near else ""
