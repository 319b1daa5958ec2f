"""What every command does on a full or a read-only disk, and with streams that are closed or break.

The table of docs/reliability.md says the same; each of its cells is a test here or, for two runs in
one folder, below.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from command_line import TINY_TRAINING, assert_nothing_in, assert_succeeded, working_process
from diffusionblend.io.locks import folder_locked
from tiny_network import TINY

FREE_BYTES = 4096
CHEST_SLICES = 8
TRAINING = (*TINY_TRAINING, "--steps", 2, "--synthetic-volumes", 0)
COMMANDS = {
    "sample": ("sample", "counts", "-o", "{disk}/a.npz"),
    "demo": (
        *("demo", "--input", "{volume}", "-o", "{disk}/a", "--prior", "{prior}"),
        *("--steps", 2, "--device", "cpu"),
    ),
    "calibrate": (
        *("calibrate", "{patients}", "-o", "{disk}/a.json", "--views", 6, "--steps", 2),
        *("--samples", 2, "--prior", "{prior}", "--device", "cpu", "--oversample", 1),
    ),
    "run": ("run", "{scan}", "-o", "{disk}/a", "--method", "fbp", "--device", "cpu"),
    "import": ("import", "{volume}", "-o", "{disk}/a.nii.gz"),
    "simulate": ("simulate", "{volume}", "-o", "{disk}/a.h5", "--views", 40),
    "projections import": (
        *("projections", "import", "{counts}", "-o", "{disk}/a.h5", "--column-mm", 1),
        *("--arc-degrees", 180, "--values", "lines", "--centre-column", 9.5),
    ),
    "reconstruct": ("reconstruct", "{scan}", "-o", "{disk}/a.nii", "--method", "fbp"),
    "evaluate": ("evaluate", "{volume}", "--reference", "{volume}", "--report", "{disk}/a.html"),
    "view": ("view", "{volume}", "--static", "{disk}/a.html"),
    "export": ("export", "{volume}", "-o", "{disk}/series"),
    "export tiff": ("export", "{volume}", "-o", "{disk}/series", "--format", "tiff"),
    "train": ("train", "{volumes}", "-o", "{disk}/prior", *TRAINING),
    "benchmark": ("benchmark", "{volume}", "-o", "{disk}/rows", "--views", 6, "--methods", "fbp"),
}
"""Arguments of each command that writes."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, chest_file, scan_file, tiny_prior):
    """What the commands read, which none of them changes, by the names in COMMANDS."""
    import numpy as np

    from diffusionblend.io.volumes import write_volume
    from diffusionblend.phantom import synthetic_chest

    folder = tmp_path_factory.mktemp("inputs")
    volumes, patients, counts = folder / "volumes", folder / "patients", folder / "counts.npy"
    volumes.mkdir()
    shutil.copy(chest_file, volumes)
    for seed in (8, 9):
        shape = (CHEST_SLICES, TINY.image_size, TINY.image_size)
        write_volume(synthetic_chest(seed, shape=shape), patients / f"{seed}.nii.gz")
    np.save(counts, np.random.default_rng(0).uniform(0.5, 1, (24, 8, 20)).astype(np.float32))
    return {
        "volume": chest_file,
        "scan": scan_file,
        "prior": tiny_prior,
        "volumes": volumes,
        "patients": patients,
        "counts": counts,
    }


@pytest.fixture
def arguments(inputs):
    """The arguments of a command, with an output on the disk that is named."""

    def words(command, disk):
        return [str(word).format(disk=disk, **inputs) for word in COMMANDS[command]]

    return words


def remounted(disk: Path, how: str) -> None:
    done = subprocess.run(["mount", "-o", f"remount,{how}", disk], capture_output=True)
    if done.returncode:
        pytest.skip("a disk cannot be mounted anew here")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_is_reported_and_nothing_stays(cli, arguments, small_disk, command):
    free = shutil.disk_usage(small_disk).free
    filler = small_disk / "filler"
    filler.write_bytes(bytes(free - FREE_BYTES))
    result = cli(*arguments(command, small_disk))
    assert result.code == 1, result
    assert "the disk is full" in result.err and "Traceback" not in result.err
    filler.unlink()
    left = [p for p in small_disk.rglob("*") if p.is_file() and p.name.startswith(".")]
    assert not left
    again = cli(*arguments(command, small_disk))  # needs no --force
    if command != "train":  # whose checkpoint is larger than the disk
        assert_succeeded(again)
    assert "holds other things" not in again.err


@pytest.mark.parametrize("command", COMMANDS)
def test_a_read_only_disk_is_reported(cli, arguments, small_disk, command):
    remounted(small_disk, "ro")
    try:
        result = cli(*arguments(command, small_disk))
    finally:
        remounted(small_disk, "rw")
    assert result.code == 1, result
    assert "read-only" in result.err and "Traceback" not in result.err
    assert_nothing_in(small_disk)


