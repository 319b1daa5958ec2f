"""The verbs that leave a record of a run, by the names that records give them."""

from __future__ import annotations

from typing import Protocol

from diffusionblend.cli.benchmark import Benchmark
from diffusionblend.cli.demo import Demo
from diffusionblend.cli.evaluate import Evaluate
from diffusionblend.cli.export import Export
from diffusionblend.cli.import_projections import ImportProjections
from diffusionblend.cli.import_series import Import
from diffusionblend.cli.reconstruct import Reconstruct
from diffusionblend.cli.simulate import Simulate
from diffusionblend.cli.train import Train
from diffusionblend.cli.view import View


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
