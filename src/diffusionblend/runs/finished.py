"""What a finished output was made with, against what is asked for now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from diffusionblend.runs.record import plain_value, read_run_record, run_record_path


def settings_that_differ(
    output: Path, settings: Mapping[str, object], names: Iterable[str]
) -> list[str]:
    """Those of the named settings that are recorded otherwise for an output.

    Of a mapping within the settings each entry is compared, and named itself; None there stands for
    a default that the run has worked out. What is not recorded is taken as equal. Raises InputError
    where the record cannot be read.
    """
    recorded = read_run_record(run_record_path(output)).settings
    asked = {name: plain_value(value) for name, value in settings.items()}
    differ: list[str] = []
    for name in names:
        old, new = recorded.get(name, asked[name]), asked[name]
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            given = {key: value for key, value in new.items() if value is not None}
            differ += [key for key in given if old.get(key, given[key]) != given[key]]
        elif old != new:
            differ.append(name)
    return differ
