"""The compiled back-projection of helical scans whose rows are sorted into parallel beams."""

from __future__ import annotations

import math

import numpy as np

from diffusionblend.operators.kernels.cpu import compiled

LEAST_WEIGHT = 1e-6
"""What rows at the very edge count, so that a direction seen there alone is not lost."""


@compiled
def add_rows(
    here: np.ndarray,
    there: np.ndarray,
    part: float,
    start: float,
    slope: float,
    full: float,
    sums: np.ndarray,
    weights: np.ndarray,
) -> None:
    """sums, weights (z,) += what the rows of two columns read at the heights that they see.

    here, there: the columns (row,); part: how much of the second. Slice z is seen by the row start
    + slope z. full: the share of the rows about the middle that count fully.
    """
    n_rows, n_z = len(here), len(sums)
    first = int(math.ceil((-0.5 - start) / slope))
    last = int(math.floor((n_rows - 0.5 - start) / slope)) + 1
    for z in range(max(first, 0), min(last, n_z)):
        row = start + slope * z
        off = abs(2.0 * row + 1.0 - n_rows) / n_rows
        weight = 1.0
        if off > full:
            faded = min((off - full) / (1.0 - full), 1.0)
            weight = max(math.cos(math.pi / 2 * faded) ** 2, LEAST_WEIGHT)
        row = min(max(row, 0.0), n_rows - 1.0)
        below = min(int(row), max(n_rows - 2, 0))
        above, over = min(below + 1, n_rows - 1), row - below
        near = (1.0 - over) * here[below] + over * here[above]
        far = (1.0 - over) * there[below] + over * there[above]
        sums[z] += weight * ((1.0 - part) * near + part * far)
        weights[z] += weight


@compiled
def add_direction(
    angle: float,
    x_mm: float,
    y_mm: float,
    filtered: np.ndarray,
    spots: np.ndarray,
    leaning: np.ndarray,
    stretch: np.ndarray,
    beam: np.ndarray,
    detector: np.ndarray,
    grid_mm: np.ndarray,
    sums: np.ndarray,
    weights: np.ndarray,
) -> None:
    """sums, weights (z,) += what the beams of one direction read at the voxels (x, y, all z).

    filtered: (spot, column, row) in that direction; the rest as of the whole back-projection.
    """
    n_spots, n_columns, n_rows = filtered.shape
    row_mm = detector[1]
    cos, sin = math.cos(angle), math.sin(angle)
    place = x_mm * cos + y_mm * sin
    column = (place - beam[0]) / beam[1]
    if not 0.0 <= column <= n_columns - 1.0:
        return
    low = min(int(column), n_columns - 2)
    part = column - low
    for spot in range(n_spots):
        turned = angle + (1 - part) * leaning[spot, low] + part * leaning[spot, low + 1]
        if turned < spots[spot, 2] or turned > spots[spot, 3]:
            continue
        length = (1 - part) * stretch[spot, low] + part * stretch[spot, low + 1]
        away = math.sqrt(spots[spot, 0] ** 2 - place**2) - x_mm * sin + y_mm * cos
        height = spots[spot, 1] + detector[0] * turned + spots[spot, 4]
        # the row that sees height z is start + slope z
        slope = length / away / row_mm
        start = (spots[spot, 4] - detector[2]) / row_mm - slope * height
        start += (n_rows - 1) / 2.0 + slope * grid_mm[0]
        here, there = filtered[spot, low], filtered[spot, low + 1]
        add_rows(here, there, part, start, slope * grid_mm[3], detector[3], sums, weights)


@compiled
def back_project_parallel_rows(
    first_row: int,
    last_row: int,
    filtered: np.ndarray,
    spots: np.ndarray,
    leaning: np.ndarray,
    stretch: np.ndarray,
    directions: np.ndarray,
    beam: np.ndarray,
    detector: np.ndarray,
    grid_mm: np.ndarray,
    volume: np.ndarray,
    missing: np.ndarray,
) -> None:
    """volume (z, y, x) += for each direction within half a turn the weighted mean of the filtered
    beams that pass the voxel in it or against it; missing (z, y, x) counts directions without any.
    In some rows y.

    filtered: (spot, direction, column, row), its directions over all turns. spots: (spot, 6), the
    source's distance from the axis, its height at angle 0, the first and the last angle, the spot's
    own height, and 0. leaning, stretch: (spot, column), the angle of the view less the direction,
    and the length in the plane from source to detector. directions: the first one, their step, how
    many make half a turn. beam: the first column's place and the columns' width in mm. detector:
    advance in mm per radian, row_mm, detector_lift_mm, share of the rows that count fully. grid_mm:
    the place of the first voxel (z, y, x) and the spacing.
    """
    n_z, _, n_x = volume.shape
    n_directions = filtered.shape[1]
    first_rad, step_rad, half_turn = directions[0], directions[1], int(directions[2])
    sums, weights = np.empty(n_z), np.empty(n_z)
    for y in range(first_row, last_row):
        y_mm = grid_mm[1] + y * grid_mm[4]
        for x in range(n_x):
            x_mm = grid_mm[2] + x * grid_mm[5]
            for i in range(half_turn):
                sums[:] = 0.0
                weights[:] = 0.0
                for j in range(i, n_directions, half_turn):
                    angle = first_rad + j * step_rad
                    add_direction(
                        angle,
                        x_mm,
                        y_mm,
                        filtered[:, j],
                        spots,
                        leaning,
                        stretch,
                        beam,
                        detector,
                        grid_mm,
                        sums,
                        weights,
                    )
                for z in range(n_z):
                    if weights[z] > 0.0:
                        volume[z, y, x] += sums[z] / weights[z] * step_rad
                    else:
                        missing[z, y, x] += 1
