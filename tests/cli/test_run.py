"""`run` goes from whatever there is to a volume with its pictures, by the other commands."""

from __future__ import annotations

import json
import os
import signal

import numpy as np
import pytest

from command_line import assert_nothing_in, assert_refused, assert_succeeded
from dicom_series import write_series
from diffusionblend.cli.run_input import found_beside, kind_of
from diffusionblend.io.projections import read_projections, write_projections
from diffusionblend.io.scans.options import ReadOptions
from diffusionblend.io.volumes import read_volume, write_volume
from diffusionblend.methods.api import reconstruct
from diffusionblend.phantom import synthetic_chest
from diffusionblend.runs.record import run_record_path
from diffusionblend.runs.unfinished import unfinished
from diffusionblend.units import hu_to_mu, unit_of
from measured_scan import half_scan, lines_of, scan_of, write_data_exchange
from small_scan import scan, small_volume

VOLUME = ("volume.nii.gz", "volume.nii.gz.run.json")
ALWAYS = {"scan.h5", "volume.nii.gz", "picture.png", "report.html"}


def names_in(folder) -> set[str]:
    """The outputs but for their records, each of which must be there."""
    found = {p.name for p in folder.iterdir()}
    outputs = {n for n in found if not n.endswith(".run.json")}
    with_own = outputs - {"picture.png"}
    assert found - outputs == {f"{n}.run.json" for n in with_own}
    return outputs


@pytest.fixture
def few_steps(monkeypatch):
    presets = {"fast": {}, "balanced": {}, "best": {}}
    for preset in presets.values():
        preset |= {"steps": 2, "init": "fbp", "init_timestep": 249, "fine_steps": 1}
    monkeypatch.setattr("diffusionblend.methods.diffusion.diffusionblend_pp.PRESETS", presets)


@pytest.mark.usefixtures("few_steps")
def test_a_series_is_scanned_reconstructed_and_scored(cli, tmp_path, tiny_prior):
    hu = np.round(synthetic_chest(2, shape=(6, 16, 16)).values)
    source, out = tmp_path / "series", tmp_path / "out"
    write_series(source, hu, change=lambda i, d: setattr(d, "PixelSpacing", [22, 22]))
    command = ("run", source, "-o", out, "--prior", tiny_prior, "--device", "cpu", "--views", 6)
    result = cli(*command)
    assert_succeeded(result)
    assert names_in(out) == ALWAYS | {"reference.nii.gz", "fbp.nii.gz"}
    np.testing.assert_allclose(read_volume(out / "reference.nii.gz").values, hu, atol=0.01)
    measured = read_projections(out / "scan.h5")
    assert len(measured) == 6 and measured.notes["photons"] == 1.11e6
    expected = reconstruct(measured, prior=tiny_prior, seed=7, device="cpu").volume
    np.testing.assert_array_equal(read_volume(out / "volume.nii.gz").values, expected.values)
    assert "method diffusionblend++: 6 views over 180 degrees" in result.out
    assert f"diffusionblend view {out}/volume.nii.gz --reference {out}/reference.nii.gz" in (
        result.out
    )
    page = (out / "report.html").read_text()
    assert "dB over the whole volume" in page and "A learned prior fills the gaps" in page
    record = json.loads((out / "report.html.run.json").read_text())
    assert record["command"] == "run" and set(record["results"]) == {"fbp", "diffusionblend++"}
    again = cli(*command)
    assert_refused(again, "exists already", "--force")
    _continues_where_it_stopped(cli, command, out)


def _continues_where_it_stopped(cli, command, out):
    for name in ("report.html", "report.html.run.json", "picture.png", *VOLUME):
        (out / name).unlink()
    before = (out / "scan.h5").stat().st_mtime_ns
    result = cli(*command)
    assert_succeeded(result)
    assert "scan.h5 is there already" in result.out
    assert (out / "scan.h5").stat().st_mtime_ns == before
    (out / "report.html").unlink()
    (out / "picture.png").unlink()
    other = cli(*command, "--seed", 8)  # other noise: another scan
    assert_refused(other, "scan.h5 exists already", "--force")


def test_a_measured_scan_is_written_in_attenuation(cli, tmp_path):
    angles = half_scan(10)
    source = write_data_exchange(tmp_path / "scan.h5", scan_of(lines_of(angles), angles))
    out = tmp_path / "out"
    result = cli("run", source, "-o", out)
    assert_succeeded(result)
    assert names_in(out) >= ALWAYS
    assert "columns taken to be 1 mm wide" in result.out
    volume = read_volume(out / "volume.nii.gz", check=False)
    assert unit_of(volume.values) == "1/mm"
    measured = read_projections(out / "scan.h5")
    method = json.loads((out / "volume.nii.gz.run.json").read_text())["settings"]["method"]
    assert f"method {method}:" in result.out and method in ("fbp", "admm-tv")
    expected = reconstruct(measured, method).volume.values
    np.testing.assert_allclose(
        volume.values, hu_to_mu(expected, measured.mu_water_per_mm), rtol=1e-5, atol=1e-7
    )
    page = (out / "report.html").read_text()
    assert "No learned prior was used" in page
    assert " HU" not in page.partition("<body>")[2].partition("Settings and time")[0]


