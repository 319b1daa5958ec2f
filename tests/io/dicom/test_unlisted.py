"""Any tag that alternates from slice to slice is named; a part of a series is reported."""

from __future__ import annotations

import pytest
from pydicom import Dataset
from pydicom.sequence import Sequence

from dicom_series import hu_pattern, write_series
from diffusionblend.io.dicom.read import read_dicom_series

HU = hu_pattern(12)
GE = "GEHC_CT_ADVAPP_001"


def notes_of(folder, change, hu=HU):
    write_series(folder, hu, change=change)
    return " ".join(read_dicom_series(folder)[1].warnings)


def private(dataset, value):
    dataset.add_new((0x0053, 0x0010), "LO", GE)
    dataset.add_new((0x0053, 0x1042), "LO", value)


def coded(dataset, value):
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "99X", value
    item.add_new((0x0008, 0x1155), "UI", f"1.2.3.{dataset.InstanceNumber}")
    dataset.DerivationCodeSequence = Sequence([item])


def of_kind(tag):
    return lambda dataset, value: setattr(dataset, tag, value)


@pytest.mark.parametrize(
    ("give", "values", "name"),
    [
        (private, ("SS0", "SS50"), "(0053,1042) (SS0, SS50)"),
        (private, ("a", "b", "c"), "(0053,1042) (a, b, c)"),
        (coded, ("STD", "MAR"), "DerivationCodeSequence.CodeValue (STD, MAR)"),
        (of_kind("DateOfLastCalibration"), ("20260101", ""), "DateOfLastCalibration"),
    ],
)
def test_a_tag_that_alternates_is_named(tmp_path, give, values, name):
    notes = notes_of(tmp_path, lambda i, d: give(d, values[i % len(values)]))
    assert name in notes and "alternate" in notes


@pytest.mark.parametrize("tag", ["OperatorsName", "PatientComments"])
def test_values_that_may_name_a_person_are_not_printed(tmp_path, tag):
    notes = notes_of(tmp_path, lambda i, d: setattr(d, tag, ("Doe", "Roe")[i % 2]))
    assert tag in notes and "alternate" in notes
    assert "Doe" not in notes and "Roe" not in notes


@pytest.mark.parametrize(
    ("give", "value_of"),
    [
        (private, lambda i: str(i)),  # another in every slice
        (private, lambda i: str(i // 6)),  # once along the volume
        (private, lambda i: "0110100111000111"[i]),  # now and then
        (private, lambda i: str(100 + i % 2)),  # a regulated number
        (of_kind("SmallestImagePixelValue"), lambda i: i % 2),
    ],
)
def test_what_ordinary_series_vary_is_not_reported(tmp_path, give, value_of):
    assert "alternate" not in notes_of(tmp_path, lambda i, d: give(d, value_of(i)))


@pytest.mark.parametrize(
    ("kept", "stated", "words"),
    [
        (slice(0, 7), 12, "state 12 images in the acquisition"),
        (slice(5, 12), 12, "state 12 images in the acquisition"),
        (slice(5, 12), None, "begin at 6"),
        (slice(0, 12), 12, ""),
        (slice(0, 7), None, ""),
    ],
)
def test_a_series_copied_in_part_is_reported(tmp_path, kept, stated, words):
    paths = write_series(
        tmp_path, HU, change=lambda i, d: stated and setattr(d, "ImagesInAcquisition", stated)
    )
    for path in set(paths) - set(paths[kept]):
        path.unlink()
    notes = read_dicom_series(tmp_path)[1].warnings
    assert words in " ".join(notes) and bool(words) == bool(notes)
    if words:
        chosen = read_dicom_series(tmp_path, only=["InstanceNumber=1..12"])[1].warnings
        assert chosen == ()
