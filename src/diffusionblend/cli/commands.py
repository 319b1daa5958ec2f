"""The commands by their names: where each is, what it is for, and how it is called.

Nothing is imported before a command is asked for, so that the list is printed at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Protocol


class Command(Protocol):
    """A command's dataclass: its fields are the options."""

    def run(self) -> None:
        """Do it."""


@dataclass(frozen=True)
class Entry:
    """A command in the list.

    place: "module:class" below diffusionblend.cli. summary: one sentence. examples: whole lines.
    recorded: whether it leaves a run record, from which `repeat` does it again.
    """

    place: str
    summary: str
    examples: tuple[str, ...]
    recorded: bool = False

    def load(self) -> type[Command]:
        """The command's dataclass."""
        module, _, name = self.place.partition(":")
        return getattr(import_module(f"diffusionblend.cli.{module}"), name)


COMMANDS: dict[str, Entry] = {
    "demo": Entry(
        "demo:Demo",
        "Scan a synthetic chest, or your own CT, with a few views and reconstruct it.",
        ("diffusionblend demo", "diffusionblend demo --input scans/patient-03 -o my-demo"),
        recorded=True,
    ),
    "import": Entry(
        "import_series:Import",
        "Import a DICOM series, a volume file or TIFF slices as a volume in HU.",
        (
            "diffusionblend import scans/patient-03 -o chest.nii.gz --size 128",
            "diffusionblend import chest.nrrd -o chest.nii.gz --spacing-mm 2.5 2 2",
        ),
        recorded=True,
    ),
    "train": Entry(
        "train:Train",
        "Train a prior on a folder of volumes.",
        ("diffusionblend train volumes -o priors/mine --steps 20000",),
        recorded=True,
    ),
    "simulate": Entry(
        "simulate:Simulate",
        "Simulate projections of a volume.",
        (
            "diffusionblend simulate chest.nii.gz -o scan.h5 --views 8 --photons 1e5",
            "diffusionblend simulate chest.nii.gz -o scan.h5 --views 90 --arc-degrees 90",
        ),
        recorded=True,
    ),
    "reconstruct": Entry(
        "reconstruct:Reconstruct",
        "Reconstruct a volume in HU from projections.",
        (
            "diffusionblend reconstruct scan.h5 -o volume.nii.gz",
            "diffusionblend reconstruct scan.h5 -o volume.nii.gz --method admm-tv",
        ),
        recorded=True,
    ),
    "evaluate": Entry(
        "evaluate:Evaluate",
        "Score a reconstruction against its reference.",
        ("diffusionblend evaluate volume.nii.gz --reference chest.nii.gz --report page.html",),
        recorded=True,
    ),
    "view": Entry(
        "view:View",
        "View volumes side by side in the browser.",
        ("diffusionblend view fbp.nii.gz volume.nii.gz --reference chest.nii.gz",),
        recorded=True,
    ),
    "export": Entry(
        "export:Export",
        "Export a volume as a DICOM series or as TIFF slices.",
        ("diffusionblend export volume.nii.gz -o series --template scans/patient-03",),
        recorded=True,
    ),
    "benchmark": Entry(
        "benchmark:Benchmark",
        "Compare methods on volumes that no prior has seen.",
        ("diffusionblend benchmark chest.nii.gz -o comparison --views 8 4 --methods fbp admm-tv",),
        recorded=True,
    ),
    "projections import": Entry(
        "import_projections:ImportProjections",
        "Import a measured scan as a projections file.",
        ("diffusionblend projections import tooth.h5 -o scan.h5",),
        recorded=True,
    ),
    "projections info": Entry(
        "projections_info:ProjectionsInfo",
        "Print what a projections file or a measured scan contains.",
        ("diffusionblend projections info scan.h5",),
    ),
    "methods": Entry(
        "methods:Methods",
        "List the methods, or describe one of them.",
        ("diffusionblend methods", "diffusionblend methods dds"),
    ),
    "settings": Entry(
        "settings:Settings",
        "Print a settings file of a method, with every setting and its help.",
        (
            "diffusionblend settings dds > my.toml",
            "diffusionblend reconstruct scan.h5 -o volume.nii.gz --settings my.toml",
        ),
    ),
    "repeat": Entry(
        "repeat:Repeat",
        "Repeat a run from its record.",
        ("diffusionblend repeat volume.nii.gz.run.json -o again.nii.gz",),
    ),
    "priors": Entry(
        "priors:Priors",
        "List the priors of the package, or describe one.",
        ("diffusionblend priors", "diffusionblend priors chest-128"),
    ),
    "completion": Entry(
        "completion:Completion",
        "Print a script by which bash or zsh completes commands and options.",
        ("diffusionblend completion bash",),
    ),
    "doctor": Entry(
        "doctor:Doctor",
        "Print versions, devices, speed and the state of the priors.",
        ("diffusionblend doctor",),
    ),
}
"""In the order of the list; a name of two words is a command with subcommands."""

RECORDED = tuple(name for name, entry in COMMANDS.items() if entry.recorded)
"""The commands that leave a record of a run."""


def subcommands_of(name: str) -> tuple[str, ...]:
    """The subcommands of a command, such as those of "projections"."""
    return tuple(n.partition(" ")[2] for n in COMMANDS if n.startswith(f"{name} "))


def first_words() -> tuple[str, ...]:
    """What can follow `diffusionblend`."""
    return tuple(dict.fromkeys(name.partition(" ")[0] for name in COMMANDS))
