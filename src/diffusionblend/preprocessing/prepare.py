"""A raw scan made into projections: corrected, with its geometry and the volume to reconstruct."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np

from diffusionblend.data.projections import Projections, check_line_integrals
from diffusionblend.data.raw_scan import RawScan
from diffusionblend.errors import InputError
from diffusionblend.geometry import ConeBeam, FanBeam, Helix, ParallelBeam, truncated_fraction
from diffusionblend.geometry.checks import SEEN_IN_PART, WARNED_FRACTION, check_sources
from diffusionblend.geometry.grid import Grid
from diffusionblend.geometry.turning import turns_wholly
from diffusionblend.geometry.vectors import VectorGeometry
from diffusionblend.preprocessing import open_beam
from diffusionblend.preprocessing.centre import Centre, find_centre
from diffusionblend.preprocessing.circle import (
    axis_column,
    circle_geometry,
    circle_grid,
    leaning_geometry,
    row_per_column,
    short_side,
)
from diffusionblend.preprocessing.consistency import (
    check_distances,
    check_lengths,
    check_lines,
    consistency_notes,
    length_note,
    water_note,
)
from diffusionblend.preprocessing.correction import Correction, subtract_air, to_line_integrals
from diffusionblend.preprocessing.detector import bin_detector, binned_position, binning_notes
from diffusionblend.preprocessing.fan_centre import (
    check_known_axis,
    check_middle,
    find_centre_from_source,
    stated_axis_notes,
)
from diffusionblend.preprocessing.helices import helix_scan
from diffusionblend.preprocessing.lean import lean_note
from diffusionblend.preprocessing.measured_angles import angle_notes, offset_note
from diffusionblend.preprocessing.noise import CountingNoise, counting_noise
from diffusionblend.preprocessing.panels import panel_notes, panel_scan
from diffusionblend.preprocessing.parallel_beam import check_parallel, distance_notes
from diffusionblend.preprocessing.plausibility import (
    BESIDE_THE_AXIS,
    check_axis,
    check_order,
    check_upright,
    dark_notes,
    edge_notes,
    order_notes,
    saturation_notes,
    view_notes,
)
from diffusionblend.preprocessing.rings import reduce_rings
from diffusionblend.preprocessing.settings import PrepareSettings
from diffusionblend.preprocessing.sinogram_order import check_no_sinograms
from diffusionblend.preprocessing.turned_panel import panel_turn_notes
from diffusionblend.units import MU_WATER_PER_MM

LEANS = (
    "the axis leans along the beam, so that the geometry is given by its vectors: FBP and FDK "
    "cannot take that; cgls, sirt, admm-tv and the diffusion methods can"
)
REPORTED_DISAGREEMENT_COLUMNS = 2.0
"""Two ways to find the centre of rotation that differ by more are reported."""


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What came of it: the projections, what was corrected, and how the axis was found.

    centre: in columns of the source's detector, uncropped; None where the source or the user states
    it.
    """

    projections: Projections
    correction: Correction
    centre: Centre | None


