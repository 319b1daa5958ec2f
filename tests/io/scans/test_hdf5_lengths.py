"""Sizes of pixels and distances that HDF5 files of scans state."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from diffusionblend.errors import InputError
from diffusionblend.io.scans.options import ReadOptions
from diffusionblend.io.scans.registry import read_raw_scan
from diffusionblend.preprocessing.prepare import prepare_scan
from field_scans import HALF, parallel_lines
from measured_scan import scan_of, write_data_exchange

ANGLES = HALF[::10]
SCAN = scan_of(parallel_lines(ANGLES, 48, 23.5, discs=((3, 2, 15, 0.02),)), ANGLES)
DETECTOR = "measurement/instrument/detector"


def exchange(path, **lengths):
    """A Data Exchange file with lengths (value, unit) below its detector or instrument."""
    write_data_exchange(path, SCAN)
    with h5py.File(path, "a") as file:
        for name, (value, unit) in lengths.items():
            where = name.replace("__", "/")
            file[f"measurement/instrument/{where}"] = value
            if unit is not None:
                file[f"measurement/instrument/{where}"].attrs["units"] = unit
    return read_raw_scan(path)


PITCH = {"detector__pixel_size_x": (650.0, "microns"), "detector__pixel_size_y": (0.0013, "m")}


@pytest.mark.parametrize(
    ("more", "sizes", "word"),
    [
        ({}, (0.65, 1.3), "pixel_size_x, 0.65 mm, is taken"),
        ({"objective__magnification": (5.0, None)}, (0.13, 0.26), "over the magnification 5"),
        ({"detector__actual_pixel_size_x": (0.2, "mm")}, (0.2, 1.3), "pixel_size_y, 1.3 mm"),
        ({"detector__binning_x": (2, None)}, (None, 1.3), "binning is stated"),
        ({"detector__binning_x": (1, None)}, (0.65, 1.3), "pixel_size_x, 0.65 mm"),
    ],
)
def test_pixels_of_data_exchange(tmp_path, more, sizes, word):
    scan = exchange(tmp_path / "a.h5", **PITCH, **more)
    assert (scan.column_mm, scan.row_mm) == pytest.approx(sizes)
    assert word in " ".join(scan.notes)


def test_pixels_without_a_unit_are_named_where_their_size_is_missing(tmp_path):
    scan = exchange(tmp_path / "a.h5", detector__pixel_size_x=(6.5, None))
    with pytest.raises(InputError, match=r"(?s)pixel_size_x has no known unit.*column_mm"):
        prepare_scan(scan)


@pytest.mark.parametrize(
    ("kind", "on_sample", "distances"),
    [
        ("Fixed Tube X-ray", False, (150.0, 250.0)),
        ("Rotating Anode X-ray", False, (150.0, 250.0)),
        ("Synchrotron X-ray Source", False, (None, None)),
        ("Fixed Tube X-ray", True, (None, None)),
    ],
)
def test_distances_of_nexus(tmp_path, kind, on_sample, distances):
    with h5py.File(tmp_path / "a.nxs", "w") as file:
        entry = file.create_group("entry")
        entry["definition"] = "NXtomo"
        entry["instrument/detector/data"] = np.concatenate([SCAN.flats, SCAN.data])
        entry["instrument/detector/image_key"] = np.repeat([1, 0], [2, len(ANGLES)])
        entry["sample/rotation_angle"] = np.r_[0, 0, np.degrees(ANGLES)]
        entry["sample/rotation_angle"].attrs["units"] = "degree"
        entry["instrument/source/type"] = kind
        lengths = {"source/distance": (-0.15, "m"), "detector/distance": (10.0, "cm")}
        lengths["detector/x_pixel_size"] = (0.5, "mm")
        for name, (value, unit) in lengths.items():
            entry[f"instrument/{name}"] = value
            entry[f"instrument/{name}"].attrs["units"] = unit
        if on_sample:
            entry["sample/x_pixel_size"] = 0.3
            entry["sample/x_pixel_size"].attrs["units"] = "mm"
    scan = read_raw_scan(tmp_path / "a.nxs", ReadOptions())
    assert (scan.source_to_axis_mm, scan.source_to_detector_mm) == pytest.approx(distances)
    said = "instrument/source/distance (150 mm)" in " ".join(scan.notes)
    assert said == ("X-ray Source" not in kind)
