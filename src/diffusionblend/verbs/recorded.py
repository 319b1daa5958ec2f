"""The verbs that leave a record of a run, by the names that records give them."""

from __future__ import annotations

from typing import Protocol

from diffusionblend.verbs.benchmark import Benchmark
from diffusionblend.verbs.demo import Demo
from diffusionblend.verbs.evaluate import Evaluate
from diffusionblend.verbs.export import Export
from diffusionblend.verbs.import_projections import ImportProjections
from diffusionblend.verbs.import_series import Import
from diffusionblend.verbs.reconstruct import Reconstruct
from diffusionblend.verbs.simulate import Simulate
from diffusionblend.verbs.train import Train
from diffusionblend.verbs.view import View


class Verb(Protocol):
    """A verb's dataclass."""

    def run(self) -> None:
        """Do it."""


RECORDED: dict[str, type[Verb]] = {
    "demo": Demo,
    "import": Import,
    "train": Train,
    "simulate": Simulate,
    "reconstruct": Reconstruct,
    "evaluate": Evaluate,
    "view": View,
    "export": Export,
    "benchmark": Benchmark,
    "projections import": ImportProjections,
}
"""A verb with subcommands is named with the one that ran."""
