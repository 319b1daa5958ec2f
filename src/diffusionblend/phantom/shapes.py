"""Soft-edged shapes: signed distances in mm, the part of a voxel they cover, tubes and trees.

A signed distance is negative inside. Coordinates are canonical millimetres: x to the patient's
left, y to the back, z to the head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

TINY_MM = 1e-3
MURRAY_EXPONENT = 3.0
"""Murray's law: the cube of a vessel's radius is the sum of its branches' cubes."""

Number = np.ndarray | float
"""One number, or one for each voxel."""
Numbers = np.ndarray | Sequence[Number]

EDGE_BEND = 0.07
"""How far the middle of a branch strays sideways, as a part of the branch's length."""


def ellipse(
    x: Number,
    y: Number,
    centre: tuple[Number, Number],
    half_axes: tuple[Number, Number],
    turn_rad: float = 0.0,
    power: float = 2.0,
) -> np.ndarray:
    """Signed distance in mm, along the ray from the centre, to a turned superellipse.

    x, y, and the entries of `centre` and `half_axes` broadcast together.
    """
    u, v = x - centre[0], y - centre[1]
    if turn_rad:
        c, s = np.cos(turn_rad), np.sin(turn_rad)
        u, v = c * u + s * v, c * v - s * u
    u, v = np.abs(u), np.abs(v)
    a, b = half_axes
    if power == 2.0:
        f = np.sqrt((u / a) ** 2 + (v / b) ** 2)
    else:
        a, b = np.maximum(a, TINY_MM), np.maximum(b, TINY_MM)
        f = ((u / a) ** power + (v / b) ** power) ** (1 / power)
    r = np.sqrt(u * u + v * v)
    return np.where(f > TINY_MM, r * (1 - 1 / np.maximum(f, TINY_MM)), -np.minimum(a, b))


def ellipsoid(
    x: Number,
    y: Number,
    z: Number,
    centre: Sequence[float] | np.ndarray,
    half_axes: Sequence[float],
    turn_rad: float = 0.0,
) -> np.ndarray:
    """Signed distance in mm, along the ray from the centre, to an ellipsoid turned about z."""
    u, v, w = x - centre[0], y - centre[1], z - centre[2]
    c, s = np.cos(turn_rad), np.sin(turn_rad)
    u, v = c * u + s * v, c * v - s * u
    a, b, h = half_axes
    f = np.sqrt((u / a) ** 2 + (v / b) ** 2 + (w / h) ** 2)
    r = np.sqrt(u * u + v * v + w * w)
    return np.where(f > TINY_MM, r * (1 - 1 / np.maximum(f, TINY_MM)), -min(half_axes))


def smooth_max(a: Number, b: Number, width_mm: float) -> np.ndarray:
    """The larger of two distances (shapes' intersection), its edge rounded over `width_mm`."""
    h = np.maximum(width_mm - np.abs(a - b), 0) / width_mm
    return np.maximum(a, b) + h * h * width_mm / 4


def smooth_min(a: Number, b: Number, width_mm: float) -> np.ndarray:
    """The smaller of two distances (their shapes' union), the seam rounded over `width_mm`."""
    return -smooth_max(-a, -b, width_mm)


@dataclass(frozen=True)
class Tubes:
    """Straight pieces of round tubes: starts and ends (n, 3) in mm (x, y, z), radii (n,) in mm."""

    starts: np.ndarray
    ends: np.ndarray
    radii: np.ndarray

    def widened(self, by_mm: float) -> Tubes:
        """The same tubes with every radius larger by `by_mm`; pieces left without any are gone."""
        keep = self.radii + by_mm > 0
        return Tubes(self.starts[keep], self.ends[keep], self.radii[keep] + by_mm)

    def __add__(self, other: Tubes) -> Tubes:
        pairs = zip(
            (self.starts, self.ends, self.radii),
            (other.starts, other.ends, other.radii),
            strict=True,
        )
        return Tubes(*(np.concatenate(p) for p in pairs))


def polyline(points: np.ndarray | Sequence[Numbers], radii: float | Numbers) -> Tubes:
    """Tubes along points (n, 3) in mm; `radii` one number or one per point, in mm."""
    points = np.asarray(points, dtype=float)
    radii = np.broadcast_to(np.asarray(radii, dtype=float), len(points))
    return Tubes(points[:-1], points[1:], (radii[:-1] + radii[1:]) / 2)


def curve(
    control: np.ndarray | Sequence[Numbers], radii: float | Numbers, n_points: int = 24
) -> Tubes:
    """Tubes along a smooth curve through `control` points (n, 3) in mm; radii as in `polyline`."""
    from scipy.interpolate import PchipInterpolator

    control = np.asarray(control, dtype=float)
    radii = np.broadcast_to(np.asarray(radii, dtype=float), len(control))
    steps = np.linalg.norm(np.diff(control, axis=0), axis=1)
    knots = np.concatenate([[0], np.cumsum(steps)])
    t = np.linspace(0, knots[-1], n_points)
    return polyline(PchipInterpolator(knots, control)(t), np.interp(t, knots, radii))


