"""Truncated projections continued beyond the detector's ends, so that filtering finds no edge."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from diffusionblend.errors import InputError
from diffusionblend.geometry import ConeBeam, FanBeam, Geometry, Helix, ParallelBeam

KINDS = (ParallelBeam, FanBeam, ConeBeam, Helix)
SLOPE_COLUMNS = 8
"""Outer columns over which value and slope at an end are taken."""
REACH = 0.5
"""How far it goes on at each end, as a share of the detector."""
WIDEST_RAD = math.radians(80)
FADE = 0.5
"""Share of the continuation, at its far end, over which it fades to air."""
LEAST_LINE = 0.02
"""A mean line integral at an end below which it sees air."""


def extrapolated(
    y: torch.Tensor, geometry: Geometry, mu_per_mm: float
) -> tuple[torch.Tensor, Geometry]:
    """Line integrals (view, row, column) with more columns at both ends, and their geometry.

    Each row goes on as the chord through a cylinder of water (attenuation mu_per_mm) whose value
    and slope at the end are those measured (Hsieh et al. 2004, Med. Phys. 31, 2385), fading to air.
    Ends that see air go on as air. Raises InputError for a geometry without such columns, and for a
    detector off the middle of a whole turn, whose short end the opposite rays continue.
    """
    if type(geometry) not in KINDS:
        raise InputError(
            f"The projections of a {type(geometry).__name__} were to be continued.",
            f"a {', '.join(kind.__name__ for kind in KINDS)}",
            "an iterative method on a larger grid",
        )
    if geometry.with_opposite_rays() is not geometry:
        raise InputError(
            "The detector lies off the middle, so that opposite rays continue its short end.",
            "a detector whose ends are as far from the axis",
            "leave out the extrapolation",
        )
    known: Any = geometry
    added = max(1, round(REACH * known.n_columns))
    if getattr(geometry, "curved", False):
        outermost = WIDEST_RAD * known.source_to_detector_mm / known.column_mm
        room = outermost - np.abs(known.column_positions_mm).max() / known.column_mm
        added = max(0, min(added, math.floor(room)))
    step_mm = known.column_at_axis_mm
    values = y.detach().cpu().double().numpy()
    ends = [_continued(side, added, step_mm, mu_per_mm) for side in (values[..., ::-1], values)]
    wide = np.concatenate([ends[0][..., ::-1], values, ends[1]], axis=-1)
    wider = replace(known, n_columns=known.n_columns + 2 * added)
    return torch.from_numpy(wide).to(y), wider


def _continued(values: np.ndarray, added: int, step_mm: float, mu_per_mm: float) -> np.ndarray:
    """What follows the last column, (view, row, added)."""
    n = min(SLOPE_COLUMNS, values.shape[-1])
    last = values[..., -n:]
    place = (np.arange(n) - (n - 1)) * step_mm
    if n > 1:
        centred = place - place.mean()
        slope = (last * centred).sum(-1) / (centred**2).sum()
    else:
        slope = np.zeros(last.shape[:-1])
    value = np.maximum(last.mean(-1) - slope * place.mean(), 0.0)
    # p(x) = 2 mu sqrt(R^2 - (x - c)^2): at x = 0 its value is p, its slope -4 mu^2 (0 - c) / p
    centre = value * slope / (4 * mu_per_mm**2)
    square = (value / (2 * mu_per_mm)) ** 2 + centre**2
    beyond = (np.arange(added) + 1) * step_mm
    chords = square[..., None] - (beyond - centre[..., None]) ** 2
    lines = 2 * mu_per_mm * np.sqrt(np.clip(chords, 0, None))
    lines *= (value > LEAST_LINE)[..., None]
    share = (np.arange(added) + 1) / max(added, 1)
    fade = np.cos(np.pi / 2 * np.clip((share - (1 - FADE)) / FADE, 0, 1)) ** 2
    return lines * fade
