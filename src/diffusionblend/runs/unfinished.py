"""Outputs whose record is still to be written: what a kill between the two left is made anew.

While an output and its record are written, a hidden file beside them names the output. Where that
file is left by a process that is no more, the output is one of ours and unfinished, and no file of
somebody else's.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from diffusionblend.errors import OutputExistsError
from diffusionblend.io.atomic import leftovers_of, temporary_path, write_error
from diffusionblend.io.json_file import NO_JSON
from diffusionblend.runs.record import run_record_path

OUTPUTS = "unfinished_outputs"


@contextmanager
def unfinished(outputs: Sequence[Path]) -> Iterator[None]:
    """Mark outputs as unfinished until the block, which writes them and their record, has ended.

    The record is that of the last of them. Where the block fails, by a signal too, what it has
    written goes with the mark: an output is whole with its record, or absent. Raises
    OutputWriteError.
    """
    record = run_record_path(outputs[-1])
    mark = temporary_path(record)
    before = {path: _stamp(path) for path in (*outputs, record)}
    is_ours = True
    try:
        _write_mark(mark, before, record)
        yield
        is_ours = False
    except OutputExistsError:  # another process has made it meanwhile
        is_ours = False
        raise
    finally:
        if is_ours:
            _remove_changed(record, before)
        with suppress(OSError):
            mark.unlink()


def _write_mark(mark: Path, before: dict[Path, str | None], record: Path) -> None:
    """The mark names the outputs in the record's folder; those elsewhere are not found by it."""
    home = record.absolute().parent
    beside = {p.name: stamp for p, stamp in before.items() if p.absolute().parent == home}
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        mark.write_text(json.dumps({OUTPUTS: beside}), encoding="utf-8")
    except OSError as error:
        failure = write_error(error, record, mark)
        if failure is None:
            raise
        raise failure from error


def remove_unfinished(output: Path) -> None:
    """Remove what a killed process wrote of `output`: it has a mark of ours, and no new record.

    What was there before that process, and is there still, stays.
    """
    record = run_record_path(output)
    for mark, _ in leftovers_of(record):
        before = {record.with_name(name): stamp for name, stamp in _marked(mark).items()}
        _remove_changed(record, before)
        with suppress(OSError):
            mark.unlink()


def _remove_changed(record: Path, before: dict[Path, str | None]) -> None:
    """Remove the outputs that are not as before, unless their record was written after them.

    An older record, which is not of what was written, goes with them.
    """
    if _stamp(record) not in (None, before.get(record)):
        return
    changed = [p for p in before if p != record and _stamp(p) not in (None, before[p])]
    for path in [*changed, record] if changed else []:
        with suppress(OSError):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def _stamp(path: Path) -> str | None:
    """Tells one file or folder from another that takes its place; None where there is none."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return f"{found.st_ino} {found.st_mtime_ns}"


def _marked(mark: Path) -> dict[str, str | None]:
    """The outputs that a mark names, and what was there before: plain names, or nothing."""
    try:
        found = json.loads(mark.read_text(encoding="utf-8"))
    except (OSError, *NO_JSON):
        return {}
    named = found.get(OUTPUTS) if isinstance(found, dict) else None
    named = named if isinstance(named, dict) else {}
    return {n: before for n, before in named.items() if n not in ("", "..") and Path(n).name == n}
