"""The first word at a terminal, before what a command loads."""

from __future__ import annotations

import io
import sys
import threading
import time
from contextlib import redirect_stderr

import pytest

from diffusionblend.cli.common import say
from diffusionblend.cli.streams import Tolerant, note_output, promise_first_word
from diffusionblend.cli.tables import print_table
from diffusionblend.evaluation.tables import Column

DELAY_SECONDS = 0.05
ROWS, COLUMNS = [{"a": 1}], [Column(key="a", header="a")]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def promised(stream, *outputs) -> str:
    """What a stream shows once the promise was kept, or was not needed."""
    before = set(threading.enumerate())
    with redirect_stderr(stream):
        promise_first_word("loading ...", DELAY_SECONDS)
        for output in outputs:
            output()
        for thread in set(threading.enumerate()) - before:
            thread.join(timeout=20)
            assert not thread.is_alive()
    return stream.getvalue()


def test_a_silent_start_is_spoken_for_at_a_terminal_alone():
    terminal = Terminal()

    def until_dots_came():
        end = time.monotonic() + 20
        while "....." not in terminal.getvalue():
            assert time.monotonic() < end, terminal.getvalue()
            time.sleep(DELAY_SECONDS)

    shown = promised(terminal, until_dots_came, lambda: Tolerant(terminal).write("read a\n"))
    first, *others = shown.splitlines()
    assert first.startswith("loading .....") and set(first) == set("loading .")
    assert others == ["read a"], "what comes next has a line of its own"
    assert promised(io.StringIO()) == ""


class SlowTerminal(Terminal):
    """Takes its time to show the first word, which something else may be printed meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = threading.Event()

    def write(self, text: str) -> int:
        if text == "loading ...":
            self.begun.set()
            time.sleep(4 * DELAY_SECONDS)
        return super().write(text)


def test_nothing_cuts_into_a_first_word():
    terminal = SlowTerminal()

    def at_the_same_moment():
        assert terminal.begun.wait(timeout=20)
        Tolerant(terminal).write("read a\n")

    assert promised(terminal, at_the_same_moment) == "loading ...\nread a\n"


@pytest.mark.parametrize("way", ["say", "error", "table", "end"])
def test_what_has_spoken_needs_no_first_word(way, capsys):
    stream = Terminal()
    print_table(ROWS, COLUMNS)  # which loads what tables need
    outputs = {
        "say": lambda: say("read a.nii.gz"),
        "error": lambda: Tolerant(stream).write("note\n"),
        "table": lambda: print_table(ROWS, COLUMNS),
        "end": note_output,
    }
    shown = promised(stream, outputs[way], lambda: time.sleep(2 * DELAY_SECONDS))
    assert "loading" not in shown


def test_the_program_runs_where_output_is_no_terminals(monkeypatch):
    """As in a notebook, whose streams cannot be told how to print odd letters."""
    from diffusionblend.cli.main import main

    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    with pytest.raises(SystemExit) as ended:
        main(["methods", "magic"])
    assert ended.value.code == 2 and "There is no method 'magic'" in err.getvalue()
