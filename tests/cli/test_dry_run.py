"""`--dry-run`: what a run would cost is printed, and nothing is written."""

from __future__ import annotations

import re
from collections import namedtuple
from pathlib import Path

import pytest

from command_line import assert_nothing_in, assert_refused, assert_succeeded
from diffusionblend.cli.plan import in_bytes, in_words
from diffusionblend.runs.record import read_run_record, run_record_path
from diffusionblend.runs.samples import sample_paths

Usage = namedtuple("Usage", "total used free")
VOLUME_MB = 4 * 8 * 16 * 16 / 1e6


@pytest.fixture
def command(scan_file, tiny_prior, tmp_path) -> tuple[object, ...]:
    output = tmp_path / "out" / "a.nii.gz"
    return ("reconstruct", scan_file, "-o", output, "--prior", tiny_prior, "--device", "cpu")


def told(text: str) -> tuple[str, str, str]:
    """The lines about memory, time and disk."""
    memory = re.search(r"^takes about ([\d.]+) GB of memory", text, re.M)
    seconds = re.search(r"^about .*$", text, re.M)
    disk = re.search(r"^disk: .*$", text, re.M)
    assert memory and seconds and disk, text
    return memory[0], seconds[0], disk[0]


@pytest.mark.parametrize(
    ("method", "words"),
    [
        (("--steps", 7), "7 steps of"),
        (("--method", "admm-tv", "--iterations", 9), "9 steps of"),
        (("--method", "fbp"), "1 steps of"),
    ],
)
def test_reconstruct_reports_and_writes_nothing(cli, tmp_path, command, method, words):
    without_prior = (*command[:4], *command[6:])
    result = cli(*(without_prior if "--method" in method else command), *method, "--dry-run")
    assert_succeeded(result)
    _, seconds, disk = told(result.out)
    assert words in seconds and "tried on 8 of 8 slices" in seconds
    assert f"up to {in_bytes(1e6 * VOLUME_MB)}, " in disk
    assert "wrote" not in result.out
    assert_nothing_in(tmp_path / "out")


def test_samples_and_their_files_are_counted(cli, tmp_path, command):
    result = cli(*command, "--steps", 4, "--samples", 3, "--dry-run")
    assert_succeeded(result)
    _, seconds, disk = told(result.out)
    assert "3 samples of" in seconds
    kept, passing = in_bytes(2e6 * VOLUME_MB), in_bytes(3e6 * VOLUME_MB)
    assert f"up to {kept} and {passing} that pass" in disk
    assert_nothing_in(tmp_path / "out")
    assert_succeeded(cli(*command, "--steps", 4, "--samples", 2, "--keep-samples"))
    for path in (tmp_path / "out").glob("a.*"):
        if path.is_file():
            path.unlink()
    again = cli(*command, "--steps", 4, "--samples", 3, "--dry-run")
    assert "1 samples of" in told(again.out)[1]
    assert set(sample_paths(command[3], 0, 2).values()) <= set(tmp_path.rglob("*.nii.gz"))


def test_a_dry_run_refuses_what_the_run_would(cli, tmp_path, command):
    command[3].parent.mkdir()
    command[3].write_bytes(b"mine")
    assert_refused(cli(*command, "--dry-run"), "exists already", "--force")
    assert command[3].read_bytes() == b"mine"
    assert_refused(cli(*command[:3], tmp_path / "b.nii.gz", "--prior", "nowhere", "--dry-run"))


def test_every_scan_of_a_folder_is_planned(cli, tmp_path, command):
    scans = tmp_path / "scans"
    scans.mkdir()
    for name in ("a.h5", "b.h5"):
        (scans / name).write_bytes(Path(command[1]).read_bytes())
    result = cli("reconstruct", scans, "-o", tmp_path / "out", "--method", "fbp", "--dry-run")
    assert_succeeded(result)
    assert result.out.count("takes about") == 2
    assert f"{scans / 'a.h5'}:" in result.out and f"{scans / 'b.h5'}:" in result.out
    assert_nothing_in(tmp_path / "out")


def test_the_cost_is_reported_before_a_long_run_alone(cli, command, monkeypatch):
    short = cli(*command, "--steps", 3)
    assert_succeeded(short)
    assert "takes about" in short.out and "steps of" not in short.out
    monkeypatch.setattr("diffusionblend.methods.cost.LONG_RUN_VOXEL_STEPS", 1.0)
    long = cli(*command, "--steps", 3, "--samples", 2, "--force")
    assert_succeeded(long)
    assert len(re.findall(r"^about ", long.out, re.M)) == 1  # once, not for each sample
    assert long.out.index("steps of") < long.out.index("wrote")
    planned = read_run_record(run_record_path(command[3])).results["planned"]
    assert in_words(planned["seconds"]) in re.search(r"^about .*$", long.out, re.M)[0]
    assert planned["memory_mb"] > 500
    single = cli(*command, "--steps", 3, "--force")
    assert_succeeded(single)
    results = read_run_record(run_record_path(command[3])).results
    assert {"planned", "relative_residual", "identity"} <= results.keys()


def test_too_little_memory_or_disk_is_warned_of(cli, command, monkeypatch):
    monkeypatch.setattr("diffusionblend.cli.plan.available_memory_bytes", lambda: 10_000_000)
    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage(9_000_000, 8_999_000, 1000))
    result = cli(*command, "--dry-run")
    assert_succeeded(result)
    assert "warning: the system may stop this run" in result.out
    assert "warning: the disk is too full for this run" in result.out


def test_the_demo_reports_and_writes_nothing(cli, tmp_path, tiny_prior, monkeypatch):
    monkeypatch.setattr("diffusionblend.cli.demo.SLICES", 8)
    out = tmp_path / "out"
    result = cli("demo", "-o", out, "--prior", tiny_prior, "--device", "cpu", "--dry-run")
    assert_succeeded(result)
    assert "50 steps of" in told(result.out)[1]
    assert not out.exists()


@pytest.mark.parametrize("geometry", ["parallel", "cone"])
def test_simulate_reports_and_writes_nothing(cli, tmp_path, chest_file, geometry):
    out = tmp_path / "out" / "scan.h5"
    options = ("--views", 20, "--geometry", geometry)
    result = cli("simulate", chest_file, "-o", out, *options, "--dry-run")
    assert_succeeded(result)
    _, seconds, disk = told(result.out)
    assert "for 20 views" in seconds
    assert_nothing_in(out.parent)
    assert_succeeded(cli("simulate", chest_file, "-o", out, *options))
    limit = float(re.search(r"up to ([\d.]+) MB", disk)[1]) * 1e6
    assert 0 < limit <= out.stat().st_size  # the lines alone; the file has its head too


def test_times_and_sizes_are_reported_in_their_units():
    assert [in_words(s) for s in (0.0456, 3.21, 12.3, 200, 3599.7, 7500)] == [
        *("0.046 s", "3.2 s", "12 s", "3 min 20 s", "60 min 0 s", "2 h 5 min")
    ]
    assert [in_bytes(b) for b in (8192, 26.2e6, 999e6, 1.25e9, 69.8e9, 2.5e12)] == [
        *("0.00819 MB", "26.2 MB", "999 MB", "1.25 GB", "69.8 GB", "2500 GB")
    ]
