"""`diffusionblend priors`: the priors that are there, and what they are."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

from diffusionblend.cli.common import say
from diffusionblend.cli.tables import print_table
from diffusionblend.errors import InputError
from diffusionblend.evaluation.tables import Column
from diffusionblend.runs.record import plain_value

if TYPE_CHECKING:
    from diffusionblend.priors.card import PriorSummary

COLUMNS = (
    Column(key="name", header="Prior"),
    Column(key="slice", header="Slice"),
    Column(key="type", header="Type, slices"),
    Column(key="millions", header="Parameters (millions)", digits=1),
    Column(key="file_mb", header="File (MB)", digits=1),
    Column(key="validation_loss", header="Validation loss", digits=4),
    Column(key="state", header="SHA-256"),
)
MILLION = 1e6
SHOWN_DIGITS = 8
"""How much of a SHA-256 a table shows."""


@dataclass(frozen=True, kw_only=True)
class Priors:
    """List the priors that come with the package, or describe any one."""

    prior: Annotated[str | None, tyro.conf.Positional] = None
    """Prior to describe: a shipped name, a folder, or a Hugging Face hub id,
    owner/name[@revision]."""
    json: bool = False
    """Print JSON instead of a table: a list, or one object where a prior is named."""

    def run(self) -> None:
        """Print what there is; fails where the one that is named is not whole."""
        from diffusionblend.priors.card import summarise_prior
        from diffusionblend.priors.store import shipped_priors

        names = list(shipped_priors()) if self.prior is None else [self.prior]
        summaries = [summarise_prior(name) for name in names]
        if self.json:
            plain = [plain_value(asdict(s)) for s in summaries]
            say(json.dumps(plain if self.prior is None else plain[0], indent=2))
        elif self.prior is None:
            _print_table(summaries)
        else:
            _describe(summaries[0])
        if self.prior is not None and not summaries[0].whole:
            raise InputError(
                f"The prior {self.prior} is not whole: {summaries[0].problem}",
                "prior.json and the weights that it names",
                "fetch or train it again",
            )


def _row(summary: PriorSummary) -> dict[str, object]:
    """A prior as a row for COLUMNS."""
    millions = None if summary.parameters is None else summary.parameters / MILLION
    digest = summary.weights_sha256 or ""
    state = f"whole, {digest[:SHOWN_DIGITS]}" if summary.whole else "NOT WHOLE"
    pixels = summary.slice_pixels
    slice_size = None if pixels is None else f"{pixels} x {pixels}"
    if summary.told_lengths:
        slice_size = "any"
    if summary.pixel_range_mm is not None:
        slice_size = "any, {:.3g} to {:.3g} mm".format(*summary.pixel_range_mm)
    known = summary.prior_type is not None
    prior_type = f"{summary.prior_type}, {summary.block_slices}" if known else None
    shown = {"slice": slice_size, "millions": millions, "state": state, "type": prior_type}
    return asdict(summary) | shown


def _print_table(summaries: list[PriorSummary]) -> None:
    if not summaries:
        say("no prior is in the package")
        return
    print_table([_row(s) for s in summaries], COLUMNS)
    for summary in summaries:
        if summary.trained_on is not None:
            say(f"{summary.name}: trained on {summary.trained_on}")
        if summary.problem is not None:
            say(f"{summary.name}: {summary.problem}")
    say("cards: README.md in each prior's folder; 'diffusionblend priors NAME' prints the folder")


def _describe(summary: PriorSummary) -> None:
    """One prior, a fact a line; what its files do not contain is left out."""
    loss, pixels, limits = summary.validation_loss, summary.slice_pixels, summary.pixel_range_mm
    size = None if pixels is None else f"{pixels} x {pixels} pixels"
    if summary.told_lengths:
        size = "any" if limits is None else "any, with pixels of {:g} to {:g} mm".format(*limits)
    facts = {
        "name": summary.name,
        "folder": summary.folder,
        "prior type": summary.prior_type,
        "slice size": size,
        "slices at once": summary.block_slices,
        "parameters": None if summary.parameters is None else f"{summary.parameters:,}",
        "weight file": None if summary.file_mb is None else f"{summary.file_mb} MB",
        "trained on": summary.trained_on,
        "validation loss": f"{loss:.4f}" if isinstance(loss, float) else loss,
        "weights": "whole" if summary.whole else "NOT WHOLE",
        "SHA-256": summary.weights_sha256,
        "problem": summary.problem,
    }
    for label, value in facts.items():
        if value is not None:
            say(f"{label:16} {value}")
