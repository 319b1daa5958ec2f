"""`diffusionblend simulate`: projections of a volume."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from diffusionblend.cli.common import (
    Output,
    add_input,
    check_output_and_record,
    check_outputs_are_no_inputs,
    check_seed,
    say,
    timed_part,
    write_record,
)
from diffusionblend.cli.plan import BYTES_PER_VALUE, in_words, tell_disk, tell_memory
from diffusionblend.errors import InputError
from diffusionblend.runs.record import RunRecord
from diffusionblend.units import MU_WATER_PER_MM

if TYPE_CHECKING:
    from diffusionblend.data.volume import Volume
    from diffusionblend.geometry import Geometry
    from diffusionblend.geometry.grid import Grid
    from diffusionblend.simulation import Noise

HALF_TURN_DEGREES = 180.0
MOST_MU_PER_MM = 1.0
"""Of water; reached at 8 keV, which passes no patient."""
LONG_RUN_VOXEL_VIEWS = 2e9
"""Views times voxels from which on the cost is told before a run."""


@dataclass(frozen=True, kw_only=True)
class Simulate:
    """Simulate projections of a volume; columns are one pixel wide, at the axis where a source
    is."""

    volume: Annotated[Path, tyro.conf.Positional]
    """Volume in HU (.nii.gz, .nrrd, .mha ...), or a DICOM folder."""
    output: Output
    """Projections file to write (.h5)."""
    views: int = 8
    """Views, equally spaced over the arc from 0 degrees, its end left out."""
    arc_degrees: float = HALF_TURN_DEGREES
    """Arc that they cover, in degrees: 180 for sparse view (360 with a source), less for limited
    angle."""
    geometry: Literal["parallel", "fan", "cone"] = "parallel"
    """Parallel and fan beams measure slice by slice, a cone beam the whole volume at once."""
    source_to_axis_mm: float = 595.0
    """Of a fan or cone: from the source to the axis of rotation. The default is a CT scanner's."""
    source_to_detector_mm: float = 1085.6
    """Of a fan or cone: from the source to the middle of the detector."""
    curved: bool = False
    """Of a fan: a detector curved about the source, in place of a flat one."""
    photons: float | None = None
    """Photons an unattenuated detector pixel counts (Poisson noise), 1.11e6 in the paper; none: no
    noise."""
    electronic_counts: float = 5.0
    """Standard deviation of the electronic noise, in counts; only with --photons."""
    mu_water_per_mm: float = MU_WATER_PER_MM
    """Attenuation of water in 1/mm, which ties HU to line integrals; by default at 60 keV."""
    seed: int = 0
    """Of the noise."""
    dry_run: bool = False
    """Say what the run would cost in memory, time and disk, and write nothing."""
    force: bool = False
    """Overwrite the output."""

    def run(self) -> None:
        """Read, project, add noise, write."""
        from diffusionblend.io.projections import check_projections_suffix, write_projections
        from diffusionblend.io.volumes import read_volume
        from diffusionblend.simulation import Noise, simulate_projections

        check_output_and_record(self.output, self.force)
        check_outputs_are_no_inputs([self.output], [self.volume])
        check_projections_suffix(self.output)
        self._check_numbers()
        noise = None
        if self.photons is not None:
            noise = Noise(photons=self.photons, electronic_counts=self.electronic_counts)
        record = RunRecord(verb="simulate", settings=asdict(self), seed=self.seed)
        add_input(record, self.volume)
        with timed_part(record, "read", self.volume.name) as on_step:
            volume = read_volume(self.volume, on_step=on_step)
        geometry = self._geometry_for(volume.grid)
        if self.dry_run or geometry.n_views * volume.values.size >= LONG_RUN_VOXEL_VIEWS:
            self._tell_plan(volume, geometry, noise)
        if self.dry_run:
            return
        with timed_part(record, "simulate"):
            projections = simulate_projections(
                volume,
                geometry,
                noise=noise,
                seed=self.seed,
                mu_water_per_mm=self.mu_water_per_mm,
            )
        with timed_part(record, "write", self.output.name):
            write_projections(projections, self.output, force=self.force)
        write_record(record, self.output)
        views, rows, columns = projections.values.shape
        say(
            f"wrote {self.output}: {views} views x {rows} rows x {columns} columns of "
            f"{projections.geometry.column_mm:g} mm, lines up to {projections.values.max():.2f}"
        )

    def _tell_plan(self, volume: Volume, geometry: Geometry, noise: Noise | None) -> None:
        """Say what the run will cost."""
        from diffusionblend.simulation import planned_bytes, planned_seconds

        tell_memory(planned_bytes(volume, geometry))
        seconds = planned_seconds(volume, geometry, noise=noise)
        say(f"about {in_words(seconds)} for {geometry.n_views} views (a few were tried)")
        lines = geometry.n_views * geometry.detector_rows(volume.grid) * geometry.n_columns
        tell_disk(self.output, BYTES_PER_VALUE * lines)

    def _geometry_for(self, grid: Grid) -> Geometry:
        """The geometry asked for, with a detector that sees all of the volume."""
        from diffusionblend.geometry import (
            ConeBeam,
            FanBeam,
            ParallelBeam,
            equally_spaced_angles,
        )

        angles = equally_spaced_angles(self.views, self.arc_degrees)
        if self.geometry == "parallel":
            return ParallelBeam.fitting(grid, angles_rad=angles)
        distances = {
            "source_to_axis_mm": self.source_to_axis_mm,
            "source_to_detector_mm": self.source_to_detector_mm,
        }
        if self.geometry == "fan":
            return FanBeam.fitting(grid, angles_rad=angles, curved=self.curved, **distances)
        return ConeBeam.fitting(grid, angles_rad=angles, **distances)

    def _check_numbers(self) -> None:
        """Raise InputError for options that no scan could have."""
        check_seed(self.seed)
        if self.views < 1 or not 0 < self.arc_degrees <= 2 * HALF_TURN_DEGREES:
            raise InputError(
                f"Asked for {self.views} views over {self.arc_degrees} degrees.",
                "at least one view, and an arc above 0 and up to 360 degrees",
                "--views 8 --arc-degrees 180",
            )
        distances = self.source_to_axis_mm, self.source_to_detector_mm
        if not all(0 < d < math.inf for d in distances):
            raise InputError(
                f"The source is {distances[0]} mm from the axis, {distances[1]} from the detector.",
                "positive distances in mm",
            )
        if self.curved and self.geometry != "fan":
            raise InputError(
                f"A curved detector was asked for with --geometry {self.geometry}.",
                "--geometry fan",
            )
        if not 0 < self.mu_water_per_mm <= MOST_MU_PER_MM:
            raise InputError(
                f"Water attenuates by {self.mu_water_per_mm} per mm.",
                f"a number above 0 and up to {MOST_MU_PER_MM:g}, in 1/mm",
                f"{MU_WATER_PER_MM}, that at 60 keV; a value in 1/cm is ten times as large",
            )
        if not 0 <= self.electronic_counts < math.inf:
            raise InputError(
                f"The electronic noise is {self.electronic_counts} counts.", "a number from 0"
            )
