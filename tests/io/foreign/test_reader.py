"""Foreign files in a child process: what comes back, and what becomes of death, silence, excess."""

from __future__ import annotations

import mmap
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
import tokenize
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import foreign_readers as readers
from diffusionblend.errors import InputError
from diffusionblend.io.foreign import limits, messages, reader
from diffusionblend.io.foreign import peek as peek_module
from diffusionblend.io.foreign.edge import reason_of
from diffusionblend.io.foreign.peek import address_of, can_peek, give_back, peek
from diffusionblend.memory import address_space_bytes

pytestmark = pytest.mark.skipif(os.name != "posix", reason="no child process is started here")

SCRIPT = """
import sys
import threading
sys.path.insert(0, sys.argv[1])
import foreign_readers as readers
print("read:", readers.read_text(sys.argv[2]))  # and no `if __name__ == "__main__"`
{more}
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "scan.bin"
    path.write_text("content")
    return path


def script(file, more: str = "", **options) -> subprocess.CompletedProcess:
    tests = str(Path(readers.__file__).parent)
    command = [sys.executable, "-c", SCRIPT.format(more=more), tests, str(file)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)


@pytest.mark.parametrize("way", ["memory", "memory refused", "file"])
def test_arrays_come_back_equal_and_as_own_memory(file, monkeypatch, way):
    taken = []

    def peeked(pid, places, on_part):
        taken.append(None if way == "memory refused" else peek(pid, places, on_part))
        return taken[-1]

    monkeypatch.setattr(messages, "peek", peeked)
    if way == "file":
        monkeypatch.setattr(reader, "can_peek", lambda: False)
    large, small, path = readers.read_arrays(file, scale=2.0)
    expected = 2 * np.arange(np.prod(readers.LARGE), dtype=np.float32).reshape(readers.LARGE)
    assert np.array_equal(large, expected) and large.dtype == np.float32
    assert np.array_equal(small, np.ones(readers.SMALL)) and path == file
    large[:] = -1  # writes to its own copy
    assert np.array_equal(readers.read_arrays(file, scale=2.0)[0], expected)
    if way == "file" or not can_peek():
        assert not any(taken)
    else:
        assert len(taken) == 2 and all(taken) == (way == "memory")


@pytest.mark.skipif(not can_peek(), reason="no look into another process's memory here")
@pytest.mark.parametrize("shared", [False, True], ids=["apart", "sharing memory"])
def test_what_is_copied_is_given_back_but_for_arrays_that_share_memory(monkeypatch, shared):
    """Sent to this very process: its own memory is looked into, as a child's would be."""
    monkeypatch.setattr(peek_module, "PART_BYTES", 100_000)  # not whole pages
    whole = np.arange(200_000, dtype=np.float64) + 1
    expected = whole.copy()
    sent = (whole, whole[1000:150_000]) if shared else (whole, np.ones(5))
    ours, theirs = socket.socketpair()
    with ours, theirs, ThreadPoolExecutor(1) as other:
        sending = other.submit(messages.send, theirs, messages.RESULT, sent, from_memory=True)
        kind, found = messages.receive(ours, child=os.getpid())
        sending.result(timeout=30)
    assert kind == messages.RESULT
    assert np.array_equal(found[0], expected) and np.array_equal(
        found[1], expected[1000:150_000] if shared else np.ones(5)
    )
    n_kept = np.count_nonzero(whole == expected)
    assert n_kept == len(whole) if shared else 0 < n_kept < len(whole) / 2


@pytest.mark.skipif(not can_peek(), reason="no memory is given back here")
def test_no_more_is_given_back_than_what_was_copied():
    page = mmap.PAGESIZE
    private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    with mmap.mmap(-1, 8 * page, flags=private) as memory:
        memory[:] = b"x" * len(memory)
        start = address_of(memoryview(memory))
        give_back(start + 10, 3 * page)
        assert memory[:page] == b"x" * page and memory[3 * page :] == b"x" * 5 * page
        assert memory[page : 3 * page] == bytes(2 * page)


