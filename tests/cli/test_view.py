from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from command_line import assert_refused, assert_succeeded
from diffusionblend.cli.view import unique_names
from diffusionblend.io.volumes import read_volume, write_volume


def test_one_file_is_written_with_its_record(cli, tmp_path, chest_file):
    out = tmp_path / "out" / "page.html"
    assert_succeeded(cli("view", chest_file, "--reference", chest_file, "--static", out))
    page = out.read_text()
    assert page.count('class="volume"') == 1  # the same file twice is one volume
    record = json.loads((out.parent / "page.html.run.json").read_text())
    assert record["command"] == "view" and len(record["inputs"]) == 1
    assert_refused(cli("view", chest_file, "--static", out), "--force")
    again = tmp_path / "again.html"
    assert_succeeded(cli("repeat", f"{out}.run.json", "-o", again))
    assert again.read_text() == page
    assert_succeeded(cli("view", chest_file, "--static", out, "--force"))


def test_it_serves_until_ctrl_c(chest_file, tmp_path):
    chest = read_volume(chest_file)
    write_volume(chest.with_values(chest.values + 20), tmp_path / "b.nrrd")
    code = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += "from diffusionblend.cli.main import main; main(sys.argv[1:])"
    arguments = ["view", tmp_path / "b.nrrd", "--reference", chest_file, "--no-browser"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        url = re.search(r"http://127\.0\.0\.1:\d+/[\w-]+/", process.stdout.readline())[0]
        with urllib.request.urlopen(f"{url}volume/1/0") as answer:
            values = np.frombuffer(answer.read(), "<i2").reshape(chest.grid.shape)
        assert np.abs(values - chest.values - 20).max() <= 0.5
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(url.rsplit("/", 2)[0] + "/x/")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        assert process.returncode == 0 and "closed" in out and err == ""
    finally:
        process.kill()
        process.communicate()


def test_other_grids_are_shown_with_a_note(cli, tmp_path, chest_file):
    chest = read_volume(chest_file)
    thin = type(chest)(chest.values[1:5], chest.grid.with_slices(4))
    write_volume(thin, tmp_path / "thin.mha")
    out = tmp_path / "page.html"
    result = cli("view", chest_file, tmp_path / "thin.mha", "--static", out)
    assert_succeeded(result)
    assert "note: thin (4 x 16 x 16" in result.out
    assert "shown resampled onto the grid of chest" in out.read_text()


def test_bad_input_is_refused(cli, tmp_path, chest_file):
    letter = tmp_path / "letter.nii"
    letter.write_text("This is a letter, not a volume. " * 40)
    page = tmp_path / "page.html"
    assert_refused(cli("view", letter, "--static", page), "letter.nii")
    assert_refused(cli("view", chest_file, "--reference", letter, "--static", page), "letter.nii")
    assert_refused(cli("view", tmp_path / "none.nii", "--no-browser"), "There is no")
    chest = read_volume(chest_file)
    values = chest.values.copy()
    values[0, 0, 0] = np.nan
    write_volume(chest.with_values(values), tmp_path / "nan.nrrd")
    assert_refused(cli("view", tmp_path / "nan.nrrd", "--no-browser"), "nan", "NaN")
    result = cli("view", chest_file, "--static", tmp_path / "page.pdf")
    assert result.code == 1 and ".html" in result.err
    assert_refused(cli("view", chest_file, "--no-browser", "--port", 70000), "--port 0")
    assert cli("view", "--no-browser").code in (1, 2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["letter.nii", "nan.nrrd"]


def test_names_are_as_short_as_they_can_be():
    assert unique_names([Path("/a/x.nii.gz"), Path("/b/y.nii.gz")]) == ["x", "y"]
    assert unique_names([Path("/a/x.nii.gz"), Path("/a/x.mha")]) == ["x.nii.gz", "x.mha"]
    assert unique_names([Path("/a/x.mha"), Path("/b/x.mha"), Path("/a/y.mha")]) == [
        "a/x.mha",
        "b/x.mha",
        "y",
    ]
