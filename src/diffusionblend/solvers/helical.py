"""Weighted filtered back-projection of helical scans (Stierstorfer et al. 2004, Phys. Med. Biol.
49, 2209).
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
import torch

from diffusionblend.errors import InputError
from diffusionblend.geometry import Helix
from diffusionblend.geometry.grid import Grid
from diffusionblend.operators.kernels.threads import in_parts
from diffusionblend.solvers.filters import ramp_filter

FULL_ROWS = 0.5
"""Share of the rows, about the middle, that count fully; towards the edges they count less."""
MOST_SPOTS = 8
UNEVEN_STEPS = 3.0
"""A step between two views above so many median ones is a gap."""
OFF_MIDDLE = 0.05
"""Share of the columns by which a detector may reach farther to one side of the axis."""
MISSED_SHARE = 0.002
"""Share of the directions, in the mean over a slice's circle, that it may lack."""


def weighted_filtered_back_projection(
    y: torch.Tensor, geometry: Helix, grid: Grid, *, window: str = "ram-lak"
) -> torch.Tensor:
    """Attenuation in 1/mm (z, y, x) from line integrals (view, row, column) of a helix.

    Every detector row is sorted into parallel beams and filtered; a voxel takes, for each direction
    within half a turn, the mean of all beams that pass it in that direction or against it, weighted
    by the row that sees it. So each direction counts once, whatever the pitch and wherever the
    voxel lies. Approximate where rays climb; views are interpolated, so few of them blur what is
    far from the axis. Computes in float32 on the CPU. Warns of slices at the ends that are not
    measured over half a turn. Raises InputError for another class than Helix, on an unknown window,
    for views that do not follow each other in even steps, a detector that reaches farther to one
    side, and a pitch that leaves gaps in every slice.
    """
    from diffusionblend.operators.kernels import helical as kernels

    if type(geometry) is not Helix:
        raise InputError(
            f"Helical filtered back-projection was asked for a {type(geometry).__name__}.",
            "a Helix",
            "an iterative method, such as --method admm-tv",
        )
    check_helix(geometry)
    beams = [_sorted(y, geometry, views, spot, window) for views, spot in _spots_of(geometry)]
    filtered = np.stack([beam.filtered for beam in beams])
    volume, missing = np.zeros(grid.shape, np.float32), np.zeros(grid.shape, np.int32)
    sizes, spacing = np.array(grid.shape), np.array(grid.spacing_mm)
    layout = beams[0].layout
    arguments = (
        filtered,
        np.stack([beam.source for beam in beams]),
        np.stack([beam.leaning for beam in beams]),
        np.stack([beam.stretch for beam in beams]),
        np.array((layout.first_rad, layout.step_rad, layout.half_turn)),
        np.array((layout.places_mm[0], layout.places_mm[1] - layout.places_mm[0])),
        np.array(
            (
                geometry.pitch_mm / (2 * math.pi),
                geometry.row_mm,
                geometry.detector_lift_mm,
                FULL_ROWS,
            )
        ),
        np.concatenate([-(sizes - 1) / 2 * spacing, spacing]),
    )
    in_parts(kernels.back_project_parallel_rows, grid.shape[1], *arguments, volume, missing)
    _check_coverage(missing / layout.half_turn, grid, float(np.abs(layout.places_mm).max()))
    return torch.from_numpy(volume).to(y.device)


@dataclass(frozen=True, eq=False)
class _Layout:
    """The parallel beams: directions first_rad + j step_rad, half_turn of them in half a turn, and
    columns at places_mm from the axis.
    """

    first_rad: float
    step_rad: float
    half_turn: int
    n_directions: int
    places_mm: np.ndarray


@dataclass(frozen=True, eq=False)
class _Beams:
    """The filtered beams (direction, column, row) of one position of the focal spot, and where
    their rays run, as the kernel takes it.
    """

    layout: _Layout
    filtered: np.ndarray
    source: np.ndarray
    leaning: np.ndarray
    stretch: np.ndarray


def check_helix(geometry: Helix) -> None:
    """Raise InputError for views or a detector that helical back-projection cannot take."""
    _check_middle(geometry)
    _spots_of(geometry)


