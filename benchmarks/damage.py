"""Files damaged at random, read by every reader: each is refused in words or read, and soon.

    python benchmarks/damage.py --cases 100000 --seeds 1 2
    python benchmarks/damage.py --cases 100000 --seeds 1 2 --shard 0/20 -o damage/

Small files of every format are made, and of each a case is damaged in a way that its format, the
seed and its number fix (`damage_ways.py`). A reader may refuse a case (InputError), or read it,
with the content as before or another. Anything else fails, and so does a case that takes longer or
more memory than `--seconds` and `--gigabytes`. With `-o`, cases that failed are kept there.
"""

from __future__ import annotations

import json
import resource
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from damage_formats import MAKERS, Format, copy_of, formats_in
from damage_ways import damage
from diffusionblend.cli.common import parsed_shard
from diffusionblend.errors import InputError
from diffusionblend.evaluation.tables import Column, format_table
from diffusionblend.io.foreign.reader import close_child

OUTCOMES = ("refused", "same", "other", "failed")
COLUMNS = (
    Column(key="format", header="Format"),
    Column(key="cases", header="Cases", digits=0),
    *(Column(key=k, header=k.capitalize(), digits=0) for k in OUTCOMES),
    Column(key="slowest_s", header="Slowest (s)", digits=1),
)


@dataclass(frozen=True, kw_only=True)
class Damage:
    """Read damaged files of every format, and count what becomes of them."""

    cases: int = 2000
    """How many files are damaged, over all formats and seeds."""
    seeds: tuple[int, ...] = (1,)
    """Of the damage."""
    formats: tuple[str, ...] = ()
    """Only these; by default all."""
    shard: str = "0/1"
    """A part of the cases, I/N; together the parts are all of them."""
    seconds: float = 60.0
    """A case that takes longer fails."""
    gigabytes: float = 2.0
    """The memory that no process may take, that which reads and this one."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Folder for the table, and for the files of the cases that failed."""

    def run(self) -> None:
        """Run all cases, print the table; exits with 1 where one failed."""
        unknown = set(self.formats) - set(MAKERS)
        if unknown:
            raise SystemExit(
                f"formats {sorted(unknown)} are unknown; there are {', '.join(MAKERS)}"
            )
        rows = []
        with tempfile.TemporaryDirectory() as name:
            for format_name, kind in formats_in(Path(name), self.formats).items():
                rows.append(self._of_format(format_name, kind, Path(name)))
        close_child()
        peak_gb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e9
        own_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
        total = {k: sum(row[k] for row in rows) for k in ("cases", *OUTCOMES)}
        total |= {"format": "all", "slowest_s": max(row["slowest_s"] for row in rows)}
        table = format_table([*rows, total], COLUMNS, "markdown")
        memory = f"peak memory: {peak_gb:.2f} GB where files are read, {own_gb:.2f} GB here"
        print(f"{table}\n{memory}")
        if self.output is not None:
            self.output.mkdir(parents=True, exist_ok=True)
            facts = {"seeds": self.seeds, "shard": self.shard, "peak_gb": peak_gb, "own_gb": own_gb}
            with (self.output / "damage.jsonl").open("a") as file:
                file.writelines(json.dumps(row | facts) + "\n" for row in rows)
        sys.exit(max(peak_gb, own_gb) > self.gigabytes or total["failed"] > 0)

    def _of_format(self, name: str, kind: Format, folder: Path) -> dict[str, object]:
        """The cases of one format as a row of the table."""
        counts: Counter[str] = Counter()
        whole, slowest_s = kind.read(kind.path), 0.0
        each = max(1, self.cases // (len(self.seeds) * len(self.formats or MAKERS)))
        first, step = parsed_shard(self.shard)
        for seed in self.seeds:
            for number in range(first, each, step):
                case = copy_of(kind, folder / "case")
                damage(case, np.random.default_rng([seed, number, *name.encode()]))
                started = time.monotonic()
                outcome = outcome_of(kind, case, whole)
                took_s = time.monotonic() - started
                slowest_s = max(slowest_s, took_s)
                if not outcome.startswith("failed") and took_s > self.seconds:
                    outcome = f"failed: {outcome}, but late"
                if outcome.startswith("failed"):
                    print(f"{name} {seed} {number}: {outcome}, {took_s:.1f} s", file=sys.stderr)
                    self._keep(kind, case.parent, f"{name}-{seed}-{number}", seed, number, name)
                counts[outcome.partition(":")[0]] += 1
        print(f"{name}: {dict(counts)}, {slowest_s:.1f} s", file=sys.stderr, flush=True)
        row = {"format": name, "cases": counts.total(), "slowest_s": slowest_s}
        return row | {k: counts[k] for k in OUTCOMES}

    def _keep(
        self, kind: Format, folder: Path, label: str, seed: int, number: int, name: str
    ) -> None:
        """Keep a case that failed, damaged anew, since reading may have changed it."""
        if self.output is None:
            return
        case = copy_of(kind, folder)
        damage(case, np.random.default_rng([seed, number, *name.encode()]))
        shutil.copytree(folder, self.output / label, dirs_exist_ok=True)


def outcome_of(kind: Format, case: Path, whole: object) -> str:
    """What became of a case: refused, same, other, or failed with what was raised."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = kind.read(case)
    except InputError:
        return "refused"
    except Exception as error:
        return f"failed: {type(error).__name__}: {error}"
    return "same" if _equal(found, whole) else "other"


def _equal(found: object, whole: object) -> bool:
    if isinstance(whole, np.ndarray):
        return np.array_equal(np.asarray(found), whole)
    return found == whole


if __name__ == "__main__":
    tyro.cli(Damage).run()
