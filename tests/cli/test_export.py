from __future__ import annotations

import json
import shutil

import numpy as np
import pydicom
import pytest
import tifffile

from command_line import assert_refused, assert_succeeded
from dicom_series import write_series
from diffusionblend.io.volumes import read_volume
from diffusionblend.runs.record import RunRecord, run_record_path


@pytest.fixture
def series(tmp_path):
    write_series(tmp_path / "series")
    return tmp_path / "series"


def test_a_volume_goes_out_as_dicom_and_comes_back(cli, tmp_path, series):
    chest, out, again = tmp_path / "a.nii.gz", tmp_path / "out", tmp_path / "b.nii.gz"
    assert_succeeded(cli("import", series, "-o", chest))
    result = cli("export", chest, "-o", out, "--template", series, "--views", 8)
    assert_succeeded(result)
    assert "6 slices (dicom)" in result.out
    assert_succeeded(cli("import", out, "-o", again))
    np.testing.assert_array_equal(read_volume(again).values, read_volume(chest).values)
    assert read_volume(again).grid == read_volume(chest).grid
    record = json.loads((tmp_path / "out.run.json").read_text())
    assert record["command"] == "export" and len(record["inputs"]) == 2
    assert record["results"]["written"]["shape_zyx"] == [6, 8, 10]
    first = pydicom.dcmread(out / "slice-0001.dcm")
    assert first.PatientID == "SECRET-ID" and "8 views" in first.SeriesDescription
    assert "SECRET" not in (tmp_path / "out.run.json").read_text()


@pytest.mark.parametrize(("recorded", "words"), [({"views": 8}, " from 8 views"), ({}, None)])
def test_the_views_are_those_of_the_record(cli, tmp_path, chest_file, recorded, words):
    chest = shutil.copy(chest_file, tmp_path / "a.nii.gz")
    RunRecord(command="reconstruct", settings={}, results=recorded).write(run_record_path(chest))
    assert_succeeded(cli("export", chest, "-o", tmp_path / "out"))
    description = pydicom.dcmread(tmp_path / "out" / "slice-0001.dcm").SeriesDescription
    assert words in description if words else "views" not in description


def test_an_export_is_repeated_from_its_record(cli, tmp_path, series):
    assert_succeeded(cli("export", series, "-o", tmp_path / "out", "--format", "tiff"))
    record = tmp_path / "out.run.json"
    assert_succeeded(cli("repeat", record, "-o", tmp_path / "again"))
    for path in (tmp_path / "out").iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


def test_bad_input_leaves_nothing(cli, tmp_path, series, chest_file):
    out = tmp_path / "out"
    (tmp_path / "letter.nii").write_text("This is a letter, not a volume. " * 40)
    before = sorted(p.name for p in tmp_path.iterdir())
    assert_refused(cli("export", tmp_path / "letter.nii", "-o", out), "letter.nii")
    result = cli("export", series, "-o", out, "--template", chest_file)
    assert result.code == 1 and "no folder" in result.err
    result = cli("export", series, "-o", out, "--format", "tiff", "--views", 8)
    assert result.code == 1 and "--views" in result.err
    result = cli("export", series, "-o", series / "out")
    assert result.code == 1 and "lies in the input" in result.err
    assert_refused(cli("export", series, "-o", series, "--force", "--format", "tiff"), "0.dcm")
    assert sorted(p.name for p in tmp_path.iterdir()) == before
    assert len(list(series.iterdir())) == 6


def test_an_existing_export_needs_force(cli, tmp_path, series):
    arguments = ("export", series, "-o", tmp_path / "out")
    assert_succeeded(cli(*arguments))
    assert_refused(cli(*arguments), "--force")
    assert_succeeded(cli(*arguments, "--force"))


@pytest.mark.parametrize(
    ("name", "options", "holds"),
    [
        ("a.tif", (), None),
        ("a.zarr", (), ".zgroup"),
        ("a.ome.zarr", (), ".zgroup"),
        ("folder", (), "slice-0001.dcm"),
        ("folder", ("--format", "tiff"), "geometry.json"),
    ],
)
def test_the_name_of_the_output_says_the_format(cli, tmp_path, chest_file, name, options, holds):
    out = tmp_path / name
    assert_succeeded(cli("export", chest_file, "-o", out, *options))
    if holds is None:
        with tifffile.TiffFile(out) as pages:
            assert len(pages.pages) == len(read_volume(chest_file))
    else:
        assert (out / holds).is_file()


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("a.png", (), "another kind"),
        ("a.nii.gz", (), "another kind"),
        ("a.zarr", ("--format", "dicom"), "--format ome-zarr"),
        ("a.tif", ("--format", "ome-zarr"), "--format tiff"),
        ("a.tif", ("--views", 8), "--format dicom"),
    ],
)
def test_a_name_of_another_format_is_refused(cli, tmp_path, chest_file, name, options, said):
    assert_refused(cli("export", chest_file, "-o", tmp_path / name, *options), said)
    assert not (tmp_path / name).exists()
