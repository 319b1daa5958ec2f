"""One made-up patient: sizes and positions drawn from a seed, and the shapes that all else obeys.

Canonical coordinates in mm: x to the patient's left, y to the back, z to the head, with the origin
in the middle of the chest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from diffusionblend.phantom.shapes import Number, ellipse, ellipsoid, smooth_max, smooth_min

N_RIBS = 12
APEX_LENGTH_MM = 95.0
"""Over which the chest widens from the apex of the lungs to its full width."""

WIDEST_MM = 166.0
"""Half the width of the largest patient's chest, so that the shoulders stay in the field."""

NARROWEST = 0.03
CAVITY_POWER = 2.3


@dataclass(frozen=True, kw_only=True)
class Patient:
    """Sizes in mm, positions in canonical mm, densities in HU; all drawn by `draw_patient`."""

    chest_half_width_mm: float
    chest_half_depth_mm: float
    wall_mm: float
    fat_mm: float
    top_mm: float
    pitch_mm: float
    dome_right_mm: float
    dome_left_mm: float
    dome_height_mm: float
    spine_y_mm: float
    kyphosis_per_mm: float
    scoliosis_mm: float
    heart_mm: tuple[float, float, float]
    heart_axes_mm: tuple[float, float, float]
    heart_turn_rad: float
    aorta_scale: float
    mediastinum_mm: float
    breast_mm: float
    rib_drop_mm: float
    lung_hu: float
    lung_gradient_hu_per_mm: float
    contrast_hu: float
    bone_hu: float
    has_table: bool
    noise_hu: float

    def profile(self, z: Number) -> np.ndarray:
        """Width of the chest at z as a part of its full width: 0 at the apex, 1 far below."""
        u = np.clip((self.top_mm - z) / APEX_LENGTH_MM, NARROWEST / 4, 1)
        return np.sqrt(u * (2 - u))

    def cavity_axes(self, z: Number) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The chest cavity at z: half width, half depth and the y of its middle, in mm."""
        p = self.profile(z)
        flare = 1 - 0.0005 * np.clip(z, -150, 150)
        return (
            self.chest_half_width_mm * p * flare,
            self.chest_half_depth_mm * (0.25 + 0.75 * p) * flare * np.minimum(1, 4 * p),
            -4.0 + 0.35 * self.chest_half_depth_mm * (1 - p),
        )

    def cavity(self, x: Number, y: Number, z: Number) -> np.ndarray:
        """Signed distance in mm to the inside of the rib cage."""
        a, b, middle = self.cavity_axes(z)
        return ellipse(x, y, (0.0, middle), (a, b), power=CAVITY_POWER)

    def body(self, x: Number, y: Number, z: Number) -> np.ndarray:
        """Signed distance in mm to the skin."""
        widen = np.clip((z - self.top_mm + 70) / 60, 0, 1) ** 2 * np.clip((200 - z) / 60, 0.4, 1)
        thin = np.clip((z - self.top_mm + 40) / 80, 0, 1)
        waist = 1 + 0.03 * np.cos(z / 55)
        a = (self.chest_half_width_mm + self.wall_mm + self.fat_mm) * waist + 8 * widen
        b = (self.chest_half_depth_mm + self.wall_mm + self.fat_mm) * waist - 28 * thin
        return ellipse(x, y, (0.0, 2 + 12 * thin), (a, b), power=2.35)

    def spine(self, z: Number) -> tuple[Number, Number]:
        """x and y of the middle of the vertebral bodies at z, in mm."""
        x = self.scoliosis_mm * np.sin(z / 70)
        return x, self.spine_y_mm - self.kyphosis_per_mm * (z - 10) ** 2 / 100

    def vertebra_axes(self, z: Number) -> tuple[Number, Number]:
        """Half width and half depth of the vertebral bodies at z, in mm: larger downwards."""
        grow = 1 - 0.0013 * z
        return 15.5 * grow, 13.0 * grow

    def heart(self, x: Number, y: Number, z: Number) -> np.ndarray:
        """Signed distance in mm to the heart with its sac."""
        hx, hy, hz = self.heart_mm
        a, b, h = self.heart_axes_mm
        left = ellipsoid(x, y, z, (hx + 4, hy, hz - 4), (a, b, 0.9 * h), self.heart_turn_rad)
        right = ellipsoid(x, y, z, (hx - 28, hy + 6, hz + 12), (0.62 * a, 0.85 * b, 0.9 * h))
        return smooth_min(left, right, 14.0)

    def diaphragm(self, x: Number, y: Number, z: Number) -> np.ndarray:
        """Signed distance in mm to what lies above the diaphragm's two domes."""
        w, d = self.chest_half_width_mm, self.chest_half_depth_mm
        r = ((x + 0.52 * w) / (0.56 * w)) ** 2 + ((y + 0.2 * d) / (1.05 * d)) ** 2
        s = ((x - 0.52 * w) / (0.56 * w)) ** 2 + ((y + 0.2 * d) / (1.05 * d)) ** 2
        dome_r = self.dome_right_mm - self.dome_height_mm * r / np.sqrt(1 + 0.12 * r)
        dome_l = self.dome_left_mm - self.dome_height_mm * s / np.sqrt(1 + 0.12 * s)
        surface = np.where(x < 0, dome_r, dome_l) if np.ndim(x) else (dome_r if x < 0 else dome_l)
        return 0.75 * (surface - z)

    def middle(self, x: Number, y: Number, z: Number) -> np.ndarray:
        """Signed distance in mm to what parts the lungs: heart, great vessels and spine."""
        lean = 4 * np.exp(-(((z - 40) / 60) ** 2))
        waist = np.exp(-(((y - 4) / 30) ** 2))
        half = 5 + self.mediastinum_mm * waist * (1 + 0.15 * np.sin(z / 23))
        slab = 0.85 * (np.abs(x - lean) - half)
        sx, sy = self.spine(z)
        a, b = self.vertebra_axes(z)
        bone = ellipse(x, y, (sx, sy + 6), (a + 5, b + 14))
        joined = smooth_min(slab, self.heart(x, y, z), 12.0)
        aorta = ellipse(x, y, self.descending_aorta(z), (15 * self.aorta_scale,) * 2)
        below_arch = smooth_max(aorta, z - 66, 10.0)
        return smooth_min(smooth_min(joined, bone, 10.0), below_arch, 6.0)

    def descending_aorta(self, z: Number) -> tuple[Number, Number]:
        """x and y of the descending aorta at z, in mm: to the left of the spine, then before it."""
        sx, sy = self.spine(z)
        return sx + 21 - 9 * np.clip((20 - z) / 140, 0, 1), sy - 10 - 8 * np.clip(-z / 120, 0, 1)

    def lungs(self, x: Number, y: Number, z: Number) -> np.ndarray:
        """Signed distance in mm to the two lungs: the cavity less mediastinum and diaphragm."""
        walls = smooth_max(self.cavity(x, y, z), -self.middle(x, y, z), 10.0)
        return smooth_max(walls, self.diaphragm(x, y, z), 5.0)

    def points_in_lung(
        self, side: int, n: int, depth_mm: float, rng: np.random.Generator
    ) -> np.ndarray:
        """n points (n, 3) in mm, `depth_mm` or more inside the right (side -1) or left (1) lung."""
        found: list[np.ndarray] = []
        w, d = self.chest_half_width_mm, self.chest_half_depth_mm
        low = np.array([0.0, -1.1 * d, self.dome_right_mm - 110])
        high = np.array([1.1 * w, 1.1 * d, self.top_mm])
        while sum(map(len, found)) < n:
            p = rng.uniform(low, high, (4 * n + 64, 3)) * (side, 1, 1)
            found.append(p[self.lungs(*p.T) < -depth_mm])
        return np.concatenate(found)[:n]


