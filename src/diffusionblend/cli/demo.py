"""`diffusionblend demo`: the whole path on a synthetic chest or on the user's own CT."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import tyro

from diffusionblend.cli.common import (
    Device,
    PrecisionChoice,
    add_input,
    check_seed,
    choose_device,
    prepare_output,
    recorded,
    say,
    shown,
)
from diffusionblend.cli.plan import Files, plan_and_report
from diffusionblend.cli.progress import Advance, progress
from diffusionblend.cli.tables import print_table
from diffusionblend.errors import InputError
from diffusionblend.evaluation.tables import METRIC_COLUMNS, evaluation_row
from diffusionblend.io.atomic import check_outputs_absent
from diffusionblend.methods.diffusion.diffusionblend_pp import DiffusionBlendPP
from diffusionblend.priors.store import DEFAULT_PRIOR
from diffusionblend.runs.record import (
    RunRecord,
    peak_memory_mb,
    plain_record,
    plain_value,
    run_record_path,
)
from diffusionblend.simulation import PAPER_PHOTONS

if TYPE_CHECKING:
    from diffusionblend.data.projections import Projections
    from diffusionblend.data.result import Reconstruction
    from diffusionblend.data.volume import Volume
    from diffusionblend.evaluation.metrics import Evaluation
    from diffusionblend.priors.prior import Prior

DEFAULT_OUTPUT, REPORT = Path("demo-output"), "report.html"
SLICES = 96
TV_ITERATIONS = 50
"""Of ADMM-TV: 9 CPU seconds, and within 0.1 dB of what its default ends at."""


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Scan a synthetic chest, or your own CT, with a few noisy views and reconstruct it."""

    input: Path | None = None
    """Your own CT in place of the synthetic one: a DICOM folder or a volume file; it is resampled
    to the prior's slice size."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = DEFAULT_OUTPUT
    """Folder for the volumes, the projections and the report; by default a new one, numbered after
    the first demo."""
    views: int = 8
    """Number of views over 180 degrees."""
    photons: float = PAPER_PHOTONS
    """Photons counted by an unattenuated detector pixel."""
    steps: int = 50
    """Reverse steps of DiffusionBlend++."""
    prior: str = DEFAULT_PRIOR
    """A shipped prior's name, a folder that 'train' wrote, or a hub id, owner/name[@revision]."""
    device: Device = "auto"
    """Where to compute; auto takes a GPU if there is one."""
    precision: PrecisionChoice = "auto"
    """Number format of the network; auto is bfloat16 where the processor or the GPU has it in
    hardware, else float32; int8 needs the extra 'openvino'."""
    dry_run: bool = False
    """Print what the run would cost in memory, time and disk, and write nothing."""
    seed: int = 7
    """Random seed of the synthetic chest, the noise and the sampler."""
    force: bool = False
    """Overwrite the outputs."""

    def run(self) -> None:
        """Make or read the volume, scan it, reconstruct it, score, and write."""
        from diffusionblend.io.projections import write_projections
        from diffusionblend.io.volumes import write_volume

        check_seed(self.seed)
        if self.views < 1:
            raise InputError(f"Asked for {self.views} views.", "at least one", "--views 8")
        paths = self._outputs()
        if not self.dry_run:
            prepare_output(paths["report"])
            if self.output == DEFAULT_OUTPUT and not self.force and _is_done(paths["report"]):
                replace(self, output=_next_free(self.output)).run()
                return
            check_outputs_absent([*paths.values(), run_record_path(paths["report"])], self.force)
        with shown("load the prior"):
            from diffusionblend.priors.prior import load_prior

            device = choose_device(self.device)
            loaded = load_prior(self.prior, device, precision=self.precision)
        prior = cast("Prior", loaded)  # load_priors refuses others
        record = RunRecord(command="demo", settings=asdict(self), seed=self.seed, device=device)
        with record.timed("reference"):
            truth = self._reference(prior, record)
        projections = self._scan(truth)
        priors = self._method.load_priors({"prior": prior}, grid=truth.grid, device=device)
        record.add_priors(priors)
        self._report_plan(projections, priors, record)
        if self.dry_run:
            return
        results = self._reconstruct(projections, priors, device)
        for name, result in results.items():
            record.seconds[name] = result.seconds["total"]
        report = paths.pop("report")
        with recorded(record, report, *paths.values()):
            with shown("write and score the volumes") as on_step:
                write_volume(truth, paths["reference"], force=self.force)
                write_projections(projections, paths["projections"], force=self.force)
                for name, result in results.items():
                    write_volume(result.volume, paths[name], force=self.force)
                scores = _scores(truth, results, on_step)
            self._report(truth, projections, results, scores, record, report)
        say(f"volumes in {self.output}, pictures in {report}")
        names = ("diffusionblend++", "admm-tv", "fbp")
        seen = " ".join(shlex.quote(str(paths[name])) for name in names)
        reference = shlex.quote(str(paths["reference"]))
        say(f"look:  diffusionblend view {seen} --reference {reference}")
        scan, best = (
            shlex.quote(str(p)) for p in (paths["projections"], self.output / "best.nii.gz")
        )
        say(f"next:  diffusionblend reconstruct {scan} --preset best -o {best}")

    def _outputs(self) -> dict[str, Path]:
        names = {
            "reference": "reference.nii.gz",
            "projections": "projections.h5",
            "fbp": "fbp.nii.gz",
            "admm-tv": "admm-tv.nii.gz",
            "diffusionblend++": "diffusionblend++.nii.gz",
            "report": REPORT,
        }
        return {key: self.output / name for key, name in names.items()}

    def _reference(self, prior: Prior, record: RunRecord) -> Volume:
        """The volume that is scanned: synthetic, or the user's own at the prior's slice size."""
        from diffusionblend.data.resample import to_square_slices
        from diffusionblend.io.volumes import read_volume
        from diffusionblend.phantom import synthetic_chest

        size = prior.config.image_size
        if self.input is None:
            say(f"synthetic chest {self.seed}: {SLICES} slices of {size} x {size}")
            with shown("synthetic chest"):
                return synthetic_chest(self.seed, shape=(SLICES, size, size))
        add_input(record, self.input)
        with shown(f"read {self.input.name}") as on_step:
            volume = to_square_slices(read_volume(self.input, on_step=on_step), size)
        say(f"{self.input}: {volume.grid.shape[0]} slices, brought to {size} x {size}")
        return volume

    def _scan(self, truth: Volume) -> Projections:
        from diffusionblend.geometry import ParallelBeam
        from diffusionblend.simulation import PAPER_ELECTRONIC_COUNTS, simulate

        say(
            f"scan: {self.views} views over 180 degrees, "
            f"{self.photons:g} photons per detector pixel"
        )
        geometry = ParallelBeam.fitting(truth.grid, self.views)
        with shown("simulate"):
            return simulate(truth, geometry, self.photons, PAPER_ELECTRONIC_COUNTS, self.seed)

    def _report_plan(
        self, projections: Projections, priors: Mapping[str, Prior], record: RunRecord
    ) -> None:
        """Print, and record, what the run will cost, where it is long or only that is wanted."""
        plan_and_report(
            projections,
            self._method.resolved(frozenset(priors)),
            priors,
            record,
            Files(self.output, volumes=4),
            always=self.dry_run,
        )

    @property
    def _method(self) -> DiffusionBlendPP:
        return DiffusionBlendPP(steps=self.steps, seed=self.seed)

    def _reconstruct(
        self, projections: Projections, priors: Mapping[str, Prior], device: str
    ) -> dict[str, Reconstruction]:
        from diffusionblend.methods.admm_tv import AdmmTv
        from diffusionblend.methods.base import Execution, reconstruct_with
        from diffusionblend.methods.fbp import Fbp

        with shown("fbp"):
            fbp = reconstruct_with(Fbp(), projections, {}, "cpu", Execution())
        with progress("admm-tv") as on_step:
            execution = Execution(on_step=on_step)
            variation = AdmmTv(iterations=TV_ITERATIONS)
            tv = reconstruct_with(variation, projections, {}, device, execution)
        with progress("diffusionblend++") as on_step:
            execution = Execution(on_step=on_step)
            blend = reconstruct_with(self._method, projections, priors, device, execution)
        return {"fbp": fbp, "admm-tv": tv, "diffusionblend++": blend}

    def _report(
        self,
        truth: Volume,
        projections: Projections,
        results: dict[str, Reconstruction],
        evaluations: dict[str, Evaluation],
        record: RunRecord,
        path: Path,
    ) -> None:
        """Print the table, write the page."""
        from diffusionblend.report.html import write_report

        rows = [evaluation_row(name, e) for name, e in evaluations.items()]
        print_table(rows, METRIC_COLUMNS)
        for name, result in results.items():
            say(
                f"{name}: {result.seconds['total']:.1f} s, {result.network_evaluations} network "
                f"evaluations, residual |Ax - y| / |y| {result.relative_residual:.1e}"
            )
        record.results |= {name: e.to_dict() for name, e in evaluations.items()}
        record.results["network_share"] = results["diffusionblend++"].network_share
        scanned = self.input.name if self.input else "a synthetic chest"
        whole = plain_record(record) | {"peak_memory_mb": peak_memory_mb()}
        del whole["seconds"]  # the methods' own are finer
        with shown("draw"):
            write_report(
                path,
                title=f"{self.views} views of {scanned}",
                volumes={"reference": truth, **{n: r.volume for n, r in results.items()}},
                reference="reference",
                evaluations=evaluations,
                settings={
                    "diffusionblend++": plain_value(asdict(self)),
                    "admm-tv": {"iterations": TV_ITERATIONS},
                },
                run_records={
                    **{name: {"timings": r.seconds} for name, r in results.items()},
                    "demo": whole,
                },
                projections=projections.notes,
                force=self.force,
            )


def _scores(
    truth: Volume, results: Mapping[str, Reconstruction], on_step: Advance
) -> dict[str, Evaluation]:
    """Every result against the truth."""
    from diffusionblend.evaluation.metrics import evaluate

    return {
        name: evaluate(r.volume, truth, relative_residual=r.relative_residual, on_step=on_step)
        for name, r in results.items()
    }


def _is_done(report: Path) -> bool:
    """Whether an earlier demo has ended with this report."""
    from diffusionblend.runs.record import read_run_record

    path = run_record_path(report)
    return report.exists() and path.exists() and read_run_record(path).command == "demo"


def _next_free(folder: Path) -> Path:
    """The folder with the first number behind its name that has no finished demo."""
    for number in count(2):
        numbered = folder.with_name(f"{folder.name}-{number}")
        if not _is_done(numbered / REPORT):
            return numbered
    raise AssertionError("there is always another number")
