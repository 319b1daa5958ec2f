"""Volumes in HU from and to NIfTI, NRRD and MetaImage files, and from folders of slices.

Every volume is turned to LPS on reading, that is z towards the head, y to the back, x to the
patient's left, by permuting and flipping axes only: no value is interpolated, unless the axes are
sheared. An oblique volume keeps its small rotation in `Grid.direction`.
"""

from __future__ import annotations

import errno
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from diffusionblend.data.plausible import check_hu, doubts
from diffusionblend.data.sitk import image_from_volume
from diffusionblend.data.upright import upright
from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError, check_kind
from diffusionblend.geometry.grid import Grid
from diffusionblend.io.atomic import atomic_output, check_readable, file_suffix, silent_libraries
from diffusionblend.io.foreign.reader import reads_foreign
from diffusionblend.io.formats.metaimage import METAIMAGE_SUFFIXES, read_metaimage
from diffusionblend.io.formats.nifti import NIFTI_SUFFIXES, check_nifti, read_nifti
from diffusionblend.io.formats.nrrd import NRRD_SUFFIXES, read_nrrd
from diffusionblend.io.formats.numpy_volume import NUMPY_SUFFIXES, read_numpy_volume
from diffusionblend.io.formats.placed import volume_of
from diffusionblend.io.names import plain_path
from diffusionblend.units import unit_of

if TYPE_CHECKING:
    import SimpleITK

    from diffusionblend.io.formats.placed import Placed

READERS = {
    **dict.fromkeys(NIFTI_SUFFIXES, read_nifti),
    **dict.fromkeys(NRRD_SUFFIXES, read_nrrd),
    **dict.fromkeys(METAIMAGE_SUFFIXES, read_metaimage),
    **dict.fromkeys(NUMPY_SUFFIXES, read_numpy_volume),
}
READ_SUFFIXES = tuple(suffix for suffix in READERS if suffix not in NUMPY_SUFFIXES)
"""Those that can only be volumes; NumPy's may be measured scans too."""
WRITE_SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".mha")
DTYPES = ("float32", "int16")

DICOM_FILE_SUFFIXES = (".dcm", ".dicom", ".ima")


def warn(text: str) -> None:
    """A note on a file as a warning, which the command line prints as a line of its own."""
    warnings.warn(text, stacklevel=3)


def read_volume(
    path: Path | str,
    *,
    series_uid: str | None = None,
    check: bool = True,
    on_step: Callable[[int, int], None] | None = None,
    on_note: Callable[[str], None] = warn,
) -> Volume:
    """Read a volume in HU from a file (.nii, .nii.gz, .nrrd, .mha ...) or a folder of slices.

    The folder holds a DICOM series, or a TIFF stack that `write_tiff_stack` wrote. Returns values
    (z, y, x) float32, in LPS. `series_uid` picks one of several series of a DICOM folder. `check`
    refuses values that are plainly not HU (see `check_hu`); NaN in a NIfTI file is always refused.
    `on_step`: called with the steps done and in all, for a DICOM folder. `on_note`: called with a
    sentence on each thing that the file leaves open or contradicts; a warning by default. Raises
    InputError.
    """
    path = Path(path)
    volume, notes = volume_and_notes(path, series_uid=series_uid, on_step=on_step)
    if check:
        check_hu(volume, path)
        notes = (*notes, *doubts(volume, path))
    for note in notes:
        on_note(note)
    return volume


