"""Volumes in HU from and to NIfTI, NRRD and MetaImage files, and from folders of slices.

Every volume is turned to LPS on reading, that is z towards the head, y to the back, x to the
patient's left, by permuting and flipping axes only: no value is interpolated. An oblique volume
keeps its small rotation in `Grid.direction`.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from diffusionblend.data.sitk import image_from_volume, volume_from_image
from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError
from diffusionblend.geometry.grid import Grid
from diffusionblend.io.atomic import atomic_output, check_readable, file_suffix, silent_libraries
from diffusionblend.io.foreign.reader import reads_foreign
from diffusionblend.io.nifti import NIFTI_SUFFIXES, check_nifti

if TYPE_CHECKING:
    import SimpleITK

READ_SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")
WRITE_SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".mha")
DTYPES = ("float32", "int16")

MAX_NORMALISED = 10.0
"""Values that stay within plus and minus this are fractions or 1/mm, not HU."""
MAX_HU_RANGE = 100_000.0


@reads_foreign
def read_volume(
    path: Path | str,
    *,
    series_uid: str | None = None,
    check: bool = True,
    on_step: Callable[[int, int], None] | None = None,
) -> Volume:
    """Read a volume in HU from a file (.nii, .nii.gz, .nrrd, .mha ...) or a folder of slices.

    The folder holds a DICOM series, or a TIFF stack that `write_tiff_stack` wrote. Returns values
    (z, y, x) float32, in LPS. `series_uid` picks one of several series of a DICOM folder. `check`
    refuses values that are plainly not HU (see `check_hu`); NaN in a NIfTI file is always refused.
    `on_step`: called with the steps done and in all, for a DICOM folder. Raises InputError.
    """
    path = Path(path)
    if path.is_dir():
        from diffusionblend.io.dicom.read import read_dicom_series
        from diffusionblend.io.tiff_stack import is_tiff_stack, read_tiff_stack

        if is_tiff_stack(path):
            volume = volume_from_image(image_from_volume(read_tiff_stack(path)), path)
        else:
            volume, _ = read_dicom_series(path, series_uid=series_uid, on_step=on_step)
    else:
        volume = volume_from_image(_read_image(path), path)
    if check:
        check_hu(volume, path)
    return volume


def write_volume(
    volume: Volume, path: Path | str, *, force: bool = False, dtype: str = "float32"
) -> None:
    """Write a volume in HU, whole or not at all, in the format of `path`'s suffix.

    dtype: "float32" keeps the values exactly; "int16" rounds them to whole HU and halves the file.
    NIfTI keeps spacing and origin to float32. Raises InputError for another suffix or dtype or
    where int16 is too narrow, OutputExistsError, OutputWriteError.
    """
    import SimpleITK as sitk

    path = Path(path)
    check_volume_suffix(path)
    image = image_from_volume(volume.with_values(_checked_for(dtype, volume.values)))
    if dtype == "int16":
        image = sitk.Cast(image, sitk.sitkInt16)
    with atomic_output(path, force=force) as temporary:
        _write_image(image, temporary)


def check_volume_suffix(path: Path | str) -> None:
    """Raises InputError unless a volume can be written to `path`; call it before long work."""
    if file_suffix(path) not in WRITE_SUFFIXES:
        raise InputError(
            f"A volume cannot be written as {Path(path).name}.",
            f"a name that ends in {', '.join(WRITE_SUFFIXES)}",
            f"{Path(path).with_suffix('.nii.gz').name}",
        )


def check_hu(volume: Volume, source: Path | str) -> None:
    """Raises InputError for a volume too thin, not finite or plainly not in HU.

    HU means air near -1000 and water 0. Refused: NaN or infinity, a constant,
    no value below 0 (raw or grey values), all within 10 of 0 (fractions, 1/mm), a range beyond
    100 000.
    """
    bad = int(np.count_nonzero(~np.isfinite(volume.values)))
    if bad:
        raise InputError(
            f"{source} holds {bad} values that are NaN or infinite.",
            "finite values in HU",
            "replace them by -1000 (air)",
        )
    low, high = float(volume.values.min()), float(volume.values.max())
    problem = _not_hu(low, high)
    if problem:
        raise InputError(
            f"{source} is not in HU: its values go from {low:g} to {high:g}, {problem}.",
            "CT numbers in HU: air near -1000, water 0, bone some hundreds",
            "apply the rescale slope and intercept of the scan, or import its DICOM folder",
        )


def summary(volume: Volume) -> dict[str, object]:
    """What a volume is, free of patient data: size, spacing in mm, orientation, range in HU."""
    z, y, x = volume.grid.shape
    low, median, high = np.percentile(volume.values, (0.0, 50.0, 100.0))
    return {
        "shape_zyx": [z, y, x],
        "spacing_mm_zyx": [round(s, 6) for s in volume.grid.spacing_mm],
        "extent_mm_zyx": [
            round(n * s, 3) for n, s in zip(volume.grid.shape, volume.grid.spacing_mm, strict=True)
        ],
        "orientation": orientation_code(volume.grid),
        "hu_min": float(low),
        "hu_median": float(median),
        "hu_max": float(high),
    }


def orientation_code(grid: Grid) -> str:
    """Where the axes x, y, z point, as three letters: LPS for an upright volume as read here."""
    import SimpleITK as sitk

    code = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(grid.direction)
    rotated = not np.isin(np.round(np.abs(grid.direction), 3), (0.0, 1.0)).all()
    return f"{code} (oblique)" if rotated else code


def _read_image(path: Path) -> SimpleITK.Image:
    """Read a file by its suffix; raises InputError for a foreign, broken or truncated one."""
    import SimpleITK as sitk

    check_readable(path)
    suffix = file_suffix(path)
    if suffix not in READ_SUFFIXES:
        raise InputError(
            f"{path} is not a volume by its name.",
            f"a file that ends in {', '.join(READ_SUFFIXES)}, or a DICOM folder",
            "the folder that holds the slices, where this is one DICOM slice",
        )
    if suffix in NIFTI_SUFFIXES:
        check_nifti(path)
    try:
        with silent_libraries():
            return sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise InputError(
            f"{path} could not be read{_reason(error)}.",
            f"a whole {suffix} file",
            "copy it again (it may be truncated), or open it in 3D Slicer to see what it is",
        ) from error


def _reason(error: RuntimeError) -> str:
    """The last line of ITK's message, but for the system's last error, which may be an old one."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith("Reason:")]
    return f": {telling[-1].rstrip('.')}" if telling else ""


