"""A volume in 1/mm, as 'reconstruct --output-unit 1/mm' writes it, through every command."""

from __future__ import annotations

import json

import numpy as np
import pytest
from skimage.io import imread
from skimage.metrics import peak_signal_noise_ratio

from command_line import assert_nothing_in, assert_refused, assert_succeeded
from dicom_series import hu_pattern
from diffusionblend.data.volume import Volume
from diffusionblend.geometry.grid import Grid
from diffusionblend.io.volumes import read_volume, write_volume

GRID = Grid(shape=(8, 10, 12), spacing_mm=(2.0, 1.0, 1.0))
MU = ((hu_pattern(8, 10, 12) / 1000 + 1) * 0.02).astype(np.float32)


@pytest.fixture
def files(tmp_path):
    """A reconstruction and its reference in 1/mm, and the reference in HU."""
    noise = np.random.default_rng(0).normal(0, 1e-3, MU.shape)
    for name, values in (("fbp", MU + noise), ("truth", MU), ("hu", hu_pattern(8, 10, 12))):
        write_volume(Volume(values, GRID), tmp_path / f"{name}.nii.gz")
    return tmp_path


def test_export_as_dicom_is_refused(cli, files):
    assert_refused(
        cli("export", files / "fbp.nii.gz", "-o", files / "out" / "d"), "not in HU", "tiff"
    )
    assert_nothing_in(files / "out")


def test_export_as_tiff_names_the_unit(cli, files):
    result = cli("export", files / "truth.nii.gz", "-o", files / "t", "--format", "tiff")
    assert_succeeded(result)
    assert "1/mm" in result.out
    assert json.loads((files / "t" / "geometry.json").read_text())["units"] == "1/mm"
    np.testing.assert_array_equal(imread(files / "t" / "slice-0003.tif"), MU[2])
    np.testing.assert_array_equal(read_volume(files / "t", check=False).values, MU)


def test_view_reports_the_unit(cli, files):
    page = files / "page.html"
    result = cli("view", files / "fbp.nii.gz", files / "truth.nii.gz", "--static", page)
    assert_succeeded(result)
    assert "1/mm" in result.out and '"unit": "1/mm"' in page.read_text()
    mixed = cli("view", files / "fbp.nii.gz", files / "hu.nii.gz", "--static", files / "b.html")
    assert_refused(mixed, "different units", "fbp in 1/mm", "hu in HU")


def test_evaluate_scores_in_the_unit_of_both(cli, files):
    figures = files / "figures.json"
    result = cli(
        "evaluate", files / "fbp.nii.gz", "--reference", files / "truth.nii.gz", "-o", figures
    )  # fmt: skip
    assert_succeeded(result)
    assert "1/mm" in result.out and "HU" not in result.out
    found = json.loads(figures.read_text())
    x = read_volume(files / "fbp.nii.gz", check=False).values
    expected = peak_signal_noise_ratio(MU, x.clip(0, MU.max()), data_range=float(MU.max()))
    assert found["volume_psnr_db"] == pytest.approx(expected, abs=0.01)
    assert found["mean_absolute_error_per_mm"] == pytest.approx(np.abs(x - MU).mean(), rel=1e-3)
    assert "mean_absolute_error_hu" not in found and found["bias_hu"] == {}


@pytest.mark.parametrize("pair", [("fbp", "hu"), ("hu", "truth")])
def test_evaluate_refuses_two_units(cli, files, pair):
    volume, reference = (files / f"{name}.nii.gz" for name in pair)
    assert_refused(cli("evaluate", volume, "--reference", reference), "not in HU")


def test_a_page_on_attenuation_speaks_of_it(cli, files):
    page = files / "out" / "r.html"
    result = cli(
        "evaluate", files / "fbp.nii.gz", "--reference", files / "truth.nii.gz", "--report", page
    )
    assert_succeeded(result)
    shown = page.read_text().partition("<body>")[2]
    assert "Error in 1/mm" in shown and "Auto<small>" in shown and "+x" in shown
    assert " HU" not in shown


@pytest.mark.parametrize("arguments", [("import", "-o"), ("simulate", "-o")])
def test_what_takes_hu_alone_refuses_it(cli, files, arguments):
    command, output = arguments
    name = "a.nii.gz" if command == "import" else "a.h5"
    result = cli(command, files / "fbp.nii.gz", output, files / "out" / name)
    assert_refused(result, "is not in HU", "attenuation")
    assert_nothing_in(files / "out")
