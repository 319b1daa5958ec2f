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
        "FrameAcquisitionDateTime": "AcquisitionDateTime",
        "StackID": "StackID",
    },
    "CTImageFrameTypeSequence": {
        "FrameType": "ImageType",
        "VolumeBasedCalculationTechnique": "VolumeBasedCalculationTechnique",
    },
    "CTReconstructionSequence": {
        "ConvolutionKernel": "ConvolutionKernel",
        "ReconstructionAlgorithm": "ReconstructionAlgorithm",
        "ReconstructionDiameter": "ReconstructionDiameter",
    },
    "CTXRayDetailsSequence": {"KVP": "KVP", "FilterType": "FilterType"},
    "CTExposureSequence": {"XRayTubeCurrentInmA": "XRayTubeCurrent"},
    "CardiacSynchronizationSequence": {
        "NominalPercentageOfCardiacPhase": "NominalPercentageOfCardiacPhase"
    },
}
"""The functional groups that matter here: tags of a group, and those of a single slice."""
PER_FRAME_ALONE = {"ImagePositionPatient", "TemporalPositionIndex", "StackID"}
"""What only a frame's own group can say."""
ALSO_OUTSIDE = {"ImageType", "AcquisitionNumber"}
"""What the image as a whole may say too."""
WHAT_VALUES_MEAN = (
    "PixelMeasuresSequence",
    "PlaneOrientationSequence",
    "PixelValueTransformationSequence",
)
MAX_FRAMES = 100_000
DEEPEST = 3
"""Sequences within sequences that are looked at."""


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
    described = _described(header.tags)
    return [
        Header(
            header.path,
            _tags_of_frame(header.tags, shared, groups, described),
            header.whole,
            header.pixel_offset,
            i,
        )
        for i, groups in enumerate(per_frame)
    ]


def stray_notes(header: Header) -> list[str]:
    """Sentences on tags outside the functional groups of a multi-frame image, where frames have
    their own: they count only where no group has them, and never as the place of a frame.
    """
    if not header.tags.get("PerFrameFunctionalGroupsSequence"):
        return []
    described = _described(header.tags)
    outside = [
        (name, sequence)
        for sequence, names in GROUPS.items()
        for name in names.values()
        if name not in ALSO_OUTSIDE and header.text(name)
    ]
    left = [n for n, sequence in outside if sequence in described or n in PER_FRAME_ALONE]
    used = [n for n, sequence in outside if n not in left and sequence in WHAT_VALUES_MEAN]
    notes = []
    if left:
        notes.append(
            f"{header.path.name} has {', '.join(left)} outside the functional groups too, which "
            "was left aside, by the standard."
        )
    if used:
        notes.append(
            f"{header.path.name} has {', '.join(used)} outside the functional groups alone, which "
            "was taken for every frame."
        )
    return notes


def _described(tags: Dataset) -> set[str]:
    """The functional groups that a multi-frame image has, for all frames or for any."""
    groups = [*(tags.get("SharedFunctionalGroupsSequence") or [])[:1]]
    groups += tags.get("PerFrameFunctionalGroupsSequence") or []
    return {sequence for sequence in GROUPS for one in groups if one.get(sequence)}


def _tags_of_frame(
    tags: Dataset, shared: Dataset | None, own: Dataset, described: set[str]
) -> Dataset:
    """The tags of one frame as a single slice would have them.

    Tags outside the groups that are described are those of no frame.
    """
    from pydicom import Dataset
    from pydicom.datadict import dictionary_VR, tag_for_keyword

    dropped = {n for sequence in described for n in GROUPS[sequence].values()} | PER_FRAME_ALONE
    frame = Dataset()
    for element in tags:
        within = "FunctionalGroups" in element.keyword or element.keyword == "NumberOfFrames"
        if not within and element.keyword not in dropped - ALSO_OUTSIDE:
            frame.add(element)
    frame.file_meta = tags.file_meta
    frame.set_original_encoding(*tags.original_encoding)
    _add_all(frame, own, 0)
    for groups in (shared, own):
        for sequence, names in GROUPS.items():
            items = (None if groups is None else groups.get(sequence)) or []
            for name, slice_name in names.items() if items else ():
                if items[0].get(name) is not None:
                    tag = tag_for_keyword(slice_name)
                    assert tag is not None
                    frame.add_new(tag, dictionary_VR(tag), items[0].get(name))  # not into another's
    return frame


def _add_all(frame: Dataset, own: Dataset, depth: int) -> None:
    """Add what else a frame's own groups say, by which frames may differ."""
    for element in own:
        if element.VR != "SQ":
            if element.keyword and element.keyword not in frame:
                frame.add(element)
        elif depth < DEEPEST and element.value:
            _add_all(frame, element.value[0], depth + 1)
