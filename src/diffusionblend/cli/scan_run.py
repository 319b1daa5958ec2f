"""One scan reconstructed for `reconstruct`: read once, planned, resumed, sampled, written."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from diffusionblend.cli import familiarity
from diffusionblend.cli.bands import Bands, bands_for, say_before_samples
from diffusionblend.cli.common import (
    add_input,
    check_outputs_are_no_inputs,
    recorded,
    say,
    timed_part,
    writing,
)
from diffusionblend.cli.early import check_room
from diffusionblend.cli.plan import Files, plan_and_report
from diffusionblend.cli.progress import Advance, progress
from diffusionblend.cli.stopping import Stopped, StopRequest, stopped_between_steps
from diffusionblend.data.result import Reconstruction
from diffusionblend.data.volume import Volume
from diffusionblend.devices import choose_device
from diffusionblend.errors import InputError
from diffusionblend.geometry.checks import SEEN_IN_PART, check_scan
from diffusionblend.io.atomic import check_outputs_absent
from diffusionblend.io.projections import read_projections
from diffusionblend.io.volumes import check_volume_suffix, write_volume
from diffusionblend.methods.base import Execution, Method, reconstruct_with
from diffusionblend.methods.diffusion.state import State
from diffusionblend.methods.problem import Problem
from diffusionblend.methods.residual import photons_note, residual_note
from diffusionblend.priors.reach import on_prior_grid
from diffusionblend.ranks import Ranks, rank_and_count
from diffusionblend.runs.checkpoint import MINUTE_SECONDS, KeptState
from diffusionblend.runs.identity import run_identity
from diffusionblend.runs.record import RunRecord, run_record_path
from diffusionblend.runs.samples import (
    UNLIKE,
    band_path,
    combine,
    deviation_path,
    is_finished,
    remove_samples,
    sample_paths,
)
from diffusionblend.runs.state_file import state_path
from diffusionblend.units import hu_difference_to_mu, hu_to_mu, hu_to_network

if TYPE_CHECKING:
    from diffusionblend.cli.reconstruct import Reconstruct

STATE_FIELDS = ("x", "generator", "dual", "total")
VARIABLE, SPENT = "variable.", "spent."
"""Before the names of what the data-consistency step keeps, and of what the steps cost until now,
in a state file."""


@dataclass(frozen=True)
class _Task:
    """One run of a method: its settings, where its volume goes, its record and its kept state.

    label: of a sample, "sample 2 of 4".
    """

    method: Method
    output: Path
    record: RunRecord
    kept: KeptState
    resume: tuple[int, dict] | None
    label: str = ""


class ScanRun:
    """The reconstruction of one scan, as the options of `reconstruct` have it.

    alone: leave the other processes out of it. Raises InputError.
    """

    def __init__(self, options: Reconstruct, *, alone: bool = False) -> None:
        check_volume_suffix(options.output)
        check_outputs_are_no_inputs([options.output], [options.projections])
        self.options, self.alone, self.output = options, alone, options.output
        self.device = choose_device(options.device)
        self.is_first = alone or rank_and_count()[0] == 0
        self.record = RunRecord(
            command="reconstruct", settings={}, seed=options.method.first_seed, device=self.device
        )
        add_input(self.record, options.projections)
        with timed_part(self.record, "read", options.projections.name):
            scan = read_projections(options.projections)
            scan = scan.with_pixels(size=options.size, pixel_mm=options.pixel_mm)
            _check_margin(options)
            self.scan, self.inside = scan.with_margin(options.margin_mm)
            if options.margin_mm:  # wider than the detector on purpose
                check_scan(scan.geometry, scan.grid)
                warnings.filterwarnings("ignore", message="The detector is too small")
            self.priors = options.method.load_priors(
                options.priors, grid=self.scan.grid, device=self.device
            )
        self.work = on_prior_grid(self.scan, self.priors)
        for prior in self.priors.values():
            prior.use_precision(options.precision, say)
        self.record.add_priors(self.priors)
        roles = frozenset(self.priors)
        method = options.method
        if options.samples > 1:
            method = method.for_ensemble(method.first_seed, roles)
        self.method = method.resolved(roles)
        self.bands = self._bands()
        self.record.settings = replace(options, method=self.method).recorded_settings()

    def _bands(self) -> Bands:
        """The calibration of the samples' bands. Raises InputError for one that is not for them."""
        options = self.options
        if options.samples > 1:
            method, priors = self.method, self.priors
            return bands_for(options.calibration, self.scan, method, priors, options.samples)
        if options.calibration is not None:
            raise InputError(
                f"--calibration {options.calibration} was given for a single reconstruction.",
                "a band of several samples",
                "--samples 4",
            )
        return Bands()

    def run(self) -> None:
        """Report the cost; then one volume, or samples with their mean and standard deviation."""
        check_room(self.options.projections, self.scan.grid)
        ranks = Ranks() if self.alone else Ranks.started(self.device)
        kept = self._kept_state(self.method, self.output, ranks)
        several = self.options.samples > 1
        resume = None
        if self.method.is_random and not several and not self.options.force:
            resume = kept.resume()
        if several:
            self._check_deviation_absent()
        if ranks.rank == 0:
            self._report_import()
            self._report_grid()
            if several:
                single = self.options.method.resolved(frozenset(self.priors))
                say_before_samples(self.bands, self.method, single, every_rank=self.alone)
            self._report_plan(resume[0] if resume else 0)
        if self.options.dry_run:
            return
        if several:
            self._run_samples(ranks)
        else:
            self._run_one(_Task(self.method, self.output, self.record, kept, resume), ranks)

    def _run_one(self, task: _Task, ranks: Ranks) -> None:
        """One run of the method, from a kept state on, and its volume with its record."""
        if task.resume:
            done = task.record.results["resumed_after_step"] = task.resume[0]
            say(f"resuming after step {done}, from {task.kept.path}", every_rank=self.alone)
        with progress(f"{task.method.name} {task.label}".strip()) as on_step:
            if task.method.is_random and ranks.count == 1:
                with stopped_between_steps() as request:
                    result = self._reconstruct(task, ranks, on_step, request)
            else:
                result = self._reconstruct(task, ranks, on_step, StopRequest())
        if ranks.rank == 0:
            self._write(result, task)
            task.kept.forget()

    def _reconstruct(
        self, task: _Task, ranks: Ranks, on_step: Advance, request: StopRequest
    ) -> Reconstruction:
        """The run itself; between two steps it is stopped where that was asked for."""
        kept, total = task.kept, [task.method.n_steps]

        def after_step(done: int, steps: int) -> None:
            total[0] = steps
            on_step(done, steps)

        def after_state(state: State) -> None:
            if request.signal_number is not None:
                kept.keep(state.done, arrays_of(state))
                raise Stopped(state.done, total[0], request.signal_number)
            kept.keep_if_due(state.done, lambda: arrays_of(state))

        execution = Execution(
            on_step=after_step,
            resume=None if task.resume is None else state_of(*task.resume),
            on_state=after_state,
            ranks=ranks,
            batch_blocks=self.options.batch_blocks,
        )
        return reconstruct_with(task.method, self.scan, self.priors, self.device, execution)

    def _run_samples(self, ranks: Ranks) -> None:
        """Every sample that is not there yet as a run of its own, then mean and deviation."""
        import torch

        deviation_file, options = deviation_path(self.output), self.options
        paths = self._sample_paths()
        if options.force and self.is_first:
            remove_samples(paths, self.output)
        for i, (seed, path) in enumerate(paths.items()):
            label = f"sample {i + 1} of {len(paths)}"
            self._run_sample(self.method.with_seed(seed), path, label, ranks)
        if not self.is_first:
            return
        problem = Problem.of(self.scan)

        def residual(volume: Volume) -> float:
            return problem.relative_residual(hu_to_network(torch.from_numpy(volume.values)))

        record = self.record
        mean, deviation = combine(paths, residual, record)
        facts = {"identity": self._identity(self.method), "views": len(self.scan)}
        record.results |= {**facts, **self.bands.facts()}
        unlike = record.results.get(UNLIKE)
        familiarity.report(unlike, self.priors, record, every_rank=self.alone)
        beside, band_file = {deviation_file: deviation}, band_path(self.output)
        band = self.bands.half_width(mean, deviation)
        if band is not None:
            beside[band_file] = band
        elif options.force:  # of an older run
            band_file.unlink(missing_ok=True)
        with recorded(record, self.output, *beside), writing(record, self.output, mean):
            for path, volume in beside.items():
                write_volume(self._in_unit(volume, difference=True), path, force=options.force)
            write_volume(self._in_unit(mean), self.output, force=options.force)
        if not options.keep_samples:
            remove_samples(paths, self.output)
        say(
            f"wrote the mean {self.output} and the standard deviation {deviation_file} of "
            f"{options.samples} samples: on average "
            f"{record.results['mean_standard_deviation_hu']:.0f} HU",
            every_rank=self.alone,
        )
        if band is not None:
            say(f"wrote half the width of the 90 % band, {band_file}", every_rank=self.alone)

    def _run_sample(self, method: Method, path: Path, label: str, ranks: Ranks) -> None:
        """One sample, unless it is there already."""
        if is_finished(path, self._identity(method)):
            return
        if self.is_first:
            path.unlink(missing_ok=True)  # of a run that was killed before its record
        single = replace(
            self.options, output=path, samples=1, output_unit="hu", method=method
        ).recorded_settings()
        record = replace(
            self.record, settings=single, seed=method.first_seed, seconds={}, results={}
        )
        kept = self._kept_state(method, path, ranks)
        resume = None if self.options.force else kept.resume()
        self._run_one(_Task(method, path, record, kept, resume, label), ranks)

    def _write(self, result: Reconstruction, task: _Task) -> None:
        """The volume and its record; nothing where values are not finite (InputError)."""
        output, record = task.output, task.record
        if not math.isfinite(result.relative_residual):
            raise InputError(
                "The reconstruction contains values that are NaN or infinite; it was not written.",
                "finite HU",
                f"another prior or the defaults of {task.method.name}",
            )
        volume = self._in_unit(result.volume) if output == self.output else result.volume
        record.seconds |= result.seconds
        record.results |= {
            "relative_residual": result.relative_residual,
            "network_evaluations": result.network_evaluations,
            "network_share": result.network_share,
            "data_consistency": result.data_consistency,
            "identity": self._identity(task.method),
            "views": len(self.scan),
        }
        unlike = familiarity.measure(result.volume, self.work.grid, self.priors, record)
        if not task.label:  # of samples it is said once, of all
            familiarity.report(unlike, self.priors, record, every_rank=self.alone)
        note = None
        if self.work is self.scan:  # what is interpolated to another grid fits less well
            note = residual_note(task.method, self.scan, result.relative_residual)
        if note is not None:
            record.results["notes"] = [note]
        with recorded(record, output), writing(record, output, volume):
            write_volume(volume, output, force=self.options.force)
        made = f"{task.label}, seed {task.method.first_seed}" if task.label else f"wrote {output}"
        say(
            f"{made}: residual |Ax - y| / |y| {result.relative_residual:.2e}, "
            f"{result.network_evaluations} network evaluations, {result.seconds['total']:.0f} s",
            every_rank=self.alone,
        )
        if note is not None:
            say(f"note: {note}", every_rank=self.alone)

    def _report_import(self) -> None:
        """Say again what the import of a measured scan left open, since it concerns the values, and
        where its photon count contradicts its noise.
        """
        if note := photons_note(self.scan):
            say(f"note: {note}", every_rank=self.alone)
        correction = self.scan.notes.get("correction")
        notes = correction.get("notes") if isinstance(correction, dict) else None
        for note in notes if isinstance(notes, list) else []:
            if SEEN_IN_PART in note:  # as the warning says, of the volume that is made
                continue
            say(f"note of the import: {note}", every_rank=self.alone)

    def _report_grid(self) -> None:
        """Say, and record, where another grid is reconstructed on than the one that is written."""
        if self.work is self.scan:
            return
        own, wanted = (
            f"{g.shape[1]} x {g.shape[2]} pixels of {g.pixel_mm:.3g} mm"
            for g in (self.work.grid, self.scan.grid)
        )
        grids = f"reconstructed on the prior's grid, {own}, and interpolated to {wanted}"
        self.record.results["grid"] = grids
        say(f"note: {grids}", every_rank=self.alone)

    def _report_plan(self, steps_done: int) -> None:
        """Print, and record, what the run will cost, where it is long or only that is wanted."""
        options = self.options
        finished = sum(run_record_path(p).exists() for p in self._sample_paths().values())
        minutes = options.checkpoint_minutes if self.method.is_random else None
        plan_and_report(
            self.work,
            self.method,
            self.priors,
            self.record,
            Files(self.output, samples=options.samples, checkpoint_minutes=minutes),
            always=options.dry_run,
            batch_blocks=options.batch_blocks,
            processes=1 if self.alone else rank_and_count()[1],
            samples_left=max(1, options.samples - finished),
            steps_done=steps_done,
            every_rank=self.alone,
        )

    def _sample_paths(self) -> Mapping[int, Path]:
        return sample_paths(self.output, self.method.first_seed, self.options.samples)

    def _check_deviation_absent(self) -> None:
        beside = [deviation_path(self.output), band_path(self.output)]
        check_outputs_absent(beside, self.options.force)

    def _in_unit(self, hu: Volume, *, difference: bool = False) -> Volume:
        """A volume, or a difference of two, without the margin and in the unit asked for."""
        hu = hu[self.inside] if self.options.margin_mm else hu
        if self.options.output_unit == "hu":
            return hu
        from_hu = hu_difference_to_mu if difference else hu_to_mu
        return hu.with_values(from_hu(hu.values, self.scan.mu_water_per_mm))

    def _identity(self, method: Method) -> dict[str, object]:
        inputs = [str(i["sha256"]) for i in self.record.inputs]
        asked = {"size": self.options.size, "pixel_mm": self.options.pixel_mm}
        if self.options.margin_mm:
            asked["margin_mm"] = self.options.margin_mm
        given = {name: value for name, value in asked.items() if value is not None}
        return run_identity(method, self.priors, inputs, self.device) | given

    def _kept_state(self, method: Method, output: Path, ranks: Ranks) -> KeptState:
        """The state file of a run, known by all that decides its result."""
        seconds = MINUTE_SECONDS * self.options.checkpoint_minutes
        return KeptState(state_path(output), self._identity(method), seconds, ranks.rank == 0)