@reads_foreign
def volume_and_notes(
    path: Path,
    *,
    series_uid: str | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> tuple[Volume, tuple[str, ...]]:
    """The volume of a file or folder, whatever its unit, and the notes on it; see `read_volume`."""
    if is_dicom(path):
        from diffusionblend.io.dicom.read import read_dicom_series

        volume, report = read_dicom_series(path, series_uid=series_uid, on_step=on_step)
        return volume, report.warnings
    if path.is_dir():
        from diffusionblend.io.tiff_stack import read_tiff_stack

        return upright(read_tiff_stack(path)), ()
    return volume_of(_reader(path)(path), path)


def is_dicom(path: Path) -> bool:
    """Whether a path is read as DICOM: a folder but for TIFF stacks, and single files by name."""
    if path.is_dir():
        from diffusionblend.io.tiff_stack import is_tiff_stack

        return not is_tiff_stack(path)
    by_name = file_suffix(path) in DICOM_FILE_SUFFIXES or path.name.upper() == "DICOMDIR"
    return by_name and path.is_file()


def write_volume(
    volume: Volume, path: Path | str, *, force: bool = False, dtype: str = "float32"
) -> None:
    """Write a volume in HU, whole or not at all, in the format of `path`'s suffix.

    dtype: "float32" keeps the values exactly; "int16" rounds them to whole HU and halves the file.
    NIfTI keeps spacing and origin to float32. Raises InputError for another suffix or dtype or
    where int16 is too narrow, OutputExistsError, OutputWriteError.
    """
    import SimpleITK as sitk

    check_kind(volume, Volume, "The volume to write")
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


def summary(volume: Volume) -> dict[str, object]:
    """What a volume is, free of patient data: size, spacing in mm, orientation, range and unit."""
    z, y, x = volume.grid.shape
    low, median, high = np.percentile(volume.values, (0.0, 50.0, 100.0))
    return {
        "shape_zyx": [z, y, x],
        "spacing_mm_zyx": [round(s, 6) for s in volume.grid.spacing_mm],
        "extent_mm_zyx": [
            round(n * s, 3) for n, s in zip(volume.grid.shape, volume.grid.spacing_mm, strict=True)
        ],
        "orientation": orientation_code(volume.grid),
        "unit": unit_of(volume.values),
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


HINTS = {
    (".zip", ".tar", ".tar.gz", ".tgz", ".7z", ".rar", ".bz2", ".xz", ".zst", ".gz"): (
        "unpack it first, and give the file or folder that comes out"
    ),
    (".hdr", ".img", ".mgz", ".mgh", ".mnc", ".vtk", ".vti"): (
        "save it as .nii, for instance with nibabel or 3D Slicer"
    ),
    (".raw", ".vol", ".bin", ".dat"): (
        "write a header .mhd beside it, with the size, type and spacing of its voxels and its name "
        "as ElementDataFile, and give that"
    ),
    (".h5", ".hdf5", ".nxs", ".mat"): (
        "diffusionblend projections import, where this is a measured scan"
    ),
    (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp"): (
        "the DICOM series, since pictures tell neither HU nor spacing; diffusionblend projections "
        "import, where this is a measured scan"
    ),
}
"""What to try, by the end of a name that is no volume's."""


def _reader(path: Path) -> Callable[[Path], Placed]:
    """What reads a file by its suffix; raises InputError for another."""
    check_readable(path)
    suffix = file_suffix(path)
    if suffix not in READERS:
        raise InputError(
            f"{path} is not a volume by its name.",
            f"a file that ends in {', '.join(READERS)}, or a DICOM folder",
            next(
                (hint for ends, hint in HINTS.items() if path.name.lower().endswith(ends)),
                "the folder that holds the slices, where this is one DICOM slice",
            ),
        )
    return READERS[suffix]


def _checked_for(dtype: str, values: np.ndarray) -> np.ndarray:
    """The values to write as `dtype`: as they are, or rounded to whole HU."""
    if dtype not in DTYPES:
        raise InputError(
            f"The voxel type is {dtype!r}.",
            f"one of {', '.join(DTYPES)}",
            "leave it out for the usual one",
        )
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
        with silent_libraries(), plain_path(temporary) as name:
            sitk.WriteImage(image, name)
        if file_suffix(temporary) in NIFTI_SUFFIXES:  # which SimpleITK 2.5 does not report
            check_nifti(temporary)
    except (RuntimeError, InputError) as error:
        raise OSError(errno.EIO, str(error)) from error


def find_volumes(folder: Path) -> list[Path]:
    """The volumes of a folder, sorted by name: files, and subfolders with a DICOM series each.

    Raises InputError if there is none.
    """
    folder = Path(folder)
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    paths = [p for p in paths if not p.name.startswith(".")]
    arrays = [p.name for p in paths if p.is_file() and file_suffix(p) in NUMPY_SUFFIXES]
    paths = [p for p in paths if p.is_dir() or file_suffix(p) in READ_SUFFIXES]
    if arrays and paths:
        warn(
            f"{len(arrays)} NumPy file(s) in {folder} are left out, such as {arrays[0]}: import "
            "them first."
        )
    if not paths:
        raise InputError(
            f"There are no volumes in {folder}.",
            f"a folder of files ending in {', '.join(READ_SUFFIXES)}, or of DICOM folders",
            "the folder above, where this is the folder of one DICOM series",
        )
    return paths