def test_projections_are_reconstructed_as_they_are(cli, tmp_path):
    path, out = tmp_path / "few.h5", tmp_path / "out"
    write_projections(scan(small_volume(), 6), path)
    result = cli("run", path, "-o", out, "--method", "cgls")
    assert_succeeded(result)
    assert names_in(out) == {"volume.nii.gz", "fbp.nii.gz", "picture.png", "report.html"}
    assert "method cgls: as asked" in result.out and "--method admm-tv" in result.out


def test_another_volume_is_refused_before_the_first_look(cli, tmp_path):
    write_projections(scan(small_volume(), 6), tmp_path / "scan.h5")
    out = tmp_path / "out"
    write_volume(small_volume(), out / "volume.nii.gz")
    result = cli("run", tmp_path / "scan.h5", "-o", out, "--method", "admm-tv")
    assert_refused(result, "volume.nii.gz exists already", "--force")
    assert [p.name for p in out.iterdir()] == ["volume.nii.gz"]


def test_too_few_slices_for_the_prior_are_refused_before_the_first_look(cli, tmp_path):
    write_projections(scan(small_volume((2, 16, 16)), 6), tmp_path / "scan.h5")
    result = cli("run", tmp_path / "scan.h5", "-o", tmp_path / "out", "--preset", "fast")
    assert_refused(result, "2 slice(s)", "blocks of 3", "--method admm-tv")
    assert not list((tmp_path / "out").glob("fbp*"))


def test_bad_input_is_refused_before_anything_is_written(cli, tmp_path, chest_file):
    out = tmp_path / "out"
    for arguments, words in {
        (tmp_path / "nothing",): ("There is no",),
        (chest_file, "--views", "0"): ("0 views",),
        (chest_file, "--photons", "-1"): ("photons",),
        (chest_file, "--angles", "a.txt"): ("--angles was given", "is a CT"),
        (chest_file, "--method", "amdm-tv"): ("did you mean admm-tv",),
        (chest_file, "--prior", "nowhere"): ("There is no prior",),
        (chest_file, "--method", "fbp", "--preset", "fast"): ("--method fbp", "a preset with"),
    }.items():
        result = cli("run", *arguments, "-o", out)
        assert_refused(result, *words)
        assert_nothing_in(out)
    file = tmp_path / "file"
    file.write_text("x")
    assert_refused(cli("run", chest_file, "-o", file), "is a file")
    volume = tmp_path / "recon.NII.gz"
    assert_refused(
        cli("run", chest_file, "-o", volume), "named as a file", f"-o {tmp_path / 'recon'}"
    )


def test_the_kind_is_recognised_by_name_and_contents(tmp_path, chest_file):
    frames = tmp_path / "frames"
    frames.mkdir()
    (frames / "raw_1.tif").write_bytes(b"II*\0")
    assert kind_of(frames) == "measured scan"
    (frames / "geometry.json").write_text("{}")  # what 'export' writes
    assert kind_of(frames) == "CT"
    assert kind_of(chest_file) == "CT"
    (tmp_path / "a.npz").write_bytes(b"")
    assert kind_of(tmp_path / "a.npz") == "measured scan"


def test_the_angles_in_a_folder_are_found(tmp_path):
    options = ReadOptions()
    assert found_beside(tmp_path, options) is options
    (tmp_path / "angles.txt").write_text("0 1")
    assert found_beside(tmp_path, options).angles == tmp_path / "angles.txt"
    (tmp_path / "1.nxs").write_text("")
    assert found_beside(tmp_path, options).image_key == tmp_path / "1.nxs"
    (tmp_path / "theta.txt").write_text("0 1")  # which of the two?
    assert found_beside(tmp_path, options) is options
    given = ReadOptions(arc_degrees=180.0)
    assert found_beside(tmp_path, given) is given


def test_a_run_killed_between_its_pictures_goes_on(cli, tmp_path):
    hu = np.round(synthetic_chest(2, shape=(6, 16, 16)).values)
    write_series(tmp_path / "series", hu, change=lambda i, d: setattr(d, "PixelSpacing", [22, 22]))
    out = tmp_path / "out"
    command = ("run", tmp_path / "series", "-o", out, "--method", "fbp", "--device", "cpu")
    assert_succeeded(cli(*command))
    names = names_in(out)
    killed_behind([out / "picture.png", out / "report.html"], [out / "picture.png"])
    for name in (".scan.h5.lock", ".volume.nii.gz.lock", ".report.html.lock"):
        (out / name).write_text("of the run that was killed")
    again = cli(*command)
    assert_succeeded(again)
    assert again.out.count("is there already") == 3 and names_in(out) == names


def killed_behind(marked, written):
    """The end of a run that is killed once it has written some of its marked outputs."""
    for path in (*marked, *(run_record_path(p) for p in marked)):
        path.unlink(missing_ok=True)
    forked = os.fork()
    if not forked:
        with unfinished(marked):
            for path in written:
                path.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(forked, 0)
