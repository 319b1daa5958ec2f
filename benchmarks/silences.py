"""How long each command is silent, from its start to its end, as someone at a terminal sees it.

    python benchmarks/silences.py scans/patient-03/ --scans tooth.h5 savu/ -o results/

Every command runs at a terminal of its own, and each byte that it writes is timed. `run` takes the
CT and each of the measured scans; the other commands take what comes of the CT, in slices of
`--size` pixels. Prints the longest gaps with the line before each and the one after, and adds a
row a command to silences.jsonl. On a machine that is busy with other work a silence is longer than
what was computed in it, which is printed beside it. Needs a system with pseudo-terminals.
"""

from __future__ import annotations

import errno
import math
import os
import pty
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import tyro

from common import add_rows, machine
from diffusionblend.evaluation.tables import Column, format_table

ROWS_FILE = "silences.jsonl"
PROGRAM = (sys.executable, "-m", "diffusionblend")
COLUMNS = (
    Column(key="command", header="Command"),
    Column(key="seconds", header="Seconds", digits=1),
    Column(key="silent", header="Longest silence (s)", digits=1),
    Column(key="computed", header="Most computing in one (s)", digits=1),
)
CODES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")
"""What moves the cursor and colours words, beside what is read."""
CHUNK = 65536


@dataclass(frozen=True)
class Silence:
    """A gap between two outputs, with the words before it and after it.

    computed: seconds of processor time in it, of the command's own process; where they are not
    known, nan.
    """

    seconds: float
    computed: float
    after: str
    before: str


@dataclass(frozen=True, kw_only=True)
class Silences:
    """Time what each command writes to a terminal, and print its longest silences."""

    ct: Annotated[Path, tyro.conf.Positional]
    """DICOM folder or volume."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder for silences.jsonl."""
    scans: tuple[Path, ...] = ()
    """Measured scans for `run`."""
    size: int = 128
    """Pixels along a side of the CT's slices."""
    longest: float = 2.0
    """Seconds of silence from which on a gap is printed, and the exit code is 1."""
    without: tuple[str, ...] = ()
    """Commands to leave out, by their names in the table."""

    def run(self) -> None:
        """Exits with 1 where a command failed or was silent for too long."""
        rows = []
        with TemporaryDirectory() as folder:
            for name, words in self._commands():
                if name in self.without:
                    continue
                print(f"$ diffusionblend {shlex.join(words)}", flush=True)
                rows.append(timed(name, words, Path(folder), self.longest))
        add_rows(self.output / ROWS_FILE, [row | machine() for row in rows])
        print(format_table(rows, COLUMNS, "markdown"))
        if any(row["exit_code"] or row["silences"] for row in rows):
            sys.exit(1)

    def _commands(self) -> Iterator[tuple[str, list[str]]]:
        """Names in the table, and words after `diffusionblend`."""
        ct, size = str(self.ct.resolve()), ["--size", str(self.size)]
        recon = ["reconstruct", "scan.h5", "-o"]
        for number, source in enumerate((self.ct, *self.scans)):
            of_ct = [*size, "--preset", "fast"] if source == self.ct else []
            yield (
                f"run {source.name}",
                ["run", str(source.resolve()), "-o", f"results-{number}", *of_ct],
            )
        yield "import", ["import", ct, "-o", "chest.nii.gz", *size]
        yield "simulate", ["simulate", "chest.nii.gz", "-o", "scan.h5", "--photons", "1e6"]
        yield "reconstruct fbp", [*recon, "fbp.nii.gz", "--method", "fbp"]
        yield "reconstruct", [*recon, "volume.nii.gz", "--preset", "fast"]
        scored = ["evaluate", "volume.nii.gz", "--reference", "chest.nii.gz"]
        yield "evaluate", [*scored, "--report", "page.html", "--projections", "scan.h5"]
        yield "demo", ["demo", "-o", "demo", "--steps", "3"]


def timed(name: str, words: Sequence[str], folder: Path, longest: float) -> dict[str, object]:
    """Run a command at a terminal: its seconds, its exit code and its silences, which it prints."""
    ours, theirs = pty.openpty()
    started = time.monotonic()
    child = subprocess.Popen(
        [*PROGRAM, *words], cwd=folder, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    try:
        outputs = list(_outputs(ours, child.pid))
        if hasattr(os, "waitid"):  # ended, but still there, so that its time can be read
            os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        ended = (time.monotonic(), _computed(child.pid))
    finally:
        os.close(ours)
        code = child.wait()
    gaps = list(silences([(started, 0.0, b""), *outputs], ended))
    for gap in gaps:
        if gap.seconds > longest:
            took = f"{gap.seconds:5.1f} s ({gap.computed:.1f} s computing)"
            print(f"  {took} after {gap.after!r}, before {gap.before!r}", flush=True)
    if code:
        print(f"  exit code {code}: {lines_of(b''.join(text for *_, text in outputs))[-3:]}")
    return {
        "command": name,
        "words": list(words),
        "exit_code": code,
        "seconds": ended[0] - started,
        "silent": max(gap.seconds for gap in gaps),
        "computed": max(gap.computed for gap in gaps),
        "silences": [asdict(gap) for gap in gaps if gap.seconds > longest],
    }


def _outputs(terminal: int, pid: int) -> Iterator[tuple[float, float, bytes]]:
    """The time, the processor time until then and the text of outputs, until the writer is gone."""
    while True:
        try:
            text = os.read(terminal, CHUNK)
        except OSError as error:
            if error.errno != errno.EIO:  # what Linux says at the end
                raise
            return
        if not text:
            return
        yield time.monotonic(), _computed(pid), text


def _computed(pid: int) -> float:
    """Seconds of processor time of a process, nan where they are not known."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError, ValueError):
        return math.nan


def silences(
    outputs: Sequence[tuple[float, float, bytes]], ended: tuple[float, float]
) -> Iterator[Silence]:
    """The gaps between outputs, the first of which is the start, and the end.

    Each output: its time, the processor time until then, the text; the end without a text.
    """
    lines = [lines_of(text) for *_, text in outputs]
    last = accumulate(lines, lambda seen, new: new[-1] if new else seen, initial="(start)")
    onward = accumulate(lines[::-1], lambda seen, new: new[0] if new else seen, initial="(end)")
    marks = [(moment, computed) for moment, computed, _ in outputs] + [ended]
    words = zip([*last][1:], [*onward][-2::-1], strict=True)
    for ((then, before), (now, after)), (read, coming) in zip(pairwise(marks), words, strict=True):
        yield Silence(now - then, after - before, read, coming)


def lines_of(text: bytes) -> list[str]:
    """The lines of an output that have anything to read."""
    lines = CODES.sub(b"", text).decode(errors="replace").replace("\r", "\n").split("\n")
    return [line.strip() for line in lines if line.strip()]


if __name__ == "__main__":
    tyro.cli(Silences).run()