def _not_hu(low: float, high: float) -> str:
    """Why a range of values cannot be HU; empty where it can."""
    if low == high:
        return "a constant"
    if max(abs(low), abs(high)) <= MAX_NORMALISED:
        return "which look like fractions or attenuation"
    if low >= 0:
        return "none below 0, as raw or grey values are"
    if high - low > MAX_HU_RANGE:
        return "far beyond any CT number"
    return ""


def _checked_for(dtype: str, values: np.ndarray) -> np.ndarray:
    """The values to write as `dtype`: as they are, or rounded to whole HU."""
    if dtype not in DTYPES:
        raise InputError(f"The voxel type is {dtype!r}.", f"one of {', '.join(DTYPES)}")
    if dtype == "float32":
        return values
    rounded = np.round(values)
    limits = np.iinfo(np.int16)
    low, high = rounded.min(), rounded.max()
    if not (limits.min <= low <= high <= limits.max):  # NaN fails this too
        raise InputError(
            f"The volume has values from {values.min():g} to {values.max():g} HU.",
            f"values within [{limits.min}, {limits.max}] to write as int16",
            "float32",
        )
    return rounded


def _write_image(image: SimpleITK.Image, temporary: Path) -> None:
    """Write an image; raises OSError where not all of it went to the disk."""
    import SimpleITK as sitk

    try:
        with silent_libraries():
            sitk.WriteImage(image, str(temporary))
        if file_suffix(temporary) in NIFTI_SUFFIXES:  # of which SimpleITK 2.5 does not tell
            check_nifti(temporary, finite=False)
    except (RuntimeError, InputError) as error:
        raise OSError(errno.EIO, str(error)) from error


def find_volumes(folder: Path) -> list[Path]:
    """The volumes of a folder, sorted by name: files, and subfolders with a DICOM series each.

    Raises InputError if there is none.
    """
    folder = Path(folder)
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    paths = [p for p in paths if not p.name.startswith(".")]
    paths = [p for p in paths if p.is_dir() or file_suffix(p) in READ_SUFFIXES]
    if not paths:
        raise InputError(
            f"There are no volumes in {folder}.",
            f"a folder of files ending in {', '.join(READ_SUFFIXES)}, or of DICOM folders",
            "the folder above, where this is the folder of one DICOM series",
        )
    return paths
