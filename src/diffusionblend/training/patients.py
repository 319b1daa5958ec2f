"""Whose scan a training volume is, and patients held out for validation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from diffusionblend.errors import InputError
from diffusionblend.io.atomic import file_suffix
from diffusionblend.io.foreign.reader import reads_foreign

SPLIT_STREAM = 5
"""Keeps the draw of the split apart from those of the batches of the same seed."""


def patient_of(path: Path, pattern: str | None = None) -> str:
    """The patient of a volume: of a DICOM folder its PatientID, of a file its name.

    With a pattern (a regular expression), a file's name up to the pattern's first match. Raises
    InputError for a pattern that is none.
    """
    path = Path(path)
    if path.is_dir():
        return _patient_id(path) or path.name
    stem = path.name[: len(path.name) - len(file_suffix(path))]
    if pattern is None:
        return stem
    try:
        found = re.search(pattern, stem)
    except re.error as error:
        raise InputError(
            f"The patient pattern {pattern!r} is not a regular expression: {error}.",
            "one that matches what follows the patient in a file's name, such as '_scan'",
        ) from error
    return stem[: found.start()] if found and found.start() else stem


def held_out(patients: Mapping[str, str], share: float, seed: int) -> set[str]:
    """The names of the volumes whose patients are held out: about a share of the patients.

    patients: the patient of each volume by the volume's name. At least one patient is held out and
    one is left. Raises InputError for fewer than two patients or a share that is none.
    """
    everyone = sorted(set(patients.values()))
    if not 0 < share < 1:
        raise InputError(f"The validation share is {share}.", "above 0 and below 1")
    if len(everyone) < 2:
        raise InputError(
            f"The volumes are of {len(everyone)} patient(s).",
            "at least 2, to hold one out for validation",
            "--patient-pattern, if whole file names do not identify patients",
        )
    n_held_out = min(max(1, round(share * len(everyone))), len(everyone) - 1)
    order = np.random.default_rng([seed, SPLIT_STREAM]).permutation(len(everyone))
    chosen = {everyone[i] for i in order[:n_held_out]}
    return {name for name, patient in patients.items() if patient in chosen}


def check_apart(training: Mapping[str, str], validation: Mapping[str, str]) -> None:
    """Raises InputError where a patient has volumes in both; both give patients by volume."""
    shared = set(training.values()) & set(validation.values())
    names = sorted(name for name, patient in training.items() if patient in shared)
    if names:
        raise InputError(
            f"The patient of {', '.join(names)} is in training and validation.",
            "other patients",
            "--validation-share, which holds out whole patients",
        )


@reads_foreign
def _patient_id(folder: Path) -> str:
    """The PatientID of the first DICOM image in a folder; empty where there is none."""
    import pydicom

    for path in sorted(p for p in folder.iterdir() if p.is_file() and p.name != "DICOMDIR"):
        try:
            tags = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["PatientID"])
        except (pydicom.errors.InvalidDicomError, OSError, EOFError, ValueError):
            continue
        return str(tags.get("PatientID") or "").strip()
    return ""
