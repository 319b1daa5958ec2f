"""Priors that come with the package, by name."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from diffusionblend.errors import InputError

DEFAULT_PRIOR = "chest-128"
WEIGHTS_FOLDER = "weights"


def shipped_priors() -> dict[str, Path]:
    """Name and folder of every prior in the package."""
    root = Path(str(resources.files("diffusionblend.priors").joinpath(WEIGHTS_FOLDER)))
    if not root.is_dir():
        return {}
    return {p.name: p for p in sorted(root.iterdir()) if (p / "prior.json").is_file()}


def find_prior(name_or_folder: str | Path) -> Path:
    """The folder of a prior given by name or by its own path. Raises InputError."""
    shipped = shipped_priors()
    if str(name_or_folder) in shipped:
        return shipped[str(name_or_folder)]
    folder = Path(name_or_folder)
    if folder.is_dir():
        return folder
    raise InputError(
        f"There is no prior {str(name_or_folder)!r}.",
        f"a folder with a prior, or one of {', '.join(shipped) or '(none is shipped)'}",
        "'diffusionblend train' to make one",
    )
