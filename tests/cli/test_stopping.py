"""Ctrl-C and SIGTERM between two steps keep the state; the same command continues."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
import weakref
from pathlib import Path

import numpy as np
import pytest

from command_line import assert_succeeded, working_process
from diffusionblend.cli.common import check_output_and_record, recorded, write_text
from diffusionblend.cli.stopping import Terminated, signals_raised
from diffusionblend.io.locks import release_outputs
from diffusionblend.io.volumes import read_volume
from diffusionblend.runs.record import RunRecord
from diffusionblend.runs.state_file import state_path

STEPS = 200


def test_a_stopped_run_keeps_its_state_and_continues(cli, tmp_path, scan_file, tiny_prior):
    """By Ctrl-C first, by SIGTERM when it has gone on."""
    output = tmp_path / "a.nii.gz"
    options = ("--prior", tiny_prior, "--device", "cpu", "--steps", STEPS)
    command = ("reconstruct", scan_file, "-o", output, *options)
    reached = 1
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        with working_process(*command, at_work=f"diffusionblend++: {reached + 1}/") as process:
            process.send_signal(number)
            _, err = process.communicate(timeout=240)
        assert process.returncode == code, err
        assert "Traceback" not in err
        told = re.search(r"stopped at step (\d+) of (\d+); the same command", err).groups()
        before, (reached, steps) = reached, map(int, told)
        assert before < reached < steps == STEPS
        assert state_path(output).exists() and not output.exists()
    result = cli(*command)
    assert_succeeded(result)
    assert f"resuming after step {reached}," in result.out
    whole = tmp_path / "whole.nii.gz"
    assert_succeeded(cli("reconstruct", scan_file, "-o", whole, *options))
    np.testing.assert_array_equal(read_volume(output).values, read_volume(whole).values)


def test_the_second_signal_stops_at_once():
    from diffusionblend.cli.stopping import stopped_between_steps

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), stopped_between_steps() as request:
        signal.raise_signal(signal.SIGINT)
        assert request.signal_number == signal.SIGINT
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


class Thing:
    """Something that a weak reference can be to, or that ends by a signal."""

    number: int | None = None

    def __del__(self) -> None:
        if self.number is not None:
            signal.raise_signal(self.number)


@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGTERM, Terminated), (signal.SIGINT, KeyboardInterrupt)]
)
@pytest.mark.parametrize("where", ["callback", "destructor"])
def test_a_signal_that_python_drops_is_raised_later(number, raised, where):
    """Python prints what a callback of a weak reference or a destructor raises, and goes on."""
    things = [Thing()]
    if where == "callback":
        weakref.finalize(things[0], signal.raise_signal, number)
    else:
        things[0].number = number
    with pytest.raises(raised), signals_raised():
        things.clear()
        time.sleep(5)


WRITING = ("io/atomic.py", "io/locks.py", "runs/unfinished.py", "cli/common.py", "contextlib.py")


def written_until(moment: int, output: Path) -> int:
    """Write an output with its record, SIGTERM at the moment-th line of what does so; the lines."""
    lines = 0

    def on_line(frame, event, _):
        nonlocal lines
        if event == "call" and not frame.f_code.co_filename.endswith(WRITING):
            return None
        lines += event == "line"
        if event == "line" and lines == moment:
            os.kill(os.getpid(), signal.SIGTERM)
        return on_line

    try:
        with signals_raised():
            try:
                sys.settrace(on_line)
                check_output_and_record(output, force=False)
                with recorded(RunRecord(command="import", settings={}), output):
                    write_text(output, "whole", force=False)
            finally:
                sys.settrace(None)
    except Terminated:
        pass
    finally:  # as the command line does
        release_outputs()
    return lines


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # unclosed files
def test_a_signal_at_any_moment_of_writing_leaves_a_whole_output_or_none(tmp_path, monkeypatch):
    monkeypatch.setattr("diffusionblend.cli.stopping.MOMENT_SECONDS", 1e-4)
    written_until(0, tmp_path / "first" / "a.txt")  # imports what later ones find imported
    n_lines, whole = written_until(0, tmp_path / "new" / "a.txt"), set()
    assert n_lines > 100
    for moment in (*range(1, n_lines, 43), n_lines - 5):  # the last when all is written
        output = tmp_path / str(moment) / "new" / "a.txt"
        written_until(moment, output)
        left = {p.name for p in output.parent.rglob("*")} if output.parent.exists() else set()
        assert left in (set(), {"a.txt", "a.txt.run.json"}), moment
        whole.add(bool(left))
    assert whole == {True, False}
