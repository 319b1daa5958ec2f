from __future__ import annotations

import json

import numpy as np
import pytest

from command_line import assert_nothing_in, assert_refused, assert_succeeded
from diffusionblend.io.volumes import read_volume, write_volume


@pytest.fixture
def shifted_file(chest_file, tmp_path):
    """The chest, 20 HU too high everywhere."""
    chest = read_volume(chest_file)
    write_volume(chest.with_values(chest.values + 20), tmp_path / "shifted.nii.gz")
    return tmp_path / "shifted.nii.gz"


def test_figures_picture_and_page_are_written(cli, tmp_path, chest_file, shifted_file, scan_file):
    out = tmp_path / "out"
    arguments = ("evaluate", shifted_file, "--reference", chest_file, "--projections", scan_file)
    files = ("-o", out / "a.json", "--figure", out / "a.png", "--report", out / "a.html")
    result = cli(*arguments, *files)
    assert_succeeded(result)
    figures = json.loads((out / "a.json").read_text())
    # 20 of 2000 HU: 10 log10(1 / 0.01^2) = 40 dB
    assert figures["volume_psnr_db"] == pytest.approx(40.0, abs=0.01)
    assert figures["planes"]["sagittal"]["psnr_db"] == pytest.approx(40.0, abs=0.01)
    assert figures["mean_absolute_error_hu"] == pytest.approx(20.0, abs=1e-3)
    assert figures["bias_hu"]["lung"]["mean_hu"] == pytest.approx(20.0, abs=1e-3)
    assert 0.01 < figures["relative_residual"] < 0.5
    assert (out / "a.png").read_bytes().startswith(b"\x89PNG")
    assert "<html" in (out / "a.html").read_text()
    assert "40.0" in result.out
    record = json.loads((out / "a.json.run.json").read_text())
    assert len(record["inputs"]) == 3
    assert record["results"] == figures


def test_the_report_says_how_the_volume_was_made(cli, tmp_path, chest_file, scan_file):
    recon = tmp_path / "fbp.nii.gz"
    assert_succeeded(cli("reconstruct", scan_file, "-o", recon, "--method", "fbp"))
    arguments = ("evaluate", recon, "--reference", chest_file, "--projections", scan_file)
    assert_succeeded(cli(*arguments, "--report", tmp_path / "a.html"))
    page = (tmp_path / "a.html").read_text()
    for words in (
        "Run record: fbp.nii.gz",
        "weights_sha256",
        "simulated from",
        "Relative residual",
    ):
        assert words in page
    (tmp_path / "fbp.nii.gz.run.json").write_text("{")
    result = cli(*arguments, "--report", tmp_path / "b.html")
    assert_succeeded(result)
    assert "not a run record" in result.out
    assert "Run record" not in (tmp_path / "b.html").read_text()


def test_without_outputs_it_only_prints(cli, tmp_path, chest_file, shifted_file):
    before = sorted(tmp_path.iterdir())
    result = cli("evaluate", shifted_file, "--reference", chest_file)
    assert_succeeded(result)
    assert "shifted.nii.gz" in result.out and "PSNR" in result.out
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(("option", "name"), [("--report", "a.html"), ("--figure", "a.png")])
def test_every_output_has_a_record(cli, tmp_path, chest_file, option, name):
    out = tmp_path / "out"
    arguments = ("evaluate", chest_file, "--reference", chest_file)
    assert_succeeded(cli(*arguments, option, out / name))
    assert sorted(p.name for p in out.iterdir()) == [name, f"{name}.run.json"]


def test_outputs_are_not_overwritten_without_force(cli, tmp_path, chest_file, shifted_file):
    out = tmp_path / "out"
    out.mkdir()
    arguments = ("evaluate", shifted_file, "--reference", chest_file)
    for option, name in (("-o", "a.json"), ("--figure", "a.png"), ("--report", "a.html")):
        (out / name).write_bytes(b"precious")
        result = cli(*arguments, "-o", out / "new.json", option, out / name)
        assert_refused(result, name, "--force")
        assert (out / name).read_bytes() == b"precious"
        (out / name).unlink()
    assert_nothing_in(out)
    (out / "a.json").write_bytes(b"old")
    assert_succeeded(cli(*arguments, "-o", out / "a.json", "--force"))
    assert json.loads((out / "a.json").read_text())["volume_psnr_db"] > 39


def test_two_outputs_of_one_name_are_refused(cli, tmp_path, chest_file):
    name = tmp_path / "a.png"
    arguments = ("evaluate", chest_file, "--reference", chest_file, "--figure", name)
    result = cli(*arguments, "--report", name)
    assert result.code == 1 and "Two outputs" in result.err
    assert_nothing_in(tmp_path)


def test_volumes_that_cannot_be_compared_are_refused(cli, tmp_path, chest_file):
    out = tmp_path / "out" / "a.json"
    chest = read_volume(chest_file)
    thin = tmp_path / "thin.nii.gz"
    write_volume(type(chest)(chest.values[:7], chest.grid.with_slices(7)), thin)
    result = cli("evaluate", thin, "--reference", chest_file, "-o", out)
    assert_refused(result, "(7, 16, 16) and (8, 16, 16)")
    dense = tmp_path / "dense.nii.gz"
    write_volume(chest.with_values(0.02 * (1 + chest.values / 1000)), dense)
    for pair in ((dense, chest_file), (chest_file, dense)):
        result = cli("evaluate", pair[0], "--reference", pair[1], "-o", out)
        assert_refused(result, "dense.nii.gz is not in HU", "chest.nii.gz is in HU")
    values = chest.values.copy()
    values[0, 0, 0] = np.nan
    write_volume(chest.with_values(values), tmp_path / "nan.nrrd")
    result = cli("evaluate", tmp_path / "nan.nrrd", "--reference", chest_file, "-o", out)
    assert result.code == 1
    assert "1 voxels that are NaN" in result.err and "Expected:" in result.err
    assert_nothing_in(out.parent)


@pytest.mark.parametrize(
    ("option", "name", "better"),
    [
        ("-o", "a.csv", "a.json"),
        ("--report", "a.pdf", "a.html"),
        ("--figure", "a.foo", "a.png"),
        ("--figure", "figure", "figure.png"),
    ],
)
def test_a_suffix_that_cannot_be_written_is_refused_before_any_work(
    cli, tmp_path, option, name, better
):
    nothing = tmp_path / "nothing.nii.gz"  # read first, it would be what is complained of
    out = tmp_path / "out"
    result = cli("evaluate", nothing, "--reference", nothing, option, out / name)
    assert_refused(result, name, better)
    assert_nothing_in(out)


def test_an_output_that_is_an_input_is_refused_even_with_force(cli, tmp_path, chest_file):
    (tmp_path / "there").mkdir()
    inputs = {}
    for kind, name in (("volume", "v.json"), ("reference", "r.html"), ("projections", "p.png")):
        inputs[kind] = tmp_path / name
        inputs[kind].write_bytes(b"precious")
    arguments = ("evaluate", inputs["volume"], "--reference", inputs["reference"], "--force")
    arguments += ("--projections", inputs["projections"])
    for option, kind in (("-o", "volume"), ("--report", "reference"), ("--figure", "projections")):
        same = tmp_path / "there" / ".." / inputs[kind].name
        assert_refused(cli(*arguments, option, same), inputs[kind].name, "also an input")
        assert inputs[kind].read_bytes() == b"precious"
