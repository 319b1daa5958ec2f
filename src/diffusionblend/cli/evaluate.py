"""`diffusionblend evaluate`: a reconstruction against its reference."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import tyro

from diffusionblend.cli.common import (
    add_input,
    check_output_and_record,
    check_outputs_are_no_inputs,
    check_suffix,
    prepare_output,
    recorded,
    say,
    timed_part,
    write_text,
)
from diffusionblend.cli.tables import print_table
from diffusionblend.data.plausible import check_hu
from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError
from diffusionblend.evaluation.tables import (
    DETAIL_COLUMNS,
    METRIC_COLUMNS,
    evaluation_row,
)
from diffusionblend.io.atomic import check_outputs_absent
from diffusionblend.runs.deviation import (
    find_band,
    find_deviation,
    read_deviation,
    samples_of,
)
from diffusionblend.runs.record import RunRecord, plain_record, read_run_record, run_record_path
from diffusionblend.units import unit_of

if TYPE_CHECKING:
    from diffusionblend.data.projections import Projections
    from diffusionblend.evaluation.calibration import Calibration
    from diffusionblend.evaluation.metrics import Evaluation

FIGURES_SUFFIXES = (".json",)
REPORT_SUFFIXES = (".html", ".htm")


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Score a reconstruction against its reference: PSNR and SSIM in three planes, HU errors."""

    reconstruction: Annotated[Path, tyro.conf.Positional]
    """Volume in HU, or in 1/mm where the reference is."""
    reference: Path
    """The true volume, on the same grid and in the same unit."""
    deviation: Path | None = None
    """Volume of the samples' standard deviation in HU, if the reconstruction is their mean; by
    default NAME.sd.EXT beside it, if 'reconstruct --samples' wrote one; NAME.band90.EXT, half the
    width of the 90 % band, is taken along."""
    projections: Path | None = None
    """Projections file (.h5), for the relative residual |Ax - y| / |y|."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """File (.json) for the metrics; by default they are only printed."""
    figure: Path | None = None
    """Picture (.png, .pdf, .svg) of the three planes with the error in HU."""
    report: Path | None = None
    """Report (.html) with metrics and pictures."""
    force: bool = False
    """Overwrite outputs."""

    def run(self) -> None:
        """Read both, score, print, write what was asked for."""
        from diffusionblend.evaluation.metrics import evaluate
        from diffusionblend.io.volumes import read_volume

        deviation_file = find_deviation(self.reconstruction, say, self.deviation)
        band_file = None if deviation_file is None else find_band(self.reconstruction)
        outputs = self._checked_outputs(deviation_file, band_file)
        record = RunRecord(command="evaluate", settings=asdict(self))
        for path in (self.reconstruction, self.reference):
            add_input(record, path)
        for other in (self.projections, deviation_file, band_file):
            if other is not None:
                add_input(record, other)
        with timed_part(record, "read", self.reconstruction.name):
            volume = read_volume(self.reconstruction, check=False)
            reference = read_volume(self.reference, check=False)
            self._check_units(volume, reference)
            deviation = self._deviation(deviation_file, volume)
            band = (
                None
                if band_file is None
                else read_deviation(band_file, volume, say, is_given=False)
            )
        with timed_part(record, "evaluate", self.reconstruction.name) as on_step:
            residual = self._residual(volume)
            evaluation = evaluate(
                volume,
                reference,
                unit=unit_of(reference.values),
                relative_residual=residual,
                on_step=on_step,
            )
            calibration = self._calibration(volume, deviation, band, reference)
        self._print(evaluation, calibration)
        record.results = evaluation.to_dict()
        if calibration is not None:
            record.results["calibration"] = calibration.to_dict()
        if not outputs:
            return
        with recorded(record, *outputs):
            with timed_part(record, "draw"):
                self._draw(volume, reference, evaluation, deviation, band, calibration)
            if self.output is not None:
                write_text(self.output, json.dumps(record.results, indent=2) + "\n", self.force)
        for path in outputs:
            say(f"wrote {path}")

    def _checked_outputs(self, *beside: Path | None) -> list[Path]:
        """The outputs asked for; raises InputError for what could not be written in the end."""
        outputs = [p for p in (self.output, self.report, self.figure) if p is not None]
        inputs = [self.reconstruction, self.reference, self.projections, *beside]
        check_outputs_are_no_inputs(outputs, [p for p in inputs if p is not None])
        if len({p.resolve() for p in outputs}) < len(outputs):
            raise InputError(f"Two outputs are named {outputs[-1]}.", "a file for each")
        if self.output is not None:
            check_suffix(self.output, "The figures", FIGURES_SUFFIXES)
        if self.report is not None:
            check_suffix(self.report, "The report", REPORT_SUFFIXES)
        if self.figure is not None:
            from diffusionblend.report.figures import check_figure_suffix

            check_figure_suffix(self.figure)
        for output in outputs:
            prepare_output(output)
        if outputs:
            check_output_and_record(outputs[-1], self.force)
        check_outputs_absent(outputs, self.force)
        return outputs

    def _residual(self, volume: Volume) -> float | None:
        if self.projections is None:
            return None
        import torch

        from diffusionblend.geometry.grid import check_same_grid
        from diffusionblend.methods.problem import Problem
        from diffusionblend.units import hu_to_network, mu_to_hu, unit_of

        check_same_grid(volume.grid, self._scan.grid)
        values = volume.values
        if unit_of(values) != "HU":
            values = mu_to_hu(values, self._scan.mu_water_per_mm)
        x = hu_to_network(torch.from_numpy(values))
        return Problem.of(self._scan).relative_residual(x)

    def _deviation(self, path: Path | None, volume: Volume) -> Volume | None:
        """The standard deviation that was given or found."""
        if path is None:
            return None
        return read_deviation(path, volume, say, is_given=self.deviation is not None)

    def _calibration(
        self, volume: Volume, deviation: Volume | None, band: Volume | None, reference: Volume
    ) -> Calibration | None:
        """How often the reference lies within deviation and band; None without one, or a body.

        Raises InputError for a reference without a body where the deviation was given.
        """
        from diffusionblend.evaluation.calibration import calibrate

        if deviation is None:
            return None
        if unit_of(volume.values) != "HU":
            say("note: Calibration is of volumes in HU; it is left out.")
            return None
        try:
            n_samples = samples_of(self.reconstruction)
            return calibrate(volume, deviation, reference, n_samples=n_samples, band=band)
        except InputError as error:
            if self.deviation is not None:
                raise
            say(f"note: {error.got} Calibration is left out.")
            return None

    def _check_units(self, volume: Volume, reference: Volume) -> None:
        """Raises InputError for units that differ, or that are no HU."""
        units = unit_of(volume.values), unit_of(reference.values)
        if units[0] != units[1]:
            paths = self.reconstruction, self.reference
            of_mu, of_hu = paths if units[1] == "HU" else paths[::-1]
            found = volume if units[1] == "HU" else reference
            raise InputError(
                f"{of_mu} is not in HU: no value is beyond {np.abs(found.values).max():.3g}, as "
                f"attenuation in 1/mm is; {of_hu} is in HU.",
                "both in HU, or both in 1/mm",
                "reconstruct with --output-unit hu"
                if units[1] == "HU"
                else "reconstruct with --output-unit 1/mm, or a reference in HU",
            )
        if units[1] == "HU":
            check_hu(reference, self.reference)

    def _print(self, evaluation: Evaluation, calibration: Calibration | None) -> None:
        if evaluation.unit != "HU":
            low, high = evaluation.clip
            say(
                "note: Both volumes are taken to be in 1/mm; PSNR and SSIM are of "
                f"{low:g} to {high:g} per mm."
            )
        row = evaluation_row(self.reconstruction.name, evaluation)
        print_table([row], METRIC_COLUMNS)
        print_table([row], DETAIL_COLUMNS)
        if calibration is not None:
            from diffusionblend.evaluation.calibration import COLUMNS

            title = "Reference within the standard deviation, inside the body"
            print_table(calibration.rows(), COLUMNS, title=title)
        for note in evaluation.notes:
            say(f"note: {note}")

    def _draw(
        self,
        volume: Volume,
        reference: Volume,
        evaluation: Evaluation,
        deviation: Volume | None,
        band: Volume | None,
        calibration: Calibration | None,
    ) -> None:
        """Write the figure and the report that were asked for."""
        name = self.reconstruction.name
        volumes = {"reference": reference, name: volume}
        if self.figure is not None:
            from diffusionblend.report.figures import save_figure, three_planes_figure

            figure = three_planes_figure(volumes, "reference", evaluations={name: evaluation})
            save_figure(figure, self.figure, force=self.force)
        if self.report is not None:
            from diffusionblend.report.html import write_report

            made_by, notes = self._record_of_reconstruction(), self._projection_notes()
            write_report(
                self.report,
                title=f"{name} against {self.reference.name}",
                volumes=volumes,
                reference="reference",
                evaluations={name: evaluation},
                deviations=None if deviation is None else {name: deviation},
                bands=None if band is None else {name: band},
                calibrations=None if calibration is None else {name: calibration},
                settings={name: made_by["settings"]} if made_by else None,
                run_records={name: made_by} if made_by else None,
                projections=notes,
                simulated=notes.get("source") == "simulated",
                force=self.force,
            )

    def _record_of_reconstruction(self) -> dict | None:
        """The run record beside the reconstruction, as plain values; None where there is none."""
        path = run_record_path(self.reconstruction)
        if not path.exists():
            return None
        try:
            return plain_record(read_run_record(path))
        except InputError as error:
            say(f"note: {error.got} It is left out of the report.")
            return None

    def _projection_notes(self) -> dict[str, object]:
        """How the projections came about, as their file has it; nothing without one."""
        return {} if self.projections is None else dict(self._scan.notes)

    @cached_property
    def _scan(self) -> Projections:
        """The projections, read once."""
        from diffusionblend.io.projections import read_projections

        assert self.projections is not None, "it was given"
        return read_projections(self.projections)
