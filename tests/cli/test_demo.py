from __future__ import annotations

import json
import re

import numpy as np
import pytest

from command_line import assert_nothing_in, assert_refused, assert_succeeded
from dicom_series import write_series
from diffusionblend.io.projections import read_projections
from diffusionblend.io.volumes import read_volume
from diffusionblend.methods.api import reconstruct
from diffusionblend.phantom import synthetic_chest
from diffusionblend.simulation import PAPER_PHOTONS

OUTPUTS = {
    "reference.nii.gz",
    "projections.h5",
    "fbp.nii.gz",
    "admm-tv.nii.gz",
    "diffusionblend++.nii.gz",
    "report.html",
    "report.html.run.json",
}


@pytest.fixture(autouse=True)
def few_slices(monkeypatch):
    monkeypatch.setattr("diffusionblend.cli.demo.SLICES", 8)


@pytest.fixture
def command(tmp_path, tiny_prior):
    return ("demo", "-o", tmp_path / "out", "--prior", tiny_prior, "--steps", 3, "--device", "cpu")


@pytest.mark.slow
def test_a_synthetic_chest_is_scanned_reconstructed_and_shown(cli, command, tmp_path, tiny_prior):
    result = cli(*command, "--seed", 9)
    assert_succeeded(result)
    out = tmp_path / "out"
    assert {p.name for p in out.iterdir()} == OUTPUTS
    reference = read_volume(out / "reference.nii.gz")
    expected = synthetic_chest(9, shape=(8, 16, 16))
    np.testing.assert_allclose(reference.values, expected.values, atol=1e-3)
    scan = read_projections(out / "projections.h5")
    assert scan.geometry.n_views == 8 and scan.notes["photons"] == PAPER_PHOTONS
    blend = reconstruct(scan, steps=3, seed=9, prior=tiny_prior).volume
    written = read_volume(out / "diffusionblend++.nii.gz", check=False)
    np.testing.assert_array_equal(written.values, blend.values)
    page = (out / "report.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "") and "data:image/png" in page
    assert "Time (s)" in page
    assert re.search(r"peak_memory_mb&#34;: {\s*&#34;process&#34;: \d", page)
    record = json.loads((out / "report.html.run.json").read_text())
    assert record["results"].keys() == {"fbp", "admm-tv", "diffusionblend++", "network_share"}
    assert record["seed"] == 9
    for name in ("fbp", "admm-tv", "diffusionblend++"):
        assert name in result.out
        assert record["seconds"][name] > 0
        volume = read_volume(out / f"{name}.nii.gz", check=False)
        assert volume.grid.shape == (8, 16, 16)


def test_the_demo_takes_the_users_own_series(cli, command, tmp_path):
    hu = np.round(synthetic_chest(2, shape=(6, 24, 32)).values)
    write_series(tmp_path / "series", hu, change=lambda i, d: setattr(d, "PixelSpacing", [4, 4]))
    assert_succeeded(cli(*command, "--input", tmp_path / "series"))
    reference = read_volume(tmp_path / "out" / "reference.nii.gz")
    assert reference.grid.shape == (6, 16, 16)
    np.testing.assert_allclose(reference.grid.spacing_mm, (2.0, 8.0, 8.0))
    by_hand = hu.reshape(6, 12, 2, 16, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(reference.values[:, 2:14], by_hand, atol=0.01)
    record = json.loads((tmp_path / "out" / "report.html.run.json").read_text())
    assert record["inputs"][0]["path"].endswith("series")


@pytest.mark.slow
def test_a_demo_comes_again_from_its_record_and_is_not_overwritten(cli, command, tmp_path):
    assert_succeeded(cli(*command))
    out, again = tmp_path / "out", tmp_path / "again"
    assert_succeeded(cli("repeat", out / "report.html.run.json", "-o", again))
    for name in ("reference", "fbp", "diffusionblend++"):
        first, second = (read_volume(d / f"{name}.nii.gz", check=False) for d in (out, again))
        np.testing.assert_array_equal(second.values, first.values)
    for name in OUTPUTS - {"reference.nii.gz"}:
        (out / name).unlink()
    assert_refused(cli(*command), "reference.nii.gz exists already", "--force")
    assert {p.name for p in out.iterdir()} == {"reference.nii.gz"}
    assert_succeeded(cli(*command, "--force"))
    assert {p.name for p in out.iterdir()} == OUTPUTS


def test_a_second_demo_takes_a_new_folder(cli, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    without_output = ("demo", *command[3:])
    for name in ("demo-output", "demo-output-2"):
        result = cli(*without_output)
        assert_succeeded(result)
        assert f"volumes in {name}," in result.out
        assert f"diffusionblend view {name}/diffusionblend++.nii.gz" in result.out
    assert_succeeded(cli(*without_output, "--dry-run"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["demo-output", "demo-output-2"]


def test_an_interrupted_demo_leaves_nothing(cli, command, tmp_path, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("diffusionblend.methods.base.reconstruct_with", interrupted)
    assert cli(*command).code == 130
    assert_nothing_in(tmp_path / "out")


def test_bad_input_is_refused(cli, command, tmp_path):
    (tmp_path / "empty").mkdir()
    assert_refused(cli(*command, "--input", tmp_path / "empty"), "holds no DICOM images")
    assert_refused(cli(*command, "--prior", tmp_path / "nowhere"), "There is no prior")
    for options, word in ((("--views", 0), "0 views"), (("--seed", -1), "seed is -1")):
        result = cli(*command, *options)
        assert result.code == 1 and word in result.err
    assert_nothing_in(tmp_path / "out")
