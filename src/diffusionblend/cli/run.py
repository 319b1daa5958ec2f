"""`diffusionblend run`: from a CT, a measured scan or projections to a volume, in one command.

It decides what is left open, says why, and has the other commands do the work; each leaves its
record, and what is there from a stopped run is taken up again.
"""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from diffusionblend.cli.common import (
    Device,
    Output,
    check_folder_to_fill,
    check_output_and_record,
    check_seed,
    choose_device,
    prepare_output,
    say,
    shown,
    timed_part,
)
from diffusionblend.cli.early import check_early
from diffusionblend.cli.results import PICTURE, REPORT, show_results
from diffusionblend.cli.run_input import Kind, found_beside, is_done, kind_of, lacks_column_mm
from diffusionblend.errors import InputError
from diffusionblend.io.atomic import check_outputs_absent
from diffusionblend.io.locks import output_held
from diffusionblend.io.scans.options import ReadOptions
from diffusionblend.methods.api import DEFAULT_METHOD, make_method
from diffusionblend.preprocessing.settings import PrepareSettings
from diffusionblend.priors.store import find_prior
from diffusionblend.runs.record import RunRecord
from diffusionblend.simulation import PAPER_ELECTRONIC_COUNTS, PAPER_PHOTONS

if TYPE_CHECKING:
    from diffusionblend.cli.reconstruct import Reconstruct
    from diffusionblend.cli.recorded import Command
    from diffusionblend.methods.advice import Advice

LARGEST_ON_CPU = 256
"""Pixels across a slice that a CT is brought to where there is no GPU."""
REFERENCE, SCAN, FIRST_LOOK = "reference.nii.gz", "scan.h5", "fbp.nii.gz"
VOLUME, FBP = "volume.nii.gz", "fbp"


