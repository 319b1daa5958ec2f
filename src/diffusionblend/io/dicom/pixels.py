"""Stored pixels and what they mean: bits, sign, padding, rescaling, read here slice by slice.

Photometric interpretation is left aside: which end of the scale is shown white says nothing about
CT numbers (PS3.3, C.7.6.3.1.2). Compressed pixels are unpacked by pydicom (RLE) or, from a copy
without rescaling, by SimpleITK.
"""

from __future__ import annotations

import tempfile
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from diffusionblend.data.plausible import MAX_CT_HU, PADDING_HU
from diffusionblend.errors import InputError
from diffusionblend.io.dicom.header import (
    BROKEN_DICOM,
    OVERLAY_BIT_POSITION,
    Header,
    syntax_of,
    truncated,
)

if TYPE_CHECKING:
    from pydicom import Dataset

HIGHEST_PADDING_HU = -900.0
"""A padding value above this would be tissue: such a header is not believed."""
PIXEL_DATA = (0x7FE0, 0x0010)
UNDEFINED_LENGTH = 0xFFFFFFFF
ALLOCATED = (8, 16, 32)
BIG_ENDIAN, DEFLATED, RLE = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5"
NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", BIG_ENDIAN)
BY_SIMPLEITK = tuple(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 57, 70, 80, 81, 90, 91))
"""JPEG of 8 and 12 bits, JPEG lossless, JPEG-LS and JPEG 2000."""


@dataclass
class Slice:
    """A slice in HU (row, column) float32, which of its voxels were padding, and notes on it."""

    hu: np.ndarray
    padding: np.ndarray
    notes: list[str] = field(default_factory=list)


def slice_in_hu(header: Header, *, is_padded: bool = True) -> Slice:
    """Read one slice or frame: its rescaled values, with padding set to -1024 HU.

    is_padded: whether values below -1024 HU count as padding too. Raises InputError for pixels that
    cannot be read, or of which the header says what cannot be.
    """
    words = stored_words(header)
    numbers, beyond = _numbers(header, words)
    slope, intercept = header.number("RescaleSlope", 1.0), header.number("RescaleIntercept", 0.0)
    hu = (numbers * np.float64(slope) + np.float64(intercept)).astype(np.float32)
    found = Slice(hu, np.zeros(hu.shape, bool))
    found.padding |= _declared_padding(header, words, numbers, found.notes)
    _settle_sign(header, words, beyond, found)
    if is_padded:
        found.padding |= found.hu < PADDING_HU
    found.hu[found.padding] = PADDING_HU
    return found


