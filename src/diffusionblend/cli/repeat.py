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
from diffusionblend.cli.recorded import RECORDED, Command
from diffusionblend.errors import InputError
from diffusionblend.methods import METHODS
from diffusionblend.methods.base import Method
from diffusionblend.methods.plain import from_plain
from diffusionblend.runs.record import ONCE_MORE, RunRecord, path_of_portable, read_run_record

OUTPUTS = ("output", "report", "figure", "static")
"""The settings that name outputs; the record lies beside the first of them that is given."""
PLAIN_KINDS = (int, bool, str, type(None))
HOME_PREFIX = "~/"
"""How records write the user's home folder."""


@dataclass(frozen=True, kw_only=True)
class Repeat:
    """Repeat a run from its record (.run.json), with the same settings, to another output."""

    record: Annotated[Path, tyro.conf.Positional]
    """Run record, which lies beside the output of the run."""
    output: Output
    """File or folder for the new output."""
    changed: bool = False
    """Continue even if an input or the prior has changed since."""
    force: bool = False
    """Overwrite the output."""

    def run(self) -> None:
        """Build the command from the record and run it."""
        record = read_run_record(self.record)
        if record.command not in RECORDED:
            raise InputError(
                f"{self.record} is of {record.command!r}.",
                f"one of {', '.join(RECORDED)}",
                ONCE_MORE,
            )
        with progress("hash the inputs (MB)", after_seconds=PATIENCE_SECONDS) as on_step:
            changed = record.changed_inputs(on_step)
        for path in changed:
            self._refuse_or_report(f"{path} is not the file of the first run")
        command = repeated(record, self.output, self.record, force=self.force)
        for name in _other_priors(record, command):
            self._refuse_or_report(f"the weights of {name} are not those of the first run")
        say(f"repeating {record.command} of {record.started}")
        command.run()

    def _refuse_or_report(self, change: str) -> None:
        """Raise InputError for what would make it another run, unless that is wanted."""
        if not self.changed:
            raise InputError(
                f"This would be another run: {change}.",
                "the inputs and the prior as they were",
                "--changed, to run it on what is there now",
            )
        say(f"note: {change}")


def repeated(record: RunRecord, output: Path, source: Path, *, force: bool) -> Command:
    """The command of a record, with another output. source: the record's file, for messages.

    Raises InputError.
    """
    kind = RECORDED[record.command].load()
    settings = _redirected(record.settings, output, source)
    if "force" in {f.name for f in fields(kind)}:  # type: ignore[arg-type]
        settings |= {"force": force}
    return build(kind, settings, source)


def _other_priors(record: RunRecord, command: Command) -> list[str]:
    """The priors that have other weights by now; of a lost one the command itself reports."""
    from diffusionblend.priors.prior import sha256_of_weights
    from diffusionblend.priors.store import find_prior

    others = []
    for role, noted in record.priors.items():
        name = getattr(command, role, None) or noted.get("name")
        if name is None:
            continue
        name = str(path_of_portable(str(name))) if str(name).startswith("~") else str(name)
        try:
            if sha256_of_weights(find_prior(name)) != noted.get("weights_sha256"):
                others.append(name)
        except (InputError, OSError):
            continue
    return others


def _redirected(settings: object, output: Path, source: Path) -> dict[str, Any]:
    """A record's settings with `output` for the first output, the others by their suffix beside it.

    Raises InputError where there is none.
    """
    settings = dict(settings) if isinstance(settings, Mapping) else {}
    named = [name for name in OUTPUTS if settings.get(name) is not None]
    if not named:
        raise InputError(
            f"{source} names no output.", "the settings of a run that wrote one", ONCE_MORE
        )
    main, *others = named
    moved = {name: str(output.with_suffix(Path(settings[name]).suffix)) for name in others}
    return settings | moved | {main: str(output)}


def build(kind: type, values: Mapping[str, Any], source: Path) -> Any:
    """A (nested) dataclass from the plain values of a record. Raises InputError."""
    hints = get_type_hints(kind)
    if not isinstance(values, Mapping):
        raise InputError(f"{source} has {values!r} for {kind.__name__}.", "its settings", ONCE_MORE)
    values = dict(values)
    if hints.get("method") is Method:
        values["method"] = _method_of(
            values.pop("method", None), values.pop("settings", {}), source
        )
    unknown = sorted(set(values) - {f.name for f in fields(kind)})
    missing = sorted({f.name for f in fields(kind) if _is_required(f)} - set(values))
    if unknown or missing:
        raise InputError(
            f"{source} has settings that {kind.__name__} lacks, {unknown}, or lacks {missing}.",
            "a record of this version of diffusionblend",
            "the version that wrote it, or the run once more",
        )
    made = {k: _converted(hints[k], v, source, k) for k, v in values.items()}
    try:
        return kind(**made)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"{source} has settings that {kind.__name__} does not take: {error}.",
            "the record as it was written",
            ONCE_MORE,
        ) from error


def _method_of(name: object, settings: object, source: Path) -> Method:
    """A method from its name and flat settings, as a record contains them. Raises InputError."""
    if not isinstance(settings, Mapping):
        raise InputError(
            f"{source} has {settings!r} for the settings of {name}.", "its settings", ONCE_MORE
        )
    kind = METHODS[str(name)]
    hints = get_type_hints(kind)
    for one, value in settings.items():
        if one in hints and not is_dataclass(hints[one]):
            _check_kind(hints[one], value, source, one)
    try:
        return from_plain(kind, settings)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"{source} has settings that {name} does not take: {error}.",
            "the record as it was written",
            ONCE_MORE,
        ) from error


def _is_required(field: Field) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _converted(hint: Any, value: Any, source: Path, name: str) -> Any:
    """A plain value as the field's type: paths, tuples and nested settings."""
    if isinstance(value, Method):
        return value
    if isinstance(hint, type) and is_dataclass(hint):
        return build(hint, value, source)
    _check_kind(hint, value, source, name)
    choices = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    if get_origin(hint) is Literal and value not in get_args(hint):
        raise InputError(
            f"{source} has the setting {value!r}.", f"one of {get_args(hint)}", ONCE_MORE
        )
    if isinstance(value, str) and (Path in choices or value.startswith(HOME_PREFIX)):
        path = path_of_portable(value)
        return path if Path in choices else str(path)
    if isinstance(value, list):
        return tuple(path_of_portable(v) if Path in get_args(hint) else v for v in value)
    return value


def _check_kind(hint: Any, value: Any, source: Path, name: str) -> None:
    """Raise InputError where a plain value is none of those that a field takes."""
    if not _fits(hint, value):
        raise InputError(
            f"{source} has {value!r} for the setting {name}.",
            "the record as it was written",
            ONCE_MORE,
        )


def _fits(hint: Any, value: Any) -> bool:
    """Whether a plain value, as JSON has it, is one of a type's; unknown types take any."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _fits(inner[0], value)
    if origin in (Union, UnionType):
        return any(_fits(one, value) for one in inner)
    if origin is Literal:
        return value in inner
    if origin in (tuple, list):
        if not isinstance(value, list):
            return False
        if inner and inner[-1] is not Ellipsis and origin is tuple:
            return len(value) == len(inner) and all(map(_fits, inner, value))
        return all(_fits(inner[0], one) for one in value) if inner else True
    if hint is float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number or value in ("nan", "inf", "-inf")
    if hint is Path:
        return isinstance(value, str)
    if hint in PLAIN_KINDS:
        return type(value) is hint
    return True
