"""Names of files that are no UTF-8, as old archives unpack on Linux, through the commands."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest
import tifffile

from command_line import assert_succeeded
from dicom_series import hu_pattern, write_series
from diffusionblend.io.projections import read_projections
from diffusionblend.io.volumes import read_volume
from field_scans import HALF, counts_of, parallel_lines

UMLAUT = "\udcfc"
"""The byte of a latin-1 u with two dots, as Python names it."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes")


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_a_series_and_volumes_of_such_names_go_in_and_out(cli, tmp_path, suffix):
    folder = tmp_path / f"M{UMLAUT}ller"
    for path in write_series(folder):
        path.rename(folder / f"Sch{UMLAUT}ler-{path.name}")
    volume = tmp_path / f"v{UMLAUT}{suffix}"
    result = cli("import", folder, "-o", volume)
    assert_succeeded(result)
    assert r"\udcfc" in result.out
    again = tmp_path / f"w{UMLAUT}.nii.gz"
    assert_succeeded(cli("import", volume, "-o", again))
    np.testing.assert_array_equal(read_volume(again).values, hu_pattern())


def test_stacks_pages_and_figures_of_such_names_are_written(cli, tmp_path):
    write_series(tmp_path / "in")
    volume = tmp_path / f"v{UMLAUT}.nii.gz"
    assert_succeeded(cli("import", tmp_path / "in", "-o", volume))
    stack = tmp_path / f"t{UMLAUT}"
    assert_succeeded(cli("export", volume, "-o", stack, "--format", "tiff"))
    np.testing.assert_array_equal(read_volume(stack).values, hu_pattern())
    dicom = tmp_path / f"d{UMLAUT}"
    assert_succeeded(cli("export", volume, "-o", dicom, "--template", tmp_path / "in"))
    np.testing.assert_array_equal(read_volume(dicom).values, hu_pattern())
    page = tmp_path / f"p{UMLAUT}.html"
    assert_succeeded(cli("view", volume, "--static", page))
    report = tmp_path / f"r{UMLAUT}.html"
    assert_succeeded(cli("evaluate", volume, "--reference", dicom, "--report", report))
    for path in (page, report):
        assert r"\udcfc" in path.read_text(encoding="utf-8")


def test_frames_in_a_folder_of_such_a_name(cli, tmp_path):
    folder, scan = tmp_path / f"m{UMLAUT}ller", tmp_path / f"s{UMLAUT}.h5"
    folder.mkdir()
    counts = counts_of(parallel_lines(HALF[::2], rows=1))
    for kind, frames in zip(("proj", "flat", "dark"), counts.values(), strict=True):
        for i, frame in enumerate(frames):
            tifffile.imwrite(folder / f"{kind}_{i:04d}.tif", frame)
    known = ("--column-mm", 1, "--arc-degrees", 180)
    assert_succeeded(cli("projections", "import", folder, "-o", scan, *known))
    made = read_projections(scan)
    assert made.grid.shape[0] == 1 and len(made) == 90
    assert made.values.max() == pytest.approx(1.92, abs=0.06)


def test_links_to_themselves_and_pipes(cli, tmp_path):
    loop, pipe = tmp_path / "loop.nii", tmp_path / "pipe.nii"
    loop.symlink_to(loop)
    os.mkfifo(pipe)
    for source, word in ((loop, "cannot be found"), (pipe, "is a pipe or a device")):
        result = cli("import", source, "-o", tmp_path / "a.nii.gz")
        assert result.code == 1 and "Traceback" not in result.err
        assert word in result.err and "Expected: " in result.err
    settings = (
        "reconstruct",
        tmp_path / "scan.h5",
        "-o",
        tmp_path / "a.nii.gz",
        "--settings",
        pipe,
    )
    result = cli(*settings)
    assert result.code == 1 and "is a pipe or a device" in result.err
