"""A volume as a derived CT series: one DICOM file a slice, in HU, in the place of its source.

DICOM PS3.3, A.3 (CT Image Storage) and C.8.2.1 (CT Image module). The values are rounded to whole
HU. A template series gives patient, study and frame of reference; its pixels are not read.
"""

from __future__ import annotations

import warnings
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from diffusionblend import __version__
from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError
from diffusionblend.geometry.grid import Grid, grids_overlap
from diffusionblend.io.atomic import atomic_folder
from diffusionblend.io.dicom.series import find_series
from diffusionblend.io.dicom.stack import Stack
from diffusionblend.units import WINDOWS_HU, unit_of

if TYPE_CHECKING:
    from pydicom import Dataset

MANUFACTURER = "diffusionblend"
"""What a series written here names as its equipment; reading knows by it that nothing is padded."""
DICOM_FILES = (".dcm",)
RESCALE_INTERCEPT_HU = -1024
STORED_BITS = 16
MAX_DESCRIPTION_LETTERS = 64
"""The longest text of DICOM's kind LO."""
DERIVED_SERIES_OFFSET = 9000
"""Added to the template's series number, so that the derived series is listed after all others."""
MAX_COSINE_ERROR = 1e-4
"""How far a grid's axes may be from perpendicular unit vectors."""
PLACEHOLDER = {
    "PatientName": "Research^Reconstruction",
    "PatientID": "RESEARCH",
    "PatientIdentityRemoved": "YES",
    "DeidentificationMethod": "written from a volume file without patient data",
    "StudyID": "1",
}
"""What stands for the patient where there is no template."""
TEMPLATE_TAGS = (
    *("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex"),
    *("PatientAge", "PatientSize", "PatientWeight", "PatientIdentityRemoved"),
    *("DeidentificationMethod", "DeidentificationMethodCodeSequence"),
    *("LongitudinalTemporalInformationModified", "StudyInstanceUID", "StudyDate", "StudyTime"),
    *("StudyID", "StudyDescription", "AccessionNumber", "ReferringPhysicianName"),
    *("FrameOfReferenceUID", "PositionReferenceIndicator", "PatientPosition"),
    *("BodyPartExamined", "KVP"),
)
"""What is copied from a template: patient, study, frame of reference; nothing private."""
EMPTY_TAGS = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"),
    *("StudyID", "AccessionNumber", "ReferringPhysicianName", "PositionReferenceIndicator"),
    *("PatientPosition", "KVP", "AcquisitionNumber", "Laterality"),
)
"""What the standard wants present though it may be empty."""
EQUIPMENT_PURPOSES = {
    "acquisition": ("109101", "Acquisition Equipment"),
    "processing": ("109102", "Processing Equipment"),
}
"""DICOM PS3.16, context group 7005: code and meaning."""


