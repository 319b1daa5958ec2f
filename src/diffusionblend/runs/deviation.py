"""The standard deviation that lies beside a volume of several samples: found, read, checked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from diffusionblend.errors import InputError
from diffusionblend.runs.record import RunRecord, read_run_record, run_record_path
from diffusionblend.runs.samples import band_path, deviation_path

if TYPE_CHECKING:
    from diffusionblend.data.volume import Volume

Report = Callable[[str], None]
"""Called with a line for the user."""


def find_deviation(volume: Path, report: Report, given: Path | None = None) -> Path | None:
    """The file that was given, else NAME.sd.EXT beside the volume NAME.EXT, where there is one.

    Where the volume's run record is of a single sample, what lies beside it is of an older run and
    is left out; `report` is called with a note.
    """
    if given is not None:
        return given
    if not volume.is_file():
        return None
    found = deviation_path(volume)
    if not found.is_file():
        return None
    record = _record_of(volume)
    if record is not None and record.command == "reconstruct" and "seeds" not in record.results:
        report(f"note: {found} is left out: by its record, {volume.name} is a single sample")
        return None
    return found


def find_band(volume: Path) -> Path | None:
    """NAME.band90.EXT, half the width of the 90 % band, beside the volume NAME.EXT.

    None where there is none, or where the volume's run record knows of none.
    """
    if not volume.is_file() or not band_path(volume).is_file():
        return None
    record = _record_of(volume)
    is_older = record is not None and "band" not in record.results
    return None if is_older else band_path(volume)


def read_deviation(path: Path, volume: Volume, report: Report, *, is_given: bool) -> Volume | None:
    """The standard deviation (or a band's half width) in HU of `volume`, as it was read; None where
    it cannot be one.

    Raises InputError for that of a file that was given; for one that was found by itself `report`
    is called with a note instead.
    """
    from diffusionblend.data.ensemble import check_deviation
    from diffusionblend.io.volumes import read_volume

    try:
        deviation = read_volume(path, check=False)
        check_deviation(deviation, volume, str(path))
    except InputError as error:
        if is_given:
            raise
        report(f"note: {error.got} It is left out.")
        return None
    return deviation


def samples_of(volume: Path) -> int | None:
    """How many samples a volume is the mean of, by its run record; None where that is unknown."""
    record = _record_of(volume)
    seeds = None if record is None else record.results.get("seeds")
    return len(seeds) if isinstance(seeds, list) else None


def _record_of(volume: Path) -> RunRecord | None:
    """The run record beside a volume; None where there is none that can be read."""
    path = run_record_path(volume)
    try:
        return read_run_record(path) if path.is_file() else None
    except InputError:
        return None