@pytest.mark.parametrize("claim", ["array", "array in two", "message"])
def test_a_child_that_claims_more_than_it_holds_is_not_believed(file, claim):
    """Nothing of that size is allocated: the address space of this process stays as it is."""
    if not can_peek():
        pytest.skip("no look into another process's memory here")
    readers.number_of_process(file)
    pid, size = reader._running.process.pid, 1 << 40
    before = address_space_bytes()
    if claim == "message":
        ours, theirs = socket.socketpair()
        with ours, theirs, pytest.raises(pickle.UnpicklingError, match="claimed"):
            theirs.sendall(messages.FRAME.pack(messages.RESULT, size, 0))
            messages.receive(ours, child=pid)
    else:
        places = [(4096, size)] if claim == "array" else [(4096, size // 1024)] * 1024
        assert peek(pid, places, lambda: None) is None
    assert address_space_bytes() - before < 1 << 30


def test_one_process_reads_many_files(file):
    numbers = {readers.number_of_process(file) for _ in range(3)}
    assert len(numbers) == 1 and os.getpid() not in numbers


@pytest.mark.parametrize("reader", [readers.cut_off_then_read, readers.cut_off_then_return])
def test_a_file_that_is_cut_off_while_it_is_mapped_is_told(reader, tmp_path: Path) -> None:
    path = tmp_path / "voxels.raw"
    path.write_bytes(bytes(1 << 20))
    with pytest.raises(InputError, match=r"voxels\.raw"):
        reader(path)
    assert readers.read_text(path) == ""


@pytest.mark.parametrize(("fault", "word"), [(readers.crash, "SIGSEGV"), (readers.grow, "memory")])
def test_what_ends_the_library_is_an_error_with_the_files_name(file, fault, word):
    with pytest.raises(InputError) as caught:
        fault(file)
    assert str(file) in caught.value.got and word in caught.value.got
    assert caught.value.expected and caught.value.try_
    assert readers.read_text(file) == "content"  # by another process


def test_computing_without_end_is_ended(file, monkeypatch):
    monkeypatch.setattr(limits, "LEAST_SECONDS", 0.2)
    with pytest.raises(InputError, match=r"scan\.bin was not read within"):
        readers.loop(file)


def test_waiting_without_end_is_ended(file, monkeypatch):
    monkeypatch.setattr(limits, "LEAST_SECONDS", 0.5)
    monkeypatch.setattr(limits, "WAITING_SECONDS", 0.0)
    monkeypatch.setattr(limits, "WAITING_FACTOR", 1.0)
    with pytest.raises(InputError, match="was not read within"):
        readers.sleep(file)


def test_limits_grow_with_the_file():
    small, large = limits.Limits.for_file(10), limits.Limits.for_file(10**9)
    assert large.cpu_seconds > 900 and large.clock_seconds > large.cpu_seconds
    assert large.memory_bytes - small.memory_bytes == pytest.approx(5e9, rel=1e-3)


def test_what_a_library_raises_is_an_error_that_keeps_the_tale(file):
    with pytest.raises(InputError, match=r"scan\.bin could not be read: KeyError") as caught:
        readers.stumble(file)
    assert 'in stumble\n    {}["not there"]' in str(caught.value.__cause__)
    with pytest.raises(InputError, match="nested too deeply"):
        readers.recurse(file)


def test_a_refusal_keeps_its_words_and_the_process(file):
    before = readers.number_of_process(file)
    with pytest.raises(InputError) as caught:
        readers.refuse(file)
    assert (caught.value.got, caught.value.expected, caught.value.try_) == (
        *("This was got.", "something else", "that"),
    )
    assert readers.number_of_process(file) == before


def test_a_message_stays_short_whatever_a_file_holds(file):
    with pytest.raises(InputError, match=r"scan\.bin holds xxx") as caught:
        readers.refuse_at_length(file)
    assert len(str(caught.value)) < 5000 and caught.value.expected == "less"


def test_progress_is_reported_here(file):
    steps = []
    assert readers.report(file, on_step=lambda i, n: steps.append((i, n))) == "done"
    assert steps == [(1, 3), (2, 3), (3, 3)]


def test_nothing_but_arrays_and_own_classes_is_taken(file):
    with pytest.raises(InputError, match=r"scan\.bin could not be read"):
        readers.smuggle(file)
    assert not Path(f"{file}.smuggled").exists()


def test_libraries_are_silent(file, capfd):
    readers.chatter(file)
    assert capfd.readouterr().err == ""


def test_ctrl_c_ends_the_reading_at_once(file):
    def interrupt(*_):
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGALRM, interrupt)
    child = readers.number_of_process(file)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    started = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            readers.sleep(file)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert time.monotonic() - started < 10
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_a_child_that_was_killed_is_no_fault_of_the_file(file):
    pid = readers.number_of_process(file)
    timer = threading.Timer(1.0, os.kill, (pid, signal.SIGKILL))
    timer.start()
    with pytest.raises(InputError, match="was killed, as systems do where memory runs out"):
        readers.sleep(file)
    timer.join()


def test_a_reader_within_a_reader_runs_here(file):
    """As one that its progress calls: the child is busy with the outer one."""
    found = []
    assert readers.report(file, on_step=lambda *_: found.append(readers.read_text(file))) == "done"
    assert found and set(found) == {"content"}
    assert readers.number_of_process(file) != os.getpid()


def test_closed_standard_streams_leave_the_child_its_connection(file):
    """As in a daemon: what is opened next gets their numbers."""
    out = file.with_name("out.txt")
    more = f"""
import os
from pathlib import Path
reader_of = readers.number_of_process
from diffusionblend.io.foreign.reader import close_child
close_child()
for stream in (0, 1, 2):
    os.close(stream)
number = reader_of(sys.argv[2])
Path({str(out)!r}).write_text(str(number != os.getpid()))
"""
    script(file, more)
    assert out.read_text() == "True"


def test_a_process_that_has_ended_between_two_files_is_replaced(file):
    child = readers.number_of_process(file)
    os.kill(child, signal.SIGTERM)
    assert readers.number_of_process(file) != child


@pytest.mark.skipif(not hasattr(os, "waitid"), reason="no waiting without reaping here")
def test_a_process_that_ended_being_idle_leaves_no_zombie(file):
    pid = readers.number_of_process(file)
    os.kill(pid, signal.SIGTERM)  # it serves nobody
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)  # which a zombie still answers
        except ProcessLookupError:
            break
        time.sleep(0.01)
    else:
        pytest.fail("the ended process was not waited for")
    assert readers.number_of_process(file) != pid


