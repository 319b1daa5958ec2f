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
    when: ClassVar[str] = "no time to sample"
    prior: ClassVar[PriorSpec | None] = PriorSpec("fbp-unet")

    def run(
        self, problem: Problem, priors: Mapping[str, Prior | Restorer], execution: Execution
    ) -> Solution:
        """FBP and one pass of the network; nothing is resumed or shared.

        Raises InputError where the network was trained for slices of another size, or other views.
        """
        import torch

        from diffusionblend.methods.fbp import check_complete
        from diffusionblend.priors.restorer import Restorer
        from diffusionblend.solvers.filtered_back_projection import filtered_back_projection
        from diffusionblend.units import hu_to_network, mu_to_hu

        scan, prior = problem.projections, priors["prior"]
        assert isinstance(prior, Restorer), "resolved by prior type"
        check_prior_fits(prior, scan.grid)
        check_complete(scan)
        prior = prior.for_grid(scan.grid)
        views, arc_degrees = told_views(prior, scan)
        lines = torch.from_numpy(scan.values).to(prior.device)
        mu = filtered_back_projection(lines, scan.geometry, scan.grid)
        x = hu_to_network(mu_to_hu(mu, scan.mu_water_per_mm))
        parts = x.split(execution.batch_blocks or BATCH_SLICES)
        restored, began = [], time.perf_counter()
        for i, part in enumerate(parts):
            restored.append(
                prior.restore(part[:, None], views=views, arc_degrees=arc_degrees)[:, 0]
            )
            execution.on_step(i + 1, len(parts))
        network = time.perf_counter() - began
        return Solution(torch.cat(restored), 1, {"network": network})


def told_views(prior: Restorer, projections: Projections) -> tuple[int, float]:
    """A network's inputs from a scan: its views and its arc in degrees, or zeros if it takes none.

    Raises InputError unless the views are equally spaced and such as it was trained for.
    """
    import numpy as np

    from diffusionblend.geometry import ParallelBeam, equally_spaced_angles
    from diffusionblend.priors.scans import (
        FEWEST_VIEWS,
        LONGEST_ARC_DEGREES,
        MOST_VIEWS,
        SHORTEST_ARC_DEGREES,
    )

    geometry = projections.geometry
    if type(geometry) is not ParallelBeam:
        raise InputError(
            "The network was trained for a parallel beam; the scan is of "
            f"{type(geometry).__name__}.",
            "a parallel beam",
            "--method diffusionblend++",
        )
    angles = geometry.angles_rad
    n = len(angles)
    last = float(np.degrees(max(angles)))
    found = (n, last * n / (n - 1) if n > 1 else LONGEST_ARC_DEGREES)
    are_even = np.allclose(angles, equally_spaced_angles(*found), atol=1e-6)
    if prior.views is None:
        serves_views = FEWEST_VIEWS <= n <= MOST_VIEWS
        arc_range = SHORTEST_ARC_DEGREES - 1e-3, LONGEST_ARC_DEGREES + 1e-3
        if are_even and serves_views and arc_range[0] <= found[1] <= arc_range[1]:
            return found
        raise InputError(
            f"The scan has {n} views, {'' if are_even else 'not '}equally spaced, up to {last:g} "
            "degrees.",
            f"{FEWEST_VIEWS} to {MOST_VIEWS} views, equally spaced from 0 over "
            f"{SHORTEST_ARC_DEGREES:g} to {LONGEST_ARC_DEGREES:g} degrees, their end left out",
            "--method diffusionblend++",
        )
    views, arc_degrees = prior.views
    if n != views or not np.allclose(angles, equally_spaced_angles(*prior.views), atol=1e-6):
        raise InputError(
            f"The network was trained for {views} views over {arc_degrees:g} degrees; the scan has "
            f"{n} views, up to {last:g} degrees.",
            "the views that it was trained for",
            "'diffusionblend train VOLUMES -o priors/fbp-unet --prior-type fbp-unet --views "
            f"{n} --arc-degrees {found[1]:g}'",
        )
    return 0, 0.0
