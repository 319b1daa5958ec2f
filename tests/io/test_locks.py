"""One run in a folder at a time; the lock of a run that was killed is taken over."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from diffusionblend.errors import InputError, OutputWriteError
from diffusionblend.io import locks
from diffusionblend.io.locks import LOCK_FILE, folder_locked

HOLDER = """
import sys, time
from diffusionblend.io.locks import folder_locked
with folder_locked(sys.argv[1], "training"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path):
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_the_second_run_is_refused_with_who_holds_the_folder(tmp_path: Path, holder) -> None:
    with (
        pytest.raises(InputError, match=f"in use by another training .process {holder.pid} on"),
        folder_locked(tmp_path, "training"),
    ):
        pass
    assert (tmp_path / LOCK_FILE).exists()


def test_the_lock_of_a_killed_run_is_taken_over(tmp_path: Path, holder) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / LOCK_FILE).exists()
    with folder_locked(tmp_path, "training"):
        assert json.loads((tmp_path / LOCK_FILE).read_text())["pid"] == os.getpid()
    assert not (tmp_path / LOCK_FILE).exists()


def make_link(path: Path) -> None:
    path.symlink_to(path.parent / "precious")


@pytest.mark.parametrize("make", [make_link, Path.mkdir, os.mkfifo])
def test_a_lock_that_is_no_file_is_refused_and_stays(tmp_path: Path, make) -> None:
    (tmp_path / "precious").write_text("mine")
    make(tmp_path / ".a.nii.gz.lock")
    with pytest.raises(InputError, match="is no file, and stands where"):
        locks.hold_output(tmp_path / "a.nii.gz")
    assert (tmp_path / "precious").read_text() == "mine"
    assert os.path.lexists(tmp_path / ".a.nii.gz.lock")


@pytest.mark.parametrize("text", [b"\xff" * 100, b"[" * 10**5, b'{"pid": 1e400}'])
def test_a_damaged_lock_is_taken_over(tmp_path: Path, text: bytes) -> None:
    lock = tmp_path / ".a.nii.gz.lock"
    lock.write_bytes(text)
    locks.hold_output(tmp_path / "a.nii.gz")
    assert json.loads(lock.read_text())["pid"] == os.getpid()
    locks.release_outputs()
    assert not list(tmp_path.iterdir())


def test_folders_that_a_hold_has_made_go_with_it(tmp_path: Path) -> None:
    output = tmp_path / "new" / "newer" / "a.nii.gz"
    locks.hold_output(output)
    assert output.parent.is_dir()
    locks.release_outputs()
    assert not list(tmp_path.iterdir())


def test_without_flock_the_process_decides(tmp_path: Path, holder, monkeypatch) -> None:
    monkeypatch.setattr(locks, "_hold", lambda file: None)
    with pytest.raises(InputError), folder_locked(tmp_path, "training"):
        pass
    holder.kill()
    holder.wait()
    with folder_locked(tmp_path, "training"):
        pass


def test_a_lock_of_another_machine_holds_while_it_is_renewed(tmp_path: Path) -> None:
    lock = tmp_path / LOCK_FILE
    lock.write_text(json.dumps({"pid": 1, "host": "far", "machine": "elsewhere"}))
    with pytest.raises(InputError, match="on far"), folder_locked(tmp_path, "benchmark"):
        pass
    old = time.time() - 2 * locks.STALE_SECONDS
    os.utime(lock, (old, old))
    with folder_locked(tmp_path, "benchmark"):
        pass


@pytest.mark.parametrize("content", ["", "damaged", "[" * 10_000, '{"pid": "x"}'])
def test_a_damaged_lock_holds_nobody_up(tmp_path: Path, content: str) -> None:
    (tmp_path / LOCK_FILE).write_text(content)
    old = time.time() - 2 * locks.STALE_SECONDS
    os.utime(tmp_path / LOCK_FILE, (old, old))
    with folder_locked(tmp_path, "training"):
        pass


def test_a_folder_that_takes_no_lock_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputWriteError), folder_locked(tmp_path / "file" / "run", "training"):
        pass
