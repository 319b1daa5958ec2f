"""JSON files, with errors that a user can mend."""

from __future__ import annotations

import json
from pathlib import Path

from diffusionblend.errors import InputError
from diffusionblend.io.atomic import check_readable

NO_JSON = (ValueError, RecursionError)
"""What Python raises of text that is no JSON or TOML, of other bytes than UTF-8, deep nesting."""


def read_json_object(path: Path | str, what: str, expected: str, try_: str) -> dict:
    """The one object of a JSON file. Raises InputError for anything else.

    what: what the file should be, such as "a run record"; expected and try_: for the message.
    """
    path = Path(path)
    check_readable(path)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except NO_JSON as error:
        deep = isinstance(error, RecursionError)
        reason = "it is nested too deeply" if deep else f"not valid JSON: {error}"
        raise InputError(f"{path} is not {what}: {reason}.", expected, try_) from error
    if not isinstance(found, dict):
        raise InputError(f"{path} is not {what}: it is no JSON object.", expected, try_)
    return found
