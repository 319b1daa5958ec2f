"""Analytic oracle: ellipses, their exact line integrals and their picture on a grid.

Written from the convention alone (x along columns, y along rows, mm from the centre of the slice,
rays p = x cos t + y sin t); it shares no code with the operators it checks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Ellipse:
    """A filled ellipse: centre and semi-axes in mm, turned by turn_rad, with its value in 1/mm."""

    x_mm: float
    y_mm: float
    a_mm: float
    b_mm: float
    turn_rad: float = 0.0
    value: float = 0.02

    def line_integrals(self, angles_rad: np.ndarray, positions_mm: np.ndarray) -> np.ndarray:
        """Exact line integrals (view, column): 2 a b value sqrt(s^2 - q^2) / s^2, where s is the
        half width of the shadow and q the distance from its middle."""
        t = np.asarray(angles_rad)[:, None]
        q = np.asarray(positions_mm)[None] - self.x_mm * np.cos(t) - self.y_mm * np.sin(t)
        turned = t - self.turn_rad
        s2 = (self.a_mm * np.cos(turned)) ** 2 + (self.b_mm * np.sin(turned)) ** 2
        chord = 2 * self.a_mm * self.b_mm * np.sqrt(np.clip(s2 - q**2, 0, None)) / s2
        return self.value * chord

    def column_means(
        self, angles_rad: np.ndarray, positions_mm: np.ndarray, column_mm: float, parts: int = 16
    ) -> np.ndarray:
        """Line integrals averaged over each column's width, (view, column)."""
        inside = ((np.arange(parts) + 0.5) / parts - 0.5) * column_mm
        fine = (np.asarray(positions_mm)[:, None] + inside).ravel()
        lines = self.line_integrals(angles_rad, fine)
        return lines.reshape(len(lines), -1, parts).mean(axis=2)

    def picture(
        self, shape: tuple[int, int], spacing_mm: tuple[float, float], parts: int = 8
    ) -> np.ndarray:
        """The ellipse averaged over every pixel, (y, x); spacing (y, x)."""
        centres = [
            ((np.arange(n * parts) + 0.5) / parts - n / 2) * step
            for n, step in zip(shape, spacing_mm, strict=True)
        ]
        y, x = centres[0][:, None] - self.y_mm, centres[1][None] - self.x_mm
        c, s = np.cos(self.turn_rad), np.sin(self.turn_rad)
        filled = ((x * c + y * s) / self.a_mm) ** 2 + ((y * c - x * s) / self.b_mm) ** 2 <= 1
        blocks = filled.reshape(shape[0], parts, shape[1], parts)
        return self.value * blocks.mean(axis=(1, 3))


