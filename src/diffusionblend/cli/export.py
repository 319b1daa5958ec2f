"""`diffusionblend export`: a volume as a derived DICOM series, TIFF slices or pages, OME-Zarr."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from diffusionblend.cli.common import Output, prepare_output, recorded, say
from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError
from diffusionblend.io.atomic import check_folder_output, check_outputs_absent
from diffusionblend.runs.record import RunRecord, read_run_record, run_record_path

Format = Literal["dicom", "tiff", "ome-zarr"]
OTHER_FILES = (
    ".nii",
    ".gz",
    ".nrrd",
    ".mha",
    ".mhd",
    ".h5",
    ".npy",
    ".npz",
    ".png",
    ".jpg",
    ".pdf",
)
"""Ends of names of files, none of which `export` writes."""


@dataclass(frozen=True, kw_only=True)
class Export:
    """Export a volume as a derived CT series (DICOM), as TIFF slices or pages, or as OME-Zarr."""

    volume: Annotated[Path, tyro.conf.Positional]
    """Volume (.nii.gz, .nrrd, .mha ...), or a folder of slices; for DICOM in HU."""
    output: Output
    """Folder to write, one file a slice; or NAME.tif, one TIFF file of many pages; or NAME.zarr."""
    format: Format | None = None
    """DICOM, rounded to whole HU; TIFF of float32, in HU or 1/mm, as slices with geometry.json or
    as pages for Fiji; or OME-Zarr of float32. By default what the output's name ends in, and DICOM
    for a folder."""
    template: Path | None = None
    """DICOM folder that the volume comes from: patient, study and frame of reference are kept."""
    template_series: str | None = None
    """UID of the template's series, where its folder contains several."""
    description: str | None = None
    """Series description, at most 64 letters; by default that of a research reconstruction."""
    views: int | None = None
    """Number of projections that the volume was reconstructed from, stored in the series; by
    default that of the run record beside the volume."""
    force: bool = False
    """Replace the output folder, where it contains nothing else."""

    def run(self) -> None:
        """Read, write, and print what was written."""
        from diffusionblend.io.dicom.write import DICOM_FILES
        from diffusionblend.io.ome_zarr import ZARR_FILES
        from diffusionblend.io.tiff_stack import TIFF_FILES
        from diffusionblend.io.volumes import read_volume, summary

        file_format = self._format()
        is_dicom = file_format == "dicom"
        prepare_output(self.output)
        if self._is_pages:
            check_outputs_absent([self.output], self.force)
        else:
            kinds = {"dicom": DICOM_FILES, "tiff": TIFF_FILES, "ome-zarr": ZARR_FILES}
            check_folder_output(self.output, self.force, kinds[file_format])
        check_outputs_absent([run_record_path(self.output)], self.force)
        self._check_options()
        record = RunRecord(command="export", settings=asdict(self))
        record.add_input(self.volume)
        if self.template is not None:
            if not self.template.is_dir():
                raise InputError(
                    f"The template {self.template} is no folder.", "a folder of DICOM slices"
                )
            record.add_input(self.template)
        with record.timed("read"):
            volume = read_volume(self.volume, check=False)
        record.results["written"] = summary(volume)
        with recorded(record, self.output), record.timed("write"):
            n_files = self._write(volume)
        unit = "" if is_dicom else f", {record.results['written']['unit']}"
        say(f"wrote {n_files} slices ({file_format}{unit}) to {self.output}")

    def _write(self, volume: Volume) -> int:
        """Write the slices; returns how many."""
        from diffusionblend.io.dicom.write import write_dicom_series
        from diffusionblend.io.ome_zarr import write_ome_zarr
        from diffusionblend.io.tiff_pages import write_tiff_pages
        from diffusionblend.io.tiff_stack import write_tiff_stack

        if self._is_pages:
            write_tiff_pages(volume, self.output, force=self.force)
            return len(volume)
        if self._format() == "ome-zarr":
            write_ome_zarr(volume, self.output, force=self.force)
            return len(volume)
        if self._format() == "tiff":
            return len(write_tiff_stack(volume, self.output, force=self.force))
        written = write_dicom_series(
            volume,
            self.output,
            template=self.template,
            template_series=self.template_series,
            description=self.description,
            n_views=self.views if self.views is not None else self._recorded_views(),
            force=self.force,
        )
        return len(written)

    def _recorded_views(self) -> int | None:
        """How many views the record beside the volume says it was reconstructed from."""
        path = run_record_path(self.volume)
        if not path.is_file():
            return None
        try:
            views = read_run_record(path).results.get("views")
        except InputError as error:
            say(f"note: {error.got} Its number of views is not stored.")
            return None
        return views if isinstance(views, int) and views > 0 else None

    @property
    def _is_pages(self) -> bool:
        """Whether one TIFF file of many pages is asked for."""
        from diffusionblend.io.tiff_pages import PAGE_SUFFIXES

        return self._format() == "tiff" and self.output.suffix.lower() in PAGE_SUFFIXES

    def _format(self) -> Format:
        """The format that was asked for, or that of the output's name. Raises InputError where
        they differ, and for the name of a file that is not written.
        """
        from diffusionblend.io.tiff_pages import PAGE_SUFFIXES

        named: dict[str, Format] = {".zarr": "ome-zarr"}
        named.update((suffix, "tiff") for suffix in PAGE_SUFFIXES)
        of_name = named.get(self.output.suffix.lower())
        if self.output.name.lower().endswith(OTHER_FILES):
            raise InputError(
                f"The output {self.output} is named like a file of another kind.",
                "a folder, NAME.tif or NAME.zarr",
                self.output.name.partition(".")[0] or "a folder",
            )
        if None not in (of_name, self.format) and self.format != of_name:
            raise InputError(
                f"--format {self.format} was given, and {self.output.name} ends as {of_name} does.",
                "a format and a name that go together",
                f"--format {of_name}, or another name",
            )
        return self.format or of_name or "dicom"

    def _check_options(self) -> None:
        """Raise InputError for DICOM's options given to TIFF, and an output inside an input."""
        named = ("template", "template_series", "description", "views")
        given = [f"--{n.replace('_', '-')}" for n in named if getattr(self, n) is not None]
        if self._format() != "dicom" and given:
            raise InputError(
                f"{', '.join(given)} was given with {self._format()}.",
                "them with DICOM",
                "--format dicom, or leave them out",
            )
        for source in (self.volume, self.template):
            if source is not None and source.resolve() in (
                self.output.resolve(),
                *self.output.resolve().parents,
            ):
                raise InputError(
                    f"The output {self.output} lies in the input {source}.", "a folder beside it"
                )
