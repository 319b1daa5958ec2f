"""What a terminal shows is timed, and the gaps are told with the lines around them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import silences
from diffusionblend.cli.commands import COMMANDS

SCRIPT = """
import sys, time
print("\\x1b[32mread\\x1b[0m a.nii.gz", end="\\r", flush=True)
time.sleep(0.4)
print("wrote b.nii.gz", file=sys.stderr)
while time.process_time() < 0.6:
    pass
sys.exit(int(sys.argv[1]))
"""


@pytest.mark.skipif(os.name != "posix", reason="no pseudo-terminals here")
@pytest.mark.parametrize("code", [0, 3])
def test_a_silent_command_is_told_with_the_lines_around_its_silence(
    tmp_path, monkeypatch, capsys, code
):
    monkeypatch.setattr(silences, "PROGRAM", (sys.executable, "-c", SCRIPT))
    row = silences.timed("nap", [str(code)], tmp_path, 0.35)
    (gap,) = (g for g in row["silences"] if g["after"] == "read a.nii.gz")
    assert gap["before"] == "wrote b.nii.gz" and gap["seconds"] >= 0.35
    assert row["silent"] >= 0.35 and row["exit_code"] == code
    if Path("/proc/self/stat").exists():
        assert row["computed"] > 0.3, "what it computed after its last line counts as well"
    shown = capsys.readouterr().out
    assert "after 'read a.nii.gz', before 'wrote b.nii.gz'" in shown
    assert ("exit code 3" in shown) == (code == 3)


def test_gaps_are_between_outputs_and_at_both_ends():
    outputs = [(10.0, 0.0, b""), (11.0, 0.5, b"one\r\ntwo\r\n"), (14.0, 0.6, b"\x1b[2K")]
    found = list(silences.silences(outputs, (20.0, 4.2)))
    assert [(g.seconds, g.after, g.before) for g in found] == [
        (1.0, "(start)", "one"),
        (3.0, "two", "(end)"),
        (6.0, "two", "(end)"),
    ]
    assert [round(g.computed, 3) for g in found] == [0.5, 0.1, 3.6]


def test_what_is_timed_are_commands(tmp_path):
    timed = silences.Silences(ct=tmp_path / "ct", output=tmp_path, scans=(tmp_path / "a.h5",))
    outputs = [words[3] for name, words in timed._commands() if name.startswith("run ")]
    assert len(set(outputs)) == 2 and not any("." in output for output in outputs)
    assert {words[0] for _, words in timed._commands()} <= set(COMMANDS)
