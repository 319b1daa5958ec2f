"""The ramp filter of filtered back-projection, its windows, and the weights of views and rays."""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
import torch

from diffusionblend.errors import InputError
from diffusionblend.geometry.turning import SAME_ANGLE_RAD, Turning, missing_arcs

OnAxis = TypeVar("OnAxis", bound=Turning)

WINDOWS = ("ram-lak", "shepp-logan", "cosine", "hamming", "hann")
"""From the sharpest to the smoothest."""
HAMMING_FLOOR = 0.54


def ramp_filter(
    y: torch.Tensor, column_mm: float, window: str, *, column_rad: float | None = None
) -> torch.Tensor:
    """Ramp-filtered projections (view, row, column), by the band-limited kernel in real space.

    column_mm: the columns' spacing. column_rad: their angle, on a curved detector, whose kernel has
    sines in place of lengths (Kak, Slaney 1988, 3.4.1); then the result is per radian. Raises
    InputError on an unknown window.
    """
    if window not in WINDOWS:
        raise InputError(f"The filter window is {window!r}.", f"one of {', '.join(WINDOWS)}")
    n = y.shape[-1]
    length = 2 ** math.ceil(math.log2(2 * n))
    offsets = np.fft.fftfreq(length, 1 / length)
    step = column_mm if column_rad is None else column_rad
    kernel = np.zeros(length)
    kernel[0] = 1 / (4 * step**2)
    odd = offsets % 2 != 0
    distance = offsets[odd] * step
    if column_rad is not None:
        # offsets beyond the detector meet no data; a sine there could be zero
        distance = np.where(np.abs(offsets[odd]) < n, np.sin(distance), math.inf)
    kernel[odd] = -1 / (np.pi * distance) ** 2
    response = np.fft.rfft(kernel).real * step * window_response(window, length)
    spectrum = torch.fft.rfft(y, n=length) * torch.as_tensor(response).to(y)
    return torch.fft.irfft(spectrum, n=length)[..., :n]


def window_response(window: str, length: int) -> np.ndarray:
    """What a window leaves of each frequency of a real signal, (length // 2 + 1,), 1 at zero."""
    turns = np.fft.rfftfreq(length)  # up to 0.5 at the highest frequency
    if window == "shepp-logan":
        return np.sinc(turns)
    if window == "cosine":
        return np.cos(np.pi * turns)
    if window in ("hann", "hamming"):
        floor = HAMMING_FLOOR if window == "hamming" else 0.5
        return floor + (1 - floor) * np.cos(2 * np.pi * turns)
    return np.ones_like(turns)


def angular_weights(angles_rad: tuple[float, ...], period_rad: float = math.pi) -> np.ndarray:
    """The arc in radians that each view stands for, (view,): pi / n for n equal steps over pi.

    Half of the gap to each neighbour, angles taken modulo the period; a gap that is plainly an arc
    not measured counts as the median gap. Views of the same angle share its arc.
    """
    directions = np.mod(np.asarray(angles_rad, dtype=float), period_rad)
    whole = round(period_rad / SAME_ANGLE_RAD)
    steps = np.round(directions / period_rad * whole).astype(np.int64) % whole
    distinct, view, copies = np.unique(steps, return_inverse=True, return_counts=True)
    gaps = np.diff(distinct, append=distinct[0] + whole) * (period_rad / whole)
    gaps = np.where(missing_arcs(gaps), np.median(gaps), gaps)
    return ((gaps + np.roll(gaps, 1)) / 2 / copies)[view]


def turn_weights(
    angles_rad: tuple[float, ...], fan_rad: np.ndarray, place: np.ndarray | None = None
) -> np.ndarray:
    """Weights (view, column) of a turning source's rays: the view's arc times the ray's share of
    its line, so that both measurements of a line together count once.

    fan_rad: angle of each column's ray to the line from the source through the axis, (column,).
    place: of every column from the axis, by default those angles; of parallel rays, whose angles
    are 0, their distance. A full scan shares evenly, or by Wang 2002 where the detector lies off
    the middle; from 180° and the fan on, Parker 1982 (Med. Phys. 9), widened to the arc as by
    Silver 2000 (Med. Phys. 27); a shorter arc shares smoothly what it has measured twice (Noo et
    al. 2002, Phys. Med. Biol. 47, eq. 25). Over an arc too a ray whose line ends beyond the short
    side of a detector off the middle counts by itself.
    """
    place = fan_rad if place is None else place
    arcs = angular_weights(angles_rad, 2 * math.pi)
    arc = arcs.sum()
    turned = _along_arc(angles_rad, arcs)
    if arc > 2 * math.pi - arcs.min() / 2:
        share = np.broadcast_to(_full_scan_shares(place), (len(arcs), len(place)))
    elif arc >= math.pi + 2 * np.abs(fan_rad).max():
        share = _parker_shares(turned[:, None], fan_rad, arc)
    else:
        share = _short_shares(turned[:, None], fan_rad, arc)
    if arc <= 2 * math.pi - arcs.min() / 2:
        share = _one_sided_shares(share, place)
    return arcs[:, None] * share


