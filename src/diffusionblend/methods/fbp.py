"""FBP: filtered back-projection (FDK for a cone), the method without a prior."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from diffusionblend.errors import InputError
from diffusionblend.methods.base import Execution, Method, Solution

if TYPE_CHECKING:
    from diffusionblend.data.projections import Projections
    from diffusionblend.methods.problem import Problem
    from diffusionblend.priors.prior import Prior


@dataclass(frozen=True, kw_only=True)
class Fbp(Method):
    """Filtered back-projection of every slice; FDK for a cone beam."""

    name: ClassVar[str] = "fbp"
    summary: ClassVar[str] = "filtered back-projection"
    when: ClassVar[str] = "many views, or a first look"
    highest_residual: ClassVar[tuple[float, int]] = (0.4, 20)
    basic: ClassVar[tuple[str, ...]] = ("window",)
    volumes_held: ClassVar[int] = 5

    window: Literal["ram-lak", "shepp-logan", "cosine", "hamming", "hann"] = "ram-lak"
    """Window of the ramp filter."""
    extrapolate: bool = False
    """Continue the projections beyond the detector's ends as those of water, for an object that is
    wider than the detector."""

    def run(self, problem: Problem, priors: Mapping[str, Prior], execution: Execution) -> Solution:
        """The filtered back-projection.

        Raises InputError for a geometry that has none, and where `check_complete` does, unless the
        lines are extrapolated.
        """
        import torch

        from diffusionblend.solvers.extrapolation import extrapolated
        from diffusionblend.solvers.filtered_back_projection import filtered_back_projection
        from diffusionblend.units import hu_to_network, mu_to_hu

        scan = problem.projections
        lines, geometry = torch.from_numpy(scan.values).to(problem.device), scan.geometry
        if not self.extrapolate:
            check_complete(scan)
        else:
            lines, geometry = extrapolated(lines, geometry, scan.mu_water_per_mm)
        mu = filtered_back_projection(lines, geometry, scan.grid, window=self.window)
        execution.on_step(1, 1)
        return Solution(hu_to_network(mu_to_hu(mu, scan.mu_water_per_mm)))


def check_complete(scan: Projections) -> None:
    """Raise InputError where lines are missing that no filter can do without: a detector to one
    side of the axis, of an object that it does not see whole, over less than a whole turn.
    """
    from diffusionblend.geometry.checks import lacks_opposite_rays, one_sided_words

    geometry = scan.geometry
    if lacks_opposite_rays(scan.values, geometry):
        words = one_sided_words(geometry)
        raise InputError(
            f"{words[0].upper()}{words[1:]}: the object seems to leave the short side in views "
            "whose opposite ones were not taken, so that filtered back-projection lacks lines and "
            "its values would be wrong by up to tens of per cent.",
            "views over 360 degrees, or a detector that sees the whole object",
            "--method admm-tv (or cgls, sirt) with a --size that holds the whole object; or "
            "--extrapolate, for a rough picture",
        )
