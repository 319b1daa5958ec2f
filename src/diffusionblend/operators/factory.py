"""The X-ray transform of any geometry."""

from __future__ import annotations

import torch

from diffusionblend.geometry import FanBeam, Geometry, ParallelBeam, check_scan
from diffusionblend.geometry.grid import Grid
from diffusionblend.operators.cone import ConeBeamTransform
from diffusionblend.operators.fan import FanBeamTransform
from diffusionblend.operators.parallel import ParallelBeamTransform
from diffusionblend.operators.slicewise import SlicewiseTransform

XRayTransform = SlicewiseTransform | ConeBeamTransform


def make_transform(
    geometry: Geometry,
    grid: Grid,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    scale: float = 1.0,
) -> XRayTransform:
    """A of a geometry and the volume it is to show; how it is held says its `description`.

    scale multiplies every length. Raises InputError where a source lies inside the volume, and
    warns of a detector that does not see all of it.
    """
    check_scan(geometry, grid)
    options = {"device": device, "dtype": dtype, "scale": scale}
    if isinstance(geometry, ParallelBeam):
        return ParallelBeamTransform(geometry, grid, **options)
    if isinstance(geometry, FanBeam):
        return FanBeamTransform(geometry, grid, **options)
    return ConeBeamTransform(geometry, grid, scale=scale)
