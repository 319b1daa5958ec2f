"""Readers as the tests of the child process need them: good, crashing, endless, greedy, lying."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diffusionblend.errors import InputError
from diffusionblend.io.foreign.mapped import mapped_in_child
from diffusionblend.io.foreign.reader import reads_foreign

LARGE, SMALL = (3, 200, 300), (2, 5)
TOO_MANY_BYTES = 6 << 30


@reads_foreign
def read_arrays(path: Path, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray, Path]:
    large = np.arange(np.prod(LARGE), dtype=np.float32).reshape(LARGE) * np.float32(scale)
    return large, np.ones(SMALL, np.int16), path


@reads_foreign
def read_text(path: Path) -> str:
    return Path(path).read_text()


@reads_foreign
def number_of_process(path: Path) -> int:
    return os.getpid()


@reads_foreign
def crash(path: Path) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


@reads_foreign
def cut_off_then_read(path: Path) -> float:
    return float(_mapped_and_cut_off(path).sum())


@reads_foreign
def cut_off_then_return(path: Path) -> np.ndarray:
    return _mapped_and_cut_off(path)


def _mapped_and_cut_off(path: Path) -> np.ndarray:
    """All bytes of a file, which ends before them meanwhile, as by another program."""
    with path.open("rb") as file:
        found = mapped_in_child(file, path.stat().st_size)
    assert found is not None, "this is the child"
    os.truncate(path, 0)
    return found


@reads_foreign
def loop(path: Path) -> None:
    while True:
        pass


@reads_foreign
def sleep(path: Path) -> None:
    time.sleep(60)


@reads_foreign
def grow(path: Path) -> int:
    return len(bytearray(TOO_MANY_BYTES))


@reads_foreign
def refuse_at_length(path: Path) -> None:
    raise InputError(f"{path} holds {'x' * 1_000_000}.", "less")


@reads_foreign
def stumble(path: Path) -> None:
    {}["not there"]


@reads_foreign
def recurse(path: Path) -> None:
    recurse(path)


@reads_foreign
def refuse(path: Path) -> None:
    raise InputError("This was got.", "something else", "that")


@reads_foreign
def report(path: Path, on_step: Callable[[int, int], None] | None = None) -> str:
    for i in range(3):
        on_step(i + 1, 3)
    return "done"


@reads_foreign
def chatter(path: Path) -> int:
    print("dules/OfAnotherPackage/VNL at 0x1234", file=sys.stderr, flush=True)
    return os.write(2, b"libtiff: warning\n")


@dataclass
class Smuggled:
    """Its pickle has whoever opens it make a file."""

    target: str

    def __reduce__(self) -> tuple:
        return os.mkdir, (self.target,)


@reads_foreign
def smuggle(path: Path) -> Smuggled:
    return Smuggled(f"{path}.smuggled")
