"""The edge of every reader: whatever a library raises on a foreign file is an InputError there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from diffusionblend.errors import InputError

WHOLE_FILE = "a whole file of the format that its name says"
COPY_AGAIN = "copy it again (it is truncated or damaged)"
WRITE_ANEW = "copy it again, or write it anew"
LONGEST_REASON = 200


@contextmanager
def foreign_edge(source: Path | str) -> Iterator[None]:
    """Turn whatever the block raises into an InputError that names the source."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise as_input_error(error, source) from error


def as_input_error(error: Exception, source: Path | str) -> InputError:
    """What a library raised on a foreign file, as an InputError with the file's name."""
    if isinstance(error, InputError):
        return error
    if isinstance(error, MemoryError):
        return InputError(
            f"{source} takes more memory than it may: more than is free, or than files of its size "
            "need.",
            WHOLE_FILE,
            f"{COPY_AGAIN}; or a machine with more memory",
        )
    if isinstance(error, RecursionError):
        return InputError(f"{source} is nested too deeply.", WHOLE_FILE, COPY_AGAIN)
    return InputError(
        f"{source} could not be read: {reason_of(error)}.",
        WHOLE_FILE,
        COPY_AGAIN,
    )


def reason_of(error: Exception) -> str:
    """A library's message in one line: its last, without a full stop; its kind where it is none."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    said = str(error)
    if said == str(error.args) and isinstance(error.args[0], str):  # of several arguments
        said = error.args[0]
    lines = [" ".join(line.split()) for line in said.splitlines() if line.strip()]
    reason = lines[-1].rstrip(".") if lines else ""
    if len(reason) > LONGEST_REASON:
        reason = f"{reason[:LONGEST_REASON]}..."
    is_plain = " " in reason and not isinstance(error, KeyError)
    return reason if is_plain else f"{type(error).__name__} {reason}".strip()
