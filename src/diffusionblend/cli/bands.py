"""The 90 % band of a run of samples: its calibration found or given, and the file it becomes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from diffusionblend.cli.common import say
from diffusionblend.errors import InputError
from diffusionblend.runs.band_card import (
    CARD_FILE,
    BandCard,
    BandFit,
    ScanKind,
    card_beside,
    how_to_fit,
    read_card,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from diffusionblend.data.projections import Projections
    from diffusionblend.data.volume import Volume
    from diffusionblend.methods.base import Method
    from diffusionblend.priors.prior import Prior


@dataclass(frozen=True)
class Bands:
    """The calibration of a run, or why it has none.

    fit, card: None where there is none. reason: a sentence for the user, empty where there is one.
    """

    fit: BandFit | None = None
    card: BandCard | None = None
    reason: str = ""

    def facts(self) -> dict[str, object]:
        """What the run's record says of them."""
        if self.fit is None or self.card is None:
            return {"no_band": self.reason}
        return {
            "band": {
                "share": self.card.share,
                "patients": list(self.card.patients),
                "scans": self.fit.kind.name,
                "factors": dict(self.fit.factors),
            }
        }

    def half_width(self, mean: Volume, deviation: Volume) -> Volume | None:
        """Half the band's width in HU; None where there is no calibration."""
        from diffusionblend.evaluation.bands import half_width

        return None if self.fit is None else half_width(mean, deviation, self.fit.factors)


def bands_for(
    given: Path | None,
    scan: Projections,
    method: Method,
    priors: Mapping[str, Prior],
    samples: int,
) -> Bands:
    """The bands of a run, by the card that was given, or by that beside its prior.

    method: resolved. Raises InputError where the given one is not for the run.
    """
    if given is not None:
        card = read_card(given)
        return Bands(card.fit_for(scan, method, priors, samples), card)
    prior = priors.get("prior")
    path = None if prior is None else card_beside(prior)
    if path is None:
        return Bands(reason=no_band(_uncalibrated(scan, method, samples)))
    try:
        card = replace(read_card(path), source=f"of {prior.source if prior else path}")
        return Bands(card.fit_for(scan, method, priors, samples), card)
    except InputError as error:
        return Bands(reason=no_band(error))


def say_before_samples(bands: Bands, method: Method, single: Method, *, every_rank: bool) -> None:
    """Say what a run of samples will not give: a band, or the best image.

    method, single: with the resolved settings of a sample, and of one reconstruction.
    """
    if bands.reason:
        say(bands.reason, every_rank=every_rank)
    starts = [
        [getattr(one, name, None) for name in ("init", "coarse_init")] for one in (method, single)
    ]
    if starts[0] != starts[1]:
        say(
            "note: samples start from noise, so that they differ as they should; at 8 views a "
            "reconstruction without --samples was 2 dB nearer the truth than their mean",
            every_rank=every_rank,
        )


def no_band(error: InputError) -> str:
    """Why there is no band, and what to run, in one line."""
    return f"no 90 % band: {error.got} Try: {error.try_}"


def _uncalibrated(scan: Projections, method: Method, samples: int) -> InputError:
    return InputError(
        "The prior has no calibration.",
        f"{CARD_FILE} beside its weights, or --calibration",
        how_to_fit(ScanKind.of(scan), samples, method.name, scan.grid.shape[2]),
    )
