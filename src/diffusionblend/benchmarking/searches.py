"""The weights of a benchmark's methods, searched once on a training volume and kept in a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from diffusionblend.benchmarking.cells import Subject, key_of, middle_of, scan
from diffusionblend.benchmarking.plan import Work
from diffusionblend.cli.common import say
from diffusionblend.io.jsonl import append_json_line, read_json_lines
from diffusionblend.methods.registry import find_method
from diffusionblend.methods.settings import MethodSettings, SamplingSettings

if TYPE_CHECKING:
    from diffusionblend.benchmarking.priors import PriorShelf
    from diffusionblend.benchmarking.tables import Setting

SLICES = 32
"""From the middle of the training volume."""


@dataclass(frozen=True, kw_only=True)
class Searches:
    """Settings of methods, by search where there is a volume to search on.

    file: of JSON lines, one a search. subject: the training volume, or None. steps: of every method
    that samples, None for its own. sampling: as `SamplingSettings.alike` takes it.
    """

    file: Path
    subject: Subject | None
    steps: int | None
    sampling: Literal["own", "published", "equal"]
    shelf: PriorShelf
    device: str

    def settings(self, method: str, setting: Setting) -> MethodSettings:
        """The method's settings, searched one after another if they were not yet.

        Raises InputError where the best value lies at the end of those tried.
        """
        from diffusionblend.benchmarking.tuning import tune

        settings = self.unsearched(method)
        for name, _ in self._searched(method):
            row = self._row(method, setting, name, settings)
            if row is None:
                volume = middle_of(self.subject.truth, SLICES)
                say(f"{setting.name}: searching {name} of {method} on {self.subject.path.name}")
                found = tune(
                    method,
                    scan(volume, setting),
                    volume,
                    name=name,
                    settings=settings,
                    options=self.options(method, setting) | {"device": self.device},
                )
                scores = {f"{v:g}": round(s, 2) for v, s in found.psnr_by_value.items()}
                row = {"key": self._key(method, setting, name, settings), "method": method}
                row |= {"searched": name, "setting": setting.name, "psnr_volume_db": scores}
                row["value"] = getattr(found.settings, name)
                append_json_line(self.file, row)
            say(f"{setting.name}: {name} of {method} is {row['value']:g}")
            settings = replace(settings, **{name: row["value"]})
        return settings

    def known(self, method: str, setting: Setting) -> MethodSettings | None:
        """The method's settings, None where a search would have to come first."""
        rows = [*self._found(method, setting)]
        if len(rows) < len(self._searched(method)):
            return None
        return replace(self.unsearched(method), **{r["searched"]: r["value"] for r in rows})

    def unsearched(self, method: str) -> MethodSettings:
        """The method's settings but for what is searched."""
        settings = find_method(method).settings()
        if not isinstance(settings, SamplingSettings):
            return settings
        settings = settings if self.steps is None else replace(settings, steps=self.steps)
        return settings.alike(self.sampling)

    def left(self, methods: Sequence[str], settings: Sequence[Setting]) -> Iterator[Work]:
        """The searches that are still to be made; what follows on another counts as not made."""
        for setting in settings:
            for method in methods:
                found = {row["searched"] for row in self._found(method, setting)}
                for name, values in self._searched(method):
                    if name not in found:
                        yield Work(
                            setting=setting.name,
                            method=method,
                            projections=scan(middle_of(self.subject.truth, SLICES), setting),
                            settings=self.unsearched(method),
                            options=self.options(method, setting),
                            steps=tuple(v if name == "iterations" else None for v in values),
                        )

    def rows_of(self, methods: Sequence[str], settings: Sequence[Setting]) -> list[dict]:
        """What was found for these methods in these settings, as it stands in the file."""
        return [row for s in settings for m in methods for row in self._found(m, s)]

    def options(self, method: str, setting: Setting) -> dict[str, object]:
        """The priors that a method takes in a setting, as options of `reconstruct`."""
        return self.shelf.options(find_method(method), setting)

    def _found(self, method: str, setting: Setting) -> Iterator[dict]:
        """The rows of a method's searches in a setting, up to the first that is missing."""
        settings = self.unsearched(method)
        for name, _ in self._searched(method):
            row = self._row(method, setting, name, settings)
            if row is None:
                return
            yield row
            settings = replace(settings, **{name: row["value"]})

    def _searched(self, method: str) -> tuple[tuple[str, tuple[float, ...]], ...]:
        from diffusionblend.benchmarking.tuning import SEARCHED

        return () if self.subject is None else SEARCHED.get(method, ())

    def _row(
        self, method: str, setting: Setting, name: str, settings: MethodSettings
    ) -> dict | None:
        key = self._key(method, setting, name, settings)
        rows = (row for row in read_json_lines(self.file) if row["key"] == key)
        return next(rows, None)

    def _key(self, method: str, setting: Setting, name: str, settings: MethodSettings) -> str:
        """Of all that a search depends on: the settings so far among it."""
        facts = [self.subject.sha256, self.subject.truth.grid.shape, asdict(setting), method, name]
        return key_of(facts, settings, self.options(method, setting), self.shelf.size)
