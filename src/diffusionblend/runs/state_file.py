"""The state of an unfinished reconstruction on disk: safetensors with what it belongs to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from diffusionblend.errors import InputError
from diffusionblend.io.atomic import atomic_output

STATE_SUFFIX = ".state"


def state_path(output: Path | str) -> Path:
    """Where the state of a run that makes `output` lies until it ends: `<output>.state`."""
    output = Path(output)
    return output.with_name(output.name + STATE_SUFFIX)


def write_state(
    path: Path, done: int, arrays: Mapping[str, np.ndarray], identity: Mapping[str, object]
) -> None:
    """Write the arrays after `done` steps, whole or not at all.

    identity: plain values of all that decides the run. Raises OutputWriteError.
    """
    from safetensors.numpy import save_file

    facts = {"done": str(done), "identity": _digest(identity)}
    with atomic_output(path, force=True) as temporary:
        save_file(dict(arrays), temporary, metadata=facts)


def read_state(
    path: Path, identity: Mapping[str, object]
) -> tuple[int, dict[str, np.ndarray]] | None:
    """The steps done and the arrays; None where there is no state.

    Raises InputError for a file that is damaged or of a run with another identity.
    """
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        return None
    try:
        with safe_open(path, "np") as file:
            facts = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            done = int(facts["done"])
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise InputError(
            f"The state file {path} cannot be read: {error}.",
            "a state as 'diffusionblend reconstruct' writes it",
            "--force to start anew",
        ) from error
    if facts.get("identity") != _digest(identity):
        raise InputError(
            f"The state file {path} is of a run with another scan, prior or settings.",
            "the state of the same run",
            "the first run's settings to finish it, or --force to start anew",
        )
    return done, arrays


def _digest(identity: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
