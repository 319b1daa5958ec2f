"""`diffusionblend projections import`: a measured scan to a projections file."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from diffusionblend.cli.common import (
    Output,
    add_input,
    check_output_and_record,
    check_outputs_are_no_inputs,
    recorded,
    say,
    timed_part,
)
from diffusionblend.io.scans.options import ReadOptions
from diffusionblend.preprocessing.settings import PrepareSettings
from diffusionblend.runs.record import RunRecord

if TYPE_CHECKING:
    from diffusionblend.preprocessing.prepare import Preparation


@dataclass(frozen=True, kw_only=True)
class ImportProjections:
    """Import a measured scan: flat and dark correction, logarithm, axis of rotation, geometry."""

    source: Annotated[Path, tyro.conf.Positional]
    """Data Exchange or NeXus HDF5, a folder of TIFF frames or one TIFF file, a folder of
    DICOM-CT-PD, a MATLAB file of the Helsinki Tomography Challenge 2022, Nikon's .xtekct,
    SkyScan's .log, Zeiss's .txrm, or NumPy's .npy or .npz."""
    output: Output
    """Projections file to write (.h5)."""
    read: Annotated[ReadOptions, tyro.conf.arg(name="")] = field(default_factory=ReadOptions)
    prepare: Annotated[PrepareSettings, tyro.conf.arg(name="")] = field(
        default_factory=PrepareSettings
    )
    force: bool = False
    """Overwrite the output."""

    def run(self) -> None:
        """Read, correct, find the axis, write, and print what was found."""
        from diffusionblend.io.projections import check_projections_suffix, write_projections
        from diffusionblend.io.scans.registry import read_raw_scan
        from diffusionblend.preprocessing.prepare import prepare_scan

        check_output_and_record(self.output, self.force)
        check_projections_suffix(self.output)
        read = self.read
        given = (self.source, read.angles, read.image_key, read.rtk_geometry, read.vectors)
        named = [path for path in given if path is not None]
        check_outputs_are_no_inputs([self.output], named)
        record = RunRecord(command="projections import", settings=asdict(self))
        for path in named:
            add_input(record, path)
        with timed_part(record, "read", self.source.name):
            scan = read_raw_scan(self.source, self.read)
        views, rows, columns = scan.data.shape
        say(f"read {views} views x {rows} rows x {columns} columns of {scan.values}")
        with timed_part(record, "prepare"):
            done = prepare_scan(scan, self.prepare)
        _print_found(done)
        if "photons" in done.projections.notes:
            say(f"about {done.projections.notes['photons']:.3g} photons per pixel of the open beam")
        record.results |= {"correction": asdict(done.correction)}
        if done.centre is not None:
            record.results["centre"] = asdict(done.centre)
        with recorded(record, self.output), timed_part(record, "write", self.output.name):
            write_projections(done.projections, self.output, force=self.force)
        z, y, x = done.projections.grid.shape
        kind = done.projections.geometry.registered_name
        say(
            f"wrote {self.output}: lines {done.projections.values.min():.2f} to "
            f"{done.projections.values.max():.2f}, for {z} slice(s) of {y} x {x}, "
            f"geometry {kind}"
        )


def _print_found(done: Preparation) -> None:
    """What was corrected, and where the axis is."""
    found, centre = done.correction, done.centre
    if found.dead_pixels or found.zero_counts or found.not_finite:
        say(
            f"replaced by neighbours: {found.dead_pixels} dead pixel(s), {found.zero_counts} zero "
            f"or negative count(s), {found.not_finite} NaN or infinite, of {found.values} values"
        )
    if centre is not None:
        ways = {"opposite views": centre.pair_column, "centre of mass": centre.mass_column}
        alone = ", ".join(f"{way} {value:.2f}" for way, value in ways.items() if value is not None)
        beside = f" (alone: {alone})" if alone else ""
        say(f"axis of rotation at column {centre.column:.2f} by {centre.method}{beside}")
    for note in found.notes:
        say(f"note: {note}")
