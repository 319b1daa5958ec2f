"""When progress is shown, and what it says."""

from __future__ import annotations

import io
import threading
import time
from contextlib import redirect_stderr
from pathlib import Path

import pytest

from diffusionblend.cli import common
from diffusionblend.cli import progress as module
from diffusionblend.cli.progress import progress
from diffusionblend.phantom import synthetic_chest
from diffusionblend.runs.record import RunRecord

DELAY_SECONDS = 0.05


class Terminal(io.StringIO):
    """A standard error that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def wait_until(condition) -> None:
    """Wait for what another thread does; fails after some seconds."""
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.005)


@pytest.fixture(params=[io.StringIO, Terminal], ids=["file", "terminal"])
def stderr(request):
    """What takes the place of standard error: a file or a terminal."""
    return request.param()


def test_a_short_task_shows_nothing(stderr):
    with redirect_stderr(stderr), progress("read", after_seconds=60.0) as on_step:
        for i in range(3):
            on_step(i + 1, 3)
    assert stderr.getvalue() == ""
    waiting = [t for t in threading.enumerate() if isinstance(t, threading.Timer)]
    assert all(t.finished.is_set() for t in waiting)


def test_a_long_task_is_shown_though_it_reports_no_steps(stderr):
    with redirect_stderr(stderr), progress("read a.nii.gz", after_seconds=DELAY_SECONDS):
        wait_until(lambda: "read a.nii.gz" in stderr.getvalue())
    shown = stderr.getvalue()
    time.sleep(3 * DELAY_SECONDS)
    assert stderr.getvalue() == shown


@pytest.mark.parametrize("pixels", [16, 32])
def test_the_writing_of_a_large_volume_is_announced_before_it_begins(pixels, monkeypatch):
    monkeypatch.setattr(common, "LARGE_VOXELS", 1024)
    volume, terminal = synthetic_chest(1, shape=(4, pixels, pixels)), Terminal()
    record = RunRecord(command="import", settings={})
    with redirect_stderr(terminal), common.writing(record, Path("d/a.nii.gz"), volume):
        shown = terminal.getvalue()
    assert ("write a.nii.gz" in shown) == (pixels > 16)
    assert record.seconds["write"] >= 0


def test_a_long_task_goes_on_from_the_step_it_has_reached(stderr):
    with redirect_stderr(stderr), progress("read", after_seconds=20 * DELAY_SECONDS) as on_step:
        on_step(3, 7)
        assert stderr.getvalue() == ""
        wait_until(lambda: "read" in stderr.getvalue())
        on_step(7, 7)
    assert "7/7" in stderr.getvalue()


def test_a_long_first_step_is_announced(monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_SECONDS", DELAY_SECONDS)
    stderr = io.StringIO()
    with redirect_stderr(stderr), progress("fbp") as on_step:
        wait_until(lambda: stderr.getvalue() == "fbp ...\n")
        on_step(1, 1)
    assert stderr.getvalue().splitlines()[1].startswith("fbp: 1/1")


def test_an_error_in_a_task_ends_its_progress(stderr):
    with (
        pytest.raises(KeyboardInterrupt),
        redirect_stderr(stderr),
        progress("read", after_seconds=DELAY_SECONDS),
    ):
        raise KeyboardInterrupt
    time.sleep(3 * DELAY_SECONDS)
    assert stderr.getvalue() == ""


def test_the_time_left_counts_from_the_beginning(monkeypatch):
    """Half done after some seconds: as many are left, whenever the first line came."""
    monkeypatch.setattr(module, "LINE_EVERY_SECONDS", 0.0)
    now = time.monotonic()
    advance = module._plain_lines("read", started=now - 40.0)
    stream = io.StringIO()
    with redirect_stderr(stream):
        advance(5, 10)
    assert stream.getvalue() == "read: 5/10, 40 s, 40 s left\n"


def test_the_time_left_leaves_out_what_the_first_of_many_steps_had_in_it(monkeypatch):
    """A first step of 100 s and others of 1 s: nothing is said by the first one alone."""
    monkeypatch.setattr(module, "LINE_EVERY_SECONDS", 0.0)
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    advance = module._plain_lines("sample")
    stream = io.StringIO()
    with redirect_stderr(stream):
        for done in (1, 2, 30):
            now[0] = 99.0 + done
            advance(done, 50)
    assert stream.getvalue().splitlines() == [
        "sample: 1/50, 100 s",
        "sample: 2/50, 101 s, 48 s left",
        "sample: 30/50, 129 s, 20 s left",
    ]


def test_the_end_is_shown_once(capsys):
    advance = module._plain_lines("read")
    for done in (1, 2, 2, 2):
        advance(done, 2)
    assert capsys.readouterr().err.count("read: 2/2") == 1


def test_without_a_delay_it_is_shown_at_once(stderr, monkeypatch):
    monkeypatch.setattr(module, "LINE_EVERY_SECONDS", 0.0)
    with redirect_stderr(stderr), progress("train") as on_step:
        on_step(1, 4)
        wait_until(lambda: "1/4" in stderr.getvalue())
