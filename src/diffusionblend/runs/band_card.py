"""The card of calibrated bands: what they were fitted on, and whether they hold for another run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from diffusionblend.errors import InputError
from diffusionblend.io.json_file import read_json_object
from diffusionblend.runs.record import plain_value

if TYPE_CHECKING:
    from diffusionblend.data.projections import Projections
    from diffusionblend.methods.base import Method
    from diffusionblend.priors.prior import Prior

CARD_FILE = "calibration.json"
"""Its name beside a prior's weights."""
AGAIN = "'diffusionblend calibrate' to make it again"
FORMAT_VERSION = 1
UNCOUNTED = ("seed",)
"""Settings of a method on which its bands do not depend."""
SAME_ARC, PHOTON_FACTOR, PIXEL_FACTOR = 0.02, 2.0, 1.5
"""Arcs that differ by less, relative to their size, photons by less than this factor, and pixels
smaller or larger than all of the fit's by less than this one, count as the same kind of scan."""
FITTED_BEAMS = {"parallel": 180.0, "fan": 360.0, "cone": 360.0}
"""The beams that `calibrate` simulates, and their whole arcs in degrees."""


@dataclass(frozen=True, kw_only=True)
class ScanKind:
    """What of a scan decides how wide its bands are.

    geometry: its registered name. photons: in an unattenuated detector pixel, infinite without
    noise, None where they are not known. pixel_mm: of the volume.
    """

    geometry: str
    views: int
    arc_degrees: float
    photons: float | None
    pixel_mm: float

    @classmethod
    def of(cls, scan: Projections) -> Self:
        """That of projections with their grid."""
        from diffusionblend.methods.advice import covered_degrees

        photons = scan.notes.get("photons")
        is_known = isinstance(photons, int | float) and photons > 0
        noiseless = math.inf if scan.notes.get("source") == "simulated" else None
        return cls(
            geometry=str(scan.geometry.registered_name),
            views=len(scan),
            arc_degrees=covered_degrees(scan.geometry),
            photons=float(str(photons)) if is_known else noiseless,
            pixel_mm=scan.grid.pixel_mm,
        )

    @property
    def name(self) -> str:
        """Such as "8 views over 180 degrees, parallel beam, 1.11e+06 photons"."""
        noise = "photons not known"
        if self.photons is not None:
            noise = "no noise" if math.isinf(self.photons) else f"{self.photons:.3g} photons"
        return (
            f"{self.views} views over {self.arc_degrees:g} degrees, {self.geometry} beam, {noise}"
        )


@dataclass(frozen=True, kw_only=True)
class BandFit:
    """The bands of one kind of scan.

    kind: its pixel_mm is the smallest of the patients', and largest_pixel_mm the largest. factors:
    by tissue. facts: all that the card says of it.
    """

    kind: ScanKind
    largest_pixel_mm: float
    factors: Mapping[str, float]
    facts: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The kind's, with the pixels of the fit."""
        pixels = dict.fromkeys(f"{mm:.3g}" for mm in (self.kind.pixel_mm, self.largest_pixel_mm))
        return f"{self.kind.name}, pixels of {' to '.join(pixels)} mm"

    def serves(self, kind: ScanKind) -> bool:
        """Whether a scan is of its kind."""
        own = self.kind
        return (
            (own.geometry, own.views) == (kind.geometry, kind.views)
            and math.isclose(own.arc_degrees, kind.arc_degrees, rel_tol=SAME_ARC)
            and _same_noise(own.photons, kind.photons)
            and own.pixel_mm / PIXEL_FACTOR <= kind.pixel_mm <= self.largest_pixel_mm * PIXEL_FACTOR
        )


@dataclass(frozen=True, kw_only=True)
class BandCard:
    """Bands of one method, prior and number of samples, for several kinds of scan.

    weights: SHA-256 by the priors' roles. patients: names of the files that they were fitted on.
    source: the card's file, or "of" and its prior, for messages. highest_error: the largest with
    which the prior denoised what it made of them, see `diffusionblend.priors.familiarity`; None
    where that is not known.
    """

    weights: Mapping[str, str]
    method: str
    settings: Mapping[str, Any]
    samples: int
    patients: tuple[str, ...]
    share: float
    fits: tuple[BandFit, ...]
    source: str
    highest_error: float | None = None

    def is_of(self, priors: Mapping[str, Prior]) -> bool:
        """Whether it is of these priors, by their weights."""
        given = {role: prior.weights_sha256 for role, prior in priors.items()}
        return dict(self.weights) == given

    def fit_for(
        self, scan: Projections, method: Method, priors: Mapping[str, Prior], samples: int
    ) -> BandFit:
        """The bands of a run. method: resolved. Raises InputError where there are none for it."""
        kind = ScanKind.of(scan)
        way = how_to_fit(kind, samples, method.name, scan.grid.shape[2])
        if not self.is_of(priors):
            raise self._other("another prior", way)
        if self.method != method.name:
            raise self._other(f"{self.method}, not {method.name}", way)
        settings = counted_settings(method)
        differ = [
            f"{name} {_shown(self.settings.get(name))} instead of {_shown(settings.get(name))}"
            for name in sorted({*settings, *self.settings})
            if settings.get(name) != self.settings.get(name)
        ]
        if differ:
            raise self._other(", ".join(differ), way)
        if self.samples != samples:
            raise self._other(f"{self.samples} samples instead of {samples}", way)
        found = next((fit for fit in self.fits if fit.serves(kind)), None)
        if found is None:
            there = "; ".join(fit.name for fit in self.fits)
            own = f"{kind.name}, pixels of {kind.pixel_mm:.3g} mm"
            raise self._other(f"other scans ({there}) than this one ({own})", way)
        return found

    def _other(self, what: str, way: str) -> InputError:
        return InputError(
            f"The calibration {self.source} is for {what}.",
            "a calibration with the prior, settings, number of samples and kind of scan of the run",
            way,
        )


