"""The priors that a method takes, found by name and noted in a run's record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from diffusionblend.cli.common import add_input

if TYPE_CHECKING:
    from diffusionblend.data.projections import Projections
    from diffusionblend.methods.settings import MethodSettings
    from diffusionblend.priors.prior import Prior
    from diffusionblend.runs.record import RunRecord

SHIPPED = "shipped_priors_sha256"
"""Where a record's results tell the weights of shipped priors other than the main one."""


def priors_of(
    method: str,
    names: Mapping[str, str | None],
    settings: MethodSettings,
    projections: Projections,
    record: RunRecord,
) -> dict[str, Prior]:
    """The priors that a method takes, loaded, by the arguments of `reconstruct` that they are.

    names: for each of those, None for what is taken by default. Raises InputError.
    """
    from diffusionblend.methods.method_priors import load_priors, wanted_priors
    from diffusionblend.methods.registry import find_method
    from diffusionblend.priors.prior import WEIGHTS_FILE
    from diffusionblend.priors.store import find_prior, shipped_priors

    chosen, pixels = find_method(method), projections.grid.shape[2]
    wanted = wanted_priors(chosen, names, settings, pixels=pixels)
    priors = load_priors(method, chosen, wanted, record.device, pixels=pixels)
    if "prior" in priors:
        record.weights_sha256 = priors["prior"].weights_sha256
    for argument in priors.keys() - {"prior"}:
        if wanted[argument] in shipped_priors():  # which lie elsewhere on another machine
            told = record.results.setdefault(SHIPPED, {})
            told[argument] = priors[argument].weights_sha256
        else:
            add_input(record, find_prior(wanted[argument]) / WEIGHTS_FILE)
    return priors
