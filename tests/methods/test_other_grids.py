"""Slices of other sizes: reconstructed on the prior's grid, interpolated to the requested one."""

from __future__ import annotations

import json

import numpy as np
import pytest

from command_line import assert_nothing_in, assert_refused, assert_succeeded
from diffusionblend.data.resample import regridded
from diffusionblend.io.projections import write_projections
from diffusionblend.io.volumes import read_volume
from diffusionblend.methods.api import reconstruct, steps
from diffusionblend.priors.reach import on_prior_grid
from small_scan import residual_by_hand, scan, small_volume
from tiny_network import random_prior

SHAPE = (5, 24, 20)
FEW = {"steps": 2, "seed": 3, "device": "cpu"}


@pytest.fixture(scope="module")
def other():
    return scan(small_volume(SHAPE), 6)


def test_the_prior_works_on_its_own_grid_and_the_wanted_one_comes_back(other):
    prior = random_prior()
    result = reconstruct(other, prior=prior, **FEW)
    assert result.volume.grid == other.grid
    work = on_prior_grid(other, {"prior": prior})
    by_hand = regridded(reconstruct(work, prior=prior, **FEW).volume, other.grid)
    np.testing.assert_array_equal(result.volume.values, by_hand.values)
    assert result.relative_residual == pytest.approx(
        residual_by_hand(other, result.volume.values), rel=1e-4
    )
    seen = [step.estimate for step in steps(other, prior=prior, **FEW)]
    assert [volume.grid for volume in seen] == [other.grid] * 2


def test_the_shipped_prior_takes_slices_of_any_size_as_they_are():
    one = scan(small_volume((3, 23, 30)), 6)
    result = reconstruct(one, prior="chest", **FEW)
    assert result.volume.shape == (3, 23, 30) and np.isfinite(result.volume.values).all()


def test_the_command_line_says_where_it_was_reconstructed(cli, tmp_path, other, tiny_prior):
    path, output = tmp_path / "scan.h5", tmp_path / "a.nii.gz"
    write_projections(other, path)
    run = ("reconstruct", path, "-o", output, "--prior", tiny_prior, "--device", "cpu")
    result = cli(*run, "--steps", 2, "--seed", 3)
    assert_succeeded(result)
    assert "on the prior's grid, 16 x 16 pixels of 3.75 mm, and interpolated to 24 x 20" in (
        result.out
    )
    expected = reconstruct(other, prior=tiny_prior, **FEW).volume
    np.testing.assert_array_equal(read_volume(output).values, expected.values)
    record = json.loads(output.with_name("a.nii.gz.run.json").read_text())
    assert "16 x 16" in record["results"]["grid"]


def test_another_size_is_asked_for(cli, tmp_path, other):
    path, output = tmp_path / "scan.h5", tmp_path / "a.nii.gz"
    write_projections(other, path)
    run = ("reconstruct", path, "-o", output, "--method", "cgls", "--iterations", 4)
    assert_succeeded(cli(*run, "--size", 12))
    volume = read_volume(output)
    assert volume.shape == (5, 12, 10)
    expected = reconstruct(other.with_pixels(size=12), "cgls", iterations=4).volume
    np.testing.assert_array_equal(volume.values, expected.values)
    record = json.loads(output.with_name("a.nii.gz.run.json").read_text())
    assert record["results"]["identity"]["size"] == 12
    again = tmp_path / "again.nii.gz"
    assert_succeeded(cli("repeat", f"{output}.run.json", "-o", again))
    np.testing.assert_array_equal(read_volume(again).values, volume.values)


@pytest.mark.parametrize("source", ["simulated", "measured", "unknown"])
def test_far_pixels_are_refused_at_once_with_the_right_verb(cli, tmp_path, source, monkeypatch):
    one = scan(small_volume((3, 24, 20), pixel_mm=0.05), 6)
    one.notes["source"] = source
    path, out = tmp_path / "scan.h5", tmp_path / "out"
    write_projections(one, path)

    def too_late(*_: object) -> None:
        raise AssertionError("the scan was read first")

    monkeypatch.setattr("diffusionblend.io.projections.read_projections", too_late)
    result = cli("reconstruct", path, "-o", out / "a.nii.gz")
    assert_refused(result, "chest is for pixels of 0.6 mm", "24 x 20 pixels of 0.05 mm")
    command = "projections import --column-mm" if source == "measured" else "import --size"
    assert command in result.err
    assert ("column-mm" in result.err) == (source == "measured")
    assert_nothing_in(out)


def test_bad_sizes_are_refused(cli, tmp_path, other):
    path = tmp_path / "scan.h5"
    write_projections(other, path)
    for option, words in ((("--size", 0), "0 pixels"), (("--pixel-mm", -1), "pixel_mm is -1")):
        for method in ("fbp", "diffusionblend++"):
            run = ("reconstruct", path, "-o", tmp_path / "out" / "a.nii.gz", "--method", method)
            result = cli(*run, *option)
            assert result.code == 1 and words in result.err
    assert_nothing_in(tmp_path / "out")