@dataclass(frozen=True, kw_only=True)
class Ellipsoid:
    """A filled ellipsoid: centre and semi-axes (x, y, z) in mm, with its value in 1/mm.

    A semi-axis of infinity makes it a cylinder.
    """

    centre_mm: tuple[float, float, float]
    semi_axes_mm: tuple[float, float, float]
    value: float = 0.02

    def line_integrals(self, points_mm: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Exact integrals along the whole lines through points (..., 3) in directions (..., 3)."""
        length = np.linalg.norm(directions, axis=-1)
        p = (np.asarray(points_mm) - self.centre_mm) / self.semi_axes_mm
        d = directions / length[..., None] / self.semi_axes_mm
        # |p + s d|^2 = 1 has two roots in s, 2 sqrt(half_b^2 - a c) / a apart
        a, half_b, c = (d * d).sum(-1), (p * d).sum(-1), (p * p).sum(-1) - 1
        return self.value * 2 * np.sqrt(np.clip(half_b**2 - a * c, 0, None)) / a

    def picture(
        self,
        shape: tuple[int, int, int],
        spacing_mm: tuple[float, float, float],
        parts: int = 4,
    ) -> np.ndarray:
        """The ellipsoid averaged over every voxel, (z, y, x); spacing (z, y, x)."""
        squares = []
        for axis, (n, step) in enumerate(zip(shape, spacing_mm, strict=True)):
            place = ((np.arange(n * parts) + 0.5) / parts - n / 2) * step
            squares.append(((place - self.centre_mm[2 - axis]) / self.semi_axes_mm[2 - axis]) ** 2)
        filled = squares[0][:, None, None] + squares[1][:, None] + squares[2] <= 1
        blocks = filled.reshape(shape[0], parts, shape[1], parts, shape[2], parts)
        return self.value * blocks.mean(axis=(1, 3, 5))


def panel_rays(
    angles_rad: np.ndarray,
    positions_mm: np.ndarray,
    heights_mm: np.ndarray,
    source_to_axis_mm: float,
    source_to_detector_mm: float,
    *,
    axis_shift_mm: float = 0.0,
    curved: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Points and directions (view, row, column, 3) of the rays of a fan or cone, by the
    convention."""
    t = np.asarray(angles_rad)[:, None, None]
    along, height = np.asarray(positions_mm), np.asarray(heights_mm)[:, None]
    ahead = np.full_like(along, source_to_detector_mm)
    if curved:
        ahead = source_to_detector_mm * np.cos(positions_mm / source_to_detector_mm)
        along = source_to_detector_mm * np.sin(positions_mm / source_to_detector_mm)
    x = along * np.cos(t) - ahead * np.sin(t)
    y = along * np.sin(t) + ahead * np.cos(t)
    x, y, z = np.broadcast_arrays(x, y, height)
    source_x = source_to_axis_mm * np.sin(t) - axis_shift_mm * np.cos(t)
    source_y = -source_to_axis_mm * np.cos(t) - axis_shift_mm * np.sin(t)
    source = np.broadcast_arrays(source_x, source_y, np.zeros_like(z))
    return np.stack(source, axis=-1), np.stack([x, y, z], axis=-1)


def helix_rays(
    angles_rad: np.ndarray,
    positions_mm: np.ndarray,
    heights_mm: np.ndarray,
    source_to_axis_mm: float,
    source_to_detector_mm: float,
    *,
    pitch_mm: float,
    start_mm: float,
    axis_shift_mm: float = 0.0,
    curved: bool = False,
    spots_mm: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Points and directions (view, row, column, 3) of a helix: those of a circle that climb.

    spots_mm: where the focal spot lies in every view, (view, 3), along the columns, the beam and z.
    """
    t = np.asarray(angles_rad)
    source, target = panel_rays(
        t,
        positions_mm,
        heights_mm,
        source_to_axis_mm,
        source_to_detector_mm,
        axis_shift_mm=axis_shift_mm,
        curved=curved,
    )
    # panel_rays has the detector at its distance from the source, with the axis at the origin
    climb = np.zeros((len(t), 1, 1, 3))
    climb[:, 0, 0, 2] = start_mm + pitch_mm * (t - t[0]) / (2 * np.pi)
    spots = np.zeros((len(t), 3)) if spots_mm is None else np.asarray(spots_mm)
    across = np.stack([np.cos(t), np.sin(t), 0 * t], axis=-1)
    ahead = np.stack([-np.sin(t), np.cos(t), 0 * t], axis=-1)
    moved = spots[:, :1] * across + spots[:, 1:2] * ahead + spots[:, 2:] * np.array((0, 0, 1))
    moved = moved[:, None, None]
    return source + climb + moved, target - moved


def rays_of_helix(geometry: Any) -> tuple[np.ndarray, np.ndarray]:
    """The same of a helix geometry, by the numbers that describe it."""
    return helix_rays(
        geometry.angles_rad,
        geometry.column_positions_mm,
        geometry.row_positions_mm,
        geometry.source_to_axis_mm,
        geometry.source_to_detector_mm,
        pitch_mm=geometry.pitch_mm,
        start_mm=geometry.start_mm,
        axis_shift_mm=geometry.axis_shift_mm,
        curved=geometry.curved,
        spots_mm=geometry.spots_mm,
    )
