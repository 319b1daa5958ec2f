from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from command_line import METHODS, assert_refused
from diffusionblend.io.projections import read_projections
from diffusionblend.io.volumes import read_volume
from tiny_network import random_prior


@pytest.mark.parametrize("output", ["chest.nii.gz", *(f"{m}.nii.gz" for m in METHODS)])
def test_a_volume_comes_again_from_its_record(cli, walked, tmp_path, output):
    again = tmp_path / "again.nii.gz"
    result = cli("repeat", walked / f"{output}.run.json", "-o", again)
    assert result.code == 0, result
    first, second = (read_volume(p, check=False) for p in (walked / output, again))
    np.testing.assert_array_equal(second.values, first.values)
    assert second.grid == first.grid


def test_a_noisy_scan_comes_again_from_its_record(cli, walked, tmp_path):
    again = tmp_path / "again.h5"
    assert cli("repeat", walked / "scan.h5.run.json", "-o", again).code == 0
    first, second = read_projections(walked / "scan.h5"), read_projections(again)
    np.testing.assert_array_equal(second.values, first.values)
    assert (second.geometry, second.grid) == (first.geometry, first.grid)


def test_an_evaluation_comes_again_with_its_picture_and_page(cli, walked, tmp_path):
    page = (walked / "page.html").read_bytes()
    record = walked / "diffusionblend++.json.run.json"
    assert cli("repeat", record, "-o", tmp_path / "again.json").code == 0
    first = json.loads((walked / "diffusionblend++.json").read_text())
    assert json.loads((tmp_path / "again.json").read_text()) == first
    names = {"again.json", "again.json.run.json", "again.html", "again.png"}
    assert {p.name for p in tmp_path.iterdir()} == names
    assert (walked / "page.html").read_bytes() == page


def test_an_input_that_has_changed_is_refused_or_reported(cli, walked, tmp_path, monkeypatch):
    record = json.loads((walked / "fbp.nii.gz.run.json").read_text())
    record["inputs"][0]["sha256"] = "0" * 64
    (tmp_path / "old.run.json").write_text(json.dumps(record))
    command = ("repeat", tmp_path / "old.run.json", "-o", tmp_path / "a.nii.gz")
    assert_refused(cli(*command), "scan.h5 is not the file of the first run", "--changed")
    assert not (tmp_path / "a.nii.gz").exists()
    result = cli(*command, "--changed")
    assert result.code == 0
    assert "scan.h5 is not the file of the first run" in result.out


def test_a_prior_that_has_changed_or_is_gone_is_refused_or_reported(
    cli, walked, tmp_path, tiny_prior
):
    source = walked / "diffusionblend++.nii.gz.run.json"
    record = json.loads(source.read_text())
    note = "not those of the first run"
    assert cli("repeat", source, "-o", tmp_path / "same.nii.gz").code == 0
    prior = shutil.copytree(tiny_prior, tmp_path / "prior")
    other = tmp_path / "other.run.json"
    other.write_text(json.dumps(change(record, prior=str(prior))))
    assert cli("repeat", other, "-o", tmp_path / "copy.nii.gz").code == 0
    random_prior(seed=5).save(prior)
    command = ("repeat", other, "-o", tmp_path / "other.nii.gz")
    assert_refused(cli(*command), f"the weights of {prior} are {note}", "--changed")
    result = cli(*command, "--changed")
    assert result.code == 0
    assert f"note: the weights of {prior} are {note}" in result.out
    shutil.rmtree(prior)
    assert_refused(cli("repeat", other, "-o", tmp_path / "gone.nii.gz"), str(prior))


def change(record, **settings):
    return record | {"settings": record["settings"] | settings}


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (lambda r: "no JSON", "not a run record"),
        (lambda r: r | {"command": "dream"}, "'dream'"),
        (lambda r: r | {"settings": ["fbp"]}, "settings is not what a run writes"),
        (lambda r: change(r, wings=2), "wings"),
        (lambda r: change(r, prior="a\0b"), "texts that are none"),
        (lambda r: r | {"results": {"\ud800": 1}}, "texts that are none"),
        (lambda r: change(r, method="sart"), "'sart'"),
        (lambda r: change(r, settings=7), "the settings of fbp"),
        (lambda r: change(r, settings={"iterations": 3}), "'iterations'"),
        (
            lambda r: (
                r | {"settings": {k: v for k, v in r["settings"].items() if k != "projections"}}
            ),
            "projections",
        ),
    ],
)
def test_a_damaged_record_is_refused(cli, walked, tmp_path, damage, word):
    record = damage(json.loads((walked / "fbp.nii.gz.run.json").read_text()))
    source = tmp_path / "damaged.run.json"
    source.write_text(record if isinstance(record, str) else json.dumps(record))
    result = cli("repeat", source, "-o", tmp_path / "a.nii.gz")
    assert result.code == 1
    assert word in result.err and "Expected:" in result.err
    assert [p.name for p in tmp_path.iterdir()] == ["damaged.run.json"]


def test_a_repeated_run_does_not_overwrite_without_force(cli, walked, tmp_path):
    output = tmp_path / "a.nii.gz"
    output.write_bytes(b"precious")
    arguments = ("repeat", walked / "fbp.nii.gz.run.json", "-o", output)
    assert_refused(cli(*arguments), "exists already", "--force")
    assert output.read_bytes() == b"precious"
    assert cli(*arguments, "--force").code == 0
    expected = read_volume(walked / "fbp.nii.gz", check=False)
    np.testing.assert_array_equal(read_volume(output, check=False).values, expected.values)