def _check_margin(options: Reconstruct) -> None:
    """Raise InputError for a margin with a method that it does not change."""
    if options.margin_mm and options.method.name == "fbp":
        raise InputError(
            f"--margin-mm {options.margin_mm:g} was given with fbp, which computes every voxel by "
            "itself: what lies around the volume does not change it.",
            "a method that fits the volume to the scan, or no margin",
            "--extrapolate with fbp, or --method admm-tv",
        )


def arrays_of(state: State) -> dict[str, np.ndarray]:
    """A state as arrays by name, for a file."""
    tensors = {n: getattr(state, n) for n in STATE_FIELDS}
    tensors |= {VARIABLE + n: t for n, t in state.variables.items()}
    arrays = {n: t.cpu().numpy() for n, t in tensors.items() if t is not None}
    return arrays | {SPENT + n: np.array([cost]) for n, cost in state.spent.items()}


def state_of(done: int, arrays: Mapping[str, object]) -> State:
    """The state after `done` steps from arrays by name."""
    import torch

    tensors = {n: torch.from_numpy(a) for n, a in arrays.items()}
    given = {n: tensors[n] for n in STATE_FIELDS if n in tensors}
    variables = {n.removeprefix(VARIABLE): t for n, t in tensors.items() if n.startswith(VARIABLE)}
    spent = {n.removeprefix(SPENT): float(t) for n, t in tensors.items() if n.startswith(SPENT)}
    return State(done, **given, variables=variables, spent=spent)
