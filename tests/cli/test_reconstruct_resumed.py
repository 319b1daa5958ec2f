"""`reconstruct` stopped and given again, over several processes, and for a folder of scans."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from command_line import assert_refused, assert_succeeded, working_process
from diffusionblend.io.volumes import read_volume
from diffusionblend.runs.record import run_record_path
from diffusionblend.runs.state_file import previous_path, state_path

STEPS = 80
KEEP_ALWAYS = ("--checkpoint-minutes", 0)


@pytest.fixture(scope="module")
def options(tiny_prior) -> tuple[object, ...]:
    """Options of a run of some seconds that keeps its state after every step."""
    return ("--prior", tiny_prior, "--device", "cpu", "--steps", STEPS, *KEEP_ALWAYS)


def is_kept(output) -> bool:
    """Whether there is a state; the one before it, where a kill came while one was written."""
    return any(p.exists() for p in (state_path(output), previous_path(state_path(output))))


@pytest.fixture(scope="module")
def left_by_a_kill(tmp_path_factory, scan_file, options):
    """The folder of a run that was killed with -9 somewhere in the middle."""
    output = tmp_path_factory.mktemp("killed") / "a.nii.gz"
    step = random.randint(2, STEPS // 3)
    arguments = ("reconstruct", scan_file, "-o", output, *options)
    with working_process(*arguments, at_work=f"diffusionblend++: {step}/") as process:
        process.kill()
        process.wait()
    assert not output.exists()
    assert is_kept(output)
    return output.parent


@pytest.fixture
def killed(tmp_path, left_by_a_kill):
    """The output of a run that was killed, in a folder of this test."""
    return shutil.copytree(left_by_a_kill, tmp_path / "killed") / "a.nii.gz"


def test_a_run_killed_while_it_replaced_its_state_goes_on_too(cli, scan_file, options, killed):
    state = state_path(killed)
    if state.exists():  # else the kill came just then
        state.replace(previous_path(state))
    result = cli("reconstruct", scan_file, "-o", killed, *options)
    assert_succeeded(result)
    assert "resuming after step" in result.out and not is_kept(killed)


def test_a_killed_run_goes_on_to_the_same_volume(cli, tmp_path, scan_file, options, killed):
    whole = tmp_path / "whole.nii.gz"
    assert_succeeded(cli("reconstruct", scan_file, "-o", whole, *options))
    result = cli("reconstruct", scan_file, "-o", killed, *options)
    assert_succeeded(result)
    told = int(re.search(r"resuming after step (\d+)", result.out).group(1))
    results = json.loads(run_record_path(killed).read_text())["results"]
    assert results["resumed_after_step"] == told
    assert results["network_evaluations"] == STEPS  # of the whole run, not of its last part
    seconds = json.loads(run_record_path(killed).read_text())["seconds"]
    assert seconds["total"] >= seconds["network"] > 0
    np.testing.assert_array_equal(read_volume(killed).values, read_volume(whole).values)
    assert not state_path(killed).exists()


def test_the_state_of_another_run_is_refused_and_force_forgets_it(
    cli, tmp_path, scan_file, options, killed
):
    for other in (("--seed", 4), ("--noise-fraction", 0.5), ("--consistency", "cg")):
        result = cli("reconstruct", scan_file, "-o", killed, *options, *other)
        assert_refused(result, "another scan, prior or settings", "--force")
        assert is_kept(killed)
    result = cli("reconstruct", scan_file, "-o", killed, *options, "--seed", 4, "--force")
    assert_succeeded(result)
    assert "resuming" not in result.out
    assert not state_path(killed).exists()


def test_a_damaged_state_is_refused(cli, scan_file, options, killed):
    path = state_path(killed)
    if path.exists():
        previous_path(path).unlink(missing_ok=True)  # or that one would be taken
    else:
        previous_path(path).replace(path)
    path.write_bytes(path.read_bytes()[:-20])
    assert_refused(cli("reconstruct", scan_file, "-o", killed, *options), "cannot be read")


def torchrun(count, *arguments):
    """The command line on several processes, by torchrun."""
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={count}"]
    command += ["--standalone", "-m", "diffusionblend", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240)


def test_two_ranks_give_the_volume_of_one(cli, tmp_path, scan_file, tiny_prior):
    options = ("--prior", tiny_prior, "--device", "cpu", "--steps", 12, "--batch-blocks", 1)
    one, two = tmp_path / "one.nii.gz", tmp_path / "two.nii.gz"
    assert_succeeded(cli("reconstruct", scan_file, "-o", one, *options))
    result = torchrun(2, "reconstruct", scan_file, "-o", two, *options)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("wrote ") == 1
    a, b = (read_volume(path).values for path in (one, two))
    np.testing.assert_allclose(b, a, atol=1e-5 * np.abs(a).max())
    assert run_record_path(two).exists()


@pytest.fixture
def scans(tmp_path, scan_file):
    """A folder of three scans."""
    folder = tmp_path / "scans"
    folder.mkdir()
    for name in "abc":
        shutil.copy(scan_file, folder / f"{name}.h5")
    return folder


def test_a_finished_scan_of_other_settings_is_reported(cli, tmp_path, scans):
    out = tmp_path / "out"
    command = ("reconstruct", scans, "-o", out, "--method", "fbp", "--device", "cpu")
    assert_succeeded(cli(*command))
    same = cli(*command)
    assert same.out.count("is there already\n") == 3 and "another" not in same.out
    other = cli(*command, "--window", "hann")
    assert other.out.count("made with another window; --force") == 3
    method = cli("reconstruct", scans, "-o", out, "--method", "cgls", "--device", "cpu")
    assert method.out.count("made with another method; --force") == 3


def test_a_folder_is_reconstructed_and_finished_scans_are_not_repeated(cli, tmp_path, scans):
    out = tmp_path / "out"
    command = ("reconstruct", scans, "-o", out, "--method", "fbp", "--device", "cpu")
    assert_succeeded(cli(*command, "--shard", "1/2"))
    assert sorted(p.name for p in out.glob("*.nii.gz")) == ["b.nii.gz"]
    (scans / "a.h5").write_bytes(b"broken")
    before = (out / "b.nii.gz").stat().st_mtime_ns
    result = cli(*command)
    assert_refused(result, "a.h5", "1 of the scans failed")
    assert sorted(p.name for p in out.glob("*.nii.gz")) == ["b.nii.gz", "c.nii.gz"]
    assert (out / "b.nii.gz").stat().st_mtime_ns == before
    assert "b.nii.gz is there already" in result.out


def test_ranks_share_the_scans_of_a_folder(tmp_path, scans):
    out = tmp_path / "out"
    result = torchrun(2, "reconstruct", scans, "-o", out, "--method", "fbp", "--device", "cpu")
    assert result.returncode == 0, result.stderr
    assert sorted(p.name for p in out.glob("*.nii.gz")) == ["a.nii.gz", "b.nii.gz", "c.nii.gz"]
    assert result.stdout.count("wrote ") == 3


@pytest.mark.parametrize("shard", ["1", "2/2", "-1/3", "a/b"])
def test_a_bad_shard_is_refused(cli, tmp_path, scans, shard):
    result = cli("reconstruct", scans, "-o", tmp_path / "out", f"--shard={shard}")
    assert_refused(result, "I/N")


def test_a_folder_without_scans_and_a_shard_of_one_scan_are_refused(cli, tmp_path, scan_file):
    (tmp_path / "empty").mkdir()
    out = tmp_path / "out"
    assert cli("reconstruct", tmp_path / "empty", "-o", out).code == 1
    assert cli("reconstruct", scan_file, "-o", out / "a.nii.gz", "--shard", "0/2").code == 1
    assert not out.exists()
