"""A CT series from a folder of DICOM slices, to a volume in HU.

What is done to the values: each slice's rescale slope and intercept are applied; pixels that hold
the padding value, and all below -1024 HU, become -1024 HU, but not in a series that `dicom_write`
wrote. The table and all else in the field of view stay as they are. What does not stack into a
regular grid is refused (see `dicom_stack`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from diffusionblend.data.sitk import volume_from_image
from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError
from diffusionblend.io.dicom.header import Header, check_whole, pick_series, read_headers
from diffusionblend.io.dicom.stack import Stack, check_ct_images, sorted_stack
from diffusionblend.io.dicom.write import MANUFACTURER
from diffusionblend.io.foreign.reader import reads_foreign

PADDING_HU = -1024.0
"""What padding becomes: the lowest value of a 12-bit CT scan, and of the training volumes."""
HIGHEST_PADDING_HU = -900.0
"""A padding value above this would be tissue: such a header is not believed."""
UNSIGNED_16_BITS = 1 << 16


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
    on_step: Callable[[int, int], None] | None = None,
) -> tuple[Volume, SeriesReport]:
    """Read the one CT series in a folder (subfolders are not searched), in HU and LPS.

    series_uid: which series, where the folder holds several. on_step: called with the steps done
    and in all, one for each header and one for each slice. Returns values (z, y, x) float32 and
    what was found. Raises InputError for an empty folder, several series, slices that are missing,
    duplicated, tilted, irregular or fewer than three, colour, localiser, multi-frame and other
    images than CT, missing positions, and truncated files.
    """
    folder = Path(folder)
    headers, others = read_headers(folder, on_step and (lambda i, n: on_step(i, 2 * n)))
    n_files = len(headers) + len(others)
    headers, other_series = pick_series(headers, series_uid, folder)
    check_whole(headers)
    check_ct_images(headers)
    stack = sorted_stack(headers)
    values = _read_pixels(
        stack,
        folder,
        on_step and (lambda share: on_step(n_files + round(share * n_files), 2 * n_files)),
    )
    n_padding, warnings = _fill_padding(values, stack.headers)
    volume = volume_from_image(_image(values, stack), folder)
    return volume, _report(volume, stack, n_padding, len(others) + len(other_series), warnings)


def _read_pixels(
    stack: Stack, folder: Path, on_share: Callable[[float], None] | None
) -> np.ndarray:
    """The rescaled pixels (slice, row, column) float32 in the stack's order; any DICOM codec.

    on_share: called with the share that is read, from 0 to 1.
    """
    import SimpleITK as sitk

    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(h.path) for h in stack.headers])
    reader.SetOutputPixelType(sitk.sitkFloat32)  # else the first slice's type rounds the others
    stopped: list[BaseException] = []

    def tell() -> None:
        try:
            on_share(reader.GetProgress())
        except BaseException as error:  # Ctrl-C, which would end as an error of the library
            stopped.append(error)
            reader.Abort()

    if on_share is not None:
        reader.AddCommand(sitk.sitkProgressEvent, tell)
    warned = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)  # spacing is ours to judge
    try:
        image = reader.Execute()
    except RuntimeError as error:
        if stopped:
            raise stopped[0] from None
        lines = str(error).strip().splitlines()
        raise InputError(
            f"The slices in {folder} could not be read: {lines[-1].strip() if lines else ''}",
            "whole DICOM files in a common transfer syntax",
            "copy the series again (a file may be truncated), or decompress it with gdcmconv",
        ) from error
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(warned)
    if stopped:
        raise stopped[0]
    return sitk.GetArrayFromImage(image)


def _image(values: np.ndarray, stack: Stack) -> object:
    """The stack as a SimpleITK image."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(values)
    image.SetSpacing(stack.spacing_mm[::-1])
    image.SetOrigin(stack.origin_mm)
    image.SetDirection(stack.direction)
    return image


def _fill_padding(values: np.ndarray, headers: tuple[Header, ...]) -> tuple[int, tuple[str, ...]]:
    """Set padding, and what lies below -1024 HU, to -1024 HU in place; the count and warnings."""
    n_padding = 0
    warnings: dict[str, None] = {}
    for slice_, header in zip(values, headers, strict=True):
        scanned = header.text("Manufacturer") != MANUFACTURER  # what we write is not padded
        padding = (slice_ < PADDING_HU) & scanned
        between = _padding_range_hu(header)
        if between is not None and between[1] > HIGHEST_PADDING_HU:
            warnings[
                f"The header's padding value means {between[1]:g} HU, which is tissue; it is not"
                " taken for padding."
            ] = None
        elif between is not None:
            half = abs(header.number("RescaleSlope", 1.0)) / 2
            padding |= (slice_ > between[0] - half) & (slice_ < between[1] + half)
        n_padding += int(np.count_nonzero(padding))
        slice_[padding] = PADDING_HU
    return n_padding, tuple(warnings)


def _padding_range_hu(header: Header) -> tuple[float, float] | None:
    """From which to which HU a slice's padding goes; None where the header names none."""
    first = header.number("PixelPaddingValue")
    if first is None:
        return None
    stored = [first, header.number("PixelPaddingRangeLimit", first)]
    if header.number("PixelRepresentation", 0) == 1:  # some files give a signed value as unsigned
        stored = [v - UNSIGNED_16_BITS if v >= UNSIGNED_16_BITS // 2 else v for v in stored]
    slope, intercept = header.number("RescaleSlope", 1.0), header.number("RescaleIntercept", 0.0)
    low, high = sorted(v * slope + intercept for v in stored)
    return low, high


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
        warnings=(*stack.warnings, *warnings),
    )
