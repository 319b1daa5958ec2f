"""The standard deviation beside a volume: found by itself or given, and what is none, refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from command_line import assert_nothing_in, assert_refused, assert_succeeded
from diffusionblend.data.volume import Volume
from diffusionblend.io.volumes import read_volume, write_volume
from diffusionblend.runs.deviation import find_deviation, samples_of
from diffusionblend.runs.record import RunRecord, run_record_path
from diffusionblend.runs.samples import deviation_path


@pytest.fixture
def chest(chest_file) -> Volume:
    return read_volume(chest_file)


@pytest.fixture
def mean_file(tmp_path, chest) -> Path:
    """The chest 20 HU too bright, with a deviation of 15 HU beside it."""
    path = tmp_path / "in" / "mean.nii.gz"
    write_volume(chest.with_values(chest.values + 20), path)
    write_volume(chest.with_values(np.full(chest.values.shape, 15.0)), deviation_path(path))
    return path


def record_with(path: Path, results: dict) -> None:
    record = RunRecord(command="reconstruct", settings={}, results=results)
    record.write(run_record_path(path), force=True)


def test_it_is_found_beside_its_volume(mean_file, chest_file, tmp_path):
    assert find_deviation(mean_file, print) == deviation_path(mean_file)
    assert find_deviation(mean_file, print, tmp_path / "b.nrrd") == tmp_path / "b.nrrd"
    assert find_deviation(chest_file, print) is None
    assert find_deviation(tmp_path, print) is None
    assert samples_of(mean_file) is None
    record_with(mean_file, {"seeds": [0, 1, 2]})
    assert samples_of(mean_file) == 3
    assert find_deviation(mean_file, print) == deviation_path(mean_file)


def test_that_of_an_older_run_is_left_out(mean_file, capsys):
    record_with(mean_file, {"relative_residual": 0.1})
    assert find_deviation(mean_file, print) is None
    assert "a single sample" in capsys.readouterr().out
    assert samples_of(mean_file) is None


def test_calibration_is_printed_and_in_the_figures(cli, tmp_path, mean_file, chest_file):
    out = tmp_path / "out" / "a.json"
    record_with(mean_file, {"seeds": [0, 1, 2, 3]})
    result = cli("evaluate", mean_file, "--reference", chest_file, "-o", out)
    assert_succeeded(result)
    found = json.loads(out.read_text())["calibration"]
    assert found["n_samples"] == 4
    for tissue in found["tissues"].values():  # off by 20 HU everywhere, with an sd of 15
        if tissue["n_voxels"]:
            assert tissue["within"] == {"1": 0.0, "2": 1.0}
            assert tissue["mean_deviation_hu"] == pytest.approx(15)
            assert tissue["rms_error_hu"] == pytest.approx(20, abs=0.01)
    assert found["tissues"]["soft tissue"]["n_voxels"] > 0
    assert found["tissues"]["fat"]["high_hu"] == -30
    for words in ("whole body", "soft tissue", "-150 to -30", "to be expected (4 samples)"):
        assert words in result.out
    record = json.loads(run_record_path(out).read_text())
    names = [Path(i["path"]).name for i in record["inputs"]]
    assert deviation_path(mean_file).name in names


def test_without_a_deviation_nothing_is_said_of_calibration(cli, tmp_path, chest_file):
    out = tmp_path / "a.json"
    result = cli("evaluate", chest_file, "--reference", chest_file, "-o", out)
    assert_succeeded(result)
    assert "calibration" not in json.loads(out.read_text())
    assert "whole body" not in result.out


def test_the_report_shows_it(cli, tmp_path, mean_file, chest_file):
    page = tmp_path / "a.html"
    assert_succeeded(cli("evaluate", mean_file, "--reference", chest_file, "--report", page))
    text = page.read_text()
    for words in ("How sure it is", 'class="overlay"', "Within 2 sd"):
        assert words in text


def test_the_viewer_shows_it_and_repeats_it(cli, tmp_path, mean_file, chest_file):
    page, again = tmp_path / "a.html", tmp_path / "b.html"
    assert_succeeded(cli("view", mean_file, "--reference", chest_file, "--static", page))
    assert page.read_text().count('class="volume"') == 3
    assert '"deviations": [1]' in page.read_text()
    record = json.loads(run_record_path(page).read_text())
    assert len(record["inputs"]) == 3
    assert_succeeded(cli("repeat", run_record_path(page), "-o", again))
    assert again.read_text() == page.read_text()
    bare = tmp_path / "c.html"
    assert_succeeded(cli("view", mean_file, "--no-overlay", "--static", bare))
    assert bare.read_text().count('class="volume"') == 1


def test_it_may_be_given_under_any_name(cli, tmp_path, mean_file, chest_file):
    moved = tmp_path / "spread.nrrd"
    write_volume(read_volume(deviation_path(mean_file), check=False), moved)
    deviation_path(mean_file).unlink()
    given = ("--reference", chest_file, "--deviation", moved)
    page, figures = tmp_path / "a.html", tmp_path / "a.json"
    assert_succeeded(cli("view", mean_file, *given, "--static", page))
    assert '"deviations": [1]' in page.read_text()
    assert_succeeded(cli("evaluate", mean_file, *given, "-o", figures))
    assert "calibration" in json.loads(figures.read_text())
    result = cli("view", chest_file, *given, "--static", tmp_path / "b.html")
    assert result.code == 1 and "no volume besides the reference" in result.err


BAD = {
    "letter": "not a NIfTI file",
    "truncated": "truncated",
    "grid": "do not belong together",
    "volume": "nowhere below 0",
    "zero": "nowhere below 0",
    "none": "There is no",
}


def write_bad(kind: str, path: Path, chest: Volume) -> None:
    """A file that is no standard deviation of the chest."""
    shape = chest.values.shape
    whole = {
        "grid": Volume(np.ones((7, *shape[1:])), chest.grid.with_slices(7)),
        "volume": chest,
        "zero": chest.with_values(np.zeros(shape)),
        "truncated": chest.with_values(np.ones(shape)),
    }
    if kind in whole:
        write_volume(whole[kind], path)
    if kind == "letter":
        path.write_bytes(b"This is a letter, not a volume. " * 40)
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:-30])


@pytest.mark.parametrize("command", ["view", "evaluate"])
@pytest.mark.parametrize(("kind", "word"), BAD.items())
def test_a_bad_one_that_was_given_is_refused(
    cli, tmp_path, command, kind, word, mean_file, chest, chest_file
):
    path, out = tmp_path / "bad.nii.gz", tmp_path / "out"
    write_bad(kind, path, chest)
    output = ("--static", out / "a.html") if command == "view" else ("-o", out / "a.json")
    result = cli(command, mean_file, "--reference", chest_file, "--deviation", path, *output)
    assert result.code == 1 and "Traceback" not in result.err
    assert "bad.nii.gz" in result.err and "Expected: " in result.err and word in result.err
    assert_nothing_in(out)


def test_a_bad_one_beside_the_volume_is_left_out_with_a_note(cli, tmp_path, mean_file, chest_file):
    deviation_path(mean_file).write_bytes(b"This is a letter, not a volume. " * 40)
    page, figures = tmp_path / "a.html", tmp_path / "a.json"
    for command in (
        ("view", mean_file, "--static", page),
        ("evaluate", mean_file, "--reference", chest_file, "-o", figures),
    ):
        result = cli(*command)
        assert_succeeded(result)
        assert "note: " in result.out and "It is left out." in result.out
    assert page.read_text().count('class="volume"') == 1
    assert "calibration" not in json.loads(figures.read_text())


def test_an_output_is_not_the_deviation(cli, mean_file, chest_file):
    spread = deviation_path(mean_file)
    before = spread.read_bytes()
    arguments = ("evaluate", mean_file, "--reference", chest_file, "--deviation", spread)
    assert_refused(cli(*arguments, "--figure", spread, "--force"), "also an input")
    assert spread.read_bytes() == before