def prepare_scan(scan: RawScan, settings: PrepareSettings | None = None) -> Preparation:
    """Projections of a raw scan: binned, corrected, its logarithm taken, its axis found.

    Raises InputError for what cannot be corrected, where lengths or the axis are not known, and
    where geometry and volume disagree.
    """
    settings = settings or PrepareSettings()
    scan, of_flats = open_beam.without_odd_flats(scan)
    reported = [*scan.notes, *saturation_notes(scan), *of_flats]
    kind, assumed = "whole", panel_notes(scan.geometry)
    if scan.geometry is None:
        scan = _with_stated(scan, settings)
        kind = _kind(scan, settings)
        if settings.centre_column is None:
            check_known_axis(scan)
        check_distances(scan)
        assumed += _row_notes(scan, kind)
        scan = _with_middle_row(scan)
    left_out = binning_notes(scan, *settings.binning)
    scan = bin_detector(scan, *settings.binning)
    lines, correction = to_line_integrals(scan)
    check_line_integrals(lines)
    check_lines(lines, scan)
    reported += dark_notes(lines, scan)
    correction.notes[:0] = reported
    correction.notes += [*assumed, *left_out]
    if not isinstance(scan.geometry, Helix):  # whose views begin and end beside the object
        correction.notes += view_notes(lines, scan)
        _check_axes(lines, scan, settings, correction)
        correction.notes += order_notes(lines, scan.angles_rad)
    before_air = lines
    if settings.air_columns:
        lines = subtract_air(lines, settings.air_columns)
    if settings.ring_columns:
        lines = reduce_rings(lines, settings.ring_columns)
    geometry, grid, centre = _placed(scan, kind, lines, before_air, settings, correction)
    check_sources(geometry, grid)
    check_lengths(grid)
    missed = truncated_fraction(geometry, grid)
    if missed > WARNED_FRACTION and not any(BESIDE_THE_AXIS in n for n in correction.notes):
        correction.notes.append(
            f"{SEEN_IN_PART} {100 * missed:.0f} % of the slices' circle in some view; "
            "a smaller size is seen whole"
        )
    notes = {
        "source": "measured",
        **scan.facts,
        "correction": asdict(correction),
        "settings": asdict(settings),
    }
    noise = _noise(scan, settings)
    photons = None if settings.photons is not None else scan.photons
    notes |= {} if noise is None else asdict(noise)
    if centre is not None:
        centre = _in_source_columns(centre, scan.first_column, settings.binning[1])
        notes["centre"] = asdict(centre)
    mu_water = settings.mu_water_per_mm or scan.mu_water_per_mm or MU_WATER_PER_MM
    correction.notes += filter(None, [water_note(mu_water)])
    projections = Projections(lines, geometry, grid, mu_water, notes, photons=photons)
    return Preparation(projections=projections, correction=correction, centre=centre)


def _placed(
    scan: RawScan,
    kind: str,
    lines: np.ndarray,
    before_air: np.ndarray,
    settings: PrepareSettings,
    correction: Correction,
) -> tuple[ParallelBeam | FanBeam | ConeBeam | Helix | VectorGeometry, Grid, Centre | None]:
    """Geometry, volume and how the axis was found; what the lines tell of it enters the notes."""
    if scan.geometry is not None:
        volume_of = helix_scan if isinstance(scan.geometry, Helix) else panel_scan
        placed, grid = volume_of(scan, settings)
        correction.notes += edge_notes(
            before_air,
            air_columns=settings.air_columns,
            short_side=short_side(placed) if isinstance(placed, ConeBeam) else None,
            by_vectors=isinstance(placed, VectorGeometry),
        )
        return placed, grid, None
    centre_column, centre = _centre(scan, kind, lines, settings, correction)
    if kind == "parallel" and not settings.axis_tilt_degrees:
        _check_beam(lines, scan, centre_column, settings, correction)
    elif not settings.axis_tilt_degrees:
        assert scan.column_mm and scan.source_to_detector_mm and scan.centre_row is not None
        row = scan.centre_row if kind == "cone" else (lines.shape[1] - 1) / 2
        step = scan.column_mm / scan.source_to_detector_mm
        correction.notes += distance_notes(lines, scan.angles_rad, centre_column, step, row)
        if centre is None:
            correction.notes += stated_axis_notes(scan, lines, of_plane=kind == "cone")
    geometry = circle_geometry(scan, kind, centre_column)
    assert scan.column_mm is not None
    correction.notes += filter(None, [length_note(lines, scan.column_mm)])
    if not settings.axis_tilt_degrees:
        correction.notes += angle_notes(lines, scan.angles_rad, axis_column(geometry))
    if kind == "parallel" and not settings.axis_tilt_degrees:
        correction.notes += lean_note(lines, scan.angles_rad, row_per_column(scan))
    if kind == "cone" and not settings.axis_tilt_degrees:
        correction.notes += panel_turn_notes(scan, lines, centre_column)
    offset = offset_note(before_air, geometry)
    if offset is None:
        correction.notes += edge_notes(
            before_air, air_columns=settings.air_columns, short_side=short_side(geometry)
        )
    else:
        correction.notes.append(offset)
    grid = circle_grid(scan, geometry, settings, before_air)
    if not settings.axis_tilt_degrees:
        stated = centre_column if centre is None else None
        correction.notes += consistency_notes(lines, scan.angles_rad, geometry, grid, stated)
        return geometry, grid, centre
    correction.notes.append(LEANS)
    return leaning_geometry(scan, geometry, settings.axis_tilt_degrees), grid, centre


