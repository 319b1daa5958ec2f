"""`diffusionblend reconstruct`: projections to a volume in HU."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from diffusionblend.cli.common import (
    Device,
    Output,
    PrecisionChoice,
    check_output_and_record,
    parsed_shard,
    say,
)
from diffusionblend.cli.early import check_early
from diffusionblend.data.printable import printable
from diffusionblend.errors import InputError
from diffusionblend.io.locks import output_held
from diffusionblend.methods.api import check_can_sample, make_method
from diffusionblend.methods.base import Method
from diffusionblend.ranks import leave_ranks, rank_and_count
from diffusionblend.runs.finished import settings_that_differ
from diffusionblend.runs.record import run_record_path
from diffusionblend.runs.samples import remove_samples_behind
from diffusionblend.runs.unfinished import remove_unfinished

VOLUME_SUFFIX = ".nii.gz"
"""What a scan of a folder becomes."""
UNIMPORTED = (".nxs", ".nx", ".nexus", ".hdf", ".he5", ".npz", ".npy", ".mat", ".tif", ".tiff") + (
    ".mha",
    ".mhd",
    ".xtekct",
    ".txrm",
)
"""What may be a scan in a folder, but has to be imported first."""
FILES, RUN = "input and output", "run"


def _in(group: str, default: Any, *, basic: bool = False) -> Any:
    """A field with a default, under a heading of the help."""
    return field(default=default, metadata={"group": group, "basic": basic})


@dataclass(frozen=True, kw_only=True)
class Reconstruct:
    """Reconstruct a volume in HU from projections, or from each scan of a folder.

    A stopped run continues when the same command is given again. Under torchrun the work is spread
    over the processes.
    """

    projections: Annotated[Path, tyro.conf.Positional] = field(metadata={"group": FILES})
    """Projections file (.h5) that contains its geometry, as 'simulate' writes it; or a folder."""
    output: Output = field(metadata={"group": FILES})
    """Volume to write: .nii.gz, .nii, .nrrd or .mha; for a folder of scans, a folder."""
    method: Method = field(default_factory=make_method, metadata={"group": "method"})
    prior: str | None = _in("method", None, basic=True)
    """Shipped name, folder that 'train' wrote, or hub id, owner/name[@revision]; by default the
    shipped one for the scan's slices."""
    coronal_prior: str | None = _in("method", None)
    """Prior of coronal slices: shipped name, folder or hub id."""
    coarse_prior: str | None = _in("method", None)
    """Prior for slices of half the pixels, for a coarse-to-fine initialisation; by default the same
    one, from 256 pixels on."""
    device: Device = field(default="auto", metadata={"group": RUN})
    """Where to compute; auto takes a GPU if there is one."""
    precision: PrecisionChoice = field(default="auto", metadata={"group": RUN})
    """Number format of the network; auto is bfloat16 in hardware, else float32; int8 needs
    OpenVINO."""
    samples: int = _in(RUN, 1, basic=True)
    """Number of samples, with seeds from --seed on: OUTPUT is their mean, NAME.sd.nii.gz their
    standard deviation in HU. They start from noise unless --init is given."""
    calibration: Path | None = field(default=None, metadata={"group": RUN})
    """File by 'calibrate' for the samples' 90 % band, NAME.band90.nii.gz; by default the
    prior's."""
    keep_samples: bool = _in(RUN, False)
    """Keep each sample in the folder OUTPUT.samples."""
    size: int | None = _in(FILES, None, basic=True)
    """Pixels along the longer side of the slices; without --pixel-mm the field of view stays."""
    pixel_mm: float | None = _in(FILES, None)
    """Width of a pixel in mm, in place of the scan's."""
    margin_mm: float = _in(FILES, 0.0)
    """Reconstruct so much more around the volume and cut it off: for objects wider (in a
    cone or helix longer) than it."""
    output_unit: Literal["hu", "1/mm"] = _in(FILES, "hu")
    """Unit: HU, or attenuation in 1/mm for objects other than patients."""
    checkpoint_minutes: float = _in(RUN, 2.0)
    """Minutes between two writings of OUTPUT.state, from which a stopped run continues."""
    batch_blocks: int | None = _in(RUN, None)
    """Blocks per network batch; by default what fits in memory."""
    shard: str | None = _in(RUN, None)
    """Part I/N of a folder's scans: every N-th, from number I on."""
    dry_run: bool = _in(RUN, False, basic=True)
    """Print the run's cost in memory, time and disk, and write nothing."""
    force: bool = _in(RUN, False, basic=True)
    """Overwrite the output, and discard the state of a stopped run."""

    @staticmethod
    def unused_by(method: type[Method]) -> frozenset[str]:
        """The options that a method has no use for."""
        roles = () if method.prior is None else method.prior.roles
        unused = {"prior", "coronal_prior", "coarse_prior"} - set(roles)
        if method.prior is None:
            unused |= {"batch_blocks", "precision"}
        if "seed" not in {f.name for f in fields(method)}:
            unused |= {"samples", "keep_samples", "calibration", "checkpoint_minutes"}
        return frozenset(unused)

    def recorded_settings(self) -> dict[str, object]:
        """The options as a run record contains them: those that the method has a use for."""
        unused = self.unused_by(type(self.method))
        options = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in unused}
        return options | {"method": self.method.name, "settings": self.method.settings()}

    @property
    def priors(self) -> Mapping[str, str | None]:
        """The priors that were named, by their roles."""
        return {n: getattr(self, n) for n in ("prior", "coronal_prior", "coarse_prior")}

    def run(self) -> None:
        """Reconstruct one scan, or those of a folder that are not there yet."""
        check_can_sample(self.method, self.samples)
        if self.batch_blocks is not None and self.batch_blocks < 1:
            raise InputError(f"batch_blocks is {self.batch_blocks}.", "a number at least 1")
        if self.projections.is_dir():
            self._run_folder()
        elif self.shard is not None:
            raise InputError(
                f"--shard {self.shard} was given for one scan, {self.projections}.",
                "a folder of scans",
            )
        else:
            remove_samples_behind(self.output)
            check_output_and_record(self.output, self.force, hold=not self.dry_run)
            check_early(self)
            from diffusionblend.cli.scan_run import ScanRun  # which imports torch

            ScanRun(self).run()
        leave_ranks()

    def _run_folder(self) -> None:
        """Every scan of this process's share; one that fails does not stop the others."""
        from diffusionblend.cli.scan_run import ScanRun

        scans = self._scans()
        if self.output.exists() and not self.output.is_dir():
            raise InputError(f"The output {self.output} is a file.", "a folder, as the input is")
        failed = []
        for scan in self._share_of(scans):
            output = self.output / scan.with_suffix(VOLUME_SUFFIX).name
            try:
                with nullcontext() if self.dry_run else output_held(output):
                    if run_record_path(output).exists() and not self.force:
                        self._report_finished(output)
                        continue
                    if self.dry_run:
                        say(f"{scan}:", every_rank=True)
                    else:
                        self._remove_without_record(output)
                    single = replace(self, projections=scan, output=output, shard=None)
                    ScanRun(single, alone=True).run()
            except InputError as error:
                failed.append(scan.name)
                print(f"diffusionblend: {scan}: {printable(str(error))}", file=sys.stderr)
        if failed:
            raise InputError(
                f"{len(failed)} of the scans failed: {', '.join(failed)}.",
                "scans that can be reconstructed, see above",
                "mend them and give the command again; finished ones are not repeated",
            )

    def _scans(self) -> list[Path]:
        """The folder's projections files, in order. Raises InputError for none, and for two whose
        volumes would have one name.
        """
        from diffusionblend.io.projections import PROJECTION_SUFFIXES

        files = sorted(p for p in self.projections.iterdir() if p.name[0] != "." and p.is_file())
        scans = [p for p in files if p.suffix.lower() in PROJECTION_SUFFIXES]
        if not scans:
            names = ", ".join(p.name for p in files[:3])
            raise InputError(
                f"There are no scans in {self.projections}{f', which has {names}' if names else ''}"
                ".",
                f"files {' or '.join(f'*{s}' for s in PROJECTION_SUFFIXES)}",
                "'diffusionblend projections import' makes them of measured scans",
            )
        stems: dict[str, Path] = {}
        for scan in scans:
            other = stems.setdefault(scan.stem, scan)
            if other is not scan:
                raise InputError(
                    f"{other.name} and {scan.name} would become one volume, "
                    f"{scan.stem}{VOLUME_SUFFIX}.",
                    "scans of different names",
                    "rename one of them",
                )
        left = [p.name for p in files if p.suffix.lower() in UNIMPORTED]
        if left:
            say(f"left out: {', '.join(left[:5])}, no projections file; import it first")
        return scans

    def _remove_without_record(self, output: Path) -> None:
        """Remove a volume that a run was killed behind: the record alone says that it is whole."""
        remove_unfinished(output)
        if output.is_file() and not run_record_path(output).exists():
            say(f"note: {output} has no record of its run; it is made anew", every_rank=True)
            output.unlink()

    def _report_finished(self, output: Path) -> None:
        names = ("method", *self.priors, "samples", "size", "pixel_mm", "margin_mm", "settings")
        asked = self.recorded_settings()
        differ = settings_that_differ(output, asked, [n for n in names if n in asked])
        if "method" in differ:
            differ = ["method"]
        other = f", made with another {', '.join(differ)}; --force makes it anew" if differ else ""
        say(f"{output} is there already{other}", every_rank=True)

    def _share_of(self, scans: list[Path]) -> list[Path]:
        """The scans of this process, by --shard and then by its rank."""
        first, step = parsed_shard(self.shard) if self.shard else (0, 1)
        rank, count = rank_and_count()
        return scans[first::step][rank::count]
