"""A prior: the trained network with all that is needed to denoise blocks of slices with it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch

from diffusionblend.errors import InputError
from diffusionblend.io.foreign.edge import reason_of
from diffusionblend.priors.description import (
    AGAIN,
    CONFIG_FILE,
    PRIOR_FILE,
    RANGE,
    WEIGHTS_FILE,
    network_of,
    other_than,
    read_config,
    read_facts,
)
from diffusionblend.priors.network import NetworkConfig, build_unet
from diffusionblend.priors.precision import Precision, check_precision
from diffusionblend.priors.prior_types.padding import padded_with_air
from diffusionblend.priors.restorer import Restorer
from diffusionblend.priors.schedule import NoiseSchedule
from diffusionblend.priors.store import find_prior
from diffusionblend.priors.trained_network import TrainedNetwork

PREDICTIONS = ("v", "eps")
CODE_UNITS = ("slices", "mm")


class BlockDenoiser(Protocol):
    """What a sampler asks of a prior."""

    schedule: NoiseSchedule

    @property
    def block_slices(self) -> int:
        """Slices k of a block."""
        ...

    def denoise(self, x_t: torch.Tensor, t: int, code: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Tweedie's x0 and the noise eps of blocks x_t (B, k, H, W) at timestep t.

        Of all k slices, or of the middle one alone (B, 1, H, W).
        """
        ...


@dataclass(repr=False)
class Prior(TrainedNetwork):
    """A diffusion prior of blocks of k slices: predicts v or eps, returns x0 and eps exactly.

    prediction: "v" or "eps". code_unit: what the position code counts, "slices" or "mm".
    """

    schedule: NoiseSchedule = field(default_factory=NoiseSchedule)
    prediction: str = "v"
    code_unit: str = "slices"

    def denoise(self, x_t: torch.Tensor, t: int, code: float) -> tuple[torch.Tensor, torch.Tensor]:
        """x0 and eps of blocks x_t (B, k, H, W), network range, at timestep t with position code.

        Of the output slices of the prior type. Raises InputError where H or W does not suit the
        network, unless it is for every pixel size or the prior type pads its slices.
        """
        height, width = x_t.shape[-2:]
        multiple = self.config.pixel_multiple
        if self.config.length_codes:
            x_t = padded_with_air(x_t, t, multiple, self.schedule, self.config.noisy_slices)
        else:
            x_t = self.config.type.padded(x_t, t, multiple, self.schedule)
        times = torch.full((len(x_t),), t, device=x_t.device)
        predicted = self._predicted(x_t, times, code)
        x_t = x_t[:, self.config.output_slices]
        if self.prediction == "eps":
            x0, eps = self.schedule.x0_from_eps(x_t, predicted, times), predicted
        else:
            x0, eps = self.schedule.x0_and_eps_from_v(x_t, predicted, times)
        return x0[..., :height, :width], eps[..., :height, :width]

    def _facts(self) -> dict[str, object]:
        return super()._facts() | {"prediction": self.prediction, "code_unit": self.code_unit}


def sha256_of_weights(folder: Path) -> str:
    """SHA-256 of a prior's weight file."""
    return hashlib.sha256((Path(folder) / WEIGHTS_FILE).read_bytes()).hexdigest()