@dataclass(frozen=True, kw_only=True)
class Run:
    """Go from a DICOM folder, a volume, a measured scan or projections to a reconstruction.

    A CT is first scanned with a few simulated views. The output folder contains the volume, a
    picture, a report and the records of every step. A scan that needs more options than these is
    imported with 'projections import'.
    """

    source: Annotated[Path, tyro.conf.Positional]
    """DICOM folder or volume file; a measured scan (HDF5, NeXus, TIFF, NumPy, MATLAB); or a
    projections file (.h5)."""
    output: Output
    """Folder to write."""
    method: str | None = None
    """Method, in place of the one that suits the scan."""
    preset: Literal["fast", "balanced", "best"] | None = None
    """Preset of diffusionblend++, in place of the one that suits the scan."""
    prior: str | None = None
    """Prior, in place of the shipped one for the scan's slices."""
    subject: Literal["auto", "patient", "object"] = "auto"
    """What was scanned. Objects are written in 1/mm, and the shipped priors were trained on
    patients only. By default a CT is of a patient, and a measured scan of an object."""
    views: int = 8
    """Number of views to simulate from a CT."""
    arc_degrees: float | None = None
    """Arc that the views cover, in degrees: for a CT that of the simulation, by default 180; for a
    measured scan without angles that of its equally spaced views."""
    photons: float = PAPER_PHOTONS
    """Photons counted by an unattenuated detector pixel in the simulation from a CT."""
    angles: Path | None = None
    """File of a measured scan's angles, in place of its own."""
    column_mm: float | None = None
    """Width in mm of a measured scan's detector columns, if its files lack it; by default 1."""
    every: int = 1
    """Take only every N-th view of a measured scan."""
    size: int | None = None
    """Pixels along a side of the slices; by default the scan's, and for a CT without a GPU at most
    256."""
    seed: int = 7
    """Random seed of the simulated noise and the sampler."""
    device: Device = "auto"
    """Where to compute; auto takes a GPU if there is one."""
    force: bool = False
    """Overwrite the outputs."""

    def run(self) -> None:
        """Import, decide, reconstruct, show; each with a line on what and why."""
        check_seed(self.seed)
        kind = kind_of(self.source)
        self._check_options(kind)
        prepare_output(self._path(REPORT))
        check_outputs_absent([self._path(n) for n in (PICTURE, REPORT)], self.force)
        say(f"{self.source}: {kind}")
        with shown("look for a GPU"):  # which loads PyTorch
            on_gpu = choose_device(self.device) != "cpu"
        scan_file = self.source
        if kind == "CT":
            scan_file = self._scan_of_ct(on_gpu)
        elif kind == "measured scan":
            scan_file = self._imported()
        chosen, others = self._decide(scan_file, on_gpu)
        files = {"reference": self._path(REFERENCE)} if kind == "CT" else {}
        advice = [(self._path(VOLUME), chosen)]
        if chosen.method != FBP:
            first = replace(chosen, method=FBP, settings={})
            advice.insert(0, (self._path(FIRST_LOOK), first))
        commands = [self._reconstruction(scan_file, each, path) for path, each in advice]
        for command in commands:
            self._check_absent("reconstruct", command)
            check_early(command)
        for command in commands:
            self._do("reconstruct", command)
            files[command.method.name] = command.output
        record = RunRecord(command="run", settings=asdict(self), seed=self.seed)
        show_results(record, files, scan_file, self.output, force=self.force)
        self._say_what_next(scan_file, others, kind)

    def _check_options(self, kind: Kind) -> None:
        """Raise InputError for options that this kind of input has no use for."""
        own: dict[str, tuple[Kind, ...]] = {
            "views": ("CT",),
            "photons": ("CT",),
            "arc_degrees": ("CT", "measured scan"),
            "angles": ("measured scan",),
            "column_mm": ("measured scan",),
            "every": ("measured scan",),
            "size": ("CT", "measured scan"),
        }
        if self.method is not None:
            make_method(self.method)
            if self.preset is not None and self.method != DEFAULT_METHOD:
                raise InputError(
                    f"--preset {self.preset} was given with --method {self.method}.",
                    f"a preset with {DEFAULT_METHOD} alone",
                    "'diffusionblend reconstruct' for a method's own settings",
                )
        if self.prior is not None:
            find_prior(self.prior)
        usual = {f.name: f.default for f in fields(self)}
        named = {"projections": "a file of projections"}.get(kind, f"a {kind}")
        for name, kinds in own.items():
            if getattr(self, name) != usual[name] and kind not in kinds:
                raise InputError(
                    f"--{name.replace('_', '-')} was given, and {self.source} is {named}.",
                    f"it with a {' or a '.join(kinds)}",
                    "leave it out, or 'projections import' for a scan with other options",
                )
        check_folder_to_fill(self.output, "the volume, its picture and the report")

    def _path(self, name: str) -> Path:
        return self.output / name

    def _is_done(self, name: str, command: Command) -> bool:
        """Whether the output of a command is there from the same command on the same inputs."""
        return not self.force and is_done(name, command, command.output)  # type: ignore[attr-defined]

    def _check_absent(self, name: str, command: Command) -> None:
        """Raise OutputExistsError for another output in the place of the command's."""
        if not self._is_done(name, command):
            check_output_and_record(command.output, self.force)  # type: ignore[attr-defined]

    def _do(self, name: str, command: Command) -> None:
        """Run a command, unless its output is there from the same command on the same inputs."""
        output = command.output  # type: ignore[attr-defined]
        with output_held(output):
            if self._is_done(name, command):
                say(f"{output} is there already")
            else:
                command.run()

    def _scan_of_ct(self, on_gpu: bool) -> Path:
        """Import a CT and simulate its scan: the projections file."""
        from diffusionblend.cli.import_series import Import
        from diffusionblend.cli.simulate import Simulate
        from diffusionblend.io.volumes import read_volume

        whole = Import(source=self.source, output=self._path(REFERENCE), force=self.force)
        simulate = Simulate(
            volume=whole.output,
            output=self._path(SCAN),
            views=self.views,
            arc_degrees=self.arc_degrees,
            photons=self.photons,
            electronic_counts=PAPER_ELECTRONIC_COUNTS,
            seed=self.seed,
            force=self.force,
        )
        simulate.check_options()
        size = self.size
        if size is None and not on_gpu:
            with timed_part(
                RunRecord(command="run", settings={}), "read", self.source.name
            ) as seen:
                across = max(read_volume(self.source, on_step=seen).grid.in_plane_shape)
            if across > LARGEST_ON_CPU:
                size = LARGEST_ON_CPU
                say(
                    f"slices of {across} pixels are brought to {size}, since there is no GPU "
                    f"(--size {across} leaves them)"
                )
        self._do("import", replace(whole, size=size))
        self._do("simulate", simulate)
        return simulate.output

    def _imported(self) -> Path:
        """Import a measured scan: the projections file."""
        from diffusionblend.cli.import_projections import ImportProjections

        given = ReadOptions(angles=self.angles, arc_degrees=self.arc_degrees, every=self.every)
        read = found_beside(self.source, given)
        if read != given:
            say(f"angles from {read.angles}" + f", key {read.image_key}" * bool(read.image_key))
        column_mm = self.column_mm
        if column_mm is None:
            with shown(f"look into {self.source.name}"):
                column_mm = 1.0 if lacks_column_mm(self.source, read) else None
        if column_mm != self.column_mm:
            say("columns taken to be 1 mm wide, since the files lack their width (--column-mm)")
        done = ImportProjections(
            source=self.source,
            output=self._path(SCAN),
            read=read,
            prepare=PrepareSettings(column_mm=column_mm, size=self.size),
            force=self.force,
        )
        self._do("projections import", done)
        return done.output

    def _decide(self, scan_file: Path, on_gpu: bool) -> tuple[Advice, tuple[Advice, ...]]:
        """The method for a scan, and what else would do. Raises InputError for unknown ones."""
        from diffusionblend.io.projections import read_projections
        from diffusionblend.methods.advice import Advice, advise

        patient = {"auto": None, "patient": True, "object": False}[self.subject]
        if patient is None and self.prior is not None:
            patient = True
        with shown("choose a method"):
            scan = read_projections(scan_file)
            best, *others = advise(scan, patient=patient, on_gpu=on_gpu)
        asked = self.method or (DEFAULT_METHOD if self.preset or self.prior else best.method)
        if asked != best.method:
            known = next((one for one in others if one.method == asked), None)
            others = [one for one in (best, *others) if one is not known]
            best = known or Advice(asked, "as asked", unit=best.unit)
        if self.preset is not None:
            best = replace(best, settings={"preset": self.preset})
        say(f"method {best.method}: {best.why}")
        return best, tuple(others)

    def _reconstruction(self, scan_file: Path, chosen: Advice, output: Path) -> Reconstruct:
        """The command that reconstructs by a method."""
        from diffusionblend.cli.reconstruct import Reconstruct

        method = make_method(chosen.method, **chosen.settings).with_seed(self.seed)
        return Reconstruct(
            projections=scan_file,
            output=output,
            method=method,
            prior=None if method.prior is None else self.prior,
            device=self.device,
            output_unit="hu" if chosen.unit == "HU" else "1/mm",
            force=self.force,
        )

    def _say_what_next(self, scan_file: Path, others: tuple[Advice, ...], kind: Kind) -> None:
        """Where the results are, and the commands that come next."""
        reference = (
            f" --reference {shlex.quote(str(self._path(REFERENCE)))}" if kind == "CT" else ""
        )
        say(f"results in {self.output}: {VOLUME}, {PICTURE}, {REPORT}")
        say(f"look:  diffusionblend view {shlex.quote(str(self._path(VOLUME)))}{reference}")
        for other in others:
            if other.method != FBP:
                output = shlex.quote(str(self._path(f"{other.method}.nii.gz")))
                words = f"{shlex.quote(str(scan_file))} -o {output} {' '.join(other.options())}"
                say(f"or:    diffusionblend reconstruct {words}  ({other.why})")
