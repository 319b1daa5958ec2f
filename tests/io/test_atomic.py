from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from diffusionblend.errors import InputError, OutputExistsError, OutputWriteError
from diffusionblend.io.atomic import (
    atomic_folder,
    atomic_output,
    check_outputs_absent,
    check_readable,
    file_suffix,
    sha256_of,
)


def write(path, text, **options):
    with atomic_output(path, **options) as temporary:
        temporary.write_text(text)


def names(folder):
    return sorted(p.name for p in folder.rglob("*") if p.is_file())


def test_the_output_appears_only_at_the_end(tmp_path):
    path = tmp_path / "new" / "deep" / "a.txt"
    with atomic_output(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
        assert temporary.parent == path.parent
    assert path.read_text() == "whole"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("a.nii.gz", ".nii.gz"), ("p.1.nii.gz", ".nii.gz"), ("a.1.2.mha", ".mha"), ("a", "")],
)
def test_the_temporary_file_has_the_same_format_by_its_suffix(tmp_path, name, suffix):
    assert file_suffix(name) == suffix
    with atomic_output(tmp_path / name) as temporary:
        assert file_suffix(temporary) == (suffix or ".partial")
        temporary.write_text("x")


def test_an_existing_output_needs_force(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(OutputExistsError, match="force=True"):
        write(path, "new")
    assert path.read_text() == "old"
    write(path, "new", force=True)
    assert path.read_text() == "new"


def test_an_output_made_meanwhile_is_not_overwritten(tmp_path):
    path = tmp_path / "a.txt"
    with pytest.raises(OutputExistsError), atomic_output(path) as temporary:
        temporary.write_text("mine")
        path.write_text("theirs")
    assert path.read_text() == "theirs"
    assert names(tmp_path) == ["a.txt"]


def test_a_folder_is_never_an_output(tmp_path):
    with pytest.raises(OutputExistsError, match="folder"):
        write(tmp_path, "x", force=True)


def test_outputs_are_checked_together_before_any_work(tmp_path):
    old = tmp_path / "old.txt"
    old.write_text("old")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    check_outputs_absent([tmp_path / "new.txt"], False)
    check_outputs_absent([tmp_path / "new.txt", old], True)
    for taken in (old, tmp_path / "dangling"):
        with pytest.raises(OutputExistsError, match=taken.name):
            check_outputs_absent([tmp_path / "new.txt", taken], False)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, RuntimeError, SystemExit])
def test_a_failure_leaves_nothing_and_the_old_output_as_it_was(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(error), atomic_output(path, force=True) as temporary:
        temporary.write_text("half")
        raise error("stop")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EDQUOT, "quota"),
        (errno.EACCES, "permission was denied"),
        (errno.EROFS, "read-only"),
    ],
)
def test_system_errors_become_clear_messages(tmp_path, number, words):
    with pytest.raises(OutputWriteError, match=words), atomic_output(tmp_path / "a") as temporary:
        temporary.write_text("half")
        raise OSError(number, os.strerror(number), str(temporary))
    assert names(tmp_path) == []


def test_an_error_about_another_file_passes_through(tmp_path):
    with pytest.raises(PermissionError), atomic_output(tmp_path / "out" / "a"):
        raise PermissionError(errno.EACCES, "denied", "/elsewhere/input.nii")
    assert names(tmp_path) == []


def test_a_block_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(OutputWriteError, match="not written"), atomic_output(tmp_path / "a"):
        pass


def test_a_file_in_the_path_is_an_error(tmp_path):
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file" / "a", tmp_path / "file" / "b" / "a"):
        with pytest.raises(OutputWriteError, match="is a file"):
            write(path, "x")


def test_too_long_a_name_is_an_error(tmp_path):
    with pytest.raises(OutputWriteError, match="name is too long"):
        write(tmp_path / ("a" * 300), "x")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write all")
