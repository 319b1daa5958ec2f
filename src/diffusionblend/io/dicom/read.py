"""A CT series from a folder of DICOM slices, or a multi-frame file, to a volume in HU.

What is done to the values: each slice's rescale slope and intercept are applied; pixels that hold
the padding value, and all below -1024 HU, become -1024 HU, but not in a series that `write` wrote.
The table and all else in the field of view stay as they are. Slices of a tilted gantry are shifted
upright, as sheared files are. What else does not stack into a regular grid is refused (see
`stack`), and so is what is more than one acquisition (see `acquisition`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from diffusionblend.data.upright import upright
from diffusionblend.data.volume import Volume
from diffusionblend.geometry.grid import Grid
from diffusionblend.io.dicom.meaning import check_units
from diffusionblend.io.dicom.pixels import slice_in_hu
from diffusionblend.io.dicom.series import find_series
from diffusionblend.io.dicom.stack import Stack
from diffusionblend.io.dicom.write import MANUFACTURER
from diffusionblend.io.foreign.reader import reads_foreign
from diffusionblend.io.formats.placed import Placed, volume_of


@dataclass(frozen=True, kw_only=True)
class SeriesReport:
    """What a DICOM series was, free of patient data.

    spacing_mm: (z, y, x). hu_range: of the volume as returned. padding_voxels: how many were set to
    -1024 HU. skipped_files: how many files of the folder were not images of this series. warnings:
    whole sentences for the user.
    """

    modality: str
    manufacturer: str
    model: str
    kernel: str
    kvp: float | None
    n_slices: int
    spacing_mm: tuple[float, float, float]
    slice_thickness_mm: float | None
    hu_range: tuple[float, float]
    padding_voxels: int
    skipped_files: int = 0
    warnings: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, object]:
        """The report as plain values, for a run record."""
        return asdict(self)


@reads_foreign
def read_dicom_series(
    folder: Path | str,
    *,
    series_uid: str | None = None,
    only: Sequence[str] = (),
    on_step: Callable[[int, int], None] | None = None,
) -> tuple[Volume, SeriesReport]:
    """Read the one CT series in a folder, or in a multi-frame file, in HU and LPS.

    Subfolders are not searched, unless a DICOMDIR names files there. series_uid: which series,
    where the folder holds several. only: conditions TAG=VALUE, where one series UID covers several
    acquisitions. on_step: called with the steps done and in all, one for each header and one for
    each slice. Returns values (z, y, x) float32 and what was found. Raises InputError for an empty
    folder, several series, several acquisitions or phases in one, slices that are missing,
    duplicated, tilted against each other, irregular or fewer than three, values that are not HU,
    colour, localiser and other images than CT, missing positions, and truncated files.
    """
    folder = Path(folder)
    found = find_series(
        folder,
        series_uid=series_uid,
        only=only,
        on_file=on_step and (lambda i, n: on_step(i, 2 * n)),
    )
    stack, n_files = found.stack, found.n_files
    check_units(stack.headers)
    values, n_padding, notes = _read_pixels(
        stack,
        on_step and (lambda share: on_step(n_files + round(share * n_files), 2 * n_files)),
    )
    volume, shear = _volume(values, stack, folder)
    notes = (*found.notes, *shear, *notes)
    return volume, _report(volume, stack, n_padding, found.n_skipped, notes)


def _read_pixels(
    stack: Stack, on_share: Callable[[float], None] | None
) -> tuple[np.ndarray, int, tuple[str, ...]]:
    """HU (slice, row, column) float32 in the stack's order, the count of padding, and notes.

    on_share: called with the share that is read, from 0 to 1.
    """
    n_slices = len(stack.headers)
    values: np.ndarray | None = None
    n_padding = 0
    notes: dict[str, None] = {}
    for k, header in enumerate(stack.headers):
        scanned = header.text("Manufacturer") != MANUFACTURER  # what we write is not padded
        found = slice_in_hu(header, is_padded=scanned)
        if values is None:
            values = np.empty((n_slices, *found.hu.shape), np.float32)
        values[k] = found.hu
        n_padding += int(np.count_nonzero(found.padding))
        notes |= dict.fromkeys(found.notes)
        if on_share is not None:
            on_share((k + 1) / n_slices)
    assert values is not None
    return values, n_padding, tuple(notes)


def _volume(values: np.ndarray, stack: Stack, folder: Path) -> tuple[Volume, tuple[str, ...]]:
    """The stack as a volume, resampled where its slices are sheared, and what to say of that."""
    if stack.sheared_step_mm is not None:
        return volume_of(Placed(values, stack.matrix), folder)
    grid = Grid(
        shape=values.shape,
        spacing_mm=stack.spacing_mm,
        origin_mm=stack.origin_mm,
        direction=stack.direction,
    )
    return upright(Volume(values, grid)), ()


def _report(
    volume: Volume, stack: Stack, n_padding: int, n_skipped: int, warnings: tuple[str, ...]
) -> SeriesReport:
    """The report on a series that was read."""
    first = stack.headers[0]
    return SeriesReport(
        modality=first.text("Modality"),
        manufacturer=first.text("Manufacturer"),
        model=first.text("ManufacturerModelName"),
        kernel=first.text("ConvolutionKernel"),
        kvp=first.number("KVP"),
        n_slices=len(stack.headers),
        spacing_mm=volume.grid.spacing_mm,
        slice_thickness_mm=first.number("SliceThickness"),
        hu_range=(float(volume.values.min()), float(volume.values.max())),
        padding_voxels=n_padding,
        skipped_files=n_skipped,
        warnings=warnings,
    )
