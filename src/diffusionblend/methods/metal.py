"""Metal: the rays through it are found, and do not count; their values are interpolated."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from diffusionblend.data.projections import Projections
from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError
from diffusionblend.methods.api import make_method
from diffusionblend.methods.base import Method, check_is_scan
from diffusionblend.operators import XRayTransform

METAL_HU = 3000.0
"""Above bone; of metal more than is ever reached where rays are few."""
FIRST_METHOD = "admm-tv"
FIRST_ITERATIONS = 30
LEAST_LENGTH = 0.1
"""Of metal along a ray, in pixels, from which it does not count."""
MOST_LEFT_OUT = 0.5
"""Share of the rays above which no metal is believed."""


@dataclass(frozen=True, kw_only=True)
class FoundMetal:
    """A scan without the rays through metal, where the metal is, and how many rays pass it.

    scan: the rays marked and interpolated. metal: voxels that hold it, bool (z, y, x). share: of
    the rays. first: the reconstruction in which it was found.
    """

    scan: Projections
    metal: np.ndarray
    share: float
    first: Volume


def without_metal(
    scan: Projections,
    *,
    threshold_hu: float = METAL_HU,
    grow_columns: int = 1,
    first: str | Method | None = None,
    device: str = "auto",
) -> FoundMetal:
    """The scan with its rays through metal marked as not measured, their values interpolated.

    A first reconstruction (`first`, a method, by default 30 iterations of admm-tv) is thresholded
    and projected; columns beside the trace are left out too. Values there are interpolated linearly
    between the columns next to them (Kalender et al. 1987, Radiology 164), which FBP takes; all
    other methods leave these rays out. Raises InputError where nothing reaches the threshold, and
    where half of the rays would be lost.
    """
    check_is_scan(scan)
    if not math.isfinite(threshold_hu) or grow_columns != int(grow_columns) or grow_columns < 0:
        raise InputError(
            f"Metal was looked for above {threshold_hu} HU, {grow_columns} columns beside it left "
            "out.",
            "a finite number of HU, and a whole number of columns from 0",
        )
    method = first
    if method is None:
        method = make_method(FIRST_METHOD, iterations=FIRST_ITERATIONS)
    found = make_method(method)(scan, device=device).volume
    metal = found.values > threshold_hu
    if not metal.any():
        raise InputError(
            f"No voxel of a first reconstruction lies above {threshold_hu:g} HU; the highest has "
            f"{found.values.max():.0f}.",
            "metal in the scan",
            "a lower --threshold-hu, or the scan as it is",
        )
    trace = _trace(scan, metal, grow_columns)
    share = float(trace.mean())
    if share > MOST_LEFT_OUT:
        raise InputError(
            f"{100 * share:.0f} % of the rays pass voxels above {threshold_hu:g} HU.",
            "metal that few rays meet",
            "a higher --threshold-hu",
        )
    measured = ~trace if scan.measured is None else scan.measured & ~trace
    notes = scan.notes | {"metal": {"threshold_hu": float(threshold_hu), "rays_left_out": share}}
    marked = replace(
        scan, values=interpolated(scan.values, measured), measured=measured, notes=notes
    )
    return FoundMetal(scan=marked, metal=metal, share=share, first=found)


def _trace(scan: Projections, metal: np.ndarray, grow_columns: int) -> np.ndarray:
    """Which rays (view, row, column) pass metal, or lie up to so many columns beside one."""
    operator = XRayTransform(scan.geometry, scan.grid, scale=1 / scan.grid.spacing_mm[2])
    lengths = operator.forward(torch.from_numpy(metal.astype(np.float32)))
    width = 2 * int(grow_columns) + 1
    passed = (lengths > LEAST_LENGTH).float()
    grown = torch.nn.functional.max_pool1d(passed, width, stride=1, padding=width // 2)
    return grown.numpy() > 0


def interpolated(values: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """Line integrals (view, row, column), linear along the columns where they are not measured.

    Beyond the last measured column its value goes on; a row without any stays as it is.
    """
    filled = values.copy()
    columns = np.arange(values.shape[2])
    for view, row in np.argwhere(~measured.all(axis=2) & measured.any(axis=2)):
        known = measured[view, row]
        filled[view, row, ~known] = np.interp(
            columns[~known], columns[known], values[view, row, known]
        )
    return filled
