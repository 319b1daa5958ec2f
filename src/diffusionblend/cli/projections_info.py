"""`diffusionblend projections info`: what a file of projections, or a measured scan, contains."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import tyro

from diffusionblend.cli.common import say
from diffusionblend.errors import InputError
from diffusionblend.io.scans.options import NO_ANGLES, ReadOptions
from diffusionblend.runs.record import plain_value

if TYPE_CHECKING:
    from diffusionblend.data.projections import Projections
    from diffusionblend.data.raw_scan import RawScan

ANY_ARC = 360.0
EVEN_DEGREES = 0.01
"""Steps between angles that differ by less are printed as one."""


@dataclass(frozen=True, kw_only=True)
class ProjectionsInfo:
    """Print what a projections file contains, or a measured scan that could be imported."""

    file: Annotated[Path, tyro.conf.Positional]
    """Projections file (.h5), or any source of 'projections import'."""
    json: bool = False
    """Print JSON instead of lines."""
    read: Annotated[ReadOptions, tyro.conf.arg(name="")] = field(default_factory=ReadOptions)

    def run(self) -> None:
        """Read the whole of it, so that a damaged file is found, and print a fact a line."""
        from diffusionblend.io.projections import read_projections
        from diffusionblend.io.scans.registry import is_projections_file

        if is_projections_file(self.file):
            facts = projections_facts(read_projections(self.file))
        else:
            facts = self._raw_facts()
        if self.json:
            say(json.dumps(plain_value(facts), indent=2, allow_nan=False))
            return
        for name, value in facts.items():
            say(f"{name.replace('_', ' '):24} {_as_text(value)}")

    def _raw_facts(self) -> dict[str, object]:
        """Of a measured scan; one without angles is described with what it lacks."""
        from diffusionblend.io.scans.registry import read_raw_scan

        try:
            return raw_scan_facts(read_raw_scan(self.file, self.read))
        except InputError as error:
            if NO_ANGLES not in error.got:
                raise
            anyhow = replace(self.read, arc_degrees=ANY_ARC)
            facts = raw_scan_facts(read_raw_scan(self.file, anyhow))
            kept = {k: v for k, v in facts.items() if not k.startswith("angle")}
            return kept | {"angles": f"none; an import needs {error.try_}"}


def projections_facts(scan: Projections) -> dict[str, object]:
    """What projections hold: sizes, values, geometry, volume, units and source."""
    geometry, grid = scan.geometry, scan.grid
    described = geometry.to_dict()
    single = {k: v for k, v in described.items() if isinstance(v, int | float)}
    return {
        "kind": "projections (line integrals -ln(I / I0), dimensionless)",
        "views_rows_columns": scan.values.shape,
        "lines_lowest_median_highest": _spread(scan.values),
        **_left_out(scan),
        "geometry": type(geometry).__name__,
        **(_angles(described["angles_rad"]) if "angles_rad" in described else {}),
        **single,
        "volume_slices_rows_columns": grid.shape,
        "volume_spacing_mm_zyx": grid.spacing_mm,
        "volume_origin_mm_lps_xyz": grid.origin_mm,
        "mu_water_per_mm": scan.mu_water_per_mm,
        "units": "reconstruct writes HU by this mu_water, or 1/mm with --output-unit 1/mm",
        "truth": "none: projections files never hold one",
        "source": scan.notes.get("source", "unknown"),
        "photons": scan.notes.get("photons", _no_photons(scan)),
        **({} if scan.photons is None else {"photons_differ": _spread(scan.photons)}),
        "notes": {k: v for k, v in scan.notes.items() if k not in ("source", "settings")},
    }


def _left_out(scan: Projections) -> dict[str, object]:
    """How many rays do not count, where some do not."""
    if scan.measured is None:
        return {}
    return {"rays_left_out": f"{100 * (1 - scan.measured.mean()):.2g} %, such as those of metal"}


def _no_photons(scan: Projections) -> str:
    """Why a scan says nothing of its photons."""
    return "none: no noise was added" if scan.notes.get("source") == "simulated" else "unknown"


def raw_scan_facts(scan: RawScan) -> dict[str, object]:
    """What a measured scan contains before any correction."""
    facts: dict[str, object] = {
        "kind": f"measured scan, uncorrected: {scan.values}",
        "views_rows_columns": scan.data.shape,
        "lowest_median_highest": _spread(scan.data),
        "zero_or_negative": int((scan.data <= 0).sum()) if scan.values != "lines" else None,
        "not_finite": int((~np.isfinite(scan.data)).sum()),
        **_angles(scan.angles_rad),
        "flat_frames": 0 if scan.flats is None else len(scan.flats),
        "flat_median": None if scan.flats is None else float(np.nanmedian(scan.flats)),
        "dark_frames": 0 if scan.darks is None else len(scan.darks),
        "dark_median": None if scan.darks is None else float(np.nanmedian(scan.darks)),
    }
    for name in (
        "column_mm",
        "row_mm",
        "centre_column",
        "source_to_axis_mm",
        "source_to_detector_mm",
    ):
        facts[name] = getattr(scan, name)
    if scan.geometry is not None:
        described = scan.geometry.to_dict()
        facts["geometry"] = type(scan.geometry).__name__
        facts |= {k: v for k, v in described.items() if isinstance(v, int | float)}
    if scan.photons is not None:
        facts["photons_lowest_median_highest"] = _spread(scan.photons)
    facts["mu_water_per_mm"] = scan.mu_water_per_mm
    known = {k: v for k, v in facts.items() if v is not None} | scan.facts
    return known | ({"notes": list(scan.notes)} if scan.notes else {})


def _angles(angles_rad: tuple[float, ...] | np.ndarray) -> dict[str, object]:
    """First, last and step of the angles, in degrees."""
    degrees = np.degrees(angles_rad)
    steps = np.diff(degrees)
    found: dict[str, object] = {
        "angles_degrees_first_last": (round(float(degrees[0]), 4), round(float(degrees[-1]), 4))
    }
    if len(steps):
        even = float(np.ptp(steps)) < EVEN_DEGREES
        low, high = round(float(steps.min()), 4), round(float(steps.max()), 4)
        found["angle_step_degrees"] = round(float(steps.mean()), 4) if even else (low, high)
    return found


def _spread(values: np.ndarray) -> tuple[float, ...]:
    """Lowest, median and highest of the finite values."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return ()
    return tuple(float(f"{v:.5g}") for v in np.percentile(finite, (0, 50, 100)))


def _as_text(value: object) -> str:
    """A fact for a person: numbers with at most six digits."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, tuple | list):
        return ", ".join(_as_text(v) for v in value) or "none"
    if isinstance(value, dict):
        return "; ".join(f"{k}: {_as_text(v)}" for k, v in value.items()) or "none"
    return str(value)