def load_prior(
    name_or_folder: Path | str,
    device: torch.device | str = "cpu",
    *,
    precision: Precision = "auto",
) -> Prior | Restorer:
    """Read a prior by shipped name, folder or hub id; weights from safetensors alone.

    precision: "auto" is bfloat16 where the device has it in hardware, else float32; or one of both,
    or "int8" on a CPU, whose graph is made here where it is not kept (see `use_precision`). The
    result is a `Restorer` where the folder has the network of FBP-UNet, else a `Prior`. Raises
    InputError where files are missing, corrupt, or of another size than they say.
    """
    check_precision(precision)
    folder = find_prior(name_or_folder)
    facts = read_facts(folder)
    config = network_of(facts, folder)
    prediction, code_unit = str(facts.get("prediction")), facts.get("code_unit", CODE_UNITS[0])
    expected = PREDICTIONS if config.type.is_diffusion else (Restorer.prediction,)
    if prediction not in expected or facts.get("range") != RANGE or code_unit not in CODE_UNITS:
        raise InputError(
            f"{folder} predicts {prediction!r} in {facts.get('range')!r}, code in {code_unit!r}.",
            f"one of {expected} in {RANGE!r}, code in one of {CODE_UNITS}",
            "use the version of diffusionblend that wrote it",
        )
    digest = sha256_of_weights(folder)
    if digest != facts.get("weights_sha256"):
        raise InputError(
            f"The weights in {folder} are corrupt: SHA-256 {digest[:12]}...",
            f"{str(facts.get('weights_sha256'))[:12]}..., as {PRIOR_FILE} says",
            AGAIN,
        )
    try:
        unet = build_unet(config)
    except (RuntimeError, MemoryError) as error:
        raise InputError(
            f"{folder / PRIOR_FILE} describes a network that cannot be made: {reason_of(error)}.",
            "the settings of the network, as written by 'diffusionblend train'",
            AGAIN,
        ) from error
    _check_config(unet, folder)
    _load_weights(unet, folder)
    prior = make_prior(
        unet,
        config,
        facts.get("trained", {}),
        prediction=prediction,
        code_unit=code_unit,
        pixel_range_mm=_pixel_range_of(facts, folder),
    )
    prior.weights_sha256, prior.source = digest, str(name_or_folder)
    return prior.to(device).use_precision(precision)


def make_prior(
    unet: torch.nn.Module,
    config: NetworkConfig,
    trained: dict[str, object],
    *,
    precision: Precision = "auto",
    prediction: str = "v",
    code_unit: str = "slices",
    pixel_range_mm: tuple[float, float] | None = None,
) -> Prior | Restorer:
    """A network as its prior type uses it: a `Prior`, or a `Restorer`, which has no code."""
    made: Prior | Restorer
    if not config.type.is_diffusion:
        made = Restorer(unet, config, trained, precision)
    else:
        made = Prior(unet, config, trained, precision, prediction=prediction, code_unit=code_unit)
    made.pixel_range_mm = pixel_range_mm
    return made


def _pixel_range_of(facts: dict, folder: Path) -> tuple[float, float] | None:
    """The pixels that a prior.json says the network was trained for. Raises InputError."""
    found = facts.get("pixel_range_mm")
    if found is None:
        return None
    try:
        low, high = (float(mm) for mm in found)
    except (TypeError, ValueError):
        low = high = 0.0
    if not 0 < low <= high:
        raise InputError(
            f"{folder / PRIOR_FILE} gives pixels of {found} mm.",
            "the smallest and the largest pixels, both above 0",
            AGAIN,
        )
    return low, high


def _check_config(unet: torch.nn.Module, folder: Path) -> None:
    """Raises InputError where config.json, of which other programs make the network, differs."""
    path = folder / CONFIG_FILE
    if not path.exists():
        return
    found = read_config(path)
    stated = {k: v for k, v in found.items() if not k.startswith("_")}
    own = json.loads(unet.to_json_string())  # type: ignore[operator]
    other = sorted(key for key, value in stated.items() if own.get(key, value) != value)
    if other:
        raise other_than(path, other[0], stated[other[0]])


def _load_weights(unet: torch.nn.Module, folder: Path) -> None:
    from safetensors.torch import load_file

    try:
        unet.load_state_dict(load_file(folder / WEIGHTS_FILE))
    except Exception as error:
        raise InputError(
            f"The weights in {folder} do not fit its network: {str(error).partition(chr(10))[0]}",
            f"weights of the network that {PRIOR_FILE} describes",
            AGAIN,
        ) from error
