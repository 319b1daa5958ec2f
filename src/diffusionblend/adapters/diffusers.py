"""A diffusers network for single slices as a prior, with the range of its values stated.

Such networks (the pixel models of DM4CT: UNet2DModel, one channel, predicting the noise) see
values from -1 to 1; which HU these are is not in their files, and has to be given.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from diffusionblend.errors import InputError
from diffusionblend.priors.config import NetworkConfig
from diffusionblend.priors.prior import Prior
from diffusionblend.units import HU_PER_NETWORK_UNIT

UNET, SCHEDULER = "unet", "scheduler"
"""The folders of a diffusers pipeline."""


@dataclass(repr=False)
class SlicePrior(Prior):
    """A foreign network of single slices; for dds-2d, dds and diffusion-mbir.

    low_hu, high_hu: what -1 and 1 of its range are. own_alpha_bar: its noise schedule.
    """

    low_hu: float = -1000.0
    high_hu: float = 1000.0
    own_alpha_bar: torch.Tensor | None = None

    def denoise(self, x_t: torch.Tensor, t: int, code: float) -> tuple[torch.Tensor, torch.Tensor]:
        """x0 and eps of slices (B, 1, H, W) in HU / 1000 at timestep t of this package's schedule.

        The network is asked at the timestep, a fraction where need be, at which its own range has
        as much noise: with m = a u + b, noise of sigma in u is a sigma in m.
        """
        scale, offset = self._range_map()
        abar = float(self.schedule.alpha_bar[t])
        sigma = ((1 - abar) / abar) ** 0.5
        noisy = x_t / abar**0.5
        own_sigma = scale * sigma
        own_abar = 1 / (1 + own_sigma**2)
        time = torch.full((len(x_t),), self._time_of(own_sigma), device=x_t.device)
        shown = scale * noisy + offset
        eps = self.unet(own_abar**0.5 * shown, time).sample
        x0 = (shown - own_sigma * eps - offset) / scale
        return x0, (noisy - x0) / sigma

    def _range_map(self) -> tuple[float, float]:
        """a and b of m = a u + b, from u in HU / 1000 to the network's range."""
        scale = 2 * HU_PER_NETWORK_UNIT / (self.high_hu - self.low_hu)
        return scale, -1 - scale * self.low_hu / HU_PER_NETWORK_UNIT

    def _time_of(self, sigma: float) -> float:
        """The timestep of the network's schedule with noise of sigma over the clean signal."""
        assert self.own_alpha_bar is not None
        abar = self.own_alpha_bar.double()
        levels = ((1 - abar) / abar).sqrt().log()
        wanted = torch.tensor(sigma, dtype=torch.float64).log().clamp(levels[0], levels[-1])
        above = int(torch.searchsorted(levels, wanted).clamp(1, len(levels) - 1))
        low, high = levels[above - 1], levels[above]
        return above - 1 + float((wanted - low) / (high - low))


def slice_prior(
    source: Path | str,
    *,
    low_hu: float,
    high_hu: float,
    device: torch.device | str = "cpu",
) -> SlicePrior:
    """A prior of slices from a diffusers pipeline: a folder with unet/ and scheduler/, or a hub id.

    low_hu, high_hu: the HU that are -1 and 1 in the network's range. Raises InputError for a
    pipeline of another kind: more channels than one, another prediction than the noise.
    """
    from diffusers import DDPMScheduler, UNet2DModel

    if not low_hu < high_hu:
        raise InputError(f"The range is {low_hu} to {high_hu} HU.", "low_hu below high_hu")
    load: Any = UNet2DModel
    try:
        unet = load.from_pretrained(source, subfolder=UNET)
        scheduler = DDPMScheduler.from_pretrained(source, subfolder=SCHEDULER)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{source} cannot be loaded: {str(error).splitlines()[0]}",
            "a diffusers pipeline with unet/ and scheduler/, a folder or a hub id",
        ) from error
    found = unet.config
    if found.in_channels != 1 or found.out_channels != 1:
        raise InputError(
            f"The network takes {found.in_channels} channels and gives {found.out_channels}.",
            "one channel, a slice",
        )
    prediction = scheduler.config.prediction_type
    if prediction != "epsilon":
        raise InputError(f"The network predicts {prediction!r}.", "'epsilon', the noise")
    config = NetworkConfig(
        prior_type="slices",
        image_size=found.sample_size,
        unshuffle=1,
        channels=(NetworkConfig.norm_groups,),
        attention_levels=0,
        attention_head_channels=NetworkConfig.norm_groups,
    )
    prior = SlicePrior(
        unet.eval().requires_grad_(False),
        config,
        {"source": str(source)},
        "float32",
        source=f"{source} ({low_hu:g} to {high_hu:g} HU)",
        prediction="eps",
        low_hu=low_hu,
        high_hu=high_hu,
        own_alpha_bar=scheduler.alphas_cumprod,
    )
    prior.weights_sha256 = _hash_of(unet, low_hu, high_hu)
    return prior.to(device)


def _hash_of(unet: torch.nn.Module, *limits: float) -> str:
    """What identifies weights and range, for run records and resuming."""
    import hashlib

    digest = hashlib.sha256(repr(limits).encode())
    for name, tensor in sorted(unet.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