def _check_middle(geometry: Helix) -> None:
    """Raise InputError for a detector that reaches farther to one side of the axis."""
    half_mm = geometry.column_mm / 2
    ends = geometry.column_positions_mm[[0, -1]] + (-half_mm, half_mm) - geometry.axis_position_mm
    off_columns = abs(ends.sum()) / geometry.column_mm
    if off_columns > max(1.0, OFF_MIDDLE * geometry.n_columns):
        raise InputError(
            f"The helix's detector reaches from {ends[0]:.1f} to {ends[1]:.1f} mm about the axis.",
            "as far to both sides, for filtered back-projection",
            "an iterative method, such as --method admm-tv",
        )


def _spots_of(geometry: Helix) -> list[tuple[np.ndarray, np.ndarray]]:
    """The views of each position of the focal spot, by rising angle. InputError for too many."""
    found = []
    angles = np.array(geometry.angles_rad)
    for views, spot in geometry.by_spot():
        found.append((views[np.argsort(angles[views])], spot))
    if len(found) > MOST_SPOTS:
        raise InputError(
            f"The focal spot takes {len(found)} positions.",
            f"up to {MOST_SPOTS}, each over the whole helix, for filtered back-projection",
            "an iterative method, such as --method admm-tv",
        )
    for views, _ in found:
        steps = np.diff(angles[views])
        if len(views) < 2 or steps.max() > UNEVEN_STEPS * np.median(steps) or steps.min() <= 0:
            raise InputError(
                f"The {len(views)} views of a helix (with one focal spot) do not follow each "
                f"other in even steps{_widest_step(views, steps)}.",
                "views in even steps, none twice, for filtered back-projection",
                "an iterative method, such as --method admm-tv",
            )
    return found


def _widest_step(views: np.ndarray, steps: np.ndarray) -> str:
    """Where the widest of the steps between views is, in words; nothing of equal angles."""
    if not len(steps) or steps.min() <= 0:
        return ""
    widest, usual = int(steps.argmax()), float(np.median(steps))
    before, after = sorted(views[widest : widest + 2])
    return (
        f": views {before} and {after} are {math.degrees(steps[widest]):.3g} degrees apart, others "
        f"{math.degrees(usual):.3g}, so that some {round(steps[widest] / usual) - 1} are missing"
    )


def _layout(geometry: Helix) -> _Layout:
    """The beams that all positions of the focal spot are sorted into."""
    angles = np.sort(np.array(geometry.angles_rad))
    step = float(np.median(np.diff(angles)))
    half_turn = max(1, math.ceil(math.pi / step - 1e-6))
    step = math.pi / half_turn
    reach = np.abs(geometry.column_angles_rad).max() + step
    first, last = angles[0] - reach, angles[-1] + reach
    n_directions = math.ceil((last - first) / step) + 1
    radius = math.hypot(geometry.source_to_axis_mm, geometry.axis_shift_mm)
    lean = np.arctan2(geometry.axis_shift_mm, geometry.source_to_axis_mm)
    ends = radius * np.sin(geometry.column_angles_rad[[0, -1]] - lean)
    width = geometry.column_mm * geometry.source_to_axis_mm / geometry.source_to_detector_mm
    n_columns = max(2, math.floor((ends[1] - ends[0]) / width + 1e-6) + 1)
    middle = (ends[0] + ends[1]) / 2
    places = middle + (np.arange(n_columns) - (n_columns - 1) / 2) * width
    return _Layout(first, step, half_turn, n_directions, places)


