"""What a prior is, in a few facts, without loading its network."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusionblend.errors import InputError
from diffusionblend.priors.config import with_prior_type
from diffusionblend.priors.prior import WEIGHTS_FILE, read_facts, sha256_of_weights
from diffusionblend.priors.prior_types.registry import prior_type_of
from diffusionblend.priors.store import find_prior

BYTES_PER_MB = 1e6


@dataclass(frozen=True, kw_only=True)
class PriorSummary:
    """A prior in short; None for what its files do not contain.

    slice_pixels: width and height of its slices, None of a prior for every pixel size.
    told_lengths: whether it is one; pixel_range_mm: the pixels that it serves. file_mb: the weight
    file's, in MB (10^6 bytes). whole: whether the weights have the SHA-256 that prior.json names.
    problem: why not.
    """

    name: str
    folder: Path
    slice_pixels: int | None = None
    told_lengths: bool | None = None
    pixel_range_mm: tuple[float, float] | None = None
    parameters: int | None = None
    block_slices: int | None = None
    prior_type: str | None = None
    file_mb: float | None = None
    trained_on: str | None = None
    validation_loss: float | None = None
    weights_sha256: str | None = None
    whole: bool = False
    problem: str | None = None


def summarise_prior(name_or_folder: str | Path) -> PriorSummary:
    """A prior by shipped name, folder or hub id, in short; a damaged one is described as such.

    Raises InputError where there is no prior at all.
    """
    folder = find_prior(name_or_folder)
    name = str(name_or_folder)
    try:
        facts = read_facts(folder)
    except InputError as error:
        return PriorSummary(name=name, folder=folder, problem=error.got)
    network, trained = _network(facts), _mapping(facts.get("trained"))
    any_size = bool(network.get("length_codes"))
    digest = sha256_of_weights(folder)
    whole = digest == facts.get("weights_sha256")
    return PriorSummary(
        name=name,
        folder=folder,
        slice_pixels=None if any_size else network.get("image_size"),
        told_lengths=any_size if network else None,
        pixel_range_mm=_pixel_range_mm(facts) if any_size else None,
        parameters=_n_parameters(folder / WEIGHTS_FILE),
        block_slices=_block_slices(network),
        prior_type=network.get("prior_type"),
        file_mb=round((folder / WEIGHTS_FILE).stat().st_size / BYTES_PER_MB, 1),
        trained_on=_training_in_short(trained),
        validation_loss=trained.get("validation_loss"),
        weights_sha256=digest,
        whole=whole,
        problem=None if whole else "the weights have another SHA-256 than prior.json names",
    )


def _network(facts: dict) -> dict[str, Any]:
    """The network's settings in prior.json; the first priors have no prior type, and are joint."""
    network = _mapping(facts.get("network"))
    return {"prior_type": "joint"} | with_prior_type(network) if network else {}


def _pixel_range_mm(facts: dict) -> tuple[float, float] | None:
    """The smallest and largest pixels in prior.json; None where it has no proper ones."""
    try:
        low, high = facts["pixel_range_mm"]
        return float(low), float(high)
    except (KeyError, TypeError, ValueError):
        return None


def _block_slices(network: dict) -> int | None:
    """Slices of a block; None where the settings are not those of a known prior type."""
    try:
        return prior_type_of(network["prior_type"]).slices_seen(network["block_slices"])
    except (KeyError, TypeError, InputError):
        return None


def _n_parameters(weights: Path) -> int | None:
    """The numbers in a weight file by its header; None where it has no proper one."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(weights, framework="numpy") as file:
            return sum(math.prod(file.get_slice(key).get_shape()) for key in file.keys())  # noqa: SIM118
    except (SafetensorError, OSError):
        return None


def _training_in_short(trained: dict) -> str | None:
    """Volumes, slices, synthetic chests and blocks that a prior was trained on."""
    parts = []
    if isinstance(trained.get("volumes"), list):
        parts.append(f"{len(trained['volumes'])} volumes")
    if "slices" in trained:
        parts.append(f"{trained['slices']} slices")
    n_synthetic = _mapping(trained.get("settings")).get("synthetic_volumes")
    if n_synthetic:
        parts.append(f"{n_synthetic} synthetic chest{'s' if n_synthetic > 1 else ''}")
    if "blocks" in trained:
        parts.append(f"{trained['blocks']} blocks")
    return ", ".join(parts) or None


def _mapping(value: object) -> dict:
    return value if isinstance(value, dict) else {}
