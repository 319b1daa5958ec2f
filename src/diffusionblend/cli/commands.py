"""The commands by their names: where each is, what it is for, and how it is called."""

from __future__ import annotations

from diffusionblend.cli.recorded import RECORDED, Entry

_OTHERS: dict[str, Entry] = {
    "projections info": Entry(
        "projections_info:ProjectionsInfo",
        "Print what a projections file or a measured scan contains.",
        ("diffusionblend projections info scan.h5",),
    ),
    "methods": Entry(
        "methods:Methods",
        "List the methods, describe one, or say which suit a scan.",
        (
            "diffusionblend methods",
            "diffusionblend methods dds",
            "diffusionblend methods --for scan.h5",
        ),
    ),
    "settings": Entry(
        "settings:Settings",
        "Print a settings file of a method, with every setting and its help.",
        (
            "diffusionblend settings diffusionblend++ > my.toml",
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
        ("diffusionblend priors", "diffusionblend priors chest"),
    ),
    "doctor": Entry(
        "doctor:Doctor",
        "Print versions, devices, speed and the state of the priors.",
        ("diffusionblend doctor",),
    ),
}

COMMANDS = RECORDED | _OTHERS
"""In the order of the list; a name of two words is a command with subcommands."""


def subcommands_of(name: str) -> tuple[str, ...]:
    """The subcommands of a command, such as those of "projections"."""
    return tuple(n.partition(" ")[2] for n in COMMANDS if n.startswith(f"{name} "))


def first_words() -> tuple[str, ...]:
    """What can follow `diffusionblend`."""
    return tuple(dict.fromkeys(name.partition(" ")[0] for name in COMMANDS))
