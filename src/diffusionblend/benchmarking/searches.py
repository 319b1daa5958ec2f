"""Settings of a benchmark's methods, searched once on a training volume and kept in a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from diffusionblend.benchmarking.cells import Subject, cell_key, middle_of
from diffusionblend.benchmarking.plan import Work
from diffusionblend.benchmarking.setups import Setup
from diffusionblend.benchmarking.tuning import searched_settings, tune
from diffusionblend.io.jsonl import append_json_line, read_json_lines
from diffusionblend.methods.api import make_method

if TYPE_CHECKING:
    from diffusionblend.benchmarking.collection import PriorCollection
    from diffusionblend.benchmarking.grid import CellSpec
    from diffusionblend.data.projections import Projections
    from diffusionblend.methods.base import Method
    from diffusionblend.priors.prior import Prior

SLICES = 32
"""From the middle of the training volume."""


@dataclass(frozen=True, kw_only=True)
class Searches:
    """Settings of cells, searched on a training volume (`subject`) for simulated scans.

    file: of JSON lines, one a search.
    """

    file: Path
    subject: Subject
    collection: PriorCollection

    def method_of(self, cell: CellSpec, setup: Setup, say: Callable[[str], None]) -> Method:
        """The cell's method, its settings searched one after another if they were not yet.

        Raises InputError where the best value lies at the end of those tried.
        """
        method = cell.method
        for name in self._searched(cell):
            row = self._row(cell, setup, name, method)
            if row is None:
                row = self._search(cell, setup, name, method, say)
            say(f"{row['setup']}: {name} of {cell.label} is {row['value']:g}")
            method = make_method(method, **{name: row["value"]})
        return method

    def known(self, cell: CellSpec, setup: Setup) -> Method | None:
        """The cell's method, None where a search would have to come first."""
        rows = [*self._found(cell, setup)]
        if len(rows) < len(self._searched(cell)):
            return None
        return make_method(cell.method, **{row["searched"]: row["value"] for row in rows})

    def left(self, cell: CellSpec, setup: Setup) -> Iterator[Work]:
        """The searches that are still to be made; what follows on another counts as not made."""
        found = {row["searched"] for row in self._found(cell, setup)}
        for name in self._searched(cell):
            if name not in found:
                values = searched_settings(cell.method)[name]
                subject = self.subject.middle(SLICES)
                yield Work(
                    setup=setup.name,
                    label=cell.label,
                    scan=partial(subject.scan, setup),
                    scan_kind=subject.scan_kind(setup),
                    grid_shape=subject.truth.grid.shape,
                    method=cell.method,
                    priors=self._priors(cell, setup),
                    steps=tuple(int(v) if name == "iterations" else None for v in values),
                )

    def _search(
        self,
        cell: CellSpec,
        setup: Setup,
        name: str,
        method: Method,
        say: Callable[[str], None],
    ) -> dict:
        """Search one setting and keep what was found."""
        say(f"{setup.name}: searching {name} of {cell.label} on {self.subject.name}")
        found = tune(
            method,
            self._scan(setup),
            middle_of(self.subject.truth, SLICES),
            name=name,
            priors=self._priors(cell, setup),
            device=self.collection.device,
        )
        row = {
            "key": self._key(cell, setup, name, method),
            "label": cell.label,
            "method": method.name,
            "searched": name,
            "setup": setup.name,
            "volume": self.subject.name,
            "psnr_volume_db": {f"{v:g}": round(s, 2) for v, s in found.psnr_by_value.items()},
            "value": found.method.settings()[name],
        }
        append_json_line(self.file, row)
        return row

    def _found(self, cell: CellSpec, setup: Setup) -> Iterator[dict]:
        """The rows of a cell's searches, up to the first that is missing."""
        method = cell.method
        for name in self._searched(cell):
            row = self._row(cell, setup, name, method)
            if row is None:
                return
            yield row
            method = make_method(method, **{name: row["value"]})

    def _searched(self, cell: CellSpec) -> list[str]:
        """The settings that are searched: those of the method that the cell does not name."""
        return [name for name in searched_settings(cell.method) if name not in cell.given]

    def _row(self, cell: CellSpec, setup: Setup, name: str, method: Method) -> dict | None:
        key = self._key(cell, setup, name, method)
        return next((row for row in read_json_lines(self.file) if row["key"] == key), None)

    def _key(self, cell: CellSpec, setup: Setup, name: str, method: Method) -> str:
        """Of all that a search depends on: the settings so far among it."""
        priors = self._priors(cell, setup)
        values = list(searched_settings(method)[name])
        device = self.collection.device
        return cell_key(self.subject, setup, method, priors, device, searched=name, values=values)

    def _priors(self, cell: CellSpec, setup: Setup) -> dict[str, Prior]:
        return self.collection.priors_of(cell, setup, grid=self.subject.truth.grid)

    def _scan(self, setup: Setup) -> Projections:
        return self.subject.middle(SLICES).scan(setup)
