"""Enhanced multi-frame CT: each frame as a slice with a header of its own.

DICOM PS3.3, A.38 (Enhanced CT) and C.7.6.16 (functional groups): what frames share stands in one
sequence, what differs in another, with an item for each frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffusionblend.errors import InputError
from diffusionblend.io.dicom.header import Header

if TYPE_CHECKING:
    from pydicom import Dataset

GROUPS = {
    "PixelMeasuresSequence": {"PixelSpacing": "PixelSpacing", "SliceThickness": "SliceThickness"},
    "PlanePositionSequence": {"ImagePositionPatient": "ImagePositionPatient"},
    "PlaneOrientationSequence": {"ImageOrientationPatient": "ImageOrientationPatient"},
    "PixelValueTransformationSequence": {
        "RescaleSlope": "RescaleSlope",
        "RescaleIntercept": "RescaleIntercept",
        "RescaleType": "RescaleType",
    },
    "FrameContentSequence": {
        "TemporalPositionIndex": "TemporalPositionIndex",
        "FrameAcquisitionNumber": "AcquisitionNumber",
        "StackID": "StackID",
    },
    "CTImageFrameTypeSequence": {"FrameType": "ImageType"},
    "CTReconstructionSequence": {"ConvolutionKernel": "ConvolutionKernel"},
    "CTXRayDetailsSequence": {"KVP": "KVP"},
    "CardiacSynchronizationSequence": {
        "NominalPercentageOfCardiacPhase": "NominalPercentageOfCardiacPhase"
    },
}
"""The functional groups that matter here: tags of a group, and those of a single slice."""
MAX_FRAMES = 100_000


def frames_of(header: Header) -> list[Header]:
    """A header for each frame of a multi-frame image; else the header itself.

    Raises InputError where the number of frames and of their descriptions differ.
    """
    per_frame = header.tags.get("PerFrameFunctionalGroupsSequence")
    if not per_frame:
        return [header]
    n_frames = header.whole_number("NumberOfFrames", 1)
    if n_frames != len(per_frame) or not 1 <= n_frames <= MAX_FRAMES:
        raise InputError(
            f"{header.path} has {n_frames} frames and describes {len(per_frame)}.",
            "a description of each frame",
            "copy it again",
        )
    shared = (header.tags.get("SharedFunctionalGroupsSequence") or [None])[0]
    return [
        Header(
            header.path,
            _tags_of_frame(header.tags, shared, groups),
            header.whole,
            header.pixel_offset,
            i,
        )
        for i, groups in enumerate(per_frame)
    ]


def _tags_of_frame(tags: Dataset, shared: Dataset | None, own: Dataset) -> Dataset:
    """The tags of one frame as a single slice would have them."""
    from pydicom import Dataset

    frame = Dataset()
    for element in tags:
        if "FunctionalGroups" not in element.keyword and element.keyword != "NumberOfFrames":
            frame.add(element)
    frame.file_meta = tags.file_meta
    frame.set_original_encoding(*tags.original_encoding)
    for groups in (shared, own):
        for sequence, names in GROUPS.items():
            items = (None if groups is None else groups.get(sequence)) or []
            for name, slice_name in names.items() if items else ():
                if items[0].get(name) is not None:
                    setattr(frame, slice_name, items[0].get(name))
    return frame
