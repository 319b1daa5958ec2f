from __future__ import annotations

import numpy as np
import pytest

from diffusionblend.errors import InputError
from diffusionblend.preprocessing.detector import bin_detector, binning_notes
from measured_scan import half_scan, lines_of, scan_of


def test_pixels_are_averaged_and_lengths_follow():
    angles = half_scan(6)
    scan = scan_of(lines_of(angles, rows=5), angles, row_mm=0.7, centre_column=30.0)
    binned = bin_detector(scan, 2, 3)
    assert binned.data.shape == (6, 2, 21)
    block = scan.data[4, 2:4, 6:9]
    assert binned.data[4, 1, 2] == pytest.approx(block.mean(), rel=1e-6)
    assert binned.flats[1, 0, 0] == pytest.approx(scan.flats[1, :2, :3].mean(), rel=1e-6)
    assert (binned.column_mm, binned.row_mm) == (3.0, 1.4)
    # columns 29 to 31 are column 9 + 2/3 to 10 + 1/3 of the binned detector,
    # whose column 9 has its middle at 28
    assert binned.centre_column == pytest.approx(9 + 2 / 3)
    assert bin_detector(scan, 1, 1) is scan


def test_rows_and_columns_that_make_no_whole_pixel_are_named():
    scan = scan_of(lines_of(half_scan(3), rows=5), half_scan(3))
    assert binning_notes(scan, 2, 5) == ["binning leaves out the last 1 row(s) and 4 column(s)"]
    assert binning_notes(scan, 5, 6)[0].endswith("last 4 column(s)")
    assert not binning_notes(scan, 1, 4)


def test_nan_is_left_out_of_means():
    angles = half_scan(3)
    scan = scan_of(lines_of(angles, rows=2), angles)
    scan.data[1, 0, 0] = np.nan
    scan.data[2, :, 2:4] = np.nan
    binned = bin_detector(scan, 2, 2)
    expected = np.mean([scan.data[1, 0, 1], *scan.data[1, 1, :2]])
    assert binned.data[1, 0, 0] == pytest.approx(expected, rel=1e-6)
    assert np.isnan(binned.data[2, 0, 1])


@pytest.mark.parametrize("factors", [(0, 1), (4, 1), (1, 65)])
def test_more_than_there_are(factors):
    angles = half_scan(3)
    with pytest.raises(InputError, match="taken together"):
        bin_detector(scan_of(lines_of(angles), angles), *factors)