def _check_axes(
    lines: np.ndarray, scan: RawScan, settings: PrepareSettings, correction: Correction
) -> None:
    """Raises InputError where axes seem to be exchanged, or flats to show the sample; only reported
    where the axis is stated.
    """
    checks: list[Callable[[], None]] = [
        lambda: open_beam.check_open_beam(lines, scan),
        lambda: check_order(lines),
        lambda: check_no_sinograms(lines, scan.angles_rad),
        lambda: check_upright(lines),
    ]
    if not settings.air_columns:
        checks.insert(0, lambda: open_beam.check_beam_level(lines, scan))
    for check in checks:
        try:
            check()
        except InputError as error:
            if settings.centre_column is None:
                raise
            correction.notes.append(error.got)


def _check_beam(
    lines: np.ndarray,
    scan: RawScan,
    column: float,
    settings: PrepareSettings,
    correction: Correction,
) -> None:
    """Raises InputError for what is no parallel beam; only reported where one was asked for."""
    try:
        correction.notes += check_parallel(lines, scan.angles_rad, column)
    except InputError as error:
        if settings.geometry == "auto":
            raise
        correction.notes.append(error.got)


def _with_stated(scan: RawScan, settings: PrepareSettings) -> RawScan:
    """The scan with the lengths, the centre and the sense of rotation that the user states."""
    names = ("source_to_axis_mm", "source_to_detector_mm", "column_mm", "row_mm")
    scan = replace(
        scan, **{name: v for name in names if (v := getattr(settings, name)) is not None}
    )
    if settings.centre_column is not None:
        scan = replace(scan, centre_column=settings.centre_column - scan.first_column)
    if settings.centre_row is not None:
        scan = replace(scan, centre_row=settings.centre_row - scan.first_row)
    if settings.reverse_angles:
        scan = replace(scan, angles_rad=-scan.angles_rad)
    if scan.column_mm is None:
        said = next((f" ({note})" for note in scan.notes if "pixel_size" in note), "")
        raise InputError(
            f"The source does not contain the width of its detector columns{said}.",
            "a width in mm",
            "--column-mm; 1 leaves attenuation per column, where it is not known",
        )
    if (
        scan.centre_column is not None
        and not -0.5 <= scan.centre_column <= scan.data.shape[2] - 0.5
    ):
        raise InputError(
            f"The centre of rotation is at column {scan.centre_column + scan.first_column:g}.",
            f"a column from {scan.first_column} to {scan.first_column + scan.data.shape[2] - 1}, "
            "which are taken",
        )
    return scan if scan.row_mm is not None else replace(scan, row_mm=scan.column_mm)


def _noise(scan: RawScan, settings: PrepareSettings) -> CountingNoise | None:
    """The photons that the user or the files state, or that follow from the flat frames.

    Of different ones the harmonic mean, which is that of one count of the same variance.
    """
    if settings.photons is not None:
        return CountingNoise(photons=settings.photons, electronic_counts=0.0)
    if scan.photons is not None:
        mean = 1 / float((1 / scan.photons.astype(np.float64)).mean())
        return CountingNoise(photons=mean, electronic_counts=0.0)
    return counting_noise(scan)


def _kind(scan: RawScan, settings: PrepareSettings) -> str:
    """Parallel, fan or cone. Raises InputError where the distances do not fit that."""
    distances = scan.source_to_axis_mm, scan.source_to_detector_mm
    if settings.geometry == "auto":
        if distances == (None, None):
            return "parallel"
        return "fan" if scan.centre_row is None and scan.data.shape[1] == 1 else "cone"
    if settings.geometry != "parallel" and None in distances:
        raise InputError(
            f"The source does not contain the distances of a {settings.geometry} beam.",
            "the distances from the source to the axis and to the detector",
            "--source-to-axis-mm and --source-to-detector-mm",
        )
    if settings.geometry == "parallel" and distances != (None, None):
        raise InputError(
            f"A parallel beam was asked for, of a scan whose source is {distances[0]} mm from the "
            "axis.",
            "a fan or a cone",
            "--geometry auto",
        )
    return settings.geometry