def test_a_forked_process_starts_its_own(file):
    here = readers.number_of_process(file)
    out, into = os.pipe()
    forked = os.fork()
    if not forked:
        os.write(into, str(readers.number_of_process(file)).encode())
        reader.close_child()
        os._exit(0)
    os.close(into)
    os.waitpid(forked, 0)
    there = int(os.read(out, 100))
    os.close(out)
    assert there != here and readers.number_of_process(file) == here


def test_a_script_reads_where_it_is_imported(file):
    done = script(file)
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout == "read: content\n"


def test_the_child_ends_with_a_parent_that_is_killed(file):
    more = "print(readers.number_of_process(sys.argv[2]), flush=True)\n"
    done = script(file, more + "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    child = int(done.stdout.split()[-1])
    until = time.monotonic() + 20
    while Path(f"/proc/{child}").exists() and time.monotonic() < until:
        time.sleep(0.05)
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_paths_are_meant_from_where_one_stands(file, monkeypatch):
    assert readers.read_text(file) == "content"
    (file.parent / "inner").mkdir()
    (file.parent / "inner" / "a").write_text("inner")
    monkeypatch.chdir(file.parent / "inner")
    assert readers.read_text("a") == "inner"


def test_without_a_child_the_edge_still_holds(file, monkeypatch):
    monkeypatch.setenv(reader.IN_PROCESS, "1")
    assert readers.number_of_process(file) == os.getpid()
    with pytest.raises(InputError, match=r"scan\.bin could not be read: KeyError"):
        readers.stumble(file)


def test_where_no_child_starts_it_is_said_and_read_here(file, monkeypatch):
    reader.close_child()
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.warns(UserWarning, match="no process of its own"):
        assert readers.number_of_process(file) == os.getpid()


def test_claims_are_compared_with_the_file_and_the_memory(file, monkeypatch):
    monkeypatch.setattr(limits, "available_memory_bytes", lambda: 10**9)
    limits.check_claim(file, 1000)
    with pytest.raises(InputError, match="claims 5 GB of voxels, and holds 7 bytes; 1 GB of"):
        limits.check_claim(file, 5 * 10**9)
    with pytest.raises(InputError, match=r"would take about 1\.2 GB of memory, and 1 GB are free"):
        limits.check_claim(file, 400_000_000, held_bytes=10**9)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (tokenize.TokenError("EOF in multi-line statement", (2, 0)), "EOF in multi-line statement"),
        (KeyError("data"), "KeyError 'data'"),
        (OSError(2, "No such file", "a.h5"), "[Errno 2] No such file: 'a.h5'"),
        (RuntimeError("first line\nthe last line."), "the last line"),
        (ValueError(), "ValueError"),
    ],
)
def test_what_a_library_raises_becomes_a_few_words(error, words):
    assert reason_of(error) == words
