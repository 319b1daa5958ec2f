"""Checkpoints of a training run, and whether a run may go on from one."""

from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import asdict
from pathlib import Path

import torch

from diffusionblend.errors import InputError
from diffusionblend.io.atomic import atomic_output
from diffusionblend.io.foreign.edge import reason_of
from diffusionblend.priors.config import with_prior_type
from diffusionblend.training.settings import TrainSettings

CHECKPOINT_FILE = "checkpoint.pt"
SHA256 = "sha256"
"""The key of the hash of all others."""
MAY_CHANGE = ("steps", "decay_steps", "checkpoint_minutes", "validate_every") + (
    *("samples_every", "keep_every", "accumulate"),
)
"""Settings that a resumed run may have otherwise."""
SOURCES = (("data", "training data", "volumes"), ("teachers", "teachers", "--teachers"))
"""What a run learns from: the key of its hashes, and how messages name it."""


def previous_path(path: Path) -> Path:
    """Where the checkpoint before the last one lies."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def write_checkpoint(path: Path, state: dict[str, object]) -> None:
    """Write all that a resume needs, whole or not at all; the one before is kept beside it.

    Raises OutputWriteError.
    """
    with atomic_output(path, force=True) as temporary:
        torch.save(state | {SHA256: _sha256_of(state)}, temporary)
        if path.exists():
            path.replace(previous_path(path))


def has_checkpoint(path: Path) -> bool:
    """Whether there is a checkpoint, or one before it."""
    return path.exists() or previous_path(path).exists()


def read_checkpoint(path: Path, device: torch.device) -> dict:
    """The state in a checkpoint; where that is damaged, of the one before it, with a warning.

    Raises InputError where both are damaged, or there is only one.
    """
    previous = previous_path(path)
    if not path.exists():  # killed between moving the one away and putting the other in its place
        return _read(previous, device)
    try:
        return _read(path, device)
    except InputError as error:
        if not previous.exists():
            raise
        try:
            state = _read(previous, device)
        except InputError:
            raise error from None
        warnings.warn(
            f"{error.got} The checkpoint before it is taken, of step {state.get('step')}.",
            stacklevel=2,
        )
        return state


def _read(path: Path, device: torch.device) -> dict:
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        if state.pop(SHA256) != _sha256_of(state):
            raise ValueError("its SHA-256 is another than it says")
    except Exception as error:  # of zip, pickle, torch, and of what a damaged file says
        raise InputError(
            f"{path} cannot be read: {reason_of(error)}.",
            "a checkpoint as written by 'diffusionblend train'",
            "another output folder, or --force to start anew",
        ) from error
    return state


def _sha256_of(state: object) -> str:
    """Of all that a checkpoint contains."""
    digest = hashlib.sha256()
    _add(digest, state)
    return digest.hexdigest()


def _add(digest: hashlib._Hash, value: object) -> None:
    """Add a value and all within it, each with its kind and size, so that no two look alike."""
    if isinstance(value, torch.Tensor):
        plain = value.detach().cpu().contiguous()
        digest.update(f"tensor {plain.dtype} {tuple(plain.shape)};".encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy().data)
    elif isinstance(value, dict):
        digest.update(f"mapping {len(value)};".encode())
        for key, held in value.items():
            _add(digest, key)
            _add(digest, held)
    elif isinstance(value, list | tuple):
        digest.update(f"list {len(value)};".encode())
        for held in value:
            _add(digest, held)
    else:
        digest.update(f"{type(value).__name__} {value!r};".encode())


def check_same_settings(path: Path, settings: TrainSettings, stored: dict) -> None:
    """Raises InputError where a checkpoint had other settings; what it lacks had the default."""
    ours = plain_settings(settings)
    network = with_prior_type(stored.get("network", {}))
    theirs = _filled(stored | {"network": network}, plain_settings(TrainSettings()))
    changed = [k for k in ours if ours[k] != theirs.get(k) and k not in MAY_CHANGE]
    if changed:
        raise InputError(
            f"{path} was written with other settings: {', '.join(changed)}.",
            "the same settings to resume it",
            "another output folder, or --force to start anew",
        )


def check_same_sources(path: Path, ours: dict[str, object], stored: dict) -> None:
    """Raises InputError where a checkpoint had other training data, by their fingerprint, or other
    teachers; one that says nothing of teachers had none.
    """
    for name, what, wanted in SOURCES:
        if stored.get(name, [] if name == "teachers" else None) != ours[name]:
            raise InputError(
                f"{path} was written with other {what}.",
                f"the same {wanted} to resume it",
                "another output folder, or --force to start anew",
            )


def plain_settings(settings: TrainSettings) -> dict:
    """Settings as JSON would give them back, so that stored and new ones compare equal."""
    return json.loads(json.dumps(asdict(settings)))


def _filled(stored: dict, defaults: dict) -> dict:
    """Stored settings with the default of each that they lack, nested ones too."""
    filled = defaults | stored
    for name, value in filled.items():
        if isinstance(value, dict) and isinstance(defaults.get(name), dict):
            filled[name] = _filled(value, defaults[name])
    return filled
