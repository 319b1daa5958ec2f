"""Discs and spheres as scanners of the field see them, and what their reconstruction must give.

Attenuation is 0.02 per mm at (0, 0) and (0, -30), 0.04 at (15, 10) and 0.005 at (-20, -5), x and y
in mm from the axis; detector columns are 1 mm wide.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch

from diffusionblend.io.scans.options import ReadOptions
from diffusionblend.io.scans.registry import read_raw_scan
from diffusionblend.preprocessing.prepare import Preparation, prepare_scan
from diffusionblend.preprocessing.settings import PrepareSettings
from diffusionblend.solvers.filtered_back_projection import filtered_back_projection

DISCS = ((0, 0, 40, 0.02), (15, 10, 8, 0.02), (-20, -5, 5, -0.015))
"""x, y, radius in mm, attenuation per mm; they add up."""
RIGHT = {(0, 0): 0.02, (15, 10): 0.04, (-20, -5): 0.005, (0, -30): 0.02}
HALF = np.linspace(0, np.pi, 180, endpoint=False)
FULL = np.linspace(0, 2 * np.pi, 240, endpoint=False)
DISTANCES = {"source_to_axis_mm": 431.0, "source_to_detector_mm": 529.0}
FAN = {"geometry": "fan", "column_mm": 1.0, **DISTANCES}
CONE = {**FAN, "geometry": "cone"}


def parallel_lines(
    angles_rad: np.ndarray, n_columns: int = 128, centre: float = 60.3, rows: int = 2, discs=DISCS
) -> np.ndarray:
    """Line integrals (view, row, column) of the discs."""
    p = np.arange(n_columns) - centre
    lines = np.zeros((len(angles_rad), n_columns))
    for x, y, radius, mu in discs:
        middle = (x * np.cos(angles_rad) + y * np.sin(angles_rad))[:, None]
        lines += 2 * mu * np.sqrt(np.maximum(radius**2 - (p - middle) ** 2, 0))
    return np.repeat(lines[:, None], rows, axis=1).astype(np.float32)


def spheres_from_source(
    angles_rad: np.ndarray,
    columns: np.ndarray,
    rows: np.ndarray,
    spheres: tuple[tuple[float, ...], ...],
    source_mm: float = 0.0,
) -> np.ndarray:
    """Line integrals (view, row, column) of spheres (x, y, z, radius, mu) from a source on a
    circle in the plane z = 0, to columns and rows at these places in mm from the axis.

    source_mm: how far the source lies aside of the line that stands on the detector at 0.
    """
    to_axis, to_detector = DISTANCES.values()
    lines = np.zeros((len(angles_rad), len(rows), len(columns)))
    for k, t in enumerate(angles_rad):
        u, n = np.array([np.cos(t), np.sin(t), 0]), np.array([-np.sin(t), np.cos(t), 0])
        source = source_mm * u - to_axis * n
        pixel = columns[None, :, None] * u + rows[:, None, None] * np.array([0, 0, 1.0])
        ray = pixel + (to_detector - to_axis) * n - source
        ray /= np.linalg.norm(ray, axis=2, keepdims=True)
        for x, y, z, radius, mu in spheres:
            to = np.array([x, y, z]) - source
            lines[k] += 2 * mu * np.sqrt(np.maximum(radius**2 - (to @ to - (ray @ to) ** 2), 0))
    return lines.astype(np.float32)


def fan_lines(angles_rad: np.ndarray, n_columns: int, centre: float | None = None) -> np.ndarray:
    """Line integrals (view, 1, column) of the discs in a fan; centre: the column of the axis."""
    centre = (n_columns - 1) / 2 if centre is None else centre
    flat = tuple((x, y, 0, radius, mu) for x, y, radius, mu in DISCS)
    return spheres_from_source(angles_rad, np.arange(n_columns) - centre, np.zeros(1), flat)


def counts_of(lines: np.ndarray, open_beam: float = 20000, dark: int = 100) -> dict:
    """Counts, five flats and three darks, uint16, with Poisson noise, by the names of a scan."""
    rng = np.random.default_rng(0)
    frames = {
        "data": rng.poisson(open_beam * np.exp(-lines)) + dark,
        "flats": rng.poisson(open_beam, (5, *lines.shape[1:])) + dark,
        "darks": np.full((3, *lines.shape[1:]), dark),
    }
    return {name: array.astype(np.uint16) for name, array in frames.items()}


def prepared(source: Path, read: dict, prepare: dict | None = None) -> Preparation:
    """The projections of a measured scan."""
    settings = PrepareSettings(**({"column_mm": 1.0} if prepare is None else prepare))
    return prepare_scan(read_raw_scan(source, ReadOptions(**read)), settings)


def reconstructed(done: Preparation) -> np.ndarray:
    """The filtered back-projection in 1/mm, (z, y, x)."""
    scan = done.projections
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return filtered_back_projection(
            torch.from_numpy(scan.values), scan.geometry, scan.grid
        ).numpy()


def value_at(done: Preparation, x: float, y: float, z: float | None = None) -> float:
    """The mean of 3 x 3 pixels about a point in mm, in the middle slice or that at z."""
    grid, volume = done.projections.grid, reconstructed(done)
    k = grid.shape[0] // 2
    if z is not None:
        k = round((z - grid.origin_mm[2]) / grid.spacing_mm[0])
    i = round((x - grid.origin_mm[0]) / grid.spacing_mm[2])
    j = round((y - grid.origin_mm[1]) / grid.spacing_mm[1])
    assert 0 <= k < grid.shape[0] and 1 <= j < grid.shape[1] - 1 and 1 <= i < grid.shape[2] - 1
    return float(volume[k, j - 1 : j + 2, i - 1 : i + 2].mean())


def check_discs(done: Preparation, part: float = 0.02, points=RIGHT) -> None:
    """The discs are where they are and attenuate what they do, to a part of the largest."""
    found = {point: value_at(done, *point) for point in points}
    for point, value in found.items():
        assert abs(value - RIGHT[point]) < part * 0.04, (point, value, found)
