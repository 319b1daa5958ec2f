"""The state of an unfinished reconstruction on disk: safetensors with what it belongs to."""

from __future__ import annotations

import errno
import hashlib
import json
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from diffusionblend.errors import InputError
from diffusionblend.io.atomic import atomic_output
from diffusionblend.io.foreign.edge import reason_of

STATE_SUFFIX, PREVIOUS_SUFFIX = ".state", ".previous"


def state_path(output: Path | str) -> Path:
    """Where the state of a run that makes `output` lies until it ends: `<output>.state`."""
    output = Path(output)
    return output.with_name(output.name + STATE_SUFFIX)


def previous_path(path: Path) -> Path:
    """Where the state before the last one lies."""
    return path.with_name(path.name + PREVIOUS_SUFFIX)


def write_state(
    path: Path, done: int, arrays: Mapping[str, np.ndarray], identity: Mapping[str, object]
) -> None:
    """Write the arrays after `done` steps, whole or not at all; the state before is kept beside it.

    identity: plain values of all that decides the run. Raises OutputWriteError.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    facts = {"done": str(done), "identity": _digest(identity)}
    facts["sha256"] = _sha256_of(arrays, facts)
    with atomic_output(path, force=True) as temporary:
        try:
            save_file(dict(arrays), temporary, metadata=facts)
        except SafetensorError as error:  # of a full disk, too
            raise OSError(errno.EIO, str(error)) from error
        if path.exists():
            path.replace(previous_path(path))


def read_state(
    path: Path, identity: Mapping[str, object]
) -> tuple[int, dict[str, np.ndarray]] | None:
    """The steps done and the arrays; None where there is no state.

    Where the file is damaged, the state before is taken, with a warning. Raises InputError where
    that is damaged too, or there is none, and for a state of a run with another identity.
    """
    previous = previous_path(path)
    if not path.exists():  # killed between moving the one away and putting the other in its place
        return _read(previous, identity) if previous.exists() else None
    try:
        return _read(path, identity)
    except DamagedStateError as error:
        if not previous.exists():
            raise
        try:
            found = _read(previous, identity)
        except DamagedStateError:
            raise error from None
        warnings.warn(f"{error.got} The state before it is taken, {previous}.", stacklevel=2)
        return found


def remove_state(path: Path) -> None:
    """Remove the state and the one before it."""
    path.unlink(missing_ok=True)
    previous_path(path).unlink(missing_ok=True)


class DamagedStateError(InputError):
    """A state file that is not what was written."""


def _read(path: Path, identity: Mapping[str, object]) -> tuple[int, dict[str, np.ndarray]]:
    """One state file. Raises DamagedStateError, and InputError for another run's."""
    from safetensors import safe_open

    try:
        if not path.is_file():
            raise ValueError("it is no plain file")
        with safe_open(path, "np") as file:
            facts = dict(file.metadata() or {})
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if facts.pop("sha256", None) != _sha256_of(arrays, facts):
            raise ValueError("its SHA-256 is another than it says")
        done = int(facts["done"])
    except Exception as error:  # of the library, the system, and of what a damaged file says
        raise DamagedStateError(
            f"The state file {path} cannot be read: {reason_of(error)}.",
            "a state as 'diffusionblend reconstruct' writes it",
            "--force to start anew",
        ) from error
    if facts["identity"] != _digest(identity):
        raise InputError(
            f"The state file {path} is of a run with another scan, prior or settings.",
            "the state of the same run",
            "the first run's settings to finish it, or --force to start anew",
        )
    return done, arrays


def _sha256_of(arrays: Mapping[str, np.ndarray], facts: Mapping[str, str]) -> str:
    """Of all that a state file says."""
    digest = hashlib.sha256(json.dumps(dict(facts), sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _digest(identity: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
