"""Checkpoints of a training run, and whether a run may go on from one."""

from __future__ import annotations

import json
import pickle
from dataclasses import asdict
from pathlib import Path

import torch

from diffusionblend.errors import InputError
from diffusionblend.io.atomic import atomic_output
from diffusionblend.priors.config import with_prior_type
from diffusionblend.training.settings import TrainSettings

CHECKPOINT_FILE = "checkpoint.pt"
MAY_CHANGE = ("steps", "decay_steps", "checkpoint_minutes", "validate_every") + (
    *("samples_every", "keep_every", "accumulate"),
)
"""Settings that a resumed run may have otherwise."""


def write_checkpoint(path: Path, state: dict[str, object]) -> None:
    """Write all that a resume needs, whole or not at all; raises OutputWriteError."""
    with atomic_output(path, force=True) as temporary:
        torch.save(state, temporary)


def read_checkpoint(path: Path, device: torch.device) -> dict:
    """The state in a checkpoint; raises InputError where the file is damaged."""
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        raise InputError(
            f"{path} cannot be read: {str(error).partition(chr(10))[0]}",
            "a checkpoint as written by 'diffusionblend train'",
            "another output folder, or --force to start anew",
        ) from error


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


def check_same_data(path: Path, ours: str, stored: object) -> None:
    """Raises InputError where a checkpoint had training data of another fingerprint."""
    if stored != ours:
        raise InputError(
            f"{path} was written with other training data.",
            "the same volumes to resume it",
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