@pytest.mark.parametrize("command", ["export", "export tiff"])
def test_an_older_folder_stays_where_the_disk_is_full(cli, arguments, small_disk, command):
    words = arguments(command, small_disk)
    assert_succeeded(cli(*words))
    before = {p.name: p.read_bytes() for p in (small_disk / "series").iterdir()}
    filler = small_disk / "filler"
    filler.write_bytes(bytes(shutil.disk_usage(small_disk).free - FREE_BYTES))
    result = cli(*words, "--force")
    assert result.code == 1 and "the disk is full" in result.err, result
    assert {p.name: p.read_bytes() for p in (small_disk / "series").iterdir()} == before
    assert not [p for p in small_disk.iterdir() if p.name.startswith(".")]


@pytest.mark.parametrize(("command", "what"), [("train", "prior"), ("benchmark", "rows")])
def test_the_second_run_in_a_folder_is_refused(cli, arguments, tmp_path, command, what):
    with folder_locked(tmp_path / what, "run"):
        result = cli(*arguments(command, tmp_path))
    assert result.code == 1, result
    assert f"is in use by another {'training' if command == 'train' else command}" in result.err
    assert f"process {os.getpid()}" in result.err
    assert_succeeded(cli(*arguments(command, tmp_path)))


HELD = {
    "import": ".a.nii.gz.lock",
    **dict.fromkeys(("simulate", "projections import"), ".a.h5.lock"),
    **dict.fromkeys(("evaluate", "view"), ".a.html.lock"),
    **dict.fromkeys(("run", "demo"), "a/.report.html.lock"),
    **dict.fromkeys(("export", "export tiff"), ".series.lock"),
    "sample": ".a.npz.lock",
    "calibrate": ".a.json.lock",
    "reconstruct": ".a.nii.lock",
}
"""Where the lock of each command's output is."""


@pytest.mark.parametrize("command", HELD)
def test_the_second_run_with_an_output_is_refused_at_once(cli, arguments, tmp_path, command):
    disk = tmp_path / "disk"
    lock = disk / HELD[command]
    lock.parent.mkdir(parents=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        result = cli(*arguments(command, disk), "--force")
    assert result.code == 1 and "is being written by another run" in result.err, result
    assert [p for p in disk.rglob("*") if p.is_file()] == [lock]


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_survived(arguments, tmp_path, closed):
    words = " ".join(f"'{w}'" for w in arguments("import", tmp_path))
    shell = f"'{sys.executable}' -m diffusionblend {words} {closed}"
    done = subprocess.run(["/bin/sh", "-c", shell], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "" or "Traceback" not in done.stderr
    assert sorted(p.name for p in tmp_path.glob("a.*")) == ["a.nii.gz", "a.nii.gz.run.json"]


def test_a_full_standard_output_is_reported(arguments, tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    with Path("/dev/full").open("w") as full:
        words = [sys.executable, "-m", "diffusionblend", "methods"]
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("diffusionblend: the system reports: ") and "\n" in done.stderr
    assert "Expected: " in done.stderr and "Try: free some space" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [("priors",), ("methods",), ("--help",)])
def test_a_broken_standard_output_ends_with_141(command):
    out, into = os.pipe()
    os.close(out)
    words = [sys.executable, "-m", "diffusionblend", *command]
    with os.fdopen(into, "wb") as pipe:
        done = subprocess.run(words, stdout=pipe, stderr=subprocess.PIPE, text=True, timeout=240)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_broken_standard_error_does_not_end_a_run(arguments, tmp_path):
    words = [sys.executable, "-m", "diffusionblend", *arguments("train", tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        process.stderr.close()
    assert process.returncode == 0
    assert (tmp_path / "prior" / "prior.json").exists()


@pytest.mark.skipif(
    signal.getsignal(signal.SIGHUP) is signal.SIG_IGN, reason="SIGHUP is ignored, as under nohup"
)
def test_a_connection_that_breaks_leaves_a_state(tmp_path, scan_file, tiny_prior):
    output = tmp_path / "a.nii.gz"
    options = ("--prior", tiny_prior, "--device", "cpu", "--steps", 200)
    command = ("reconstruct", scan_file, "-o", output, *options)
    with working_process(*command, at_work="diffusionblend++: 2/") as process:
        process.send_signal(signal.SIGHUP)
        _, err = process.communicate(timeout=240)
    assert process.returncode == 129, err
    assert "Traceback" not in err and "the same command continues" in err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.nii.gz.state"]


def test_a_folder_run_makes_a_volume_without_record_anew(cli, tmp_path, scan_file):
    scans, out = tmp_path / "scans", tmp_path / "out"
    scans.mkdir()
    for name in ("one", "two"):
        shutil.copy(scan_file, scans / f"{name}.h5")
    command = ("reconstruct", scans, "-o", out, "--method", "fbp")
    assert_succeeded(cli(*command))
    before = (out / "one.nii.gz").stat().st_mtime_ns
    (out / "two.nii.gz.run.json").unlink()
    (out / ".one.nii.gz.lock").write_text("of the run that was killed")
    time.sleep(0.01)
    result = cli(*command)
    assert_succeeded(result)
    assert "two.nii.gz has no record of its run; it is made anew" in result.out
    assert (out / "two.nii.gz.run.json").exists() and not list(out.glob(".*"))
    assert (out / "one.nii.gz").stat().st_mtime_ns == before
