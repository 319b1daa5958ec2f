"""`sample` writes scans that the other commands take, and knows public files by their hash."""

from __future__ import annotations

import numpy as np
import pytest

from command_line import assert_nothing_in, assert_refused, assert_succeeded
from diffusionblend.cli.sample import KNOWN, PUBLIC, SAMPLES
from diffusionblend.io.atomic import sha256_of
from diffusionblend.io.projections import read_projections
from diffusionblend.io.volumes import read_volume
from diffusionblend.phantom import synthetic_chest
from diffusionblend.phantom.counts import AXIS_OFF_COLUMNS, synthetic_counts
from diffusionblend.preprocessing.prepare import prepare_scan


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr("diffusionblend.cli.sample.SHAPE", (3, 16, 16))


def test_the_chest_and_its_scan(cli, tmp_path):
    chest, scan = tmp_path / "chest.nii.gz", tmp_path / "scan.h5"
    assert_succeeded(cli("sample", "chest", "-o", chest))
    expected = synthetic_chest(7, shape=(3, 16, 16))
    np.testing.assert_allclose(read_volume(chest).values, expected.values, atol=0.51)
    result = cli("sample", "scan", "-o", scan)
    assert_succeeded(result)
    assert f"diffusionblend run {scan} -o results" in result.out
    assert len(read_projections(scan)) == 8
    assert_refused(cli("sample", "scan", "-o", scan), "exists already", "--force")
    again = tmp_path / "again.h5"
    assert_succeeded(cli("repeat", f"{scan}.run.json", "-o", again))
    np.testing.assert_array_equal(read_projections(again).values, read_projections(scan).values)


def test_counts_are_imported_as_measured(cli, tmp_path):
    counts, scan = tmp_path / "counts.npz", tmp_path / "few.h5"
    assert_succeeded(cli("sample", "counts", "-o", counts))
    result = cli("projections", "import", counts, "-o", scan, "--column-mm", 0.5)
    assert_succeeded(result)
    assert "photons per pixel" in result.out


def test_the_part_comes_out_at_its_attenuation():
    """By FBP, in the middle of the body and of the pin."""
    from diffusionblend.methods.api import reconstruct
    from diffusionblend.units import hu_to_mu

    done = prepare_scan(synthetic_counts())
    assert done.centre.column == pytest.approx(47.5 + AXIS_OFF_COLUMNS, abs=0.15)
    scan = done.projections
    mu = hu_to_mu(reconstruct(scan, "fbp").volume.values, scan.mu_water_per_mm)[0]
    y, x = (np.indices(mu.shape) - (np.array(mu.shape).reshape(2, 1, 1) - 1) / 2) * 0.5
    field = 48.0
    body = np.hypot(x - 0.05 * field, y + 0.18 * field) < 1.5
    pin = np.hypot(x + 0.02 * field, y - 0.16 * field) < 0.8
    assert mu[body].mean() == pytest.approx(0.020, rel=0.05)
    assert mu[pin].mean() == pytest.approx(0.080, rel=0.1)


def test_public_files_are_known_by_their_hash(cli, tmp_path, shared_data):
    path = shared_data / "projections" / "tooth" / "tooth.h5"
    assert sha256_of(path) in KNOWN
    assert "tooth, tooth.h5, as published" in cli("sample", "--check", path).out
    (tmp_path / "other.h5").write_text("other")
    assert_refused(cli("sample", "--check", tmp_path / "other.h5"), "none of the files")
    assert_refused(cli("sample", "--check", tmp_path / "none.h5"), "none.h5")


def test_the_list_has_all(cli):
    out = cli("sample").out
    assert all(name in out for name in [*SAMPLES, *PUBLIC])


def test_bad_names_are_refused(cli, tmp_path):
    out = tmp_path / "out" / "a.nii.gz"
    assert_refused(cli("sample", "chst", "-o", out), "chst", "did you mean chest")
    assert_refused(cli("sample", "tooth", "-o", out), "public set", "--check")
    assert_refused(cli("sample", "scan", "-o", out), "cannot be written as a.nii.gz")
    assert_refused(cli("sample", "chest", "-o", tmp_path / "out" / "a"), ".nii.gz")
    assert_nothing_in(tmp_path / "out")
