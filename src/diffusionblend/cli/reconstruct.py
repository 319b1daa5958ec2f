"""`diffusionblend reconstruct`: projections to a volume in HU."""

from __future__ import annotations

import math
import sys
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from diffusionblend.cli.chosen_settings import check_settings_are_of, settings_field
from diffusionblend.cli.common import (
    Device,
    Output,
    add_input,
    check_output_and_record,
    check_outputs_are_no_inputs,
    check_seed,
    choose_device,
    parsed_share,
    say,
    timed_part,
    write_record,
)
from diffusionblend.cli.plan import plan_and_tell
from diffusionblend.cli.progress import progress
from diffusionblend.cli.recorded_priors import SHIPPED, priors_of
from diffusionblend.cli.samples import (
    combine,
    deviation_path,
    is_finished,
    remove_samples,
    sample_paths,
    sample_settings,
)
from diffusionblend.errors import InputError
from diffusionblend.io.atomic import check_outputs_absent
from diffusionblend.methods.settings import (
    AdmmTvSettings,
    CglsSettings,
    Dds2dSettings,
    DdsSettings,
    DiffusionBlendPPSettings,
    DiffusionBlendSettings,
    DiffusionMbirSettings,
    FbpSettings,
    FbpUnetSettings,
    MethodName,
    SamplingSettings,
    SirtSettings,
    TpdmSettings,
)
from diffusionblend.ranks import leave_ranks, rank_and_count
from diffusionblend.runs.checkpoint import KeptState
from diffusionblend.runs.finished import settings_that_differ
from diffusionblend.runs.record import RunRecord, run_record_path
from diffusionblend.runs.state_file import state_path
from diffusionblend.units import hu_difference_to_mu, hu_to_mu

if TYPE_CHECKING:
    from diffusionblend.data.projections import Projections
    from diffusionblend.data.result import Reconstruction
    from diffusionblend.data.volume import Volume
    from diffusionblend.methods.settings import MethodSettings
    from diffusionblend.priors.prior import Prior


SCAN_SUFFIX, VOLUME_SUFFIX = ".h5", ".nii.gz"
"""What a folder of scans is searched for, and what it becomes."""


