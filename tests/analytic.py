"""Analytic oracle: ellipses, their exact line integrals and their picture on a grid.

Written from the convention alone (x along columns, y along rows, mm from the centre of the slice,
rays p = x cos t + y sin t); it shares no code with the operators it checks.
"""

from __future__ import annotations

from dataclasses import dataclass

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
        """Exact line integrals (view, bin): 2 a b value sqrt(s^2 - q^2) / s^2, where s is the half
        width of the shadow and q the distance from its middle."""
        t = np.asarray(angles_rad)[:, None]
        q = np.asarray(positions_mm)[None] - self.x_mm * np.cos(t) - self.y_mm * np.sin(t)
        turned = t - self.turn_rad
        s2 = (self.a_mm * np.cos(turned)) ** 2 + (self.b_mm * np.sin(turned)) ** 2
        chord = 2 * self.a_mm * self.b_mm * np.sqrt(np.clip(s2 - q**2, 0, None)) / s2
        return self.value * chord

    def bin_means(
        self, angles_rad: np.ndarray, positions_mm: np.ndarray, bin_mm: float, parts: int = 16
    ) -> np.ndarray:
        """Line integrals averaged over each bin's width, (view, bin)."""
        inside = ((np.arange(parts) + 0.5) / parts - 0.5) * bin_mm
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
