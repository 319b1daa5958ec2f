"""A prior: the trained network with all that is needed to denoise blocks of slices with it."""

from __future__ import annotations

import hashlib
import json
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

import torch

from diffusionblend.errors import InputError
from diffusionblend.io.atomic import atomic_output
from diffusionblend.priors.network import NetworkConfig, apply_unet, build_unet
from diffusionblend.priors.precision import Precision, runs_bfloat16
from diffusionblend.priors.schedule import NoiseSchedule
from diffusionblend.priors.store import find_prior

PRIOR_FILE = "prior.json"
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "diffusion_pytorch_model.safetensors"
SAFETENSORS_METADATA = {"format": "pt"}
"""What diffusers and transformers want to read in a file of weights."""
FORMAT_VERSION = 1
PREDICTIONS, RANGE = ("v", "eps", "residual"), "HU / 1000"
AIR = -1.0
"""In the network's range; coronal slices are padded with it."""
CODE_UNITS = ("slices", "mm")


class BlockDenoiser(Protocol):
    """What a sampler asks of a prior."""

    block_slices: int
    schedule: NoiseSchedule

    def denoise(self, x_t: torch.Tensor, t: int, code: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Tweedie's x0 and the noise eps of blocks x_t (B, k, H, W) at timestep t.

        Of all k slices, or of the middle one alone (B, 1, H, W).
        """
        ...


@dataclass
class Prior:
    """A prior of blocks of k slices: predicts v or eps, gives x0 and eps exactly.

    unet: the network, in float32. config: its size and layout. trained: facts of its training
    (data, steps, validation loss), for the record. precision: of the network's arithmetic; "auto"
    is bfloat16 where the device has it in hardware. prediction: "v" or "eps", or "residual" for one
    that restores an FBP. code_unit: what the position code counts, "slices" or "mm".
    """

    unet: torch.nn.Module
    config: NetworkConfig
    trained: dict[str, object] = field(default_factory=dict)
    precision: Precision = "auto"
    schedule: NoiseSchedule = field(default_factory=NoiseSchedule)
    weights_sha256: str = ""
    prediction: str = "v"
    code_unit: str = "slices"

    @property
    def block_slices(self) -> int:
        """Slices k in a block."""
        return self.config.slices_seen

    @property
    def device(self) -> torch.device:
        """Where the network's weights are."""
        return next(self.unet.parameters()).device

    def to(self, device: torch.device | str) -> Prior:
        """The prior with its network moved to a device, ready for inference."""
        self.unet.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
        return self

    def denoise(self, x_t: torch.Tensor, t: int, code: float) -> tuple[torch.Tensor, torch.Tensor]:
        """x0 and eps of blocks x_t (B, k, H, W), network range, at timestep t with position code.

        Of the slices that the layout gives back. Raises InputError where H or W does not suit the
        network; coronal slices are padded until they do.
        """
        if self.config.layout == "coronal":
            height, width = x_t.shape[-2:]
            x_t = self._padded(x_t, t)
        times = torch.full((len(x_t),), t, device=x_t.device)
        predicted = self._predicted(x_t, times, code)
        x_t = x_t[:, self.config.given]
        if self.prediction == "eps":
            x0, eps = self.schedule.x0_from_eps(x_t, predicted, times), predicted
        else:
            x0, eps = self.schedule.x0_and_eps_from_v(x_t, predicted, times)
        if self.config.layout == "coronal":
            return x0[..., :height, :width], eps[..., :height, :width]
        return x0, eps

    def restore(self, image: torch.Tensor) -> torch.Tensor:
        """FBP images (B, 1, H, W), network range, with what they lack added (layout fbp-unet)."""
        times = torch.zeros(len(image), dtype=torch.long, device=image.device)
        return image + self._predicted(image, times, 0.0)

    @property
    def views(self) -> tuple[int, float]:
        """Views and arc in degrees that a network of layout fbp-unet was trained for.

        Raises InputError where its facts do not tell.
        """
        settings = self.trained.get("settings")
        try:
            return int(settings["views"]), float(settings["arc_degrees"])
        except (TypeError, KeyError, ValueError) as error:
            raise InputError(
                "The prior does not tell for which views it was trained.",
                "one written by 'diffusionblend train --layout fbp-unet'",
            ) from error

    def _predicted(self, x: torch.Tensor, times: torch.Tensor, code: float) -> torch.Tensor:
        """The network's output for blocks (B, k, H, W). Raises InputError on their size."""
        multiple = self.config.pixel_multiple
        if x.shape[-1] % multiple or x.shape[-2] % multiple:
            raise InputError(
                f"The prior was given slices of {x.shape[-2]} x {x.shape[-1]} pixels.",
                f"multiples of {multiple} pixels (it was trained at {self.config.image_size})",
            )
        codes = torch.full((len(x),), code, device=x.device)
        return apply_unet(
            self.unet,
            x,
            times,
            codes,
            unshuffle=self.config.unshuffle,
            bf16=runs_bfloat16(self.precision, x.device),
        )

    def _padded(self, x_t: torch.Tensor, t: int) -> torch.Tensor:
        """x_t with air, noised like it, below and right, up to the network's multiple.

        The padding's noise is a fixed one for each timestep, the same for all blocks, so that the
        result depends neither on the batch nor on any generator.
        """
        multiple = self.config.pixel_multiple
        height, width = (-(-n // multiple) * multiple for n in x_t.shape[-2:])
        if (height, width) == tuple(x_t.shape[-2:]):
            return x_t
        noise = torch.randn(height, width, generator=torch.Generator().manual_seed(t)).to(x_t)
        abar = float(self.schedule.alpha_bar[t])
        air = abar**0.5 * AIR + (1 - abar) ** 0.5 * noise
        padded = air.expand(*x_t.shape[:-2], height, width).clone()
        padded[..., : x_t.shape[-2], : x_t.shape[-1]] = x_t
        return padded

    def save(self, folder: Path) -> None:
        """Write network and facts to a folder: diffusers' layout, float16 safetensors.

        Each file appears whole or not at all, prior.json last, since it marks a finished prior.
        Raises OutputWriteError.
        """
        from safetensors.torch import save

        folder = Path(folder)
        half = build_unet(self.config).half()
        half.load_state_dict(self.unet.state_dict())
        with ExitStack() as files:  # which take their places in the reverse of this order
            facts, config, weights = (
                files.enter_context(atomic_output(folder / name, force=True))
                for name in (PRIOR_FILE, CONFIG_FILE, WEIGHTS_FILE)
            )
            content = save(half.state_dict(), metadata=SAFETENSORS_METADATA)
            weights.write_bytes(content)
            config.write_text(half.to_json_string())
            self.weights_sha256 = hashlib.sha256(content).hexdigest()
            facts.write_text(json.dumps(self._facts(), indent=2) + "\n")

    def _facts(self) -> dict[str, object]:
        """The content of prior.json."""
        return {
            "format": FORMAT_VERSION,
            "prediction": self.prediction,
            "code_unit": self.code_unit,
            "range": RANGE,
            "network": asdict(self.config),
            "trained": self.trained,
            "weights_sha256": self.weights_sha256,
        }


def sha256_of_weights(folder: Path) -> str:
    """SHA-256 of a prior's weight file."""
    return hashlib.sha256((Path(folder) / WEIGHTS_FILE).read_bytes()).hexdigest()


def load_prior(name_or_folder: Path | str, device: torch.device | str = "cpu") -> Prior:
    """Read a prior by shipped name, folder or hub id; weights from safetensors alone.

    Raises InputError where files are missing, corrupt, or of another size than they say.
    """
    folder = find_prior(name_or_folder)
    facts = read_facts(folder)
    prediction, code_unit = facts.get("prediction"), facts.get("code_unit", CODE_UNITS[0])
    if prediction not in PREDICTIONS or facts.get("range") != RANGE or code_unit not in CODE_UNITS:
        raise InputError(
            f"{folder} predicts {prediction!r} in {facts.get('range')!r}, code in {code_unit!r}.",
            f"one of {PREDICTIONS} in {RANGE!r}, code in one of {CODE_UNITS}",
        )
    try:
        network = {**facts["network"], "channels": tuple(facts["network"]["channels"])}
        config = NetworkConfig(**network)
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{folder / PRIOR_FILE} does not describe a prior: {error}.",
            "the settings of the network, as written by 'diffusionblend train'",
        ) from error
    digest = sha256_of_weights(folder)
    if digest != facts.get("weights_sha256"):
        raise InputError(
            f"The weights in {folder} are corrupt: SHA-256 {digest[:12]}...",
            f"{str(facts.get('weights_sha256'))[:12]}..., as {PRIOR_FILE} says",
            "fetch or train the prior again",
        )
    unet = build_unet(config)
    _check_config(unet, folder)
    _load_weights(unet, folder)
    prior = Prior(
        unet,
        config,
        trained=facts.get("trained", {}),
        weights_sha256=digest,
        prediction=prediction,
        code_unit=code_unit,
    )
    return prior.to(device)


def read_facts(folder: Path) -> dict:
    """The content of prior.json, once the folder is known to hold a prior. Raises InputError."""
    missing = [n for n in (PRIOR_FILE, WEIGHTS_FILE) if not (folder / n).is_file()]
    if missing:
        raise InputError(
            f"{folder} is not a prior: {' and '.join(missing)} not found.",
            "a folder written by 'diffusionblend train', a shipped prior, or one of the hub",
        )
    try:
        facts = json.loads((folder / PRIOR_FILE).read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(
            f"{folder / PRIOR_FILE} is not valid JSON: {error}.",
            "the file as 'diffusionblend train' wrote it",
            "fetch or train the prior again",
        ) from error
    if not isinstance(facts, dict) or facts.get("format") != FORMAT_VERSION:
        found = facts.get("format") if isinstance(facts, dict) else None
        raise InputError(
            f"{folder / PRIOR_FILE} has format {found!r}.",
            f"format {FORMAT_VERSION}",
            "use the version of diffusionblend that wrote it",
        )
    return facts


def _check_config(unet: torch.nn.Module, folder: Path) -> None:
    """Raises InputError where config.json, of which other programs make the network, differs."""
    path = folder / CONFIG_FILE
    if not path.exists():
        return
    try:
        told = {k: v for k, v in json.loads(path.read_text()).items() if not k.startswith("_")}
    except (json.JSONDecodeError, UnicodeDecodeError, AttributeError) as error:
        raise InputError(
            f"{path} is not the configuration of a network: {error}.",
            "the file as 'diffusionblend train' wrote it",
            "fetch or train the prior again",
        ) from error
    own = json.loads(unet.to_json_string())
    other = sorted(key for key, value in told.items() if own.get(key, value) != value)
    if other:
        raise InputError(
            f"{path} has another {other[0]} than {PRIOR_FILE} says: {told[other[0]]}.",
            "the two files of one prior",
            "fetch or train the prior again",
        )


def _load_weights(unet: torch.nn.Module, folder: Path) -> None:
    from safetensors.torch import load_file

    try:
        unet.load_state_dict(load_file(folder / WEIGHTS_FILE))
    except Exception as error:
        raise InputError(
            f"The weights in {folder} do not fit its network: {str(error).partition(chr(10))[0]}",
            f"weights of the network that {PRIOR_FILE} describes",
        ) from error
