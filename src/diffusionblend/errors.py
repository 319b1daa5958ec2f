"""The errors a user can mend: each says what was got, what was expected and what to try."""

from __future__ import annotations


class InputError(Exception):
    """Bad input; the command line prints its message alone and exits with `exit_code`.

    Shapes: none. The message has up to three sentences: what was got, what was expected, what to
    try. No ValueError, since the command line's parser takes those of settings for wrong usage.
    """

    exit_code = 1

    def __init__(self, got: str, expected: str = "", try_: str = "") -> None:
        self.got, self.expected, self.try_ = got, expected, try_
        lines = [got]
        if expected:
            lines.append(f"Expected: {expected}")
        if try_:
            lines.append(f"Try: {try_}")
        super().__init__("\n".join(lines))


class OutputExistsError(InputError):
    """An output exists already and `--force` was not given."""


class OutputWriteError(InputError):
    """An output could not be written (full disk, no permission); nothing is left behind."""
