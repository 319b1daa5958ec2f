"""FBP-UNet: a network trained to add to each slice of an FBP what it lacks (Jin et al. 2017)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from diffusionblend.errors import InputError
from diffusionblend.methods.base import Execution, Method, Solution
from diffusionblend.priors.resolve import PriorSpec, check_prior_fits

if TYPE_CHECKING:
    from diffusionblend.data.projections import Projections
    from diffusionblend.methods.problem import Problem
    from diffusionblend.priors.prior import Prior
    from diffusionblend.priors.restorer import Restorer

BATCH_SLICES = 16


@dataclass(frozen=True, kw_only=True)
class FbpUnet(Method):
    """FBP restored by a network, slice by slice, in one pass."""

    name: ClassVar[str] = "fbp-unet"
    summary: ClassVar[str] = "FBP restored by a network, slice by slice"
    when: ClassVar[str] = "one fixed set of views and no time to sample"
    prior: ClassVar[PriorSpec | None] = PriorSpec("fbp-unet")

    def run(
        self, problem: Problem, priors: Mapping[str, Prior | Restorer], execution: Execution
    ) -> Solution:
        """FBP and one pass of the network; nothing is resumed or shared.

        Raises InputError where the network was trained for slices of another size, or other views.
        """
        import torch

        from diffusionblend.priors.restorer import Restorer
        from diffusionblend.solvers.filtered_back_projection import filtered_back_projection
        from diffusionblend.units import hu_to_network, mu_to_hu

        scan, prior = problem.projections, priors["prior"]
        assert isinstance(prior, Restorer), "resolved by prior type"
        check_prior_fits(prior, scan.grid)
        prior = prior.for_grid(scan.grid)
        check_views(prior, scan)
        lines = torch.from_numpy(scan.values).to(prior.device)
        mu = filtered_back_projection(lines, scan.geometry, scan.grid)
        x = hu_to_network(mu_to_hu(mu, scan.mu_water_per_mm))
        parts = x.split(execution.batch_blocks or BATCH_SLICES)
        restored, began = [], time.perf_counter()
        for i, part in enumerate(parts):
            restored.append(prior.restore(part[:, None])[:, 0])
            execution.on_step(i + 1, len(parts))
        network = time.perf_counter() - began
        return Solution(torch.cat(restored), 1, {"network": network})


def check_views(prior: Restorer, projections: Projections) -> None:
    """Raise InputError unless the scan has the views that the network was trained for."""
    import numpy as np

    from diffusionblend.geometry import ParallelBeam, equally_spaced_angles

    views, arc_degrees = prior.views
    expected = equally_spaced_angles(views, arc_degrees)
    geometry = projections.geometry
    if type(geometry) is not ParallelBeam:
        raise InputError(
            "The network was trained for a parallel beam; the scan is of "
            f"{type(geometry).__name__}.",
            "a parallel beam",
            "--method diffusionblend++",
        )
    found = geometry.angles_rad
    if len(found) != views or not np.allclose(found, expected, atol=1e-6):
        last = np.degrees(max(found))
        arc = last * len(found) / (len(found) - 1) if len(found) > 1 else 180.0
        raise InputError(
            f"The network was trained for {views} views over {arc_degrees:g} degrees; the scan has "
            f"{len(found)} views, up to {last:g} degrees.",
            "the views that it was trained for",
            "'diffusionblend train VOLUMES -o priors/fbp-unet --prior-type fbp-unet --views "
            f"{len(found)} --arc-degrees {arc:g}'",
        )
