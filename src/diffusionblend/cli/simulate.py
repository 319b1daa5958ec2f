"""`diffusionblend simulate`: projections of a volume."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from diffusionblend.cli.common import (
    Output,
    add_input,
    check_output_and_record,
    check_outputs_are_no_inputs,
    check_seed,
    recorded,
    say,
    timed_part,
)
from diffusionblend.cli.plan import BYTES_PER_VALUE, in_words, report_disk, report_memory
from diffusionblend.errors import InputError
from diffusionblend.runs.record import RunRecord
from diffusionblend.units import MU_WATER_PER_MM

if TYPE_CHECKING:
    from diffusionblend.data.volume import Volume
    from diffusionblend.geometry import Geometry
    from diffusionblend.geometry.grid import Grid
    from diffusionblend.geometry.turning import Turning

HALF_SCAN_DEGREES = 180.0
MOST_MU_PER_MM = 1.0
"""Of water; reached at 8 keV, which passes no patient."""
LONG_RUN_VOXEL_VIEWS = 2e9
"""Views times voxels from which on the cost is printed before a run."""


@dataclass(frozen=True, kw_only=True)
class Simulate:
    """Simulate projections of a volume; columns are one pixel wide, at the axis where a source
    is.
    """

    volume: Annotated[Path, tyro.conf.Positional]
    """Volume in HU (.nii.gz, .nrrd, .mha ...), or a DICOM folder."""
    output: Output
    """Projections file to write (.h5)."""
    views: int = 8
    """Number of views, equally spaced from 0 degrees over the arc without its end; for a helix, per
    turn."""
    arc_degrees: float | None = None
    """Arc that the views cover, in degrees; by default 180 for a parallel beam and 360 for a fan or
    cone. A helix turns until all slices are measured."""
    geometry: Literal["parallel", "fan", "cone", "helix"] = "parallel"
    """Beam of the simulated scan: parallel and fan beams measure slice by slice, a cone beam the
    whole volume at once, and a helix moves along it with a detector of many rows."""
    source_to_axis_mm: float | None = None
    """Distance in mm from the source of a fan, cone or helix to the axis of rotation; by default
    595, as in a clinical scanner."""
    source_to_detector_mm: float | None = None
    """Distance in mm from the source of a fan, cone or helix to the middle of the detector; by
    default 1085.6."""
    curved: bool = False
    """Use a detector curved about the source, for a fan or helix, in place of a flat one."""
    pitch_mm: float | None = None
    """Advance of a helix along z per turn, in mm; negative values move towards lower z. By default
    the height of all detector rows at the axis."""
    detector_rows: int | None = None
    """Number of detector rows of a helix, by default 16."""
    row_mm: float | None = None
    """Height in mm of a detector row of a helix; by default that of a slice at the axis."""
    start_mm: float | None = None
    """Height in mm of a helix's source in the first view, from the middle of the volume; by default
    such that the first slice is measured over half a turn."""
    start_degrees: float | None = None
    """Angle of a helix's first view, in degrees, by default 0."""
    flying_spot_mm: tuple[float, float] | None = None
    """Displacement in mm of a helix's flying focal spot, along the columns and along z, in the
    first view and every second one after it; in the others it is displaced by as much to the other
    side."""
    photons: float | None = None
    """Photons counted by an unattenuated detector pixel (Poisson noise), 1.11e6 in the paper; by
    default there is no noise."""
    electronic_counts: float = 0.0
    """Standard deviation of the electronic noise, in counts (5 in the paper); only with
    --photons."""
    oversample: int = 1
    """Number of rays across each detector column, whose mean intensity is measured, and factor by
    which the reconstruction's pixels are larger than the volume's. 1 uses the same operator for
    simulation and reconstruction, which makes every method look better."""
    mu_water_per_mm: float = MU_WATER_PER_MM
    """Attenuation coefficient of water in 1/mm, which converts HU to line integrals; by default at
    60 keV."""
    seed: int = 0
    """Random seed of the noise."""
    dry_run: bool = False
    """Print what the run would cost in memory, time and disk, and write nothing."""
    force: bool = False
    """Overwrite the output."""

    def run(self) -> None:
        """Read, project, add noise, write."""
        from diffusionblend.io.projections import check_projections_suffix, write_projections
        from diffusionblend.io.volumes import read_volume
        from diffusionblend.simulation import simulate

        check_output_and_record(self.output, self.force, hold=not self.dry_run)
        check_outputs_are_no_inputs([self.output], [self.volume])
        check_projections_suffix(self.output)
        self.check_options()
        record = RunRecord(command="simulate", settings=asdict(self), seed=self.seed)
        add_input(record, self.volume)
        with timed_part(record, "read", self.volume.name) as on_step:
            volume = read_volume(self.volume, on_step=on_step)
        coarse = volume.grid if self.oversample == 1 else volume.grid.coarser(self.oversample)
        if any(n % self.oversample for n in volume.grid.in_plane_shape):
            rows, columns = (n * self.oversample for n in coarse.in_plane_shape)
            say(
                f"note: --oversample {self.oversample} does not divide the volume's slices; "
                f"their first {rows} rows and {columns} columns are reconstructed"
            )
        geometry = self._geometry_for(coarse)
        if self.dry_run or geometry.n_views * volume.values.size >= LONG_RUN_VOXEL_VIEWS:
            self._report_plan(volume, geometry)
        if self.dry_run:
            return
        with timed_part(record, "simulate"):
            projections = simulate(
                volume,
                geometry,
                self.photons,
                self.electronic_counts,
                self.seed,
                mu_water_per_mm=self.mu_water_per_mm,
                oversample=self.oversample,
            )
        with recorded(record, self.output), timed_part(record, "write", self.output.name):
            write_projections(projections, self.output, force=self.force)
        views, rows, columns = projections.values.shape
        say(
            f"wrote {self.output}: {views} views x {rows} rows x {columns} columns of "
            f"{geometry.column_mm:g} mm, lines up to {projections.values.max():.2f}, "
            f"{self._noise_in_words}"
        )
        if self.oversample == 1:
            say(
                "note: simulated with the operator that also reconstructs, which flatters every "
                "method; --oversample 2 projects a volume of finer pixels"
            )

    @property
    def _noise_in_words(self) -> str:
        """What noise there is, and how to have some."""
        if self.photons is None:
            return "no noise (--photons 1e6 adds it)"
        return f"noise of {self.photons:g} photons"

    def _report_plan(self, volume: Volume, geometry: Geometry) -> None:
        """Print what the run will cost."""
        from diffusionblend.simulation import planned_bytes, planned_seconds

        report_memory(planned_bytes(volume, geometry))
        seconds = planned_seconds(volume, geometry, self.photons, self.electronic_counts)
        say(f"about {in_words(seconds)} for {geometry.n_views} views (a few were tried)")
        lines = geometry.n_views * geometry.detector_rows(volume.grid) * geometry.n_columns
        report_disk(self.output, BYTES_PER_VALUE * lines)

    def _geometry_for(self, grid: Grid) -> Turning:
        """The geometry asked for, with a detector that sees all of the volume."""
        from diffusionblend.geometry import ConeBeam, FanBeam, Helix, ParallelBeam

        kinds: dict[str, Any] = {"parallel": ParallelBeam, "fan": FanBeam, "cone": ConeBeam}
        kinds["helix"] = Helix
        given = {"arc_degrees": self.arc_degrees} | self._distances | self._of_helix
        options = {name: value for name, value in given.items() if value is not None}
        if self.curved:
            options["curved"] = True
        geometry: Turning = kinds[self.geometry].fitting(grid, self.views, **options)
        return geometry

    @property
    def _of_helix(self) -> dict[str, Any]:
        """The options of a helix as `Helix.fitting` names them, None where not given."""
        spots = self.flying_spot_mm
        degrees = self.start_degrees
        return {
            "pitch_mm": self.pitch_mm,
            "n_rows": self.detector_rows,
            "row_mm": self.row_mm,
            "start_mm": self.start_mm,
            "start_rad": None if degrees is None else math.radians(degrees),
            "spots_mm": None
            if spots is None
            else ((spots[0], 0.0, spots[1]), (-spots[0], 0.0, -spots[1])),
        }

    @property
    def _distances(self) -> dict[str, float | None]:
        """The distances of the source that were given."""
        return {
            "source_to_axis_mm": self.source_to_axis_mm,
            "source_to_detector_mm": self.source_to_detector_mm,
        }

    def check_options(self) -> None:
        """Raise InputError for options that no scan could have."""
        from diffusionblend.simulation import MOST_VIEWS, check_noise

        check_noise(self.photons, self.electronic_counts)
        if self.oversample < 1:
            raise InputError(f"--oversample is {self.oversample}.", "a whole number from 1")
        check_seed(self.seed)
        arc = HALF_SCAN_DEGREES if self.arc_degrees is None else self.arc_degrees
        if not 1 <= self.views <= MOST_VIEWS or not 0 < arc <= 2 * HALF_SCAN_DEGREES:
            raise InputError(
                f"Asked for {self.views} views over {arc} degrees.",
                f"1 to {MOST_VIEWS} views, and an arc above 0 and up to 360 degrees",
                "--views 8 --arc-degrees 180",
            )
        distances = {name: mm for name, mm in self._distances.items() if mm is not None}
        if distances and self.geometry == "parallel":
            name, mm = next(iter(distances.items()))
            raise InputError(
                f"A parallel beam was asked for with --{name.replace('_', '-')} {mm:g}.",
                "distances of the source with a fan, cone or helix only",
                "--geometry fan, or leave the distance out",
            )
        for name, mm in distances.items():
            if not 0 < mm < math.inf:
                raise InputError(
                    f"--{name.replace('_', '-')} is {mm}.", "a positive distance in mm"
                )
        if self.curved and self.geometry not in ("fan", "helix"):
            raise InputError(
                f"A curved detector was asked for with --geometry {self.geometry}.",
                "a curved detector of a fan or helix only",
                "--geometry fan or helix, or leave --curved out",
            )
        self._check_helix()
        if not 0 < self.mu_water_per_mm <= MOST_MU_PER_MM:
            raise InputError(
                f"Water attenuates by {self.mu_water_per_mm} per mm.",
                f"a number above 0 and up to {MOST_MU_PER_MM:g}, in 1/mm",
                f"{MU_WATER_PER_MM}, that at 60 keV; a value in 1/cm is ten times as large",
            )

    def _check_helix(self) -> None:
        """Raise InputError for options of a helix with another scan, and for an arc of a helix."""
        names = ("pitch_mm", "detector_rows", "row_mm", "start_mm", "start_degrees")
        given = [name for name in (*names, "flying_spot_mm") if getattr(self, name) is not None]
        if given and self.geometry != "helix":
            raise InputError(
                f"--{given[0].replace('_', '-')} was given with --geometry {self.geometry}.",
                "options of a helix with a helix only",
                "--geometry helix, or leave it out",
            )
        if self.geometry == "helix" and self.arc_degrees is not None:
            raise InputError(
                f"A helix was asked for with --arc-degrees {self.arc_degrees:g}.",
                "no arc: a helix turns until all slices are measured",
                "--start-mm for a shorter one",
            )
        for name in given:
            if not all(map(math.isfinite, _numbers(getattr(self, name)))):
                raise InputError(
                    f"--{name.replace('_', '-')} is {getattr(self, name)}.",
                    "finite numbers",
                    "millimetres, or degrees for --start-degrees",
                )


def _numbers(value: float | tuple[float, ...]) -> tuple[float, ...]:
    """One number, or several, as several."""
    return value if isinstance(value, tuple) else (value,)