def test_a_closed_folder_is_an_error(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(OutputWriteError, match="permission"):
            write(tmp_path / "a", "x")
    finally:
        tmp_path.chmod(0o700)


def test_a_file_over_the_size_limit_is_an_error(tmp_path, small_files_only):
    with pytest.raises(OutputWriteError, match="larger than allowed"):
        write(tmp_path / "a", "x" * 2_000_000)
    assert names(tmp_path) == []


def test_an_array_over_the_size_limit_is_an_error(tmp_path, small_files_only):
    """NumPy tells of a disk that takes a part of an array by an error without a number."""
    array = np.zeros(2_000_000, np.uint8)
    limit = pytest.raises(OutputWriteError, match=r"larger than allowed|took only a part")
    with limit, atomic_output(tmp_path / "a.npy") as temporary:
        np.save(temporary, array)
    assert names(tmp_path) == []


def test_a_full_disk_is_an_error(small_disk):
    with pytest.raises(OutputWriteError, match="disk is full"):
        write(small_disk / "a", "x" * 2_000_000)
    assert names(small_disk) == []


def test_a_librarys_own_error_on_a_full_disk_is_an_error(small_disk):
    with (
        pytest.raises(OutputWriteError, match="disk is full"),
        atomic_output(small_disk / "a") as temporary,
    ):
        with temporary.open("wb", buffering=0) as file:
            file.write(b"x" * 2_000_000)  # a short write, of which a raw file does not complain
        raise RuntimeError("write failed")
    assert names(small_disk) == []


KILLED_WRITER = """
import os, signal, sys
from diffusionblend.io.atomic import atomic_output
with atomic_output(sys.argv[1]) as temporary:
    temporary.write_text("half")
    print("writing", flush=True)
    if sys.argv[2] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    sys.stdin.read()
"""
"""A process that is killed, or waits, in the middle of writing."""


def writer(path, how):
    return subprocess.Popen(
        [sys.executable, "-c", KILLED_WRITER, str(path), how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.skipif(os.name != "posix", reason="asking whether a process lives would end it")
@pytest.mark.parametrize("name", ["a.nii.gz", "å" * 100 + ".mha"])
def test_what_a_killed_process_left_of_this_output_is_removed(tmp_path, name):
    path, other = tmp_path / name, tmp_path / f"b.{name[-10:]}"
    for output in (path, other):
        with writer(output, "kill") as killed:
            assert killed.stdout.read() == "writing\n"
    left = names(tmp_path)
    assert len(left) == 2 and all(".partial" in n for n in left)
    write(path, "whole")
    (others_left,) = set(names(tmp_path)) - {name}
    assert others_left.startswith(f".{other.name}.")
    write(other, "whole")
    assert names(tmp_path) == sorted([name, other.name])


def test_what_a_living_process_writes_is_left_alone(tmp_path):
    path = tmp_path / "a.txt"
    with writer(path, "wait") as living:
        assert living.stdout.readline() == "writing\n"
        (theirs,) = names(tmp_path)
        with atomic_output(path) as mine:
            mine.write_text("mine")
            write(path.with_name("a.txt.b"), "other")
            assert {theirs, mine.name} <= set(names(tmp_path))
        assert names(tmp_path) == sorted([theirs, "a.txt", "a.txt.b"])
        path.unlink()
        living.communicate("")
    assert living.returncode == 0
    assert path.read_text() == "half"


def test_what_another_machine_left_is_left_alone(tmp_path):
    with writer(tmp_path / "a.txt", "kill") as killed:
        killed.stdout.read()
    (left,) = names(tmp_path)
    head, _, pid_and_rest = left.rpartition(f"-{killed.pid}-")
    elsewhere = f"{head[:-8]}{'0' * 8}-{killed.pid}-{pid_and_rest}"
    (tmp_path / left).rename(tmp_path / elsewhere)
    write(tmp_path / "a.txt", "whole")
    assert names(tmp_path) == [elsewhere, "a.txt"]


def test_sha256_of_a_file(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    # the first test vector of FIPS 180-4
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_of(tmp_path / "a") == expected


def test_sha256_of_a_folder_sees_contents_and_names(tmp_path):
    folder = tmp_path / "f"
    (folder / "sub").mkdir(parents=True)
    (folder / "b").write_bytes(b"2")
    (folder / "sub" / "a").write_bytes(b"1")
    hashed = [f"{hashlib.sha256(c).hexdigest()}  {n}\n" for c, n in ((b"2", "b"), (b"1", "sub/a"))]
    first = sha256_of(folder)
    assert first == hashlib.sha256("".join(hashed).encode()).hexdigest()
    (folder / "b").rename(folder / "c")
    assert sha256_of(folder) != first


def test_hashing_reports_how_far_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr("diffusionblend.io.atomic.HASH_PART_BYTES", 1_000_000)
    (tmp_path / "f").mkdir()
    for name, n_bytes in (("a", 2_500_000), ("b", 1_500_000)):
        (tmp_path / "f" / name).write_bytes(b"x" * n_bytes)
    steps = []
    told = sha256_of(tmp_path / "f", lambda done, total: steps.append((done, total)))
    assert steps == [(1, 4), (2, 4), (2, 4), (3, 4), (4, 4)]
    assert told == sha256_of(tmp_path / "f")


def test_sha256_of_nothing_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no "):
        sha256_of(tmp_path / "none")


def killed_with(folder: Path, at: str) -> None:
    """A process that replaces a folder of slices and is killed at a call of os."""
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from diffusionblend.io import atomic\n"
        "def die(*_): os.kill(os.getpid(), signal.SIGKILL)\n"
        "real, calls = os.replace, []\n"
        "def replace(a, b):\n"
        "    calls.append(a)\n"
        "    die() if len(calls) == 2 else real(a, b)\n"
        "if sys.argv[2] == 'between': os.replace = replace\n"
        "with atomic.atomic_folder(sys.argv[1], force=True, kinds=('.dcm',)) as temporary:\n"
        "    (temporary / 'new.dcm').write_text('new')\n"
        "    if sys.argv[2] == 'within': die()\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(folder), at], capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize("at", ["within", "between"])
def test_what_a_killed_process_left_of_a_folder_is_removed(tmp_path, at):
    folder = tmp_path / "series"
    folder.mkdir()
    (folder / "old.dcm").write_text("old")
    killed_with(folder, at)
    hidden = [p.name for p in tmp_path.iterdir() if p.name.startswith(".series.")]
    assert hidden and folder.exists() == (at == "within")
    again = atomic_folder(folder, kinds=(".dcm",))
    with pytest.raises(OutputExistsError), again:  # the older one is there, or is there again
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["series"]
    assert [p.name for p in folder.iterdir()] == ["old.dcm"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "Git LFS"),
        (b"\xef\xbb\xbf<HTML><body>log in</body></HTML>", "page of the web"),
    ],
)
@pytest.mark.parametrize("name", ["a.nii.gz", "a.h5", "a.nrrd"])
def test_a_file_that_stands_for_another_is_named(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=words):
        check_readable(tmp_path / name)


def test_too_long_a_name_is_found_before_any_work(tmp_path):
    check_outputs_absent([tmp_path / ("a" * 255)], force=False)
    with pytest.raises(OutputWriteError, match="name is too long"):
        check_outputs_absent([tmp_path / ("a" * 256)], force=False)
