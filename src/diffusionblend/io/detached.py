"""Data that lie apart from the file that describes them: only in its own folder or below it."""

from __future__ import annotations

from pathlib import Path

from diffusionblend.errors import InputError


def is_beside(header: Path | str, named: Path | str) -> bool:
    """Whether a file that a header names lies in the header's folder or below, links followed."""
    folder = Path(header).parent
    try:
        return (folder / named).resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # a link to itself, a name with a null byte
        return False


def leads_away(header: Path | str, named: str) -> bool:
    """Whether a library that looks for `named` could find it elsewhere than beside the header.

    Libraries look in the header's folder and where the program stands. What is nowhere to be found
    leads nowhere.
    """
    for place in (Path(header).parent / named, Path(named)):
        try:
            if place.exists() and not is_beside(header, place.absolute()):
                return True
        except (OSError, ValueError):
            return True
    return False


def check_beside(header: Path | str, named: Path | str) -> None:
    """Raises InputError where a header's data lie elsewhere than in its own folder or below."""
    if not is_beside(header, named):
        raise InputError(
            f"{header} has its data in another folder, {named}.",
            "data in the folder of the header, or below it",
            "put both into one folder, and the bare name of the data into the header",
        )
