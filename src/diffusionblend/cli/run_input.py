"""What `run` was given: a CT, a measured scan or projections, and what lies beside it."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from diffusionblend.errors import InputError
from diffusionblend.io.scans.options import ReadOptions
from diffusionblend.runs.finished import settings_that_differ
from diffusionblend.runs.record import read_run_record, run_record_path

if TYPE_CHECKING:
    from diffusionblend.cli.recorded import Command

Kind = Literal["CT", "measured scan", "projections"]
ANGLE_FILES = ("angles.txt", "angles.csv", "angles.npy", "theta.txt")
"""Names of lists of angles that are taken from a folder of frames."""
KEY_SUFFIXES = (".nxs", ".nexus")


def kind_of(path: Path) -> Kind:
    """What a file or folder is, by its name and contents. Raises InputError where it is not there.

    A folder with TIFF frames is a measured scan, unless 'export' wrote them, and so is one of views
    as DICOM-CT-PD; any other one is a DICOM series.
    """
    from diffusionblend.io.atomic import file_suffix
    from diffusionblend.io.scans.registry import is_projections_file, is_scan_folder
    from diffusionblend.io.scans.tiff_file import TIFF_SUFFIXES
    from diffusionblend.io.tiff_stack import is_tiff_stack
    from diffusionblend.io.volumes import READ_SUFFIXES, is_dicom

    if not path.exists():
        raise InputError(
            f"There is no {path}.",
            "a DICOM folder, a volume (.nii.gz, .nrrd, .mha ...), a measured scan or projections",
            "check the path, or 'diffusionblend demo' for a synthetic chest",
        )
    if path.is_dir():
        has_frames = any(p.suffix.lower() in TIFF_SUFFIXES for p in path.rglob("*"))
        if has_frames:
            return "CT" if is_tiff_stack(path) else "measured scan"
        return "measured scan" if is_scan_folder(path) else "CT"
    if file_suffix(path) in READ_SUFFIXES or is_dicom(path):
        return "CT"
    return "projections" if is_projections_file(path) else "measured scan"


def found_beside(folder: Path, options: ReadOptions) -> ReadOptions:
    """The options with the list of angles and the image key that lie in a folder of frames.

    Only where no angles are given and there is one of them.
    """
    if not folder.is_dir() or options.angles is not None or options.arc_degrees is not None:
        return options
    lists = [folder / name for name in ANGLE_FILES if (folder / name).is_file()]
    keys = [p for p in sorted(folder.iterdir()) if p.suffix.lower() in KEY_SUFFIXES]
    if len(lists) != 1:
        return options
    return replace(options, angles=lists[0], image_key=keys[0] if len(keys) == 1 else None)


def lacks_column_mm(source: Path, options: ReadOptions) -> bool:
    """Whether a measured scan does not say how wide its detector's columns are.

    One row of it is read. Raises InputError where it cannot be.
    """
    from diffusionblend.io.scans.registry import read_raw_scan

    scan = read_raw_scan(source, replace(options, rows=(0, 1)))
    return scan.column_mm is None and scan.geometry is None


def is_done(name: str, command: Command, output: Path) -> bool:
    """Whether an output is there, of the same command on the same inputs, with its record."""
    record_path = run_record_path(output)
    if not (output.exists() and record_path.exists()):
        return False
    own = getattr(command, "recorded_settings", None)
    asked = own() if own else {f.name: getattr(command, f.name) for f in fields(command)}  # type: ignore[arg-type]
    names = [n for n in asked if n != "force"]
    record = read_run_record(record_path)
    if record.command != name or settings_that_differ(output, asked, names):
        return False
    return not record.changed_inputs()