def _along_arc(angles_rad: tuple[float, ...], arcs: np.ndarray) -> np.ndarray:
    """How far each view lies along the measured arc, which begins after the widest gap, (view,)."""
    angles = np.mod(np.asarray(angles_rad, dtype=float), 2 * math.pi)
    order = np.argsort(angles)
    gaps = np.diff(angles[order], append=angles[order[0]] + 2 * math.pi)
    first = order[(int(gaps.argmax()) + 1) % len(order)]
    return np.mod(angles - angles[first], 2 * math.pi) + arcs[first] / 2


NARROWEST_SHARE = 0.1
"""Of the short side, over how much at least the shares of a detector off the middle change."""


def _full_scan_shares(place: np.ndarray) -> np.ndarray:
    """Half for each ray; beyond what both sides of a detector off the middle see, all to its own.

    place: of every column from the axis, (column,). In between the share grows smoothly, over as
    much as is seen once, and those of g and -g sum to 1: Wang 2002 (Med. Phys. 29), who has it grow
    over the whole of what both see; a narrower one keeps more of both rays, and so of the photons.
    """
    grown = _seen_once(place)
    if grown is None:
        return np.ones(len(place))
    return (1 + grown) / 2


def _one_sided_shares(share: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Shares (view, column) of an arc with the columns' own: a ray fades out towards the end of a
    detector's short side, as far as its line was measured from the opposite side.

    share: by the arc alone, those of a line's two measurements summing to 1.
    """
    grown = _seen_once(place)
    if grown is None:
        return share
    own, others = share * (1 + np.minimum(grown, 0)), (1 - share) * (1 - np.maximum(grown, 0))
    return np.where(others > 0, own / np.maximum(own + others, 1e-12), 1.0)


def _seen_once(place: np.ndarray) -> np.ndarray | None:
    """How far columns lie towards where a detector off the middle sees each line once, (column,): 1
    there, -1 at the end of its short side, 0 about the axis. None where it does not see the axis.
    """
    reach = np.array((-place.min(), place.max()))
    short, long = reach.min(), reach.max()
    if short <= 0:
        return None
    once = long - short
    if once <= SAME_REACH * long:
        return np.zeros(len(place))
    width = min(short, max(once, NARROWEST_SHARE * short))
    towards = place if reach[1] > reach[0] else -place
    grown = np.clip((np.abs(towards) - (short - width)) / width, 0, 1)
    return np.sign(towards) * np.sin(np.pi / 2 * grown) ** 2


SAME_REACH = 1e-6


def with_opposite_columns(y: torch.Tensor, geometry: OnAxis) -> tuple[torch.Tensor, OnAxis]:
    """Weighted projections (view, row, column) with zeros in the columns of the opposite rays.

    Where a detector off the middle ends, on its short side, filtering leaves values beyond, which
    pixels there need. With the geometry of that many columns.
    """
    wide = geometry.reaching_both_sides()
    added = wide.n_columns - geometry.n_columns
    if not added:
        return y, geometry
    before = wide.detector_shift_mm < geometry.detector_shift_mm
    return torch.nn.functional.pad(y, (added, 0) if before else (0, added)), wide


def _parker_shares(turned: np.ndarray, fan_rad: np.ndarray, arc: float) -> np.ndarray:
    """Parker's weights for an arc of pi and twice a widened fan; (view, 1) and (column,) to both.

    Our ray (t, g) is measured again as (t + pi - 2 g, -g): Parker's with the fan's sign changed.
    """
    wide, fan = (arc - math.pi) / 2, -fan_rad
    rising, falling = np.maximum(wide - fan, 1e-12), np.maximum(wide + fan, 1e-12)
    start = np.sin(np.pi / 4 * np.clip(turned / rising, 0, 2)) ** 2
    end = np.sin(np.pi / 4 * np.clip((arc - turned) / falling, 0, 2)) ** 2
    inside_start, inside_end = turned < 2 * rising, turned > arc - 2 * falling
    return np.where(inside_start, start, np.where(inside_end, end, 1.0))


SMOOTH_SHARE_OF_ARC = 0.25
"""How much of a short arc fades in, and fades out, where lines are measured twice."""


def _short_shares(turned: np.ndarray, fan_rad: np.ndarray, arc: float) -> np.ndarray:
    """Shares for less than 180° and the fan: 1 where a line is measured once."""

    def fade(place: np.ndarray) -> np.ndarray:
        """1 in the middle of the arc, towards 0 at its ends, 0 outside."""
        from_end = np.minimum(place, arc - place) / (SMOOTH_SHARE_OF_ARC * arc)
        return np.where(from_end > 0, np.sin(np.pi / 2 * np.clip(from_end, 0, 1)) ** 2, 0.0)

    own, others = fade(turned), np.zeros(np.broadcast_shapes(turned.shape, fan_rad.shape))
    for half_scan in (math.pi, -math.pi):
        others = others + fade(turned + half_scan - 2 * fan_rad)
    return np.where(others > 0, own / np.maximum(own + others, 1e-12), 1.0)
