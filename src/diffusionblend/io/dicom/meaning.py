"""What the stored numbers of DICOM slices mean: whether all are HU, and what is odd about that."""

from __future__ import annotations

import numpy as np

from diffusionblend.errors import InputError
from diffusionblend.io.dicom.header import Header

RESCALE_TAGS = ("RescaleSlope", "RescaleIntercept")
"""The tags that tie stored numbers to HU."""
HU_TYPES = ("", "HU", "HOUNSFIELD", "HOUNSFIELD UNITS", "HU_MOD", "US")
"""RescaleType of CT numbers: HU where it is missing; US is unspecified, HU_MOD is HU of a kind."""
SAME_FIELD = 0.02
DOUBTFUL_TYPES = ("US", "HU_MOD")
MATERIAL_WORDS = ("MATERIAL", "ATOMIC", "DENSITY", "IODINE", "Z_EFF", "ZEFF", "FRACTION")
"""What the ImageType of a map of materials, which is no CT number, has in one of its values."""
EXTREMES = {"MIP", "MINIP", "MIN_IP", "MAX_IP"}


def check_units(headers: tuple[Header, ...]) -> None:
    """Raises InputError where a header says that the values are no HU, or scales by a table."""
    for header in headers:
        unit = header.text("RescaleType")
        if unit.upper() not in HU_TYPES:
            raise InputError(
                f"{header.path} has the RescaleType {unit}: its values are not HU.",
                "CT numbers in HU (RescaleType HU)",
                "the series of CT numbers, not a map of iodine, effective atomic number or density",
            )
        if header.tags.get("ModalityLUTSequence"):
            raise InputError(
                f"{header.path} scales its values by a table (Modality LUT).",
                "a RescaleSlope and RescaleIntercept",
                "another export of the series",
            )


def check_rescale(headers: list[Header]) -> None:
    """Raises InputError where slices could come out in other units than their neighbours."""
    for tag in RESCALE_TAGS:
        has = [bool(header.numbers(tag)) for header in headers]
        if any(has) and not all(has):
            lacking = headers[has.index(False)]
            raise InputError(
                f"{lacking.path} has no {tag} ({has.count(False)} of {len(headers)} slices have "
                "none): its values would not be HU, as the others' are.",
                "it in every slice",
                "another export of the series",
            )
    for header in headers:
        slope, intercept = (
            header.number(t, d) for t, d in zip(RESCALE_TAGS, (1.0, 0.0), strict=True)
        )
        if slope == 0 or not np.isfinite([slope, intercept]).all():
            raise InputError(
                f"{header.path} has the RescaleSlope {slope:g} and RescaleIntercept {intercept:g}.",
                "finite numbers, and a slope other than 0",
                "another export of the series",
            )


def rescale_warning(headers: list[Header]) -> tuple[str, ...]:
    """Warnings where no slice states what its numbers mean, or slices state different things."""
    notes = []
    units = dict.fromkeys(h.text("RescaleType").upper() for h in headers)
    notes += [
        f"The RescaleType is {unit}, which need not be HU; the values were taken for HU."
        for unit in units
        if unit in DOUBTFUL_TYPES
    ]
    if not headers[0].numbers("RescaleIntercept"):
        lacking = [tag for tag in RESCALE_TAGS if not headers[0].numbers(tag)]
        notes.append(f"No slice has {' and '.join(lacking)}: its numbers are taken to be HU.")
    pairs = dict.fromkeys(tuple(h.number(tag) for tag in RESCALE_TAGS) for h in headers)
    if len(pairs) > 1:
        notes.append(
            f"The slices are rescaled by {len(pairs)} different slopes and intercepts; each "
            "slice's own were applied."
        )
    return tuple(notes)


def material_warning(header: Header) -> tuple[str, ...]:
    """A warning of slabs of extremes, and of a map of materials that does not say in what unit."""
    kind = header.text("ImageType")
    kinds = f"{kind}/{header.text('VolumeBasedCalculationTechnique')}".strip("/")
    if EXTREMES & {*kinds.upper().split("/")}:
        return (f"The ImageType is {kinds}: the values are extremes of slabs, no tissue's own HU.",)
    if header.text("RescaleType") or not any(word in kind.upper() for word in MATERIAL_WORDS):
        return ()
    return (f"The ImageType is {kind} and there is no RescaleType: the values need not be HU.",)


def field_warning(header: Header) -> tuple[str, ...]:
    """A warning where the pixels do not make up the field of view that was reconstructed."""
    diameter = header.number("ReconstructionDiameter", 0.0)
    spacing = header.numbers("PixelSpacing")[1]
    width = header.whole_number("Columns", 0) * spacing
    if not diameter or abs(width / diameter - 1) <= SAME_FIELD:
        return ()
    return (
        f"The slices are {width:g} mm wide by their PixelSpacing, {spacing:g} mm, and their "
        f"ReconstructionDiameter is {diameter:g} mm: they were cropped, or made larger or smaller "
        "without a new PixelSpacing. PixelSpacing was taken.",
    )


def lossy_warning(headers: list[Header]) -> tuple[str, ...]:
    """A warning where the compression of any slice lost something."""
    if all(h.text("LossyImageCompression") != "01" for h in headers):
        return ()
    return ("The series was compressed with loss: its HU are not those that were measured.",)
