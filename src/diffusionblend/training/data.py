"""The data of a training run: banks for training and validation, patients apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusionblend.errors import InputError
from diffusionblend.io.volumes import find_volumes
from diffusionblend.training.cache import CachedVolume, VolumeCache
from diffusionblend.training.dataset import VolumeBank
from diffusionblend.training.patients import check_apart, held_out, patient_of
from diffusionblend.training.settings import TrainSettings

OnStep = Callable[[int, int], None]


@dataclass(frozen=True)
class DataChoice:
    """Which volumes a run learns from, and how patients are kept apart.

    volumes: folder. validation: folder of other patients, or None. validation_share: of the
    patients of `volumes`, held out instead. patient_pattern: see `patients.patient_of`.
    """

    volumes: Path
    validation: Path | None = None
    validation_share: float = 0.0
    patient_pattern: str | None = None

    def paths(self, seed: int) -> tuple[list[Path], list[Path]]:
        """The volumes to train on and those to validate on. Raises InputError."""
        if self.validation is not None and self.validation_share:
            raise InputError(
                "Both a validation folder and a validation share are given.", "one of them"
            )
        paths = find_volumes(self.volumes)
        patients = {p.name: patient_of(p, self.patient_pattern) for p in paths}
        if self.validation is not None:
            others = find_volumes(self.validation)
            check_apart(patients, {p.name: patient_of(p, self.patient_pattern) for p in others})
            return paths, others
        if not self.validation_share:
            return paths, []
        names = held_out(patients, self.validation_share, seed)
        return [p for p in paths if p.name not in names], [p for p in paths if p.name in names]


@dataclass(frozen=True)
class TrainingData:
    """Banks of a run; facts of the data, for the record of the prior."""

    train: VolumeBank
    validation: VolumeBank | None
    facts: dict[str, Any]


def read_training_data(
    choice: DataChoice,
    settings: TrainSettings,
    cache: VolumeCache,
    *,
    on_volume: OnStep = lambda done, total: None,
) -> TrainingData:
    """The data of a run, without synthetic volumes, by way of the cache. Raises InputError."""
    train_paths, validation_paths = choice.paths(settings.seed)
    found = cache.volumes([*train_paths, *validation_paths], on_volume)
    train, validation = found[: len(train_paths)], found[len(train_paths) :]
    bank = _bank(train, settings)
    facts: dict[str, object] = {"volumes": [v.name for v in train], "slices": bank.n_slices}
    if validation:
        facts["validation_volumes"] = [v.name for v in validation]
    return TrainingData(bank, _bank(validation, settings) if validation else None, facts)


def _bank(volumes: list[CachedVolume], settings: TrainSettings) -> VolumeBank:
    return VolumeBank.of_arrays(
        [v.values for v in volumes],
        [v.slice_spacing_mm for v in volumes],
        block_slices=settings.network.slices_seen,
        pixel_mm=[v.pixel_mm for v in volumes],
    )
