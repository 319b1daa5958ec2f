"""The headers of a folder's DICOM images."""

from __future__ import annotations

import math
import struct
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, overload

from diffusionblend.errors import InputError
from diffusionblend.io.atomic import file_suffix
from diffusionblend.io.dicom.files import (
    DICOMDIR,
    begins_as_dicom,
    dicom_paths,
    is_cut_in_preamble,
    is_named_dicom,
)
from diffusionblend.io.foreign.limits import check_claim
from diffusionblend.io.placeholder import check_no_placeholder

if TYPE_CHECKING:
    from pydicom import Dataset

IMAGE_SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp")
CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
ELEMENT_HEADER_BYTES = {True: 8, False: 12}
"""Length of the tag, type and length before the pixels, with implicit and explicit types."""
OVERLAY_BIT_POSITION = 0x60000102
VIEW_ANGLE = 0x70311001
"""Of a view of projections (DICOM-CT-PD)."""
MAX_REASON_LETTERS = 120
MOST_NAMED, MOST_LOOKED_INTO = 3, 200
"""Folders within a folder without images that are named, and looked into."""
TAGS: list[str | int] = [
    *("SpecificCharacterSet", "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID"),
    *("SeriesInstanceUID", "SeriesNumber", "Modality", "ImageType", "InstanceNumber"),
    *("AcquisitionNumber", "AcquisitionTime", "TriggerTime", "TemporalPositionIdentifier"),
    *("SeriesDescription", "ProtocolName", "AcquisitionDate", "AcquisitionDateTime"),
    *("ReconstructionAlgorithm", "StationName", "ImageComments", "SliceLocation"),
    *("XRayTubeCurrent", "XRayTubeCurrentInmA", "Exposure", "ExposureTime", "CTDIvol"),
    *("ScanOptions", "SpiralPitchFactor", "TableSpeed", "FocalSpots", "DerivationDescription"),
    *("WindowCenter", "ContrastBolusVolume", "DeviceSerialNumber", "SoftwareVersions"),
    *("BodyPartExamined", "ImagesInAcquisition"),
    *("ConcatenationUID", "InConcatenationNumber", "InConcatenationTotalNumber"),
    *("TemporalPositionIndex", "NominalPercentageOfCardiacPhase", "ContrastBolusAgent"),
    *("PatientID", "PatientPosition", "FrameOfReferenceUID", "StackID", "Manufacturer"),
    "ManufacturerModelName",
    *("ConvolutionKernel", "FilterType", "KVP", "GantryDetectorTilt", "ReconstructionDiameter"),
    *("Rows", "Columns", "PixelSpacing", "SliceThickness", "ImageOrientationPatient"),
    *("ImagePositionPatient", "RescaleSlope", "RescaleIntercept", "RescaleType"),
    *("ModalityLUTSequence", "PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("PixelRepresentation", "BitsAllocated", "BitsStored", "HighBit", "SamplesPerPixel"),
    *("PhotometricInterpretation", "NumberOfFrames", "LossyImageCompression"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    OVERLAY_BIT_POSITION,
    VIEW_ANGLE,
]
BROKEN_DICOM = (
    *(OSError, EOFError, ValueError, KeyError, AttributeError, TypeError, OverflowError),
    *(NotImplementedError, RecursionError, struct.error, zlib.error),
)


@dataclass(frozen=True, eq=False)
class Header:
    """One image's file and header.

    whole: whether its pixels are all in the file. pixel_offset: the byte at which the element with
    the pixels begins. frame: which frame of a multi-frame file it is, whose header this is then.
    """

    path: Path
    tags: Dataset
    whole: bool
    pixel_offset: int = 0
    frame: int | None = None

    @property
    def name(self) -> str:
        """The file's name and the frame, for messages."""
        return self.path.name if self.frame is None else f"{self.path.name} frame {self.frame + 1}"

    @property
    def series_uid(self) -> str:
        """The series' UID; empty where the file has none."""
        return str(self.tags.get("SeriesInstanceUID") or "")

    @property
    def is_localiser(self) -> bool:
        """Whether the image is a scout (topogram), not a slice."""
        return "LOCALIZER" in [str(t).upper() for t in self.tags.get("ImageType") or ()]

    @overload
    def number(self, tag: str, default: float) -> float: ...
    @overload
    def number(self, tag: str, default: None = None) -> float | None: ...
    def number(self, tag: str, default: float | None = None) -> float | None:
        """A number of the header; `default` where it is absent. Raises InputError for nonsense."""
        numbers = self.numbers(tag)
        return numbers[0] if numbers else default

    def numbers(self, tag: str) -> tuple[float, ...]:
        """The numbers of a tag, none where it is absent. Raises InputError for nonsense."""
        try:
            value = self.tags.get(tag)
            if value is None or value == "":
                return ()
            many = isinstance(value, list | tuple) or hasattr(value, "append")
            return tuple(float(v) for v in (value if many else [value]))
        except (ValueError, TypeError, OverflowError) as error:
            raise InputError(
                f"{self.path} has a {tag} that is not a number.",
                "numbers",
                "another export of the series; copy it again if it may be damaged",
            ) from error

    def whole_number(self, tag: str, default: int) -> int:
        """A whole number of the header. Raises InputError for another."""
        numbers = self.numbers(tag) or (default,)
        if len(numbers) > 1 or not math.isfinite(numbers[0]) or numbers[0] != int(numbers[0]):
            found = ", ".join(map(str, numbers))
            raise InputError(
                f"{self.path} has the {tag} {found}.",
                "a whole number",
                "another export of the series; copy it again if it may be damaged",
            )
        return int(numbers[0])

    def size(self) -> tuple[int, int]:
        """Rows and columns of the image. Raises InputError where it has none."""
        rows, columns = (self.whole_number(tag, 0) for tag in ("Rows", "Columns"))
        if min(rows, columns) < 1:
            raise InputError(
                f"{self.path} has {rows} Rows and {columns} Columns.",
                "the size of its image",
                "another export of the series; copy it again if it may be truncated",
            )
        return rows, columns

    def text(self, tag: str) -> str:
        """A tag as printable text; empty where it is absent."""
        value = self.tags.get(tag)
        many = value is not None and not isinstance(value, str) and hasattr(value, "append")
        text = "/".join(map(str, value)) if many else str("" if value is None else value)
        return "".join(letter for letter in text if letter.isprintable()).strip()


def read_headers(
    folder: Path, on_file: Callable[[int, int], None] | None = None
) -> tuple[list[Header], list[str]]:
    """The headers of the images in a folder, by name, and the names of all other files in it.

    `folder` may be a single file too. Subfolders are not searched, unless a DICOMDIR names files
    there. on_file: called with the files seen and in all. Raises InputError for no images at all,
    and for a file that ends as DICOM files do and is not whole.
    """
    headers, others = [], []
    paths = dicom_paths(folder)
    n_bytes = sum(path.stat().st_size for path in paths)
    check_claim(paths[0] if paths else folder, n_bytes, held_bytes=n_bytes, whole=False)
    for i, path in enumerate(paths):
        header = None
        if path.name.upper() != DICOMDIR and not path.name.startswith("."):
            header = _read_header(path)
        if header is None:
            others.append(path.name)
        else:
            headers.append(header)
        if on_file is not None:
            on_file(i + 1, len(paths))
    if not headers:
        raise _no_images(folder, others)
    if VIEW_ANGLE in headers[0].tags:
        raise InputError(
            f"{folder} holds projections (DICOM-CT-PD), not slices.",
            "the slices of a reconstructed CT",
            f"diffusionblend projections import {folder} -o scan.h5",
        )
    return headers, others


def _no_images(folder: Path, others: list[str]) -> InputError:
    """The error for a folder without images, or a file that is none."""
    if folder.is_file():
        return InputError(
            f"{folder} holds no DICOM image.",
            "a CT slice, or the folder of a series",
            "check the path, or name a folder within it",
        )
    if others and all(file_suffix(name) in IMAGE_SUFFIXES for name in others):
        return InputError(
            f"{folder} holds {len(others)} pictures, such as {others[0]}, and no geometry.json.",
            "DICOM slices, or what 'export --format tiff' wrote: plain pictures contain no spacing",
            "the DICOM series, or a volume file (NIfTI, NRRD, MetaImage)",
        )
    subfolders = sorted(p.name for p in folder.iterdir() if p.is_dir())
    inside = _folders_of_dicom(folder)
    found = f"{len(others)} other file(s)" if others else "no files"
    return InputError(
        f"{folder} holds no DICOM images ({found}, {len(subfolders)} folder(s)).",
        "a folder that itself holds the slices of one series",
        f"{' or '.join(inside)}, which {'hold' if len(inside) > 1 else 'holds'} DICOM files"
        if inside
        else "another folder",
    )


def _folders_of_dicom(folder: Path) -> list[str]:
    """The first folders within one that hold DICOM files, by what one file of each is."""
    found: list[str] = []
    for looked, inner in enumerate(sorted(p for p in folder.rglob("*") if p.is_dir())):
        if len(found) == MOST_NAMED or looked == MOST_LOOKED_INTO:
            break
        first = next((p for p in sorted(inner.iterdir()) if p.is_file()), None)
        if first is not None and (is_named_dicom(first) or begins_as_dicom(first)):
            found.append(str(inner))
    return found


def _read_header(path: Path) -> Header | None:
    """The header of an image; None for what is not DICOM, or DICOM without pixels."""
    import pydicom

    is_named = is_named_dicom(path)
    if not is_named and not _begins_as_dicom(path):
        return None
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd but readable values, such as too long a number
            wanted = [pydicom.tag.Tag(tag) for tag in TAGS]
            tags = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=wanted, force=True)
            offset = file.tell()
            is_image = tags.get("Rows") is not None
            _convert(tags, path)  # all values now, while the warnings are off
    except PermissionError as error:
        raise InputError(
            f"{path} may not be read.",
            "a file with read permission",
            "'chmod +r', or ask its owner",
        ) from error
    except BROKEN_DICOM as error:
        raise truncated(path) from error
    sop_class = str(tags.get("SOPClassUID") or "")
    if not is_image:
        if (not sop_class and is_named) or sop_class == CT_IMAGE_STORAGE:
            raise truncated(path)
        return None
    header = Header(path, tags, whole=True, pixel_offset=offset)
    whole = path.stat().st_size - offset >= _bytes_of_pixels(header)
    return Header(path, tags, whole=whole, pixel_offset=offset)


def _convert(tags: Dataset, path: Path) -> None:
    """Have pydicom convert all values; raises InputError that names the first it cannot."""
    from pydicom.datadict import keyword_for_tag

    for tag in list(tags.keys()):
        try:
            _ = tags[tag]
        except BROKEN_DICOM as error:
            reason = " ".join(str(error).split())[:MAX_REASON_LETTERS]
            raise InputError(
                f"{path} has a {keyword_for_tag(tag) or tag} that cannot be read: {reason}.",
                "whole DICOM files with valid values",
                "another export of the series; copy it again if it may be truncated",
            ) from error


def _begins_as_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM does; raises InputError where it was and is cut off."""
    try:
        if is_cut_in_preamble(path):
            raise truncated(path)
        return begins_as_dicom(path)
    except PermissionError as error:
        raise InputError(
            f"{path} may not be read.",
            "a file with read permission",
            "'chmod +r', or ask its owner",
        ) from error


def check_whole(headers: list[Header]) -> None:
    """Raises InputError for the first image whose pixels are not all in its file."""
    for header in headers:
        if header.whole:
            continue
        if header.path.stat().st_size <= header.pixel_offset:
            raise InputError(
                f"{header.path} is a header without pixels (no PixelData), as "
                f"{sum(not h.whole for h in headers)} of {len(headers)} images of the series are.",
                "CT slices with their pixels",
                "another export of the series: a tool that writes headers alone, or an "
                "anonymiser, may have left them out",
            )
        raise truncated(header.path)


def truncated(path: Path) -> InputError:
    """The error for a file that is not whole."""
    size = path.stat().st_size
    try:
        check_no_placeholder(path)
    except InputError as error:
        return error
    return InputError(
        f"{path} is truncated or not DICOM ({size} bytes).",
        "whole DICOM files",
        "copy it again, or take it out of the folder if it is no slice",
    )


def syntax_of(header: Header) -> str:
    """The transfer syntax; implicit little endian where the file does not say."""
    meta = getattr(header.tags, "file_meta", None)
    found = None if meta is None else meta.get("TransferSyntaxUID")
    if found:
        return str(found)
    explicit = not header.tags.original_encoding[0]
    little = header.tags.original_encoding[1] is not False
    if not little:
        return "1.2.840.10008.1.2.2"
    return "1.2.840.10008.1.2.1" if explicit else "1.2.840.10008.1.2"


def _bytes_of_pixels(header: Header) -> int:
    """The least length of the pixel element that ends a file; 1 where it is compressed."""
    from pydicom.uid import UID

    syntax = UID(syntax_of(header))
    try:
        if syntax.is_compressed or syntax.is_deflated:
            return 1 - int(syntax.is_deflated)
        implicit = syntax.is_implicit_VR
    except ValueError as error:  # a UID that is no transfer syntax
        raise InputError(
            f"{header.path} names {syntax} as its transfer syntax, which is none.",
            "a DICOM transfer syntax",
            "copy it again",
        ) from error
    voxels = header.whole_number("Rows", 0) * header.whole_number("Columns", 0)
    voxels *= header.whole_number("SamplesPerPixel", 1) * header.whole_number("NumberOfFrames", 1)
    return voxels * header.whole_number("BitsAllocated", 16) // 8 + ELEMENT_HEADER_BYTES[implicit]
