"""Whether a reconstruction looks like what its prior has seen: measured, recorded, said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from diffusionblend.cli.common import say, shown
from diffusionblend.errors import InputError
from diffusionblend.runs.band_card import card_beside, read_card
from diffusionblend.runs.samples import UNLIKE

if TYPE_CHECKING:
    from diffusionblend.data.volume import Volume
    from diffusionblend.geometry.grid import Grid
    from diffusionblend.priors.prior import Prior
    from diffusionblend.runs.record import RunRecord


def measure(
    volume: Volume, grid: Grid, priors: Mapping[str, Prior], record: RunRecord
) -> float | None:
    """The error with which the main prior denoises a volume in HU, which is recorded.

    grid: on which it was reconstructed. None without a diffusion prior.
    """
    from diffusionblend.data.resample import regridded
    from diffusionblend.priors.familiarity import denoising_error

    prior = priors.get("prior")
    if prior is None or not prior.config.type.is_diffusion:
        return None
    with record.timed("familiarity"), shown("compare with what the prior has seen"):
        here = volume if volume.grid == grid else regridded(volume, grid)
        error = denoising_error(here, prior)
    if error is not None:
        record.results[UNLIKE] = error
    return error


def report(
    error: float | None, priors: Mapping[str, Prior], record: RunRecord, *, every_rank: bool
) -> None:
    """Say, and record, where the error is above what the patients of the prior's card have."""
    from diffusionblend.priors.familiarity import unfamiliar_note

    prior = priors.get("prior")
    path = None if prior is None or error is None else card_beside(prior)
    if prior is None or path is None:
        return
    try:
        card = read_card(path)
    except InputError:  # which the bands report
        return
    highest = card.highest_error if card.weights.get("prior") == prior.weights_sha256 else None
    record.results["highest_denoising_error_of_patients"] = highest
    note = unfamiliar_note(error, highest, prior)
    if note is not None:
        record.results["unfamiliar"] = note
        say(f"warning: {note}", every_rank=every_rank)
