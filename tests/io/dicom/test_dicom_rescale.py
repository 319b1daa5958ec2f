"""Stored numbers become HU by each slice's own rescale tags, or are refused."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest

from dicom_series import INTERCEPT_HU, hu_pattern, write_series
from diffusionblend.errors import InputError
from diffusionblend.io.dicom.read import read_dicom_series


def test_each_slices_own_fractional_rescale_is_applied(tmp_path):
    def rescale(i, dataset):
        dataset.RescaleSlope = ["1", "0.5", "0.25", "1", "0.125", "2"][i]

    paths = write_series(tmp_path, change=rescale)
    volume, _ = read_dicom_series(tmp_path)
    for path, values in zip(paths, volume.values, strict=True):
        slice_ = pydicom.dcmread(path)
        hu = slice_.pixel_array * float(slice_.RescaleSlope) + float(slice_.RescaleIntercept)
        np.testing.assert_array_equal(values, hu.astype(np.float32))


@pytest.mark.parametrize("tag", ["RescaleSlope", "RescaleIntercept"])
def test_a_slice_without_rescale_among_others_is_refused(tmp_path, tag):
    write_series(tmp_path, change=lambda i, d: delattr(d, tag) if i == 2 else None)
    with pytest.raises(InputError, match=r"1 of 6 slices.*HU") as caught:
        read_dicom_series(tmp_path)
    assert tag in str(caught.value)


def test_a_rescale_without_meaning_is_refused(tmp_path):
    write_series(tmp_path, change=lambda i, d: setattr(d, "RescaleSlope", "0"))
    with pytest.raises(InputError, match="RescaleSlope 0"):
        read_dicom_series(tmp_path)


def test_a_series_without_rescale_is_taken_as_it_is_and_reported(tmp_path):
    def stored_as_hu(i, dataset):
        del dataset.RescaleSlope, dataset.RescaleIntercept
        stored = np.frombuffer(dataset.PixelData, "<i2") + INTERCEPT_HU
        dataset.PixelData = stored.astype("<i2").tobytes()

    write_series(tmp_path, change=stored_as_hu)
    volume, report = read_dicom_series(tmp_path)
    np.testing.assert_array_equal(volume.values, hu_pattern())
    assert "taken to be HU" in report.warnings[0]
