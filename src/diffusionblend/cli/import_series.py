"""`diffusionblend import`: a DICOM series or volume file to a volume in HU."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from diffusionblend.cli.common import (
    Output,
    add_input,
    check_output_and_record,
    check_outputs_are_no_inputs,
    recorded,
    say,
    timed_part,
    writing,
)
from diffusionblend.cli.progress import Advance
from diffusionblend.data.plausible import check_hu, doubts
from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError
from diffusionblend.runs.record import RunRecord


@dataclass(frozen=True, kw_only=True)
class Import:
    """Import a DICOM folder, a volume file or exported TIFF slices as a volume in HU."""

    source: Annotated[Path, tyro.conf.Positional]
    """Folder with one DICOM series, or with TIFF slices that 'export' wrote; or a volume file:
    NIfTI, NRRD, MetaImage or NumPy."""
    output: Output
    """Volume to write: .nii.gz, .nii, .nrrd or .mha."""
    size: int | None = None
    """Resample slices to this many square pixels (a prior's size), keeping the field of view."""
    spacing_mm: tuple[float, float, float] | None = None
    """Resample to this spacing along z, y and x, in mm."""
    voxel_mm: tuple[float, float, float] | None = None
    """Voxel size of a NumPy array along z, y and x, in mm."""
    series: str | None = None
    """UID of the series to import, if the folder contains several."""
    only: tuple[str, ...] = ()
    """Take only the slices whose headers have these values, as TAG=VALUE with a DICOM keyword:
    AcquisitionNumber=2, ConvolutionKernel=B30f."""
    dtype: Literal["float32", "int16"] = "float32"
    """Number format to write; int16 rounds to whole HU."""
    force: bool = False
    """Overwrite the output."""

    def run(self) -> None:
        """Read, check, resample, write, and print what was found."""
        from diffusionblend.data.resample import resample, to_square_slices
        from diffusionblend.io.volumes import (
            check_volume_suffix,
            is_dicom,
            summary,
            write_volume,
        )

        check_output_and_record(self.output, self.force)
        check_outputs_are_no_inputs([self.output], [self.source])
        check_volume_suffix(self.output)
        if self.size is not None and self.spacing_mm is not None:
            raise InputError("Both --size and --spacing-mm were given.", "one of them")
        for name, given in (("--series", self.series is not None), ("--only", bool(self.only))):
            if given and not is_dicom(self.source):
                raise InputError(
                    f"{name} was given, but {self.source} is no folder of DICOM series.",
                    "a folder of DICOM series, or a multi-frame file",
                )
        self._check_voxels()
        record = RunRecord(command="import", settings=asdict(self))
        add_input(record, self.source)
        with timed_part(record, "read", self.source.name) as on_step:
            volume = self._read(record, on_step)
        self._print_series(record)
        found = summary(volume)
        _print_facts("found", found)
        with timed_part(record, "resample"):
            if self.size is not None:
                volume = to_square_slices(volume, self.size)
            elif self.spacing_mm is not None:
                volume = resample(volume, spacing_mm=self.spacing_mm)
        check_hu(volume, "the resampled volume")
        written = summary(volume)
        record.results |= {"found": found, "written": written}
        with recorded(record, self.output), writing(record, self.output, volume):
            write_volume(volume, self.output, force=self.force, dtype=self.dtype)
        if written != found:
            _print_facts("wrote", written)
        say(f"wrote {self.output}")

    def _check_voxels(self) -> None:
        """Raise InputError for a voxel size that the source has itself, or an impossible one."""
        from diffusionblend.io.atomic import file_suffix
        from diffusionblend.io.formats.numpy_volume import NUMPY_SUFFIXES

        if self.voxel_mm is None:
            return
        if file_suffix(self.source) not in NUMPY_SUFFIXES:
            raise InputError(
                f"--voxel-mm was given, but {self.source} contains its own voxel size.",
                "a NumPy array (.npy, .npz)",
                "--spacing-mm, to resample to another spacing",
            )
        if not (min(self.voxel_mm) > 0 and max(self.voxel_mm) < math.inf):
            raise InputError(
                f"--voxel-mm is {self.voxel_mm}.",
                "three lengths above 0, in mm",
                "--voxel-mm 2 1 1, along z, y and x",
            )

    def _read(self, record: RunRecord, on_step: Advance) -> Volume:
        """The source as a volume; what a DICOM series says of itself goes to the record."""
        from diffusionblend.io.dicom.read import read_dicom_series
        from diffusionblend.io.volumes import is_dicom, read_volume

        notes: list[str] = []
        if is_dicom(self.source):
            volume, report = read_dicom_series(
                self.source, series_uid=self.series, only=self.only, on_step=on_step
            )
            check_hu(volume, self.source)
            record.results["series"] = report.as_dict()
            notes += [*report.warnings, *doubts(volume, self.source)]
        else:
            volume = read_volume(self.source, on_note=notes.append)
        if self.voxel_mm is not None:
            volume = Volume(volume.values, replace(volume.grid, spacing_mm=self.voxel_mm))
            notes = [note for note in notes if "has no spacing_mm" not in note]
        record.results["notes"] = notes
        return volume

    def _print_series(self, record: RunRecord) -> None:
        """What a DICOM series says of itself, and what is odd about the source."""
        series = record.results.get("series")
        if series is not None:
            names = dict.fromkeys(n for n in (series["manufacturer"], series["model"]) if n)
            scanner = " ".join(names) or "unnamed scanner"
            say(f"series: {scanner}, kernel {series['kernel'] or 'unnamed'}")
        for note in record.results["notes"]:
            say(f"note: {note}")


def _print_facts(what: str, facts: dict) -> None:
    z, y, x = facts["shape_zyx"]
    mm = " x ".join(f"{s:g}" for s in facts["spacing_mm_zyx"])
    say(
        f"{what}: {z} slices of {y} x {x}, spacing {mm} mm (z, y, x), {facts['orientation']}, "
        f"{facts['hu_min']:.0f} to {facts['hu_max']:.0f} HU, median {facts['hu_median']:.0f}"
    )
