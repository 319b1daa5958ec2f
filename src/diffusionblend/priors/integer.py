"""A network in 8-bit integers on a CPU: its graph, made once of its weights and kept, and run."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch

from diffusionblend.errors import InputError, OutputWriteError
from diffusionblend.io.user_cache import cache_folder, keep, kept
from diffusionblend.priors import integer_engine as engine

if TYPE_CHECKING:
    from diffusionblend.priors.config import NetworkConfig

EXTRA = "openvino"
"""What is installed for it: `pip install diffusionblend[openvino]`."""
SETTINGS = 1
"""Counts the ways in which graphs have been made; another number makes them again."""
NAME_DIGITS = 16
Tell = Callable[[str], None]


class IntegerNetwork:
    """The raw output of a network whose graph has integer layers, for blocks of any size."""

    def __init__(self, graph: tuple[bytes, bytes]) -> None:
        self._graph = graph
        self._workers: dict[tuple[int, ...], engine.Workers] = {}

    def __call__(self, x: torch.Tensor, times: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """(B, output slices, H, W) for blocks x (B, k, H, W) at times (B,) with codes.

        On as many threads as torch has. Raises InputError where a gradient is asked for.
        """
        if x.requires_grad and torch.is_grad_enabled():
            raise InputError(
                "The gradient of a network in int8 was asked for.",
                "a data-consistency step without one, or float32 or bfloat16",
                "--precision auto",
            )
        _, k, height, width = x.shape
        place = (k, height, width, torch.get_num_threads())
        if place not in self._workers:
            self._workers[place] = engine.Workers(self._graph, place[:3], place[3])
        return self._workers[place](x, times, codes)


_networks: WeakKeyDictionary[torch.nn.Module, IntegerNetwork] = WeakKeyDictionary()


def integer_network(
    unet: torch.nn.Module, config: NetworkConfig, tell: Tell | None = None
) -> IntegerNetwork:
    """The integer network of a network, its graph from the cache folder or made, and kept there.

    tell: is called before a graph is made. Raises InputError, see `check_integer`.
    """
    if unet not in _networks:
        check_integer(config, next(unet.parameters()).device)
        _networks[unet] = IntegerNetwork(_graph(unet, config, tell))
    return _networks[unet]


def check_integer(config: NetworkConfig, device: torch.device | str) -> None:
    """Raises InputError where a network cannot run in int8 here."""
    if torch.device(device).type != "cpu":
        raise InputError(
            f"precision is 'int8' on {device}.", "a CPU", "--device cpu, or --precision auto"
        )
    if not config.type.is_diffusion:
        raise InputError(
            f"precision is 'int8' with a network of the type {config.prior_type!r}.",
            "a diffusion prior",
            "--precision auto",
        )
    missing = engine.missing()
    if missing:
        raise InputError(
            f"precision is 'int8', and {' and '.join(missing)} cannot be imported.",
            f"{engine.NAME}, which computes it",
            f"pip install 'diffusionblend[{EXTRA}]', or --precision auto",
        )


def graph_path(unet: torch.nn.Module) -> Path:
    """Where the graph of a network is kept."""
    return cache_folder() / f"int8-{_hash_of(unet)[:NAME_DIGITS]}.graph"


def has_graph(unet: torch.nn.Module, config: NetworkConfig) -> bool:
    """Whether the graph of a network is kept, whole and of these weights, settings and versions."""
    return not engine.missing() and kept(graph_path(unet), _identity(unet, config))[0] is not None


def engine_in_words() -> str:
    """The engine with its version, or what to install for it."""
    if engine.missing():
        return f"{engine.NAME} is not installed (pip install 'diffusionblend[{EXTRA}]')"
    return f"{engine.NAME} {next(iter(engine.versions().values()))}"


def _graph(unet: torch.nn.Module, config: NetworkConfig, tell: Tell | None) -> tuple[bytes, bytes]:
    from diffusionblend.priors.calibration import calibration_blocks

    path, identity = graph_path(unet), _identity(unet, config)
    parts, reason = kept(path, identity)
    if parts is not None:
        return parts[0], parts[1]
    if reason:
        warnings.warn(f"{path} {reason}; the int8 network is made again.", stacklevel=4)
    if tell is not None:
        tell("making the int8 network, once for these weights; it takes a minute or two")
    graph = engine.integer_graph(unet, config.unshuffle, calibration_blocks(config))
    try:
        keep(path, identity, graph)
    except OutputWriteError as error:
        warnings.warn(f"The int8 network is not kept: {error.got}", stacklevel=4)
    return graph


def _identity(unet: torch.nn.Module, config: NetworkConfig) -> dict[str, object]:
    """All that a graph depends on."""
    return {
        "weights": _hash_of(unet),
        "prior type": config.prior_type,
        "settings": SETTINGS,
        "processor": "with VNNI" if engine.has_integer_products() else "without VNNI",
        **engine.versions(),
    }


def _hash_of(unet: torch.nn.Module) -> str:
    """SHA-256 of the network's weights, as they are now, with their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(unet.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
