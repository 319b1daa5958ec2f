"""Priors that teach: what they say at high noise is learnt in place of the data's own answer.

Of few patients a network learns the high noise levels by heart: there the answer depends on whose
body it is, and the error on other patients rises while that at low noise still falls. What earlier
priors say of the same noisy blocks keeps the one while the other is trained on (distillation,
Hinton, Vinyals and Dean 2015).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch

from diffusionblend.errors import InputError
from diffusionblend.priors.network import apply_unet
from diffusionblend.priors.precision import runs_bfloat16
from diffusionblend.priors.prior import Prior
from diffusionblend.priors.restorer import Restorer
from diffusionblend.training.settings import TrainSettings

SLICES, COLUMNS = 1, 3
MIRRORS = tuple(
    tuple(axis for axis, turned in zip((SLICES, COLUMNS), turns, strict=True) if turned)
    for turns in product((False, True), repeat=2)
)
"""Axes of blocks (n, k, H, W) along which they may be mirrored: none, either, both."""


class Teachers:
    """Priors that answer for the blocks of high noise, one of them for those of a batch.

    Which, and whether it is asked of blocks mirrored left to right or in the order of their slices,
    follows from the timesteps, so that a resumed run learns the same; a GPU is waited for. Raises
    InputError where one has other inputs, or returns something else, than the run's network, and
    where that sees no noise.
    """

    def __init__(self, priors: Sequence[Prior | Restorer], settings: TrainSettings) -> None:
        network = settings.network
        if not network.type.is_diffusion:
            raise InputError(
                f"Teachers were given to a run of the type {network.prior_type}.",
                "a diffusion prior, which has noise levels",
                "without --teachers",
            )
        for prior in priors:
            own = (network.prior_type, network.block_slices, network.length_codes > 0)
            config = prior.config
            theirs = (config.prior_type, config.block_slices, config.length_codes > 0)
            if own != theirs or prior.prediction != settings.prediction:
                raise InputError(
                    f"A teacher is of the type {config.prior_type}, with blocks of "
                    f"{config.block_slices} slices, and predicts {prior.prediction}.",
                    f"the type {network.prior_type}, blocks of {network.block_slices}, "
                    f"{settings.prediction}, and the lengths as inputs in both or in none",
                    "priors that were trained with the same settings",
                )
        self._settings, self._ways = settings, list(product(priors, MIRRORS))
        self.weights_sha256 = [prior.weights_sha256 for prior in priors]

    def taught(
        self, target: torch.Tensor, blocks: torch.Tensor, t: torch.Tensor, codes: torch.Tensor
    ) -> torch.Tensor:
        """The target (n, k, H, W), that of blocks at timesteps from `taught_from` on replaced."""
        high = t >= self._settings.taught_from
        if not high.any():
            return target
        prior, axes = self._ways[int(t[high].sum()) % len(self._ways)]
        with torch.no_grad():
            said = apply_unet(
                prior.unet,
                blocks[high].flip(axes),
                t[high],
                codes[high],
                unshuffle=prior.config.unshuffle,
                bf16=runs_bfloat16(self._settings.precision, blocks.device),
            )
        found = target.clone()
        found[high] = said.flip(axes)
        return found
