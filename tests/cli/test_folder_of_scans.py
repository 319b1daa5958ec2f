"""Folders given to the commands of measured scans: what is taken, left out, and refused at once."""

from __future__ import annotations

import os
import stat

import numpy as np
import pytest
import tifffile

from command_line import assert_refused, assert_succeeded
from diffusionblend.io import atomic
from diffusionblend.io.atomic import check_outputs_absent
from measured_scan import half_scan, lines_of, scan_of, write_data_exchange

ANGLES = half_scan(30)
SCAN = scan_of(lines_of(ANGLES, n_columns=24, centre_column=11.5, rows=1), ANGLES)


@pytest.fixture
def scans(cli, tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    source = write_data_exchange(tmp_path / "source.h5", SCAN)
    wanted = ("--column-mm", 1, "--centre-column", 11.5)
    assert_succeeded(cli("projections", "import", source, "-o", folder / "a.hdf5", *wanted))
    (folder / "b.H5").write_bytes((folder / "a.hdf5").read_bytes())
    (folder / "c.h5").write_bytes((folder / "a.hdf5").read_bytes())
    return folder


def test_every_suffix_of_projections_is_taken_and_the_rest_reported(cli, scans, tmp_path):
    (scans / "d.nxs").write_bytes(b"a scan that was not imported")
    out = tmp_path / "out"
    result = cli("reconstruct", scans, "-o", out, "--method", "fbp", "--device", "cpu")
    assert_succeeded(result)
    volumes = sorted(p.name for p in out.glob("*.nii.gz"))
    assert volumes == ["a.nii.gz", "b.nii.gz", "c.nii.gz"]
    assert "left out: d.nxs" in result.out


def test_two_scans_of_one_name_and_none(cli, scans, tmp_path):
    command = ("reconstruct", scans, "-o", tmp_path / "out", "--method", "fbp")
    (scans / "b.H5").rename(scans / "a.h5")
    assert_refused(cli(*command), "a.h5 and a.hdf5 would become one volume")
    for path in scans.iterdir():
        path.unlink()
    (scans / "d.nxs").write_bytes(b"x")
    assert_refused(cli(*command), "no scans", "d.nxs", "projections import")


def test_a_read_only_folder_is_refused_before_anything_is_computed(
    cli, scans, tmp_path, monkeypatch
):
    closed = tmp_path / "closed"
    closed.mkdir()
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda p, mode: p != closed and allowed(p, mode))
    command = ("reconstruct", scans / "c.h5", "--method", "fbp", "-o", closed / "deep" / "v.nii.gz")
    assert_refused(cli(*command), "permission was denied", str(closed))
    flags = stat.S_ISUID  # any value that is no read-only flag
    monkeypatch.setattr(
        atomic.os, "statvfs", lambda p: os.statvfs_result([0] * 8 + [flags | os.ST_RDONLY, 255])
    )
    assert_refused(cli(*command), "the disk is read-only", str(closed))
    result = cli("projections", "import", tmp_path / "source.h5", "-o", closed / "s.h5")
    assert_refused(result, "the disk is read-only")
    assert "read 30 views" not in result.out
    assert not list(closed.iterdir())


def test_a_place_to_write_to_is_no_fault(tmp_path):
    check_outputs_absent([tmp_path / "new" / "folder" / "a.nii.gz"], force=False)
    (tmp_path / "file").write_text("x")
    with pytest.raises(atomic.OutputWriteError, match="is a file, not a folder"):
        check_outputs_absent([tmp_path / "file" / "a.nii.gz"], force=False)


def test_info_of_frames_without_angles(cli, tmp_path):
    for i, view in enumerate(SCAN.data):
        tifffile.imwrite(tmp_path / f"raw_{i}.tif", np.round(view).astype(np.uint16))
    tifffile.imwrite(tmp_path / "flat_0.tif", np.round(SCAN.flats[0]).astype(np.uint16))
    result = cli("projections", "info", tmp_path)
    assert_succeeded(result)
    for words in ("30, 1, 24", "flat frames", "none; an import needs --angles FILE"):
        assert words in result.out, result.out
    assert_refused(cli("projections", "import", tmp_path, "-o", tmp_path / "s.h5"), "no angles")


def test_what_is_reported_of_a_scan_stands_in_the_output(cli, tmp_path):
    wide = scan_of(lines_of(ANGLES, n_columns=24, centre_column=11.5, rows=1), ANGLES)
    source = write_data_exchange(tmp_path / "source.h5", wide)
    output = tmp_path / "s.h5"
    known = ("--column-mm", 1, "--centre-column", 11.5)
    result = cli("projections", "import", source, "-o", output, *known)
    assert_succeeded(result)
    assert "note: the outermost columns read" in result.out
    result = cli("projections", "info", output)
    assert "the outermost columns read" in result.out
    result = cli("reconstruct", output, "-o", tmp_path / "v.nii.gz", "--method", "fbp")
    assert "note of the import: the outermost columns read" in result.out
