"""`diffusionblend repeat`: a run again, from its record."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Protocol, Union, get_args, get_origin, get_type_hints

import tyro

from diffusionblend.errors import InputError
from diffusionblend.provenance import read_run_record
from diffusionblend.verbs.options import Output, say


class Verb(Protocol):
    """A verb's dataclass."""

    def run(self) -> None:
        """Do it."""


@dataclass(frozen=True, kw_only=True)
class Repeat:
    """Repeat a run from its record (.run.json), with the same settings, to another output."""

    record: Annotated[Path, tyro.conf.Positional]
    """The record that lies beside the output of the run."""
    output: Output
    """Where the new output goes."""
    force: bool = False
    """Overwrite the output."""

    def run(self) -> None:
        """Build the verb from the record and run it."""
        from diffusionblend.cli import VERBS

        record = read_run_record(self.record)
        if record.verb not in VERBS:
            raise InputError(f"{self.record} is of {record.verb!r}.", f"one of {', '.join(VERBS)}")
        for path in record.changed_inputs():
            say(f"note: {path} is not the file of the first run")
        settings = {**record.settings, "output": str(self.output), "force": self.force}
        verb = build(VERBS[record.verb], settings, self.record)
        say(f"repeating {record.verb} of {record.started}")
        verb.run()


def build(kind: type, values: dict[str, Any], source: Path) -> Any:
    """A (nested) dataclass from the plain values of a record. Raises InputError."""
    hints = get_type_hints(kind)
    unknown = sorted(set(values) - {f.name for f in fields(kind)})
    if unknown:
        raise InputError(f"{source} has settings that {kind.__name__} lacks: {unknown}.")
    return kind(**{k: _converted(hints[k], v, source) for k, v in values.items()})


def _converted(hint: Any, value: Any, source: Path) -> Any:
    """A plain value as the field's type: paths, tuples and nested settings."""
    if is_dataclass(hint):
        return build(hint, value, source)
    choices = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    if isinstance(value, str) and Path in choices:
        return Path(value).expanduser()
    if isinstance(value, list):
        return tuple(value)
    return value