def grow_tree(
    start_mm: Numbers, tips_mm: np.ndarray, root_radius_mm: float, rng: np.random.Generator
) -> Tubes:
    """A tree of ever finer tubes from `start_mm` to every one of the tips (n, 3), in mm.

    Each branch runs part of the way to the middle of its tips, which then part in two across
    their widest direction; radii follow Murray's law.
    """
    starts, ends, radii = [], [], []
    n = len(tips_mm)
    stack = [(np.asarray(start_mm, dtype=float), tips_mm)]
    while stack:
        node, tips = stack.pop()
        part = 1.0 if len(tips) == 1 else rng.uniform(0.3, 0.55)
        end = node + part * (tips.mean(axis=0) - node)
        length = float(np.linalg.norm(end - node))
        middle = (node + end) / 2 + rng.normal(0, EDGE_BEND * length, 3)
        starts += [node, middle]
        ends += [middle, end]
        radii += 2 * [root_radius_mm * (len(tips) / n) ** (1 / MURRAY_EXPONENT)]
        if len(tips) > 1:
            centred = tips - tips.mean(axis=0)
            widest = np.linalg.svd(centred, full_matrices=False)[2][0]
            order = np.argsort(centred @ widest, kind="stable")
            cut = int(np.clip(round(len(tips) * rng.uniform(0.3, 0.7)), 1, len(tips) - 1))
            stack += [(end, tips[order[:cut]]), (end, tips[order[cut:]])]
    return Tubes(np.array(starts), np.array(ends), np.array(radii))


@dataclass(frozen=True)
class Canvas:
    """A volume in HU being painted, the canonical coordinates of its voxels, and their size.

    hu, x, y, z: (z, y, x) float32. axes_mm: the undistorted coordinates (z, y, x) along each axis.
    margin_mm: how far canonical and undistorted coordinates differ at most. edge_mm: the width
    over which an edge fades, about a voxel.
    """

    hu: np.ndarray
    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    axes_mm: tuple[np.ndarray, np.ndarray, np.ndarray]
    margin_mm: float
    edge_mm: float

    def cover(self, distance_mm: np.ndarray) -> np.ndarray:
        """The part of each voxel, 0 to 1, that lies inside a shape of the given distance."""
        return np.clip(0.5 - distance_mm / self.edge_mm, 0, 1).astype(np.float32)

    def paint(self, cover: np.ndarray, hu: Number) -> None:
        """Replace what is there by `hu` (one number or a volume) as far as `cover` says."""
        self.hu[...] += cover * (hu - self.hu)

    def box(self, low_mm: np.ndarray, high_mm: np.ndarray) -> tuple[slice, slice, slice] | None:
        """The part of the volume that can hold canonical points between two corners (x, y, z)."""
        box = []
        reach = self.margin_mm + self.edge_mm
        for axis, low, high in zip(self.axes_mm, low_mm[::-1], high_mm[::-1], strict=True):
            i = int(np.searchsorted(axis, low - reach))
            j = int(np.searchsorted(axis, high + reach, side="right"))
            if i >= j:
                return None
            box.append(slice(i, j))
        z, y, x = box
        return z, y, x

    def cover_tubes(self, tubes: Tubes, z_squeeze: float = 1.0) -> np.ndarray:
        """The part of each voxel that lies in the tubes, (z, y, x).

        `z_squeeze` below 1 makes their cross-section taller along z by 1 / z_squeeze.
        """
        cover = np.zeros_like(self.hu)
        for p, q, r in zip(tubes.starts, tubes.ends, tubes.radii, strict=True):
            reach = np.array([r, r, r / z_squeeze])
            box = self.box(np.minimum(p, q) - reach, np.maximum(p, q) + reach)
            if box is None:
                continue
            x, y, z = self.x[box] - p[0], self.y[box] - p[1], (self.z[box] - p[2]) * z_squeeze
            dx, dy, dz = q[0] - p[0], q[1] - p[1], (q[2] - p[2]) * z_squeeze
            length2 = max(dx * dx + dy * dy + dz * dz, TINY_MM)
            t = np.clip((x * dx + y * dy + z * dz) / length2, 0, 1)
            d = np.sqrt((x - t * dx) ** 2 + (y - t * dy) ** 2 + (z - t * dz) ** 2)
            thin = min(1.0, 2 * r / self.edge_mm)
            part = thin * np.clip(0.5 + (r - d) / self.edge_mm, 0, 1)
            np.maximum(cover[box], part, out=cover[box])
        return cover