def draw_patient(rng: np.random.Generator) -> Patient:
    """A patient whose size, proportions, organ positions and densities come from `rng`."""
    width = rng.uniform(112, 136)
    top = rng.uniform(100, 122)
    dome = rng.uniform(-76, -36)
    depth = width * rng.uniform(0.64, 0.8)
    wall = rng.uniform(17, 23)
    fat = min(rng.uniform(4, 22), WIDEST_MM - width - wall)
    wide_heart = rng.uniform(0.85, 1.15)
    heart = np.array([28, -0.32 * depth, -38]) + rng.normal(0, 4, 3)
    heart[2] = np.clip(heart[2], dome + 26, dome + 42)
    return Patient(
        chest_half_width_mm=width,
        chest_half_depth_mm=depth,
        wall_mm=wall,
        fat_mm=fat,
        top_mm=top,
        pitch_mm=rng.uniform(21, 24),
        dome_right_mm=dome,
        dome_left_mm=dome - rng.uniform(4, 18),
        dome_height_mm=rng.uniform(42, 62),
        spine_y_mm=depth - rng.uniform(27, 33),
        kyphosis_per_mm=rng.uniform(0.05, 0.14),
        scoliosis_mm=rng.normal(0, 3),
        heart_mm=(float(heart[0]), float(heart[1]), float(heart[2])),
        heart_axes_mm=(54 * wide_heart, 40 * wide_heart * depth / 84, 48 * rng.uniform(0.9, 1.1)),
        heart_turn_rad=rng.uniform(0.35, 0.7),
        aorta_scale=rng.uniform(0.85, 1.2),
        mediastinum_mm=rng.uniform(17, 24),
        breast_mm=rng.uniform(16, 34) if rng.random() < 0.45 else 0.0,
        rib_drop_mm=rng.uniform(75, 105),
        lung_hu=rng.uniform(-900, -830),
        lung_gradient_hu_per_mm=rng.uniform(0.2, 0.7),
        contrast_hu=rng.uniform(140, 260) if rng.random() < 0.45 else rng.uniform(38, 48),
        bone_hu=rng.uniform(520, 800),
        has_table=bool(rng.random() < 0.6),
        noise_hu=rng.uniform(9, 20),
    )