def _sorted(
    y: torch.Tensor, geometry: Helix, views: np.ndarray, spot: np.ndarray, window: str
) -> _Beams:
    """The views of one position of the focal spot, sorted into parallel beams and filtered."""
    layout = _layout(geometry)
    across, distance = geometry.column_angles_rad, geometry.source_to_detector_mm
    aside, ahead = geometry.column_positions_mm, np.full(geometry.n_columns, distance)
    if geometry.curved:
        aside, ahead = distance * np.sin(across), distance * np.cos(across)
    aside, ahead = aside - spot[0], ahead - spot[1]
    lengths, leaning = np.hypot(aside, ahead), np.arctan2(aside, ahead)
    # the source in the frame that turns: along u and n
    source = np.array((-geometry.axis_shift_mm, -geometry.source_to_axis_mm)) + spot[:2]
    radius, off = float(np.hypot(*source)), math.atan2(-source[0], -source[1])
    leans = np.arcsin(np.clip(layout.places_mm / radius, -1, 1)) + off
    columns = np.interp(leans, leaning, np.arange(geometry.n_columns))
    stretch = np.interp(leans, leaning, lengths)

    heights = geometry.row_positions_mm[:, None] - spot[2]
    flattened = lengths / np.sqrt(lengths**2 + heights**2)
    data = y[torch.as_tensor(views)].cpu().float() * torch.from_numpy(flattened).float()
    angles = np.array(geometry.angles_rad)[views]
    directions = layout.first_rad + layout.step_rad * np.arange(layout.n_directions)
    at = np.interp(directions[:, None] + leans, angles, np.arange(len(views)))
    beams = _read(data, at, columns)
    filtered = ramp_filter(beams, layout.places_mm[1] - layout.places_mm[0], window)
    half_step = float(np.median(np.diff(angles))) / 2
    at_zero = geometry.start_mm - geometry.pitch_mm / (2 * math.pi) * geometry.angles_rad[0]
    described = (radius, at_zero, angles[0] - half_step, angles[-1] + half_step, spot[2], 0.0)
    ordered = filtered.permute(0, 2, 1).contiguous().numpy()
    return _Beams(layout, ordered, np.array(described), leans, stretch)


def _read(data: torch.Tensor, at: np.ndarray, columns: np.ndarray) -> torch.Tensor:
    """Beams (direction, row, column) read between views `at` (direction, column) and columns."""
    n_views, _, n_columns = data.shape
    low = np.clip(np.floor(columns).astype(np.int64), 0, max(n_columns - 2, 0))
    part = torch.from_numpy(columns - low).float()
    high = np.minimum(low + 1, n_columns - 1)
    in_columns = (1 - part) * data[..., torch.from_numpy(low)]
    in_columns += part * data[..., torch.from_numpy(high)]
    below = np.clip(np.floor(at).astype(np.int64), 0, max(n_views - 2, 0))
    share = torch.from_numpy(at - below).float()[:, None]
    every = torch.arange(len(columns))
    beams = []
    for views, over in zip(torch.from_numpy(below), share, strict=True):
        near = in_columns[views, :, every].T
        far = in_columns[(views + 1).clamp(max=n_views - 1), :, every].T
        beams.append((1 - over) * near + over * far)
    return torch.stack(beams)


def _check_coverage(missed: np.ndarray, grid: Grid, radius_mm: float) -> None:
    """Warn of slices that are not measured over half a turn; raise InputError where all are not.

    missed: share of the directions that no beam measures, (z, y, x).
    """
    (_, n_y, n_x), (_, mm_y, mm_x) = grid.shape, grid.spacing_mm
    y, x = (np.arange(n_y) - (n_y - 1) / 2) * mm_y, (np.arange(n_x) - (n_x - 1) / 2) * mm_x
    reach_mm = min(radius_mm, max(n_y * mm_y, n_x * mm_x) / 2)
    circle = np.hypot(y[:, None], x) < max(reach_mm, np.hypot(mm_y, mm_x))
    of_slice = missed[:, circle].mean(axis=1)
    lacking = np.flatnonzero(of_slice > MISSED_SHARE)
    if len(lacking) == len(of_slice):
        raise InputError(
            f"No slice is measured over half a turn: {100 * of_slice.min():.1f} % of the "
            "directions are missing in the best one.",
            "a pitch of at most the height of all detector rows at the axis, and a helix that "
            "begins and ends beyond the slices",
            "an iterative method, such as --method admm-tv, or fewer slices",
        )
    if lacking.size:
        slices = ", ".join(map(str, lacking[:8])) + (" ..." if lacking.size > 8 else "")
        warnings.warn(
            f"{lacking.size} of {len(of_slice)} slices are not measured over half a turn, so that "
            f"filtered back-projection makes them too dark: {slices}.",
            stacklevel=3,
        )