def _row_notes(scan: RawScan, kind: str) -> list[str]:
    """What is assumed of the row of a cone's centre, where it is not known."""
    if kind != "cone" or scan.centre_row is not None or scan.detector_shape[0] == 1:
        return []
    middle = (scan.detector_shape[0] - 1) / 2
    return [
        "the row of the source's plane is taken to be the middle of the detector, row "
        f"{middle:g} (--centre-row)"
    ]


def _with_middle_row(scan: RawScan) -> RawScan:
    """The scan with the middle of its whole detector for the row that is not known."""
    if scan.centre_row is not None:
        return scan
    return replace(scan, centre_row=(scan.detector_shape[0] - 1) / 2 - scan.first_row)


def _centre(
    scan: RawScan, kind: str, lines: np.ndarray, settings: PrepareSettings, correction: Correction
) -> tuple[float, Centre | None]:
    """The column of the axis: the known one, or what is found."""
    if scan.centre_column is not None:
        return scan.centre_column, None
    if settings.axis_tilt_degrees:
        raise InputError(
            "The column of the axis is not known, and opposite views do not mirror each other "
            "where it leans along the beam.",
            "the column onto which the middle of the axis is projected",
            "--centre-column",
        )
    if kind != "parallel":
        return _centre_from_source(scan, kind, lines, settings, correction)
    centre = find_centre(lines, scan.angles_rad)
    check_axis(centre.column, lines.shape[2], whole_turn=turns_wholly(scan.angles_rad))
    if (
        centre.pair_column is not None
        and abs(centre.pair_column - centre.column) > REPORTED_DISAGREEMENT_COLUMNS
    ):
        correction.notes.append(
            f"the centre of rotation was found at column {centre.column:.2f}, but from opposite "
            f"views alone at {centre.pair_column:.2f}: check the reconstruction, and set "
            "centre_column"
        )
    if centre.method == "mass":
        correction.notes.append(
            "no views are opposite each other: the centre comes from the centre of mass, which is "
            "right only where the detector sees the whole object in air"
        )
    return centre.column, centre


def _centre_from_source(
    scan: RawScan, kind: str, lines: np.ndarray, settings: PrepareSettings, correction: Correction
) -> tuple[float, Centre | None]:
    """The column of a fan's or cone's axis: found by opposite rays, else the detector's middle.

    Raises InputError where the middle is not among the columns that are taken.
    """
    centre = find_centre_from_source(scan, lines, of_plane=kind == "cone")
    if centre is not None:
        return centre.column, centre
    middle = (scan.detector_shape[1] - 1) / 2
    correction.notes.append(
        f"the centre of rotation is taken to be the middle of the detector, column {middle:g}"
    )
    last = scan.first_column + lines.shape[2] * settings.binning[1] - 1
    if not scan.first_column - 0.5 <= middle <= last + 0.5:
        raise InputError(
            f"The middle of the detector, column {middle:g}, is not among the columns "
            f"{scan.first_column} to {last}.",
            "columns on both sides of the axis of rotation",
            "--centre-column, if the axis is elsewhere; or other --columns",
        )
    if scan.first_column == 0 and last + settings.binning[1] >= scan.detector_shape[1]:
        check_middle(lines, scan.angles_rad)
    return binned_position(middle - scan.first_column, settings.binning[1]), None


def _in_source_columns(centre: Centre, first_column: int, factor: int) -> Centre:
    """A centre in columns of the source's detector, before cropping and binning."""

    def placed(position: float) -> float:
        return position * factor + (factor - 1) / 2 + first_column

    return replace(
        centre,
        column=placed(centre.column),
        pair_column=None if centre.pair_column is None else placed(centre.pair_column),
        mass_column=None if centre.mass_column is None else placed(centre.mass_column),
    )
