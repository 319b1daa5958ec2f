"""The network of FBP-UNet: it adds to slices of an FBP what they lack (Jin et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from diffusionblend.errors import InputError
from diffusionblend.priors.trained_network import TrainedNetwork


@dataclass(repr=False)
class Restorer(TrainedNetwork):
    """A network that restores an FBP in one evaluation; not a diffusion prior.

    Of the scans that it was trained for: certain views, or any, which are then its input.
    """

    prediction: ClassVar[str] = "residual"

    def restore(
        self, image: torch.Tensor, *, views: int = 0, arc_degrees: float = 0.0
    ) -> torch.Tensor:
        """FBP images (B, 1, H, W), network range, with what they lack added.

        views, arc_degrees: of their scan, for a network that takes them as inputs, else 0. Raises
        InputError where H or W does not suit the network.
        """
        times = torch.full((len(image),), views, dtype=torch.long, device=image.device)
        return image + self._predicted(image, times, arc_degrees)

    @property
    def views(self) -> tuple[int, float] | None:
        """Views of the scans that it was trained for, and their arc in degrees; None for any.

        Raises InputError where its facts do not contain them.
        """
        settings: Any = self.trained.get("settings")
        try:
            if settings.get("any_scan"):
                return None
            return int(settings["views"]), float(settings["arc_degrees"])
        except (AttributeError, TypeError, KeyError, ValueError) as error:
            raise InputError(
                "The network's facts do not contain the views that it was trained for.",
                "one written by 'diffusionblend train --prior-type fbp-unet'",
            ) from error

    def _facts(self) -> dict[str, object]:
        return super()._facts() | {"prediction": self.prediction}
