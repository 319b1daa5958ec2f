"""The commands that leave a record of a run, from which `repeat` does it again.

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
    """

    place: str
    summary: str
    examples: tuple[str, ...]

    def load(self) -> type[Command]:
        """The command's dataclass."""
        module, _, name = self.place.partition(":")
        return getattr(import_module(f"diffusionblend.cli.{module}"), name)


RECORDED: dict[str, Entry] = {
    "run": Entry(
        "run:Run",
        "Go from a CT or a measured scan to a volume, a picture and a report.",
        (
            "diffusionblend run scans/patient-03 -o results",
            "diffusionblend run tooth.h5 -o results",
        ),
    ),
    "demo": Entry(
        "demo:Demo",
        "Scan a synthetic chest, or your own CT, with a few views and reconstruct it.",
        ("diffusionblend demo", "diffusionblend demo --input scans/patient-03 -o my-demo"),
    ),
    "sample": Entry(
        "sample:Sample",
        "Write a small scan to begin with, or list public ones.",
        (
            "diffusionblend sample",
            "diffusionblend sample counts -o counts.npz",
            "diffusionblend sample --check tooth.h5",
        ),
    ),
    "import": Entry(
        "import_series:Import",
        "Import a DICOM series, a volume file or TIFF slices as a volume in HU.",
        (
            "diffusionblend import scans/patient-03 -o chest.nii.gz --size 128",
            "diffusionblend import chest.nrrd -o chest.nii.gz --spacing-mm 2.5 2 2",
        ),
    ),
    "train": Entry(
        "train:Train",
        "Train a prior on a folder of volumes.",
        ("diffusionblend train volumes -o priors/mine --steps 20000",),
    ),
    "simulate": Entry(
        "simulate:Simulate",
        "Simulate projections of a volume.",
        (
            "diffusionblend simulate chest.nii.gz -o scan.h5 --views 8 --photons 1e5",
            "diffusionblend simulate chest.nii.gz -o scan.h5 --views 90 --arc-degrees 90",
        ),
    ),
    "reconstruct": Entry(
        "reconstruct:Reconstruct",
        "Reconstruct a volume in HU from projections.",
        (
            "diffusionblend reconstruct scan.h5 -o volume.nii.gz",
            "diffusionblend reconstruct scan.h5 -o volume.nii.gz --method admm-tv",
        ),
    ),
    "evaluate": Entry(
        "evaluate:Evaluate",
        "Score a reconstruction against its reference.",
        ("diffusionblend evaluate volume.nii.gz --reference chest.nii.gz --report page.html",),
    ),
    "calibrate": Entry(
        "calibrate:Calibrate",
        "Fit bands that hold 90 % of the truth, for 'reconstruct --samples'.",
        ("diffusionblend calibrate patients -o bands.json --views 8 4 --arc-degrees 90",),
    ),
    "view": Entry(
        "view:View",
        "View volumes side by side in the browser.",
        ("diffusionblend view fbp.nii.gz volume.nii.gz --reference chest.nii.gz",),
    ),
    "export": Entry(
        "export:Export",
        "Export a volume as a DICOM series or as TIFF slices.",
        ("diffusionblend export volume.nii.gz -o series --template scans/patient-03",),
    ),
    "benchmark": Entry(
        "benchmark:Benchmark",
        "Compare methods on volumes that no prior has seen.",
        ("diffusionblend benchmark chest.nii.gz -o comparison --views 8 4 --methods fbp admm-tv",),
    ),
    "projections import": Entry(
        "import_projections:ImportProjections",
        "Import a measured scan as a projections file.",
        ("diffusionblend projections import tooth.h5 -o scan.h5",),
    ),
    "projections metal": Entry(
        "metal:Metal",
        "Leave out the rays through metal.",
        ("diffusionblend projections metal scan.h5 -o without-metal.h5",),
    ),
}
"""By the names that records give them."""
