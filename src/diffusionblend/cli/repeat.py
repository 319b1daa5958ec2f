"""`diffusionblend repeat`: a run again, from its record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import tyro

from diffusionblend.cli.common import Output, say
from diffusionblend.cli.progress import PATIENCE_SECONDS, progress
from diffusionblend.cli.recorded import RECORDED, Verb
from diffusionblend.cli.recorded_priors import SHIPPED
from diffusionblend.errors import InputError
from diffusionblend.runs.record import RunRecord, read_run_record

OUTPUTS = ("output", "report", "figure", "static")
"""The settings that name outputs; the record lies beside the first of them that is given."""
HOME_PREFIX = "~/"
"""How records write the user's home folder."""


@dataclass(frozen=True, kw_only=True)
class Repeat:
    """Repeat a run from its record (.run.json), with the same settings, to another output."""

    record: Annotated[Path, tyro.conf.Positional]
    """The record that lies beside the output of the run."""
    output: Output
    """Where the new output goes."""
    changed: bool = False
    """Go on where an input or the prior is another by now."""
    force: bool = False
    """Overwrite the output."""

    def run(self) -> None:
        """Build the verb from the record and run it."""
        record = read_run_record(self.record)
        if record.verb not in RECORDED:
            raise InputError(
                f"{self.record} is of {record.verb!r}.", f"one of {', '.join(RECORDED)}"
            )
        with progress("hash the inputs (MB)", after_seconds=PATIENCE_SECONDS) as on_step:
            changed = record.changed_inputs(on_step)
        for path in changed:
            self._refuse_or_tell(f"{path} is not the file of the first run")
        settings = _redirected(record.settings, self.output, self.record)
        verb = build(RECORDED[record.verb], settings | {"force": self.force}, self.record)
        if _has_another_prior(record, verb):
            name = verb.prior or "the shipped priors"
            self._refuse_or_tell(f"the weights of {name} are not those of the first run")
        say(f"repeating {record.verb} of {record.started}")
        verb.run()

    def _refuse_or_tell(self, change: str) -> None:
        """Raise InputError for what would make it another run, unless that is wanted."""
        if not self.changed:
            raise InputError(
                f"This would be another run: {change}.",
                "the inputs and the prior as they were",
                "--changed, to run it on what is there now",
            )
        say(f"note: {change}")


def _has_another_prior(record: RunRecord, verb: Verb) -> bool:
    """Whether the prior has other weights by now; of a lost one the verb itself tells."""
    if record.weights_sha256 is None or not hasattr(verb, "prior"):
        return False
    name = verb.prior
    from diffusionblend.priors.prior import sha256_of_weights
    from diffusionblend.priors.store import find_prior, shipped_priors

    try:
        shipped = {sha256_of_weights(folder) for folder in shipped_priors().values()}
        known = shipped if name is None else {sha256_of_weights(find_prior(name))}
        others = set(record.results.get(SHIPPED, {}).values())
        return record.weights_sha256 not in known or not others <= shipped
    except (InputError, OSError):
        return False


def _redirected(settings: object, output: Path, source: Path) -> dict[str, Any]:
    """A record's settings with `output` for the first output, the others by their suffix beside it.

    Raises InputError where there is none.
    """
    settings = dict(settings) if isinstance(settings, Mapping) else {}
    named = [name for name in OUTPUTS if settings.get(name) is not None]
    if not named:
        raise InputError(f"{source} names no output.", "the settings of a run that wrote one")
    main, *others = named
    moved = {name: str(output.with_suffix(Path(settings[name]).suffix)) for name in others}
    return settings | moved | {main: str(output)}


def build(kind: type, values: dict[str, Any], source: Path) -> Any:
    """A (nested) dataclass from the plain values of a record. Raises InputError."""
    hints = get_type_hints(kind)
    if not isinstance(values, Mapping):
        raise InputError(f"{source} has {values!r} for {kind.__name__}.", "its settings")
    unknown = sorted(set(values) - {f.name for f in fields(kind)})
    missing = sorted({f.name for f in fields(kind) if _is_required(f)} - set(values))
    if unknown or missing:
        raise InputError(
            f"{source} has settings that {kind.__name__} lacks, {unknown}, or lacks {missing}.",
            "a record of this version of diffusionblend",
        )
    return kind(**{k: _converted(hints[k], v, source) for k, v in values.items()})


def _is_required(field: Field) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _converted(hint: Any, value: Any, source: Path) -> Any:
    """A plain value as the field's type: paths, tuples and nested settings."""
    if is_dataclass(hint):
        return build(hint, value, source)
    choices = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    if get_origin(hint) is Literal and value not in get_args(hint):
        raise InputError(f"{source} has the setting {value!r}.", f"one of {get_args(hint)}")
    if isinstance(value, str) and (Path in choices or value.startswith(HOME_PREFIX)):
        path = Path(value).expanduser()
        return path if Path in choices else str(path)
    if isinstance(value, list):
        return tuple(Path(v).expanduser() if Path in get_args(hint) else v for v in value)
    return value