def stored_words(header: Header) -> np.ndarray:
    """The stored pixels (row, column) as they are, unsigned. Raises InputError."""
    bits = header.whole_number("BitsAllocated", 16)
    if bits not in ALLOCATED:
        raise InputError(
            f"{header.path} stores pixels of {bits} bits.", "8, 16 or 32 bits", "another export"
        )
    shape = (header.whole_number("Rows", 0), header.whole_number("Columns", 0))
    syntax = syntax_of(header)
    if syntax in NATIVE:
        return _native_words(header, bits, shape, big=syntax == BIG_ENDIAN)
    if syntax not in (DEFLATED, RLE, *BY_SIMPLEITK):
        from pydicom.uid import UID

        raise InputError(
            f"{header.path} is compressed as {UID(syntax).name}, which cannot be unpacked here.",
            "no compression, RLE, JPEG, JPEG-LS or JPEG 2000",
            "decompress the series with the PACS or with 'gdcmconv --raw', or import its NIfTI",
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            words = _unpacked(header, syntax)
    except (*BROKEN_DICOM, RuntimeError) as error:
        raise truncated(header.path) from error
    if words.shape != shape:
        raise truncated(header.path)
    return words.astype(f"i{bits // 8}", casting="unsafe").view(f"u{bits // 8}")


def _native_words(header: Header, bits: int, shape: tuple[int, int], *, big: bool) -> np.ndarray:
    """Uncompressed pixels, straight from the file."""
    order: Literal["big", "little"] = "big" if big else "little"
    dtype = np.dtype(f"{'>' if big else '<'}u{bits // 8}")
    n_bytes = shape[0] * shape[1] * dtype.itemsize
    with header.path.open("rb") as file:
        file.seek(header.pixel_offset)
        start = file.read(12)
        tag = (int.from_bytes(start[:2], order), int.from_bytes(start[2:4], order))
        explicit = start[4:6] in (b"OW", b"OB", b"OF", b"OD", b"UN")
        length = int.from_bytes(start[8:12] if explicit else start[4:8], order)
        if tag != PIXEL_DATA:
            raise InputError(
                f"{header.path} has no PixelData, but the element {tag[0]:04X},{tag[1]:04X}.",
                "CT slices of whole numbers",
                "another export of the series",
            )
        needed = ((header.frame or 0) + 1) * n_bytes
        if length == UNDEFINED_LENGTH or length < needed:
            raise InputError(
                f"{header.path} contradicts itself: {shape[0]} x {shape[1]} pixels of {bits} bits "
                f"need {needed} bytes, and its PixelData has "
                f"{'packed frames' if length == UNDEFINED_LENGTH else length}.",
                "uncompressed pixels of that size, as its transfer syntax says",
                "copy it again",
            )
        file.seek(header.pixel_offset + (12 if explicit else 8) + (header.frame or 0) * n_bytes)
        data = file.read(n_bytes)
    if len(data) < n_bytes:
        raise truncated(header.path)
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def _unpacked(header: Header, syntax: str) -> np.ndarray:
    """Compressed pixels by a library, as stored numbers."""
    import pydicom

    dataset = pydicom.dcmread(header.path, force=True)
    if syntax in (DEFLATED, RLE):
        from pydicom.pixels import pixel_array

        return pixel_array(dataset, index=header.frame, raw=True)
    return _unpacked_by_simpleitk(dataset, header.frame or 0)


def _unpacked_by_simpleitk(dataset: Dataset, frame: int) -> np.ndarray:
    """One frame, from a copy that says nothing but what the pixels are."""
    import SimpleITK as sitk
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.encaps import encapsulate, get_frame
    from pydicom.uid import CTImageStorage, generate_uid

    bare = Dataset()
    bare.file_meta = FileMetaDataset()
    bare.file_meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    bare.SOPClassUID = bare.file_meta.MediaStorageSOPClassUID = CTImageStorage
    bare.SOPInstanceUID = bare.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    for tag in ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"):
        setattr(bare, tag, getattr(dataset, tag))
    bare.SamplesPerPixel, bare.PhotometricInterpretation, bare.Modality = 1, "MONOCHROME2", "CT"
    n_frames = int(dataset.get("NumberOfFrames") or 1)
    bare.PixelData = encapsulate([get_frame(dataset.PixelData, frame, number_of_frames=n_frames)])
    bare["PixelData"].VR = "OB"
    warned = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "slice.dcm"
            bare.save_as(path, enforce_file_format=True)
            pixels = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(warned)
    return pixels.reshape(pixels.shape[-2:])


def _numbers(header: Header, words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The stored numbers, and which pixels have bits where the header says that there are none."""
    allocated = words.dtype.itemsize * 8
    stored = header.whole_number("BitsStored", allocated)
    high = header.whole_number("HighBit", stored - 1)
    signed = header.whole_number("PixelRepresentation", 0) == 1
    if not 1 <= stored <= allocated or not stored - 1 <= high < allocated:
        raise InputError(
            f"{header.path} contradicts itself: {allocated} bits are allocated, {stored} stored, "
            f"and {high} is the highest.",
            "no more stored than allocated",
            "another export of the series",
        )
    signed_type = words.dtype.str.replace("u", "i")
    left = (words << (allocated - 1 - high)).astype(words.dtype)
    if signed:
        numbers = left.view(signed_type) >> (allocated - stored)
        whole = words.view(signed_type) >> (high + 1 - stored)
        negative = numbers < 0
        extended = bool((whole[negative] < 0).any())
        beyond = (whole != numbers) & (extended | ~negative)
    else:
        numbers = left >> (allocated - stored)
        above = words >> (high + 1) if high + 1 < allocated else np.zeros_like(words)
        beyond = above > 0
        if beyond.all() and above.min() == above.max():
            beyond = np.zeros(words.shape, bool)  # the same in all pixels: nothing of theirs
    if header.tags.get(OVERLAY_BIT_POSITION) is not None and int(
        header.tags[OVERLAY_BIT_POSITION].value or 0
    ):
        beyond = np.zeros(words.shape, bool)  # an overlay lies in the bits above, as it once might
    return numbers, beyond


def _declared_padding(
    header: Header, words: np.ndarray, numbers: np.ndarray, notes: list[str]
) -> np.ndarray:
    """Where the padding value or range of the header is, in whichever sign either is written."""
    first = header.number("PixelPaddingValue")
    if first is None:
        return np.zeros(words.shape, bool)
    ends = [first, header.number("PixelPaddingRangeLimit", first)]
    span = 1 << (words.dtype.itemsize * 8)
    as_signed = [(int(end) + span // 2) % span - span // 2 for end in ends]
    as_stored = as_signed if numbers.dtype.kind == "i" else [int(end) % span for end in ends]
    slope, intercept = header.number("RescaleSlope", 1.0), header.number("RescaleIntercept", 0.0)
    hu = [max(end * slope + intercept for end in ends_) for ends_ in (as_stored, as_signed)]
    if min(hu) > HIGHEST_PADDING_HU and hu[0] <= MAX_CT_HU:
        notes.append(
            f"The header's padding value means {hu[0]:g} HU, which is tissue; it is not"
            " taken for padding."
        )
        return np.zeros(words.shape, bool)
    whole = words.view(words.dtype.str.replace("u", "i")) if numbers.dtype.kind == "i" else words
    low, high = sorted(as_stored)
    return ((whole >= low) & (whole <= high)) | ((numbers >= low) & (numbers <= high))


def _settle_sign(header: Header, words: np.ndarray, beyond: np.ndarray, found: Slice) -> None:
    """Numbers that no CT scan has: padding that lost its sign, or a header that is wrong.

    Raises InputError, naming both readings, for the latter.
    """
    odd = (beyond | (found.hu > MAX_CT_HU)) & ~found.padding
    if not odd.any():
        return
    slope, intercept = header.number("RescaleSlope", 1.0), header.number("RescaleIntercept", 0.0)
    as_signed = words.view(words.dtype.str.replace("u", "i"))[odd] * slope + intercept
    if (as_signed < PADDING_HU).all():
        found.padding |= odd
        found.notes.append(
            f"Pixels of {int(words[odd][0])}, which no CT number can be, were taken for padding of "
            f"{int(words[odd].view(words.dtype.str.replace('u', 'i'))[0])} stored without its sign."
        )
        return
    raise InputError(
        f"{header.path} contradicts itself: it stores {int(words[odd].max())}, which is "
        f"{float(found.hu[odd].max()):g} HU by its header (PixelRepresentation "
        f"{header.text('PixelRepresentation') or '(none)'}, BitsStored "
        f"{header.text('BitsStored') or '(none)'}), and {float(as_signed.max()):g} HU as a signed "
        f"number of {words.dtype.itemsize * 8} bits.",
        "pixels that are as the header says",
        "another export of the series",
    )
