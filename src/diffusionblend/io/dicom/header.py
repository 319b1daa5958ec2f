"""The headers of a folder's DICOM images, and which of its series to take."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from diffusionblend.errors import InputError

if TYPE_CHECKING:
    from pydicom import Dataset

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
ELEMENT_HEADER_BYTES = {True: 8, False: 12}
"""Length of the tag, type and length before the pixels, with implicit and explicit types."""
TAGS = [
    "SOPClassUID",
    "SeriesInstanceUID",
    "Modality",
    "ImageType",
    "Rows",
    "Columns",
    "PixelSpacing",
    "SliceThickness",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "RescaleSlope",
    "RescaleIntercept",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "PixelRepresentation",
    "BitsAllocated",
    "SamplesPerPixel",
    "NumberOfFrames",
    "GantryDetectorTilt",
    "Manufacturer",
    "ManufacturerModelName",
    "ConvolutionKernel",
    "KVP",
]
BROKEN_DICOM = (OSError, EOFError, ValueError, KeyError, AttributeError, struct.error)


@dataclass(frozen=True, eq=False)
class Header:
    """One image's file and header; `whole` tells whether its pixels are all in the file."""

    path: Path
    tags: Dataset
    whole: bool

    @property
    def name(self) -> str:
        """The file's name, for messages."""
        return self.path.name

    @property
    def series_uid(self) -> str:
        """The series' UID; empty where the file has none."""
        return str(self.tags.get("SeriesInstanceUID") or "")

    @property
    def is_localiser(self) -> bool:
        """Whether the image is a scout (topogram), not a slice."""
        return "LOCALIZER" in [str(t).upper() for t in self.tags.get("ImageType") or ()]

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
        except (ValueError, TypeError) as error:
            raise InputError(f"{self.path} has a {tag} that is not a number.", "numbers") from error

    def text(self, tag: str) -> str:
        """A tag as text; empty where it is absent."""
        value = self.tags.get(tag)
        many = value is not None and not isinstance(value, str) and hasattr(value, "append")
        return "/".join(map(str, value)) if many else str(value or "")


def read_headers(
    folder: Path, on_file: Callable[[int, int], None] | None = None
) -> tuple[list[Header], list[str]]:
    """The headers of the images in a folder, by name, and the names of all other files in it.

    Subfolders are not searched. on_file: called with the files seen and in all. Raises InputError
    for no images at all, and for a file that ends as DICOM files do and is not whole.
    """
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}.", "a folder of DICOM slices")
    headers, others = [], []
    paths = sorted(p for p in folder.iterdir() if p.is_file())
    for i, path in enumerate(paths):
        header = None
        if path.name.upper() != "DICOMDIR" and not path.name.startswith("."):
            header = _read_header(path)
        if header is None:
            others.append(path.name)
        else:
            headers.append(header)
        if on_file is not None:
            on_file(i + 1, len(paths))
    if not headers:
        subfolders = sorted(p.name for p in folder.iterdir() if p.is_dir())
        found = f"{len(others)} other file(s)" if others else "no files"
        raise InputError(
            f"{folder} holds no DICOM images ({found}, {len(subfolders)} folder(s)).",
            "a folder that itself holds the slices of one series",
            f"one of its folders, such as {subfolders[0]}" if subfolders else "another folder",
        )
    return headers, others


def pick_series(
    headers: list[Header], series_uid: str | None, folder: Path
) -> tuple[list[Header], list[str]]:
    """The headers of one series and the names of the others' files.

    Raises InputError, listing the series, where there are several and none is named, or the one
    named is not there.
    """
    series: dict[str, list[Header]] = {}
    for header in headers:
        series.setdefault(header.series_uid, []).append(header)
    if series_uid is None and len(series) == 1:
        return headers, []
    if series_uid in series:
        chosen = series[series_uid]
        return chosen, [h.name for h in headers if h.series_uid != series_uid]
    listing = "\n".join(f"  {uid or '(no UID)'}: {_describe(hs)}" for uid, hs in series.items())
    if series_uid is None:
        raise InputError(
            f"{folder} holds {len(series)} series:\n{listing}",
            "one series",
            "--series with the UID of the one to take",
        )
    raise InputError(
        f"{folder} has no series {series_uid}; it holds:\n{listing}", "one of these", "--series UID"
    )


def _read_header(path: Path) -> Header | None:
    """The header of an image; None for what is not DICOM, or DICOM without pixels."""
    import pydicom

    named_dicom = path.suffix.lower() in DICOM_SUFFIXES
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd but readable values, such as too long a number
            tags = pydicom.dcmread(
                file, stop_before_pixels=True, specific_tags=TAGS, force=named_dicom
            )
            left_bytes = path.stat().st_size - file.tell()
            is_image = tags.get("Rows") is not None
            list(tags)  # converts all values now, while the warnings are off
    except pydicom.errors.InvalidDicomError:
        return None
    except PermissionError as error:
        raise InputError(f"{path} may not be read.", "a file with read permission") from error
    except BROKEN_DICOM as error:
        raise _truncated(path) from error
    sop_class = str(tags.get("SOPClassUID") or "")
    if not is_image:
        if not sop_class or sop_class == CT_IMAGE_STORAGE:
            raise _truncated(path)
        return None
    return Header(path, tags, whole=left_bytes >= _bytes_of_pixels(tags))


def check_whole(headers: list[Header]) -> None:
    """Raises InputError for the first image whose pixels are not all in its file."""
    for header in headers:
        if not header.whole:
            raise _truncated(header.path)


def _truncated(path: Path) -> InputError:
    size = path.stat().st_size
    return InputError(
        f"{path} is truncated or not DICOM ({size} bytes).",
        "whole DICOM files",
        "copy it again, or take it out of the folder if it is no slice",
    )


def _bytes_of_pixels(tags: Dataset) -> int:
    """The least length of the pixel element that ends a file; 1 where it is compressed."""
    syntax = tags.file_meta.get("TransferSyntaxUID") if hasattr(tags, "file_meta") else None
    if syntax is not None and (syntax.is_compressed or syntax.is_deflated):
        return 1 - int(syntax.is_deflated)
    implicit = syntax is None or syntax.is_implicit_VR
    voxels = int(tags.Rows) * int(tags.get("Columns") or 0) * int(tags.get("SamplesPerPixel") or 1)
    n_bytes = voxels * int(tags.get("NumberOfFrames") or 1) * int(tags.get("BitsAllocated") or 16)
    return n_bytes // 8 + ELEMENT_HEADER_BYTES[implicit]


def _describe(headers: list[Header]) -> str:
    """A series in a few words, without patient data."""
    first = headers[0]
    words = [f"{len(headers)} image(s)", first.text("Modality") or "no modality"]
    if first.is_localiser:
        words.append("localiser")
    if first.text("SliceThickness"):
        words.append(f"{first.number('SliceThickness'):g} mm slices")
    if first.text("ConvolutionKernel"):
        words.append(f"kernel {first.text('ConvolutionKernel')}")
    return ", ".join(words)