@dataclass(frozen=True, kw_only=True)
class Reconstruct:
    """Reconstruct a volume in HU from projections, or a volume from each scan of a folder.

    A run that was stopped goes on from its state file when the same command is given again. Under
    torchrun the blocks of one scan, or the scans of a folder, are spread over the processes.
    """

    projections: Annotated[Path, tyro.conf.Positional]
    """Projections file (.h5) that carries its geometry, as 'simulate' writes it; or a folder."""
    output: Output
    """Volume to write: .nii.gz, .nii, .nrrd or .mha; for a folder of scans, a folder."""
    method: MethodName = "diffusionblend++"
    """How; each method has its own settings below, and refuses those of others."""
    prior: str | None = None
    """A shipped prior's name, a folder that 'train' wrote, or a hub id, owner/name[@revision]; by
    default the shipped one for the scan's slices, chest-128 or chest-256."""
    perpendicular_prior: str | None = None
    """The same for the prior of coronal slices, which tpdm needs."""
    coarse_prior: str | None = None
    """The same for the prior of half the pixels, from whose reconstruction diffusionblend++ starts;
    by default the shipped one that goes with a shipped prior: chest-128 with chest-256."""
    device: Device = "auto"
    """Where to compute; auto takes a GPU if there is one."""
    output_unit: Literal["hu", "1/mm"] = "hu"
    """HU by the scan's mu_water, or attenuation in 1/mm, for objects that are no patients (other
    verbs take HU only); samples that are kept stay in HU."""
    samples: int = 1
    """Samples of a diffusion method, with seeds from --seed on; of several, OUTPUT is the mean, and
    their standard deviation in HU goes beside it, to NAME.sd.nii.gz. Several start from noise,
    unless --start or --coarse-start say other."""
    keep_samples: bool = False
    """Keep the samples themselves, in the folder OUTPUT.samples."""
    checkpoint_minutes: float = 2.0
    """Minutes between writings of OUTPUT.state, from which a stopped run goes on."""
    share: str | None = None
    """I/N: of a folder's scans, take number I (from 0) and every N-th after it."""
    dry_run: bool = False
    """Say what the run would cost in memory, time and disk, and write nothing."""
    force: bool = False
    """Overwrite the output, and forget the state of a stopped run."""
    diffusionblend: Annotated[DiffusionBlendPPSettings, tyro.conf.arg(name="")] = field(
        default_factory=DiffusionBlendPPSettings
    )
    tv: AdmmTvSettings = field(default_factory=AdmmTvSettings)
    fbp: FbpSettings = field(default_factory=FbpSettings)
    sirt: SirtSettings = field(default_factory=SirtSettings)
    cgls: CglsSettings = field(default_factory=CglsSettings)
    fbp_unet: FbpUnetSettings = field(default_factory=FbpUnetSettings)
    dds_2d: Dds2dSettings = field(default_factory=Dds2dSettings)
    dds: DdsSettings = field(default_factory=DdsSettings)
    diffusion_mbir: DiffusionMbirSettings = field(default_factory=DiffusionMbirSettings)
    tpdm: TpdmSettings = field(default_factory=TpdmSettings)
    neighbours: Annotated[DiffusionBlendSettings, tyro.conf.arg(name="diffusionblend")] = field(
        default_factory=DiffusionBlendSettings
    )

    def run(self) -> None:
        """Reconstruct one scan, or those of a folder that are not there yet."""
        check_settings_are_of(self.method, self)
        check_seed(self._seed)
        if self.projections.is_dir():
            self._run_folder()
        elif self.share is not None:
            raise InputError(
                f"--share {self.share} was given for one scan, {self.projections}.",
                "a folder of scans",
            )
        else:
            check_output_and_record(self.output, self.force)
            self._run_scan()
        leave_ranks()

    def _run_folder(self) -> None:
        """Every scan of this process's share; one that fails does not stop the others."""
        scans = sorted(self.projections.glob(f"*{SCAN_SUFFIX}"))
        if not scans:
            raise InputError(f"There are no scans in {self.projections}.", f"*{SCAN_SUFFIX} files")
        if self.output.exists() and not self.output.is_dir():
            raise InputError(f"The output {self.output} is a file.", "a folder, as the input is")
        failed = []
        for scan in self._share_of(scans):
            output = self.output / scan.with_suffix(VOLUME_SUFFIX).name
            if run_record_path(output).exists() and not self.force:
                self._tell_finished(output)
                continue
            try:
                if self.dry_run:
                    say(f"{scan}:", every_rank=True)
                replace(self, projections=scan, output=output, share=None)._run_scan(alone=True)
            except InputError as error:
                failed.append(scan.name)
                print(f"diffusionblend: {scan}: {error}", file=sys.stderr)
        if failed:
            raise InputError(
                f"{len(failed)} of the scans failed: {', '.join(failed)}.",
                "scans that can be reconstructed, see above",
                "mend them and give the command again; finished ones are not repeated",
            )

    def _tell_finished(self, output: Path) -> None:
        names = ("method", "prior", "perpendicular_prior", "coarse_prior", "samples")
        differ = settings_that_differ(output, asdict(self), (*names, self._settings_field))
        other = f", made with another {', '.join(differ)}; --force makes it anew" if differ else ""
        say(f"{output} is there already{other}", every_rank=True)

    def _share_of(self, scans: list[Path]) -> list[Path]:
        """The scans of this process, by --share and then by its rank."""
        first, step = parsed_share(self.share) if self.share else (0, 1)
        rank, count = rank_and_count()
        return scans[first::step][rank::count]

    def _run_scan(self, alone: bool = False, told: bool = False) -> None:
        """Read, reconstruct, write, and tell the residual and the cost.

        alone: leave the other processes out of it. told: the cost has been told before.
        """
        from diffusionblend.io.projections import read_projections
        from diffusionblend.methods.diffusion.sampler import Execution
        from diffusionblend.methods.registry import reconstruct
        from diffusionblend.ranks import Ranks

        device, record = self._begin()
        if self.samples > 1 and not self.dry_run:
            self._run_samples(device, record, alone)
            return
        with timed_part(record, "read", self.projections.name):
            projections = read_projections(self.projections)
            priors = self._priors(projections, record)
        ranks = Ranks() if alone else Ranks.started(device)
        kept = self._kept_state(record, writes=ranks.rank == 0)
        resume = kept.resume() if priors and not self.force else None
        if ranks.rank == 0 and not told:
            done = resume.done if resume else 0
            self._tell_plan(projections, priors, record, alone, done)
        if self.dry_run:
            return
        if resume:
            record.results["resumed_after_step"] = resume.done
            say(f"resuming after step {resume.done}, from {kept.path}", every_rank=alone)
        with progress(self.method) as on_step:
            result = reconstruct(
                projections,
                method=self.method,
                settings=self._settings(),
                device=device,
                on_step=on_step,
                execution=Execution(resume, kept.keep_if_due, ranks),
                **priors,
            )
        if ranks.rank == 0:
            self._write(result, projections.mu_water_per_mm, record, alone)
            kept.forget()

    def _begin(self) -> tuple[str, RunRecord]:
        """The device and a record with the input; raises InputError for what cannot be done."""
        from diffusionblend.io.volumes import check_volume_suffix

        check_volume_suffix(self.output)
        draws = isinstance(self._settings(), SamplingSettings)
        if self.samples < 1:
            raise InputError(f"Asked for {self.samples} samples.", "at least one")
        if self.samples > 1 and not draws:
            raise InputError(
                f"{self.method}, which samples no prior, was asked for {self.samples} samples.",
                "one, or a method that samples a prior",
                "--method diffusionblend++",
            )
        check_outputs_are_no_inputs([self.output], [self.projections])
        device = choose_device(self.device)
        settings = asdict(self)
        record = RunRecord(verb="reconstruct", settings=settings, seed=self._seed, device=device)
        add_input(record, self.projections)
        return device, record

    def _run_samples(self, device: str, record: RunRecord, alone: bool) -> None:
        """Every sample that is not there yet as a run of its own, then mean and deviation."""
        import torch

        from diffusionblend.io.projections import read_projections
        from diffusionblend.io.volumes import write_volume
        from diffusionblend.methods.problem import Measurement
        from diffusionblend.units import hu_to_network

        spread = deviation_path(self.output)
        check_outputs_absent([spread], self.force)
        paths = sample_paths(self.output, self._seed, self.samples)
        first = alone or rank_and_count()[0] == 0
        if self.force and first:
            remove_samples(paths, self.output)
        projections = read_projections(self.projections)
        priors = self._priors(projections, record)
        if first:
            self._tell_plan(projections, priors, record, alone)
        for seed, path in paths.items():
            chosen = sample_settings(self._settings(), seed, coarse="coarse_prior" in priors)
            settings = {self._settings_field: chosen}
            single = replace(self, output=path, samples=1, output_unit="hu", **settings)
            if not is_finished(path, single._identity(record)):
                if first:
                    path.unlink(missing_ok=True)  # of a run that was killed before its record
                single._run_scan(alone, told=True)
        if not first:
            return
        measurement = Measurement.of(projections, "cpu")

        def residual(volume: Volume) -> float:
            return measurement.relative_residual(hu_to_network(torch.from_numpy(volume.values)))

        mean, deviation = combine(paths, residual, record)
        mu_water = projections.mu_water_per_mm
        write_volume(self._in_unit(deviation, mu_water, difference=True), spread, force=self.force)
        write_volume(self._in_unit(mean, mu_water), self.output, force=self.force)
        write_record(record, self.output)
        if not self.keep_samples:
            remove_samples(paths, self.output)
        say(
            f"wrote the mean {self.output} and the standard deviation {spread} of {self.samples} "
            f"samples: on average {record.results['mean_standard_deviation_hu']:.0f} HU",
            every_rank=alone,
        )

    def _tell_plan(
        self,
        projections: Projections,
        priors: dict[str, Prior],
        record: RunRecord,
        alone: bool,
        steps_done: int = 0,
    ) -> None:
        """Say, and record, what the run will cost, where it is long or only that is wanted."""
        paths = sample_paths(self.output, self._seed, self.samples)
        finished = sum(run_record_path(p).exists() for p in paths.values())
        keeps_state = isinstance(self._settings(), SamplingSettings)
        plan_and_tell(
            projections,
            priors,
            self.output,
            record,
            method=self.method,
            settings=self._settings(),
            always=self.dry_run,
            processes=1 if alone else rank_and_count()[1],
            samples=self.samples,
            samples_left=max(1, self.samples - finished),
            steps_done=steps_done,
            checkpoint_minutes=self.checkpoint_minutes if keeps_state else None,
            every_rank=alone,
        )

    def _in_unit(self, hu: Volume, mu_water_per_mm: float, *, difference: bool = False) -> Volume:
        """A volume, or a difference of two, in the unit asked for."""
        if self.output_unit == "hu":
            return hu
        from_hu = hu_difference_to_mu if difference else hu_to_mu
        return hu.with_values(from_hu(hu.values, mu_water_per_mm))

    def _write(
        self, result: Reconstruction, mu_water_per_mm: float, record: RunRecord, alone: bool
    ) -> None:
        """The volume and its record; nothing where values are not finite (InputError)."""
        from diffusionblend.io.volumes import write_volume

        if not math.isfinite(result.relative_residual):
            raise InputError(
                "The reconstruction holds values that are NaN or infinite; it was not written.",
                "finite HU",
                f"another prior or the defaults of {self.method}",
            )
        with timed_part(record, "write", self.output.name):
            volume = self._in_unit(result.volume, mu_water_per_mm)
            write_volume(volume, self.output, force=self.force)
        record.seconds |= result.seconds
        record.results |= {
            "relative_residual": result.relative_residual,
            "network_calls": result.network_calls,
            "network_share": result.network_share,
        }
        if isinstance(self._settings(), SamplingSettings):
            record.results["identity"] = self._identity(record)
        write_record(record, self.output)
        say(
            f"wrote {self.output}: residual |Ax - y| / |y| {result.relative_residual:.2e}, "
            f"{result.network_calls} network calls, {result.seconds['total']:.0f} s",
            every_rank=alone,
        )

    def _kept_state(self, record: RunRecord, writes: bool) -> KeptState:
        """The state file of this run, known by all that decides its result."""
        path = state_path(self.output)
        return KeptState(path, self._identity(record), 60 * self.checkpoint_minutes, writes)

    def _identity(self, record: RunRecord) -> dict[str, object]:
        """Plain values of all that decides the result."""
        chosen = self._settings()
        settings = asdict(chosen.resolved() if isinstance(chosen, SamplingSettings) else chosen)
        settings.pop("batch_blocks", None)
        return {
            "method": self.method,
            "inputs": [i["sha256"] for i in record.inputs],
            "weights": [record.weights_sha256, record.results.get(SHIPPED)],
            "settings": settings,
            "device": record.device.partition(":")[0],
        }

    def _settings(self) -> MethodSettings:
        return getattr(self, self._settings_field)

    @property
    def _settings_field(self) -> str:
        return settings_field(self.method)

    @property
    def _seed(self) -> int:
        """The method's own, or 0 where it draws nothing."""
        return getattr(self._settings(), "seed", 0)

    def _priors(self, projections: Projections, record: RunRecord) -> dict[str, Prior]:
        names = {n: getattr(self, n) for n in ("prior", "perpendicular_prior", "coarse_prior")}
        return priors_of(self.method, names, self._settings(), projections, record)
