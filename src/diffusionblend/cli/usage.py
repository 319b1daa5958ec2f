"""Wrong usage of the command line."""

from __future__ import annotations

from diffusionblend.errors import InputError


class UsageError(InputError):
    """A command line that does not parse; the program exits with 2."""

    exit_code = 2
