"""What lies beside a series or is not whole: the message says which file it is and what to do."""

from __future__ import annotations

import shutil

import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from dicom_series import hu_pattern, write_series
from diffusionblend.errors import InputError
from diffusionblend.io.dicom.read import read_dicom_series

HU = hu_pattern(12)


def refused(folder, *words, **options):
    with pytest.raises(InputError) as caught:
        read_dicom_series(folder, **options)
    for word in words:
        assert word in str(caught.value)
    return str(caught.value)


def without_pixels(path):
    dataset = pydicom.dcmread(path)
    del dataset.PixelData
    dataset.save_as(path)


def test_headers_without_pixels_are_not_called_truncated(tmp_path):
    paths = write_series(tmp_path)
    for path in paths:
        without_pixels(path)
    message = refused(tmp_path, "header without pixels", "6 of 6 images", "another export")
    assert "truncated" not in message


def test_half_a_copy_beside_its_image_is_named(tmp_path):
    path = write_series(tmp_path)[3]
    part = tmp_path / "3.dcm.part"
    part.write_bytes(path.read_bytes()[:-40])
    refused(tmp_path, "3.dcm.part is truncated", "3.dcm is the same image", "take 3.dcm.part out")
    part.unlink()
    shutil.copy(path, tmp_path / "0.part")
    path.write_bytes(path.read_bytes()[:-40])
    refused(tmp_path, "3.dcm is truncated", "0.part is the same image, whole", "take 3.dcm out")


def test_a_pet_beside_the_ct_is_left_out_as_such(tmp_path):
    write_series(tmp_path)

    def of_pet(i, dataset):
        dataset.Modality, dataset.SeriesInstanceUID = "PT", "1.2.3"

    for path in write_series(tmp_path / "pet", change=of_pet):
        path.rename(tmp_path / f"pet{path.name}")
    (tmp_path / "pet").rmdir()
    notes = read_dicom_series(tmp_path)[1].warnings
    assert len(notes) == 1 and "Left out, as no CT: 6 image(s), PET" in notes[0]


def test_a_screen_capture_in_the_series_is_to_be_taken_out(tmp_path):
    dataset = pydicom.dcmread(write_series(tmp_path)[0])
    dataset.Modality, dataset.SOPInstanceUID = "OT", generate_uid()
    dataset.save_as(tmp_path / "screen.dcm")
    refused(tmp_path, "screen.dcm has the modality OT, while 6", "take it out of the folder")


@pytest.mark.parametrize("tag", ["StudyInstanceUID", "PatientID"])
def test_one_of_two_studies_is_chosen_by_a_number(tmp_path, tag):
    write_series(tmp_path, HU, change=lambda i, d: setattr(d, tag, f"1.2.{7 - i % 2}"))
    message = refused(tmp_path, f"{tag}=#1: 6 slice(s)", f"{tag}=#2: 6", f"--only {tag}=#")
    assert "1.2.7" not in message
    for number, first in (("#1", 1), ("#2", 0)):
        volume, _ = read_dicom_series(tmp_path, only=[f"{tag}={number}"])
        np.testing.assert_array_equal(volume.values, HU[first::2])
    message = refused(tmp_path, "one of #2, #1", only=[f"{tag}=#3"])
    assert "1.2.7" not in message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "Git LFS"),
        (b"\n<!DOCTYPE html><html>log in</html>", "page of the web"),
    ],
)
def test_a_slice_that_is_a_placeholder_is_named(tmp_path, content, words):
    write_series(tmp_path)[2].write_bytes(content)
    refused(tmp_path, "2.dcm", words)
