"""The weights of a benchmark's methods, searched once on a training volume and kept in a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from diffusionblend.io.json_lines import append_json_line, read_json_lines
from diffusionblend.methods.registry import find_method
from diffusionblend.methods.settings import MethodSettings, SamplingSettings
from diffusionblend.verbs.benchmark_cells import Subject, key_of, middle_of, scan
from diffusionblend.verbs.benchmark_plan import Work
from diffusionblend.verbs.options import say

if TYPE_CHECKING:
    from diffusionblend.evaluation.benchmark_tables import Setting
    from diffusionblend.verbs.prior_shelf import PriorShelf

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
        """The method's settings, its weight searched if it was not yet.

        Raises InputError where the best value lies at the end of those tried.
        """
        from diffusionblend.evaluation.tuning import SEARCHED, tune

        if self._applies_to(method):
            name, _ = SEARCHED[method]
            if self.known(method, setting) is None:
                volume = middle_of(self.subject.truth, SLICES)
                say(f"{setting.name}: searching {name} of {method} on {self.subject.path.name}")
                found = tune(
                    method,
                    scan(volume, setting),
                    volume,
                    settings=self.unsearched(method),
                    options=self.options(method, setting) | {"device": self.device},
                )
                scores = {f"{v:g}": round(s, 2) for v, s in found.psnr_by_value.items()}
                row = {"key": self._key(method, setting), "method": method, "searched": name}
                row |= {"setting": setting.name, "psnr_volume_db": scores}
                row["value"] = getattr(found.settings, name)
                append_json_line(self.file, row)
            say(
                f"{setting.name}: {name} of {method} is "
                f"{getattr(self.known(method, setting), name):g}"
            )
        return self.known(method, setting)

    def known(self, method: str, setting: Setting) -> MethodSettings | None:
        """The method's settings, None where a search would have to come first."""
        settings = self.unsearched(method)
        if not self._applies_to(method):
            return settings
        row = self._rows().get(self._key(method, setting))
        return None if row is None else replace(settings, **{row["searched"]: row["value"]})

    def unsearched(self, method: str) -> MethodSettings:
        """The method's settings but for what is searched."""
        settings = find_method(method).settings()
        if not isinstance(settings, SamplingSettings):
            return settings
        settings = settings if self.steps is None else replace(settings, steps=self.steps)
        return settings.alike(self.sampling)

    def left(self, methods: Sequence[str], settings: Sequence[Setting]) -> Iterator[Work]:
        """The searches that are still to be made."""
        from diffusionblend.evaluation.tuning import SEARCHED

        for setting in settings:
            for method in methods:
                if self.known(method, setting) is not None:
                    continue
                name, values = SEARCHED[method]
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
        rows = self._rows()
        keys = [self._key(m, s) for s in settings for m in methods if self._applies_to(m)]
        return [rows[key] for key in keys if key in rows]

    def options(self, method: str, setting: Setting) -> dict[str, object]:
        """The priors that a method takes in a setting, as options of `reconstruct`."""
        return self.shelf.options(find_method(method), setting)

    def _rows(self) -> dict[str, dict]:
        return {row["key"]: row for row in read_json_lines(self.file)}

    def _applies_to(self, method: str) -> bool:
        from diffusionblend.evaluation.tuning import SEARCHED

        return self.subject is not None and method in SEARCHED

    def _key(self, method: str, setting: Setting) -> str:
        facts = [self.subject.sha256, self.subject.truth.grid.shape, asdict(setting), method]
        options = self.options(method, setting)
        return key_of(facts, self.unsearched(method), options, self.shelf.size)