def write_dicom_series(
    volume: Volume,
    folder: Path | str,
    *,
    template: Path | str | None = None,
    template_series: str | None = None,
    description: str | None = None,
    n_views: int | None = None,
    force: bool = False,
) -> list[Path]:
    """Write a volume in HU as a new derived CT series, whole or not at all; returns its files.

    template: the folder of the series that the volume comes from, or lies in space with; without
    one a placeholder stands for the patient. template_series: its UID, where the folder holds
    several. description: of the series, at most 64 letters. n_views: how many projections the
    volume was made from. Values are rounded to whole HU and kept as int16. Raises InputError for a
    volume that does not fit or lies elsewhere than the template, OutputExistsError,
    OutputWriteError.
    """
    _check_is_hu(volume)
    stored = _stored_values(volume)
    _check_axes(volume.grid)
    description = _checked_description(description, n_views)
    folder = Path(folder)
    source = None if template is None else _template(Path(template), template_series, volume.grid)
    digits = max(4, len(str(len(stored))))
    names = [f"slice-{k + 1:0{digits}d}.dcm" for k in range(len(stored))]
    with (
        atomic_folder(folder, force=force, kinds=DICOM_FILES) as temporary,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # odd values of a template are copied as they are
        common = _series_dataset(volume.grid, source, description, n_views)
        for k, name in enumerate(names):
            _place_slice(common, volume.grid, k, stored[k])
            common.save_as(temporary / name, enforce_file_format=True)
    return [folder / name for name in names]


def _check_is_hu(volume: Volume) -> None:
    """Raises InputError for a volume in 1/mm, which would become 0 HU everywhere."""
    if unit_of(volume.values) != "HU":
        largest = float(np.abs(volume.values).max())
        raise InputError(
            f"The volume is not in HU: no value is beyond {largest:.3g}, as attenuation is (1/mm).",
            "a volume in HU, which DICOM's CT series hold",
            "reconstruct with --output-unit hu, or export with --format tiff",
        )


def _stored_values(volume: Volume) -> np.ndarray:
    """The stored pixels (z, y, x) int16: HU minus the intercept, rounded. Raises InputError."""
    limits = np.iinfo(np.int16)
    low = float(limits.min + RESCALE_INTERCEPT_HU)
    high = float(limits.max + RESCALE_INTERCEPT_HU)
    if not (volume.values.min() >= low and volume.values.max() <= high):  # NaN fails this too
        raise InputError(
            f"The volume has values from {volume.values.min():g} to {volume.values.max():g} HU.",
            f"finite values within [{low:g}, {high:g}]",
            "a volume format of float32 (.nii.gz, .nrrd, .mha)",
        )
    return (np.round(volume.values) - RESCALE_INTERCEPT_HU).astype("<i2")


def _check_axes(grid: Grid) -> None:
    """Raises InputError unless the grid's axes are perpendicular unit vectors."""
    axes = np.array(grid.direction).reshape(3, 3)
    if not np.abs(axes.T @ axes - np.eye(3)).max() <= MAX_COSINE_ERROR:
        raise InputError(
            f"The volume's axes are not perpendicular unit vectors: {grid.direction}.",
            "a rotation, with or without flips",
            "resample the volume to an upright grid first",
        )


def _checked_description(description: str | None, n_views: int | None) -> str:
    """The series description, by default from the number of views. Raises InputError."""
    if n_views is not None and n_views < 1:
        raise InputError(
            f"The number of views is {n_views}.", "at least 1", "leave it out where it is not known"
        )
    if description is None:
        of_views = "" if n_views is None else f" from {n_views} views"
        return f"Research reconstruction{of_views}"
    if len(description) > MAX_DESCRIPTION_LETTERS or not description.isprintable():
        raise InputError(
            f"The description has {len(description)} letters: {description!r}.",
            f"one line of at most {MAX_DESCRIPTION_LETTERS} letters",
            "a shorter one",
        )
    if "\\" in description:
        raise InputError(
            f"The description is {description!r}.",
            "a text without backslashes",
            "a slash in their place",
        )
    return description


def _template(folder: Path, series_uid: str | None, grid: Grid) -> Dataset:
    """The header of the template's first slice. Raises InputError where the volume lies elsewhere.

    The frame of reference is only true for a volume in the same patient coordinates.
    """
    import pydicom

    stack = find_series(folder, series_uid=series_uid).stack
    if not grids_overlap(grid, _grid_of(stack)):
        raise InputError(
            f"The volume does not lie where the series in {folder} does.",
            "the series that the volume was made from",
            "another template, or none",
        )
    return pydicom.dcmread(stack.headers[0].path, stop_before_pixels=True, force=True)


def _grid_of(stack: Stack) -> Grid:
    """The grid on which a template's slices lie."""
    tags = stack.headers[0].tags
    return Grid(
        shape=(len(stack.headers), int(tags.Rows), int(tags.Columns)),
        spacing_mm=stack.spacing_mm,
        origin_mm=stack.origin_mm,
        direction=stack.direction,
    )


def _series_dataset(
    grid: Grid, source: Dataset | None, description: str, n_views: int | None
) -> Dataset:
    """What all slices of the series have in common."""
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    series = Dataset()
    series.file_meta = FileMetaDataset()
    series.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    series.SpecificCharacterSet = "ISO_IR 192"
    series.SOPClassUID = series.file_meta.MediaStorageSOPClassUID = CTImageStorage
    _copy_context(series, source)
    now = datetime.now()
    for tag in ("InstanceCreation", "Series", "Content", *(() if source else ("Study",))):
        setattr(series, f"{tag}Date", now.strftime("%Y%m%d"))
        setattr(series, f"{tag}Time", now.strftime("%H%M%S"))
    series.Modality = "CT"
    series.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
    series.SeriesInstanceUID = generate_uid(prefix=None)
    number = 0 if source is None else int(source.get("SeriesNumber") or 0)
    series.SeriesNumber = number + DERIVED_SERIES_OFFSET
    series.SeriesDescription = description
    series.Manufacturer = series.ManufacturerModelName = MANUFACTURER
    series.SoftwareVersions = __version__
    _describe(series, source, n_views)
    _describe_pixels(series, grid)
    return series


def _copy_context(series: Dataset, source: Dataset | None) -> None:
    """Patient, study and frame of reference: the template's, or placeholders and new UIDs."""
    from copy import deepcopy

    from pydicom.uid import generate_uid

    for tag in EMPTY_TAGS:
        setattr(series, tag, "")
    if source is None:
        for tag, value in PLACEHOLDER.items():
            setattr(series, tag, value)
    else:
        for tag in TEMPLATE_TAGS:
            if tag in source:
                setattr(series, tag, deepcopy(source[tag].value))
    for tag in ("StudyInstanceUID", "FrameOfReferenceUID"):
        if not series.get(tag):
            setattr(series, tag, generate_uid(prefix=None))


def _describe(series: Dataset, source: Dataset | None, n_views: int | None) -> None:
    """What the series is, in words that every reader shows, and the equipment it comes from."""
    views = "few" if n_views is None else f"{n_views}"
    series.DerivationDescription = (
        f"Research reconstruction from {views} X-ray projections by {MANUFACTURER} {__version__};"
        " detail may be invented or lost."
    )
    series.ImageComments = f"Not for diagnosis. {series.DerivationDescription}"
    series.BurnedInAnnotation = "NO"
    series.LossyImageCompression = "00"
    equipment = [_equipment("processing", MANUFACTURER, MANUFACTURER, __version__)]
    if source is not None:
        maker, model = str(source.get("Manufacturer") or ""), source.get("ManufacturerModelName")
        equipment.append(_equipment("acquisition", maker or "unknown", str(model or ""), ""))
    series.ContributingEquipmentSequence = equipment


def _equipment(purpose: str, manufacturer: str, model: str, version: str) -> Dataset:
    """One item of the contributing equipment; empty texts are left out."""
    from pydicom import Dataset

    code = Dataset()
    code.CodeValue, code.CodeMeaning = EQUIPMENT_PURPOSES[purpose]
    code.CodingSchemeDesignator = "DCM"
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [code]
    item.Manufacturer = manufacturer
    if model:
        item.ManufacturerModelName = model
    if version:
        item.SoftwareVersions = version
    return item


def _describe_pixels(series: Dataset, grid: Grid) -> None:
    """Size, spacing, orientation, number format, rescaling and windows."""
    spacing_z, spacing_y, spacing_x = grid.spacing_mm
    axes = np.array(grid.direction).reshape(3, 3)
    _, series.Rows, series.Columns = grid.shape
    series.PixelSpacing = [_number(spacing_y), _number(spacing_x)]
    series.SliceThickness = series.SpacingBetweenSlices = _number(spacing_z)
    series.ImageOrientationPatient = [_number(c) for c in (*axes[:, 0], *axes[:, 1])]
    series.SamplesPerPixel = 1
    series.PhotometricInterpretation = "MONOCHROME2"
    series.BitsAllocated = series.BitsStored = STORED_BITS
    series.HighBit = STORED_BITS - 1
    series.PixelRepresentation = 1
    series.RescaleSlope, series.RescaleIntercept = 1, RESCALE_INTERCEPT_HU
    series.RescaleType = "HU"
    windows = WINDOWS_HU.items()
    series.WindowCenter = [_number((low + high) / 2) for _, (low, high) in windows]
    series.WindowWidth = [_number(high - low) for _, (low, high) in windows]
    series.WindowCenterWidthExplanation = [name for name, _ in windows]


def _place_slice(series: Dataset, grid: Grid, k: int, stored: np.ndarray) -> None:
    """Make the series' data set that of slice k: its place, number, UID and pixels."""
    from pydicom.uid import generate_uid

    axes = np.array(grid.direction).reshape(3, 3)
    position_mm = np.array(grid.origin_mm) + k * grid.spacing_mm[0] * axes[:, 2]
    normal = np.cross(axes[:, 0], axes[:, 1])
    series.SOPInstanceUID = generate_uid(prefix=None)
    series.file_meta.MediaStorageSOPInstanceUID = series.SOPInstanceUID
    series.InstanceNumber = k + 1
    series.ImagePositionPatient = [_number(p) for p in position_mm]
    series.SliceLocation = _number(float(position_mm @ normal))
    series.PixelData = stored.tobytes()


def _number(value: float) -> str:
    """A number as DICOM's decimal string, in at most 16 letters."""
    from pydicom.valuerep import format_number_as_ds

    return format_number_as_ds(float(value) + 0.0)