def counted_settings(method: Method) -> dict[str, Any]:
    """The settings of a resolved method on which its bands depend, as JSON holds them."""
    settings: Any = plain_value(method.settings())
    return {name: value for name, value in settings.items() if name not in UNCOUNTED}


def how_to_fit(kind: ScanKind, samples: int, method: str, size: int) -> str:
    """What to run for bands of a kind of scan, or why there can be none.

    method: its name. size: columns of a slice.
    """
    whole, arc, photons = FITTED_BEAMS.get(kind.geometry), kind.arc_degrees, kind.photons
    if photons is None:
        return "'projections import --photons', since without the photons no calibration suits it"
    scan = f" --views {kind.views}"
    if whole is not None and not math.isclose(arc, whole):
        scan = f" --arc-degrees {arc:g}"
    if whole is None or ("arc" in scan and kind.views != round(arc)):
        return (
            "views over the whole turn of a parallel, fan or cone beam, or one per degree of an arc"
        )
    beam = "" if kind.geometry == "parallel" else f" --geometry {kind.geometry}"
    noise = " --noiseless" if math.isinf(photons) else f" --photons {photons:g}"
    return (
        f"'diffusionblend calibrate PATIENTS -o bands.json{scan}{beam}{noise} --samples {samples} "
        f"--method {method} --size {size}' with the run's prior and settings, and patients of such "
        "pixels, then --calibration bands.json"
    )


def read_card(path: Path | str) -> BandCard:
    """The card in a file. Raises InputError, also for one that does not name its patients."""
    path = Path(path)
    expected = "a file as 'diffusionblend calibrate' writes it"
    facts = read_json_object(path, "a calibration of bands", expected, AGAIN)
    if facts.get("format") != FORMAT_VERSION:
        raise InputError(
            f"{path} is no calibration of bands, or of format {facts.get('format')!r}.",
            f"format {FORMAT_VERSION}",
            AGAIN,
        )
    patients = facts.get("patients")
    if not isinstance(patients, list) or not patients or not all(map(_is_name, patients)):
        raise InputError(
            f"{path} does not name the patients that its bands were fitted on.",
            "their file names under 'patients', so that it can be seen whom the bands are for",
            AGAIN,
        )
    try:
        return _card_of(facts, path)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path} is damaged: {type(error).__name__}, {error}.",
            expected,
            AGAIN,
        ) from error


def _card_of(facts: Mapping[str, Any], path: Path) -> BandCard:
    highest = facts.get("familiarity", {}).get("highest")
    return BandCard(
        weights={
            str(role): str(prior["weights_sha256"]) for role, prior in facts["priors"].items()
        },
        method=str(facts["method"]),
        settings=dict(facts["settings"]),
        samples=int(facts["samples"]),
        patients=tuple(facts["patients"]),
        share=float(facts["share"]),
        fits=tuple(_fit_of(one) for one in facts["scans"]),
        source=str(path),
        highest_error=None if highest is None else float(highest),
    )


def _fit_of(one: Mapping[str, Any]) -> BandFit:
    photons = one["photons"]
    smallest, largest = (float(mm) for mm in one["pixel_mm"])
    factors = {str(name): float(tissue["factor"]) for name, tissue in one["tissues"].items()}
    if not all(math.isfinite(f) and f > 0 for f in factors.values()):
        raise ValueError(f"factors {factors}")
    return BandFit(
        kind=ScanKind(
            geometry=str(one["geometry"]),
            views=int(one["views"]),
            arc_degrees=float(one["arc_degrees"]),
            photons=math.inf if photons is None else float(photons),
            pixel_mm=smallest,
        ),
        largest_pixel_mm=largest,
        factors=factors,
        facts=one,
    )


def card_beside(prior: Prior) -> Path | None:
    """The card in a prior's folder; None where there is none, or where it was made in memory."""
    from diffusionblend.priors.store import find_prior

    if prior.source is None:
        return None
    path = find_prior(prior.source) / CARD_FILE
    return path if path.is_file() else None


def _same_noise(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return False
    if math.isinf(one) or math.isinf(other):
        return one == other
    return 1 / PHOTON_FACTOR <= one / other <= PHOTON_FACTOR


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _shown(value: object) -> str:
    return "not set" if value is None else str(value)
