"""Where a prior lies: in the package, in a folder, or on the Hugging Face hub."""

from __future__ import annotations

import difflib
import json
import re
from importlib import resources
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from diffusionblend.errors import InputError
from diffusionblend.priors.reach import Reach

if TYPE_CHECKING:
    from diffusionblend.geometry.grid import Grid

DEFAULT_ORDER = ("chest", "chest-slices", "chest-conditional", "chest-coronal", "chest-fbp")
"""Shipped priors of every type, best first: where none is named, a method takes the first of its
prior type that serves the scan."""
DEFAULT_PRIOR = DEFAULT_ORDER[0]
WEIGHTS_FOLDER = "weights"
HUB_ID = re.compile(r"(?P<repository>\w[\w.-]*/\w[\w.-]*)(@(?P<revision>\w[\w./-]*))?", re.ASCII)
"""A hub id: owner/name, or owner/name@revision with a branch, a tag or a commit."""
HUB_FILES = ("prior.json", "config.json", "*.safetensors", "README.md", "calibration.json")
"""What is fetched of a repository."""


def shipped_priors() -> dict[str, Path]:
    """Name and folder of every prior in the package."""
    root = Path(str(resources.files("diffusionblend.priors").joinpath(WEIGHTS_FOLDER)))
    if not root.is_dir():
        return {}
    return {p.name: p for p in sorted(root.iterdir()) if (p / "prior.json").is_file()}


def shipped_facts() -> dict[str, dict]:
    """Name and prior.json of every prior in the package."""
    return {
        name: json.loads((folder / "prior.json").read_text())
        for name, folder in shipped_priors().items()
    }


def shipped_for(grid: Grid, prior_type: str = "joint") -> str | None:
    """The shipped prior of a type that a scan of such slices takes where none is named.

    Where none serves them it is one for any size, else the first of that type; None where there is
    none of the type.
    """
    facts = shipped_facts()
    reaches = {name: Reach.of_facts(name, facts[name]) for name in shipped_of_type(prior_type)}
    serving = (name for name, reach in reaches.items() if reach.serves(grid))
    any_size = (name for name, reach in reaches.items() if reach.size is None)
    return next(chain(serving, any_size, reaches), None)


def shipped_of_type(prior_type: str) -> tuple[str, ...]:
    """The names of the shipped priors of a type, best first."""
    return tuple(name for name, kind in _types().items() if kind == prior_type)


def default_priors() -> tuple[str, ...]:
    """The first shipped prior of each prior type, for a comparison of methods."""
    types = _types()
    return tuple(dict.fromkeys(shipped_of_type(kind)[0] for kind in types.values()))


def _types() -> dict[str, str]:
    """The prior type of each shipped prior that is taken where none is named, best first."""
    facts = shipped_facts()
    known = (name for name in DEFAULT_ORDER if name in facts)
    return {name: facts[name]["network"].get("prior_type", "joint") for name in known}


def find_prior(name_or_folder: str | Path) -> Path:
    """The folder of a prior given by name, by its own path, or as text by its hub id.

    A prior of the hub ("owner/name" or "owner/name@revision") is fetched once into the hub's cache;
    shipped names and folders come first. Raises InputError.
    """
    shipped = shipped_priors()
    if str(name_or_folder) in shipped:
        return shipped[str(name_or_folder)]
    folder = Path(name_or_folder)
    if folder.is_dir():
        return folder
    hub_id = HUB_ID.fullmatch(name_or_folder) if isinstance(name_or_folder, str) else None
    if hub_id is not None:
        return _fetched(hub_id["repository"], hub_id["revision"])
    name = str(name_or_folder)
    begun = [n for n in DEFAULT_ORDER if n in shipped and name and n.startswith(name)]
    near = begun or difflib.get_close_matches(name, shipped, 1)
    raise InputError(
        f"There is no prior {str(name_or_folder)!r}.",
        f"a folder with a prior, one of {', '.join(shipped) or '(none is shipped)'}, or a Hugging "
        "Face hub id, owner/name",
        f"did you mean {near[0]}?" if near else "'diffusionblend train' to make one",
    )


def _fetched(repository: str, revision: str | None) -> Path:
    """The folder of a prior of the hub, from its cache or the network. Raises InputError."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    shown = repository if revision is None else f"{repository}@{revision}"
    try:
        return Path(
            snapshot_download(repository, revision=revision, allow_patterns=list(HUB_FILES))
        )
    except RepositoryNotFoundError as error:
        raise InputError(
            f"There is no folder {shown} here and no repository {repository} on the Hugging Face "
            "hub, or it is private.",
            "a folder with a prior, or the hub id of one, owner/name",
            "check the path; for a private one, log in with 'hf auth login'",
        ) from error
    except RevisionNotFoundError as error:
        raise InputError(
            f"The repository {repository} on the Hugging Face hub has no revision {revision!r}.",
            "a branch, a tag or a commit of it",
            repository,
        ) from error
    except Exception as error:  # of the hub's library, its network library or the system
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise InputError(
            f"There is no folder {shown} here, and it could not be fetched from the Hugging Face "
            f"hub: {reason}",
            "a folder with a prior, or a hub id and a connection to huggingface.co",
            "check the network, or copy the repository's files into a folder and give its path",
        ) from error
