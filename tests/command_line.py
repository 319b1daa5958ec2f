"""The command line as tests call it, and what its answers must look like."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

REPORTING_PROCESS = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
from diffusionblend.cli import progress
progress.LINE_EVERY_SECONDS = 0.0
from diffusionblend.cli.main import main
main(sys.argv[1:])
"""
"""The program, told to report every step, so that a test knows when the work has begun."""

TINY_TRAINING = (
    *("--network.image-size", "16", "--network.unshuffle", "1", "--network.channels", "8", "16"),
    *("--network.norm-groups", "4", "--network.attention-head-channels", "8"),
    *("--batch-size", "2", "--warmup-steps", "1", "--precision", "float32", "--device", "cpu"),
)
"""Options of a training run that takes milliseconds a step."""


METHODS = {"fbp": (), "admm-tv": ("--iterations", 30), "diffusionblend++": ("--steps", 3)}
"""Every method, with options for a quick run."""


@dataclass(frozen=True)
class CliResult:
    """What a command line answered."""

    code: int
    out: str
    err: str


def run_command(*arguments: object) -> int:
    """The exit code of a command line, also where it exits by itself."""
    from diffusionblend.cli.main import run

    try:
        return run([str(a) for a in arguments])
    except SystemExit as stop:
        return int(stop.code or 0)


def assert_refused(result: CliResult, *words: str) -> None:
    """The command failed with a message of what was got, expected and to try, with these words."""
    assert result.code == 1, result
    lines = result.err.strip().splitlines()
    assert any(line.startswith("diffusionblend: ") for line in lines), result.err
    assert "Traceback" not in result.err
    assert any(line.startswith("Expected: ") for line in lines), result.err
    assert any(line.startswith("Try: ") for line in lines), result.err
    for word in words:
        assert word in result.err, f"{word!r} is not in {result.err!r}"


def assert_succeeded(result: CliResult) -> None:
    """The command did what it was told."""
    assert result.code == 0, result


def assert_nothing_in(folder: Path) -> None:
    """Neither an output nor a temporary file lies in the folder, which may be missing."""
    found = sorted(p.name for p in folder.iterdir()) if folder.exists() else []
    assert not found


@contextmanager
def working_process(*arguments: object, at_work: str) -> Iterator[subprocess.Popen]:
    """The command line as a process of its own, once it has printed a line that has `at_work`."""
    process = subprocess.Popen(
        [sys.executable, "-c", REPORTING_PROCESS, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        seen = []
        for line in process.stderr:
            seen.append(line)
            if at_work in line:
                break
        else:
            raise AssertionError(f"the process ended with {process.wait()}: {''.join(seen)}")
        yield process
    finally:
        process.kill()
        process.communicate()
