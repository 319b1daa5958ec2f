"""The identity of a run: plain values of all that its result depends on, and of nothing else.

Resuming, `--samples` and `benchmark` compare runs by it alone; `repeat` compares the hashes of
inputs and weights in a record, before any settings are resolved.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from diffusionblend.runs.record import plain_value

if TYPE_CHECKING:
    from diffusionblend.methods.base import Method
    from diffusionblend.priors.prior import Prior

NOISE_DEVICE = "cpu"
"""Where random numbers are drawn, whatever device computes."""
KEY_DIGITS = 16


def run_identity(
    method: Method, priors: Mapping[str, Prior], inputs: Sequence[str], device: str
) -> dict[str, object]:
    """What a reconstruction's result depends on, as plain values.

    method: its settings are resolved here. priors: loaded, by their roles. inputs: SHA-256 of the
    input files. device: that computes; its number does not matter. The version of the package is no
    part of it: versions that compute something else say so in the change log. Raises InputError
    where the settings do not fit together.
    """
    settings = method.resolved(frozenset(priors)).settings()
    return {
        "method": method.name,
        "settings": plain_value(settings),
        "inputs": list(inputs),
        "weights": {role: priors[role].weights_sha256 for role in sorted(priors)},
        "device": device.partition(":")[0],
        "precision": {role: _precision(priors[role], device) for role in sorted(priors)},
    }


def key_of(identity: Mapping[str, object]) -> str:
    """A short text that stands for an identity, for file names and rows of tables."""
    text = json.dumps(identity, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_DIGITS]


def _precision(prior: Prior, device: str) -> str:
    """The number format that a network computes in on a device."""
    from diffusionblend.priors.precision import precision_used

    return precision_used(prior.precision, device)
