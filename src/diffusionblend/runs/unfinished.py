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

    The record is that of the last of them. The mark stays where the block has written an output and
    fails before its record. Raises OutputWriteError.
    """
    record = run_record_path(outputs[-1])
    mark = temporary_path(record)
    before = {path.name: _stamp(path) for path in outputs}
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        mark.write_text(json.dumps({OUTPUTS: before}), encoding="utf-8")
    except OSError as error:
        with suppress(OSError):
            mark.unlink()
        failure = write_error(error, record, mark)
        if failure is None:
            raise
        raise failure from error
    has_ended = False
    try:
        yield
        has_ended = True
    except OutputExistsError:  # another process has made it meanwhile
        has_ended = True
        raise
    finally:
        if has_ended or all(_stamp(path) == before[path.name] for path in outputs):
            with suppress(OSError):
                mark.unlink()


def remove_unfinished(output: Path) -> None:
    """Remove what a killed process wrote of `output`: it has no record, and a mark of ours.

    What was there before that process, and is there still, stays.
    """
    record = run_record_path(output)
    if record.exists():
        return
    for mark, _ in leftovers_of(record):
        for name, before in _marked(mark).items():
            path = output.with_name(name)
            if _stamp(path) in (None, before):
                continue
            with suppress(OSError):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()
        with suppress(OSError):
            mark.unlink()


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
