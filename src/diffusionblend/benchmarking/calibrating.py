"""Calibrated bands fitted on patients that trained nothing: simulated, sampled, compared."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffusionblend import __version__
from diffusionblend.benchmarking.cells import Cell, Subject
from diffusionblend.benchmarking.ensembles import draw, sample_file
from diffusionblend.benchmarking.grid import CellSpec
from diffusionblend.errors import InputError
from diffusionblend.evaluation.bands import (
    BAND_TISSUES,
    FLOOR_HU,
    SHARE,
    Errors,
    fit_factors,
    left_out_coverage,
    mean_half_widths,
)
from diffusionblend.io.volumes import read_volume
from diffusionblend.methods.base import Execution, OnStep
from diffusionblend.priors.familiarity import LIMIT, TIMESTEP, denoising_error
from diffusionblend.runs.band_card import FORMAT_VERSION, ScanKind, counted_settings

if TYPE_CHECKING:
    from diffusionblend.benchmarking.setups import Setup
    from diffusionblend.geometry.grid import Grid
    from diffusionblend.methods.base import Method
    from diffusionblend.priors.prior import Prior

FEWEST_PATIENTS = 2


@dataclass(frozen=True, kw_only=True)
class Calibrator:
    """Bands of one method for several setups.

    priors: loaded, by roles; None for those that are taken by default. samples: of each scan. size:
    of the slices in pixels; slices: from the middle of each patient, None for all. folder: where
    finished samples are kept. progress: shows that of a run by its name.
    """

    method: Method
    priors: Mapping[str, Prior | None]
    setups: Sequence[Setup]
    samples: int
    size: int | None
    slices: int | None
    device: str
    folder: Path
    progress: Callable[[str], AbstractContextManager[OnStep]]

    def card(self, paths: Sequence[Path]) -> dict[str, Any]:
        """The card of the bands that are fitted on patients, as plain values. Raises InputError."""
        self._check_patients(paths)
        found = [self._compared(setup, paths) for setup in self.setups]
        run = found[0].run
        return {
            "format": FORMAT_VERSION,
            "version": __version__,
            "share": SHARE,
            "floor_hu": FLOOR_HU,
            "priors": {
                role: {"name": _name_of(prior), "weights_sha256": prior.weights_sha256}
                for role, prior in run.priors.items()
            },
            "method": run.resolved.name,
            "settings": counted_settings(run.resolved),
            "samples": self.samples,
            "patients": [path.name for path in paths],
            "n_patients": len(paths),
            "tissues": {t.label: t.range_in_words for t in BAND_TISSUES},
            "familiarity": _familiarity(found),
            "scans": [one.facts() for one in found],
        }

    def remove_samples(self) -> None:
        """Remove the finished samples, once the card is written."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _compared(self, setup: Setup, paths: Sequence[Path]) -> _Compared:
        """Samples of every patient in one setup, compared with the truth."""
        errors, grids, unlike = {}, [], {}
        for path in paths:
            subject = Subject.read(path, size=self.size, n_slices=self.slices)
            run, scan = self._run_of(subject, setup), subject.scan(setup)
            with self.progress(run.name) as on_step:
                execution = Execution(on_step=on_step)
                folder = self.folder / run.key
                drawn = draw(run, scan, self.device, execution, folder)
            assert drawn.deviation is not None, "there are several samples"
            errors[path.name] = Errors.of(drawn.volume, drawn.deviation, subject.truth)
            grids.append(subject.truth.grid)
            if "prior" in run.priors:
                sample = read_volume(sample_file(folder, run.seed), check=False)
                unlike[path.name] = denoising_error(sample, run.priors["prior"])
        return _Compared(run, setup, ScanKind.of(scan), errors, grids, unlike)

    def _run_of(self, subject: Subject, setup: Setup) -> Cell:
        """The run of a patient's scan."""
        loaded = self.method.load_priors(self.priors, grid=subject.truth.grid, device=self.device)
        spec = CellSpec(label="calibrate", method=self.method, samples=self.samples)
        seed = self.method.first_seed
        return Cell.of(subject, setup, spec, self.method, seed, loaded, self.device)

    def _check_patients(self, paths: Sequence[Path]) -> None:
        """Raise InputError for too few, two of one name, and those that a prior has seen."""
        names = [path.name for path in paths]
        if len(set(names)) < max(FEWEST_PATIENTS, len(names)):
            raise InputError(
                f"Bands were to be fitted on {', '.join(names)}.",
                "two or more patients, each a file of its own name: each is tried with the others' "
                "factors",
                "more volumes, or other names for them",
            )
        for prior in self.priors.values():
            trained = [] if prior is None else prior.trained.get("volumes")
            seen = sorted(set(names) & set(trained)) if isinstance(trained, list) else []
            if seen:
                raise InputError(
                    f"{prior.source or 'The prior'} was trained on {', '.join(seen)}.",  # type: ignore[union-attr]
                    "patients that trained nothing: bands fitted on others are too narrow",
                    "other volumes, such as those that validated the training",
                )


@dataclass(frozen=True, eq=False)
class _Compared:
    """The patients in one setup: their errors by name and their grids; the last one's run.

    unlike: the error with which the prior denoises a sample of each, see `denoising_error`.
    """

    run: Cell
    setup: Setup
    kind: ScanKind
    errors: Mapping[str, Errors]
    grids: Sequence[Grid]
    unlike: Mapping[str, float | None]

    def facts(self) -> dict[str, Any]:
        """What the card says of the setup."""
        patients = list(self.errors.values())
        factors = fit_factors(patients)
        widths = mean_half_widths(patients, factors)
        pixels = [grid.pixel_mm for grid in self.grids]
        kind, setup = self.kind, self.setup
        assert kind.photons is not None, "it is simulated"
        return {
            "name": kind.name,
            "geometry": kind.geometry,
            "views": kind.views,
            "arc_degrees": kind.arc_degrees,
            "photons": None if math.isinf(kind.photons) else kind.photons,
            "electronic_counts": setup.electronic_counts if setup.photons else 0.0,
            "oversample": setup.oversample,
            "pixel_mm": [min(pixels), max(pixels)],
            "shapes": [list(grid.shape) for grid in self.grids],
            "tissues": {
                tissue.label: {
                    "factor": factors[tissue.label],
                    "mean_half_width_hu": widths[tissue.label],
                    "n_voxels": [int((p.tissue == number).sum()) for p in patients],
                }
                for number, tissue in enumerate(BAND_TISSUES)
            },
            "left_out": left_out_coverage(self.errors),
        }


def _familiarity(found: Sequence[_Compared]) -> dict[str, Any]:
    """How well the prior denoises what it made of the patients, and the most that is like them."""
    known = [error for one in found for error in one.unlike.values() if error is not None]
    return {
        "timestep": TIMESTEP,
        "denoising_error": {one.kind.name: dict(one.unlike) for one in found},
        "highest": max(known, default=None),
        "limit": LIMIT,
    }


def _name_of(prior: Prior) -> str | None:
    """A shipped name or a hub id, and of a folder its last part."""
    return None if prior.source is None else Path(prior.source).name
