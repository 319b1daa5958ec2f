"""What a finished output was made with, against what is asked for now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from diffusionblend.runs.record import plain_value, read_run_record, run_record_path


def settings_that_differ(
    output: Path, settings: Mapping[str, object], names: Iterable[str]
) -> list[str]:
    """Those of the named settings, one within another too, that an output's record tells otherwise.

    What the record does not tell is taken as equal. Raises InputError where it cannot be read.
    """
    told = read_run_record(run_record_path(output)).settings
    asked = plain_value(dict(settings))
    differ: list[str] = []
    for name in names:
        old, new = told.get(name, asked[name]), asked[name]
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            differ += [key for key in new if old.get(key, new[key]) != new[key]]
        elif old != new:
            differ.append(name)
    return differ
