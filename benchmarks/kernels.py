"""The Triton kernels on random geometries against those of the CPU, and mutants of the kernels.

    python benchmarks/kernels.py --cases 1000
    python benchmarks/kernels.py --cases 120 --mutants

Without a GPU they are interpreted, which needs Triton 3.7 or newer beside NumPy 2.4 or newer.
`--mutants` changes one place of the kernels' source at a time; each change has to be noticed.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from unittest import mock

import torch
import tyro

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # it settles that at its import

from diffusionblend.evaluation.tables import Column, format_table
from diffusionblend.operators.xray import XRayTransform
from random_geometries import KINDS, LIMIT, both_ways, random_operators, worst_error

BOTH = (torch.float32, torch.float64)
OPERATORS = "diffusionblend.operators"
MUTANTS: tuple[tuple[str, str, int], ...] = (
    ("(n_rows - 1) / 2", "n_rows / 2", 1),
    ("(n_columns - 1) / 2", "n_columns / 2", 1),
    ("tl.where(inside, endless, -endless)", "-endless + 0.0 * start", 1),
    ("low = tl.where(ahead > 0, tl.maximum(low, origin), low)", "low = low + 0.0", 1),
    ("high = tl.where(ahead > 0, high, tl.minimum(high, origin))", "high = high + 0.0", 1),
    ("+ 1, n_planes)", ", n_planes)", 1),
    ("weight_a = part_a if i == 1 else 1.0 - part_a", "weight_a = 1.0 - part_a", 1),
    ("weight_a = part_a if i == 1 else 1.0 - part_a", "weight_a = 1.0 - part_a", 2),
    ("weight = weight_a * (part_b if j == 1 else 1.0 - part_b)", "weight = weight_a * part_b", 1),
    ("& (at_b >= 0) & (at_b < n_b)", "& (at_b >= 0)", 2),
    *(
        ("weight = tl.where(inside, part if i == 1 else 1.0 - part, 0.0)", "weight = part + 0.0", n)
        for n in (1, 2)
    ),
    ("value = step * tl.load", "value = tl.load", 1),
    ("value = value * step[:, None]", "value = value + 0.0", 1),
    ("volume.contiguous()", "volume", 1),
    ("lines.contiguous()", "lines", 1),
)
"""What is replaced by what, and the how-manieth place of it."""
NOT_NOTICED = 100
"""Exit code of a mutant's process, where others are the number of the kind that noticed it."""


@dataclass(frozen=True, kw_only=True)
class Kernels:
    """Compare the Triton kernels with those of the CPU on random geometries."""

    cases: int = 120
    """Over all kinds of geometry."""
    seed: int = 0
    """Of the geometries."""
    mutants: bool = False
    """Also try the mutants, each until it is noticed."""

    def run(self) -> None:
        """Print a row for each kind; exits with 1 where a case, or a mutant, is wrong."""
        rows, bad = [], 0
        for kind in KINDS:
            started, worst, over = time.monotonic(), dict.fromkeys(BOTH, 0.0), 0
            for operator, error in self._errors(kind, None):
                worst[operator.dtype] = max(worst[operator.dtype], error)
                over += error > LIMIT[operator.dtype]
            bad += over
            row = {"kind": kind, "cases": self._each, "over": over}
            row |= {str(dtype)[6:]: f"{worst[dtype]:.1e}" for dtype in BOTH}
            rows.append(row | {"seconds": time.monotonic() - started})
        names = ("kind", "cases", "float32", "float64", "over", "seconds")
        columns = [Column(key=n, header=n.capitalize(), digits=0) for n in names]
        print(format_table(rows, columns, "markdown"))
        if self.mutants:
            bad += sum(not self._is_noticed(number) for number in range(len(MUTANTS)))
        sys.exit(bad > 0)

    @property
    def _each(self) -> int:
        return max(1, self.cases // len(KINDS))

    def _errors(self, kind: str, kernels) -> Iterator[tuple[XRayTransform, float]]:
        """Each case's operator and its worst error; kernels: a module, by default the own one."""
        import diffusionblend.operators.kernels.cuda as own

        chosen = own if kernels is None else kernels
        operators = islice(random_operators(kind, self.seed, BOTH), self._each)
        for number, operator in enumerate(operators):
            expected = both_ways(operator, number)
            with (
                mock.patch(f"{OPERATORS}.panels.gpu_kernels", return_value=chosen),
                mock.patch(f"{OPERATORS}.slicewise.gpu_kernels", return_value=chosen),
            ):
                yield operator, worst_error(both_ways(operator, number), expected)

    def _is_noticed(self, number: int) -> bool:
        """Whether any case shows that a place was changed, in a process that it may well crash."""
        started = time.monotonic()
        process = get_context("spawn").Process(target=_exit_by_kind, args=(self, number))
        process.start()
        process.join()
        old, new, place = MUTANTS[number]
        if process.exitcode == NOT_NOTICED:
            print(f"NOT NOTICED: {old!r} for {new!r}, place {place}")
            return False
        by = KINDS[code] if (code := process.exitcode or 0) >= 0 else f"its crash ({-code})"
        print(f"noticed by {by}: {new!r}, {time.monotonic() - started:.0f} s", flush=True)
        return True

    def kind_that_notices(self, number: int) -> int:
        """Which kind's cases show a mutant first, by its number; NOT_NOTICED where none does."""
        with tempfile.TemporaryDirectory() as folder:
            mutant = _mutant(Path(folder), *MUTANTS[number])
            for i, kind in enumerate(KINDS):
                try:
                    cases = self._errors(kind, mutant)
                    if any(not error <= LIMIT[operator.dtype] for operator, error in cases):
                        return i
                except Exception as error:  # an access beyond the arrays, say
                    print(f"  {type(error).__name__}", end=" ", flush=True)
                    return i
        return NOT_NOTICED


def _exit_by_kind(command: Kernels, number: int) -> None:
    sys.exit(command.kind_that_notices(number))


def _mutant(folder: Path, old: str, new: str, place: int):
    """The kernels' module with one place of its source changed."""
    import diffusionblend.operators.kernels.cuda as own

    parts = Path(own.__file__).read_text(encoding="utf-8").split(old)
    assert len(parts) > place, f"{old!r} is not there {place} times"
    path = folder / "mutant.py"
    path.write_text(old.join(parts[:place]) + new + old.join(parts[place:]), encoding="utf-8")
    specification = importlib.util.spec_from_file_location("mutant", path)
    module = importlib.util.module_from_spec(specification)
    sys.modules["mutant"] = module
    specification.loader.exec_module(module)
    return module


if __name__ == "__main__":
    tyro.cli(Kernels).run()
