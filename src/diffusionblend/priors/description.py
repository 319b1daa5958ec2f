"""What the files of a prior say about it, read and compared before its network is made.

Nothing heavy is imported: a description that claims too much is refused at once.
"""

from __future__ import annotations

import math
from pathlib import Path

from diffusionblend.errors import InputError
from diffusionblend.io.foreign.edge import reason_of
from diffusionblend.io.json_file import read_json_object
from diffusionblend.priors.config import NetworkConfig, with_prior_type

PRIOR_FILE = "prior.json"
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "diffusion_pytorch_model.safetensors"
FORMAT_VERSION = 1
RANGE = "HU / 1000"
AGAIN = "fetch or train the prior again"


def read_facts(folder: Path) -> dict:
    """The content of prior.json, once the folder is known to hold a prior. Raises InputError."""
    missing = [n for n in (PRIOR_FILE, WEIGHTS_FILE) if not (folder / n).is_file()]
    if missing:
        raise InputError(
            f"{folder} is not a prior: {' and '.join(missing)} not found.",
            "a folder written by 'diffusionblend train', a shipped prior, or one of the hub",
            "'diffusionblend priors' for those of the package",
        )
    facts = read_json_object(
        folder / PRIOR_FILE,
        "the description of a prior",
        "the file as 'diffusionblend train' wrote it",
        AGAIN,
    )
    if facts.get("format") != FORMAT_VERSION:
        raise InputError(
            f"{folder / PRIOR_FILE} has format {facts.get('format')!r}.",
            f"format {FORMAT_VERSION}",
            "use the version of diffusionblend that wrote it",
        )
    return facts


def network_of(facts: dict, folder: Path) -> NetworkConfig:
    """The network that a prior.json describes; its prior type may have its old name, layout.

    Raises InputError, also where the other files of the folder contradict it.
    """
    try:
        network = {**facts["network"], "channels": tuple(facts["network"]["channels"])}
        config = NetworkConfig(**with_prior_type(network))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{folder / PRIOR_FILE} does not describe a prior: {error}.",
            "the settings of the network, as written by 'diffusionblend train'",
            AGAIN,
        ) from error
    _check_weights(config, folder / WEIGHTS_FILE)
    _check_sizes(config, folder / CONFIG_FILE)
    return config


def read_config(path: Path) -> dict:
    """The content of config.json, of which other programs make the network. Raises InputError."""
    return read_json_object(
        path,
        "the configuration of a network",
        "the file as 'diffusionblend train' wrote it",
        AGAIN,
    )


def other_than(path: Path, name: str, value: object) -> InputError:
    """The error of a config.json that has another value than prior.json says."""
    return InputError(
        f"{path} has another {name} than {PRIOR_FILE} says: {value}.",
        "the two files of one prior",
        AGAIN,
    )


def _check_weights(config: NetworkConfig, weights: Path) -> None:
    """Raises InputError where a file has too few weights, or a header that is none of its own."""
    from safetensors import SafetensorError, safe_open

    held = weights.stat().st_size
    count = held
    if config.least_weights <= held:
        try:
            with safe_open(weights, "numpy") as file:
                names = file.keys()
                count = sum(math.prod(file.get_slice(name).get_shape()) for name in names)
        except (SafetensorError, OSError) as error:
            raise InputError(
                f"The weights in {weights.parent} are corrupt: {reason_of(error)}.",
                "a whole file of weights (safetensors)",
                AGAIN,
            ) from error
    if config.least_weights > count:
        there = f"{held} bytes" if count == held else f"{count}"
        raise InputError(
            f"{weights.with_name(PRIOR_FILE)} describes a network of at least "
            f"{config.least_weights:.3g} weights, and {weights.name} has {there}.",
            "the two files of one prior",
            AGAIN,
        )


def _check_sizes(config: NetworkConfig, path: Path) -> None:
    """Raises InputError where a config.json, if there is one, describes another network."""
    if not path.exists():
        return
    found = read_config(path)
    for name, value in config.unet_settings.items():
        own = list(value) if isinstance(value, tuple) else value
        if found.get(name, own) != own:
            raise other_than(path, name, found[name])
