"""Painters of soft tissue: wall, mediastinum, heart, airways, lung vessels, nodules, abdomen."""

from __future__ import annotations

import numpy as np

from diffusionblend.phantom.patient import Patient
from diffusionblend.phantom.shapes import (
    Canvas,
    Number,
    Tubes,
    curve,
    ellipse,
    ellipsoid,
    grow_tree,
    smooth_max,
    smooth_min,
)
from diffusionblend.units import AIR_HU

FAT_HU = -102.0
MUSCLE_HU = 55.0
BLOOD_HU = 42.0
LIVER_HU = 60.0
SKIN_HU = 20.0
SKIN_MM = 1.8
AIRWAY_HU = -960.0
AIRWAY_WALL_MM = 1.4

ARTERY_TIPS = 700
VEIN_TIPS = 520
AIRWAY_TIPS = 22
ARTERY_RADIUS_MM = 7.4
VEIN_RADIUS_MM = 6.4
AIRWAY_RADIUS_MM = 5.0


def _enhanced(patient: Patient, part: float) -> float:
    """HU of blood that took up a part of the contrast agent."""
    return BLOOD_HU + part * (patient.contrast_hu - BLOOD_HU)


def muscles(x: Number, y: Number, z: Number, patient: Patient) -> np.ndarray:
    """Signed distance in mm to the muscles outside the rib cage and the shell between the ribs."""
    sx, sy = patient.spine(z)
    w, d = patient.chest_half_width_mm, patient.chest_half_depth_mm
    top = patient.top_mm
    side = np.abs(x)
    shell = patient.cavity(x, y, np.minimum(z, top - 12)) - 9.5
    beside_spine = ellipse(np.abs(x - sx), y, (25.0, sy + 36), (24.0, 15.0))
    chest = ellipsoid(side, y, z, (0.5 * w, -d - 6, top - 48), (0.55 * w, 13.0, 66.0))
    back = ellipse(
        side, y, (0.86 * w, 0.55 * d), (34.0, 22.0 + 8 * np.clip((z - top + 130) / 40, 0, 1)), -0.9
    )
    shoulder = ellipsoid(side, y, z, (0.82 * w, 0.66 * d, top - 40), (58.0, 26.0, 80.0), -0.6)
    arm = ellipsoid(side, y, z, (146.0, 10.0, top + 20), (40.0, 44.0, 62.0))
    neck = np.maximum(ellipse(x, y, (0.0, 14.0), (66.0, 52.0)), top - 14 - z)
    joined = smooth_min(shell, beside_spine, 3.0)
    for part in (chest, back, shoulder, arm, neck):
        joined = smooth_min(joined, part, 2.0)
    return joined


def paint_wall(c: Canvas, patient: Patient, patches: np.ndarray) -> None:
    """Skin, fat, breasts and muscle parted by planes of fat (`patches`: smooth, mean 0, std 1)."""
    body = patient.body(c.x, c.y, c.z)
    skin = body
    if patient.breast_mm:
        for side in (-1, 1):
            centre = (side * 72, -patient.chest_half_depth_mm - patient.wall_mm + 4, -12)
            axes = (52, patient.breast_mm + 12, 58)
            skin = np.minimum(skin, ellipsoid(c.x, c.y, c.z, centre, axes))
    c.paint(c.cover(skin), SKIN_HU)
    c.paint(c.cover(skin + SKIN_MM), FAT_HU)
    if patient.breast_mm:
        glands = c.cover(skin + 9) * np.clip(1.5 * patches - 0.6, 0, 1)
        c.paint(glands * (c.y < -patient.chest_half_depth_mm), 10.0)
    inner = body + patient.fat_mm * (1 + 0.12 * patches)
    muscle = smooth_max(muscles(c.x, c.y, c.z, patient) + 1.2 * patches, inner, 3.0)
    marbling = np.clip(np.abs(patches + 0.4) * 5, 0.55, 1)
    c.paint(c.cover(muscle) * marbling, MUSCLE_HU)


def paint_inside(c: Canvas, patient: Patient, patches: np.ndarray) -> None:
    """What fills the rib cage before the organs: pleural layer, fat with strands, abdomen."""
    cavity = patient.cavity(c.x, c.y, c.z)
    cover = c.cover(cavity)
    strands = np.clip(0.9 * patches + 0.25, 0, 1)
    c.paint(cover, FAT_HU + 18 + 115 * strands)
    under = smooth_max(cavity + 1.5, 2.5 - patient.diaphragm(c.x, c.y, c.z), 4.0)
    w, d = patient.chest_half_width_mm, patient.chest_half_depth_mm
    liver_edge = 0.8 * (c.x - 0.35 * w + 0.5 * (c.y + 0.2 * d))
    liver = smooth_max(under, liver_edge, 12.0)
    c.paint(c.cover(under - 2.5), MUSCLE_HU)
    c.paint(c.cover(under), FAT_HU + 60 * np.clip(patches, 0, 1))
    spleen = ellipsoid(c.x, c.y, c.z, (0.68 * w, 0.35 * d, patient.dome_left_mm - 58), (34, 48, 52))
    c.paint(c.cover(smooth_max(spleen, under, 4.0)), _enhanced(patient, 0.35) + 8)
    stomach = ellipsoid(
        c.x, c.y, c.z, (0.48 * w, -0.2 * d, patient.dome_left_mm - 36), (40, 38, 42), -0.3
    )
    stomach = smooth_max(stomach, under, 4.0)
    c.paint(c.cover(stomach), 48.0)
    bubble = np.maximum(stomach + 5, c.y + 0.3 * d)
    c.paint(c.cover(stomach + 5), 18.0)
    c.paint(c.cover(bubble), AIR_HU + 20)
    c.paint(c.cover(liver), LIVER_HU + 0.2 * (patient.contrast_hu - BLOOD_HU))


def paint_lungs(c: Canvas, patient: Patient, haze: np.ndarray) -> np.ndarray:
    """The lungs' own tissue, denser towards the back; returns their signed distance in mm.

    haze: smooth noise (z, y, x), mean 0, std 1.
    """
    distance = patient.lungs(c.x, c.y, c.z)
    back = patient.lung_gradient_hu_per_mm * (c.y + 0.01 * np.maximum(c.y, 0) ** 2)
    c.paint(c.cover(distance), patient.lung_hu + back + 18 * haze)
    return distance


def lung_trees(patient: Patient, side: int, rng: np.random.Generator) -> dict[str, Tubes]:
    """Arteries, veins and airways of one lung (side -1 right, 1 left), as tubes in mm."""
    hilum = np.array([side * 36.0, 6.0, 14.0 + 6 * side])
    trees = {}
    for name, n, radius, shift in (
        ("arteries", ARTERY_TIPS, ARTERY_RADIUS_MM, (0, 0, 0)),
        ("veins", VEIN_TIPS, VEIN_RADIUS_MM, (-8 * side, 2, -22)),
        ("airways", AIRWAY_TIPS, AIRWAY_RADIUS_MM, (0, 6, -4)),
    ):
        tips = patient.points_in_lung(side, n, 9.0 if name == "airways" else 3.0, rng)
        trees[name] = grow_tree(hilum + shift, tips, radius, rng)
    return trees


def paint_lung_trees(
    c: Canvas, patient: Patient, lungs: np.ndarray, rng: np.random.Generator
) -> None:
    """Branching vessels and walled airways of both lungs."""
    blood = _enhanced(patient, 0.9)
    inside, near = c.cover(lungs), c.cover(lungs - 7)
    for side in (-1, 1):
        trees = lung_trees(patient, side, rng)
        walls = c.cover_tubes(trees["airways"].widened(AIRWAY_WALL_MM))
        c.paint(0.4 * walls * inside, 0.0)
        for name in ("veins", "arteries"):
            c.paint(c.cover_tubes(trees[name]) * near, blood)
        c.paint(c.cover_tubes(trees["airways"]) * inside, AIRWAY_HU)


def paint_nodules(c: Canvas, patient: Patient, rng: np.random.Generator) -> None:
    """One to five nodules a lung, of 2 to 8 mm radius, solid, part-solid or calcified."""
    for side in (-1, 1):
        n = int(rng.integers(1, 6))
        places = patient.points_in_lung(side, n, 6.0, rng)
        for place in places:
            axes = rng.uniform(2, 8) * rng.uniform(0.85, 1.15, 3)
            hu = rng.choice([30.0, 30.0, 60.0, -450.0, 300.0])
            box = c.box(place - axes, place + axes)
            if box is None:
                continue
            d = ellipsoid(c.x[box], c.y[box], c.z[box], place, tuple(axes), rng.uniform(0, 3))
            c.hu[box] += c.cover(d) * (hu - c.hu[box])


def paint_heart(c: Canvas, patient: Patient) -> None:
    """Heart sac with fat, muscle and the four chambers' blood."""
    heart = patient.heart(c.x, c.y, c.z)
    heart = smooth_max(heart, patient.diaphragm(c.x, c.y, c.z) - 4, 6.0)
    c.paint(c.cover(heart), FAT_HU + 95)
    c.paint(c.cover(heart + 1.5), FAT_HU + 10)
    c.paint(c.cover(heart + 5), _enhanced(patient, 0.3) + 6)
    centre, (a, b, h) = np.array(patient.heart_mm), patient.heart_axes_mm
    turn = patient.heart_turn_rad
    along = np.array([np.cos(turn), np.sin(turn), 0.0])
    across = np.array([-np.sin(turn), np.cos(turn), 0.0])
    for forward, side, up, size, part in (
        (0.38, 0.18, -0.15, (0.40, 0.40, 0.52), 1.0),
        (0.10, -0.42, -0.15, (0.50, 0.34, 0.55), 0.7),
        (-0.15, 0.52, 0.25, (0.45, 0.30, 0.40), 1.0),
        (-0.58, -0.10, 0.00, (0.30, 0.55, 0.60), 0.7),
    ):
        place = centre + forward * a * along + side * b * across + (0, 0, up * h)
        axes = (size[0] * a, size[1] * b, size[2] * h)
        chamber = smooth_max(ellipsoid(c.x, c.y, c.z, place, axes, turn), heart + 6, 5.0)
        c.paint(c.cover(chamber), _enhanced(patient, part))


def great_vessels(patient: Patient) -> tuple[Tubes, Tubes]:
    """Systemic arteries, and the veins and pulmonary arteries, in mm."""
    s = patient.aorta_scale
    hx, hy, hz = patient.heart_mm
    zs = np.linspace(40, -190, 12)
    dx, dy = patient.descending_aorta(zs)
    down = np.stack([dx, dy, zs], axis=1)
    root = [[hx - 18, hy + 10, hz + 28], [hx - 32, hy + 3, 22], [hx - 36, hy + 4, 48]]
    arch = [[-2, -8, 70], [12, 12, 72], [down[0, 0], down[0, 1] - 6, 60]]
    aorta = curve([*root, *arch, *down], 14.5 * s, 60)
    aorta = Tubes(aorta.starts, aorta.ends, aorta.radii * np.linspace(1.1, 0.75, 59))
    for x, top_x in ((-8, -26), (3, 16), (14, 28)):
        aorta = aorta + curve([[x, 0, 72], [x * 1.2, -6, 95], [top_x, -2, 175]], 4.8, 10)
    veins = curve([[-24, hy + 8, hz + 15], [-26, -12, 30], [-24, -18, 75], [-22, -18, 90]], 9, 16)
    veins = veins + curve([[-22, -18, 82], [-34, -14, 110], [-52, -8, 150]], 7.0, 10)
    veins = veins + curve([[-22, -22, 84], [10, -32, 92], [32, -16, 112], [50, -8, 150]], 6.5, 14)
    veins = veins + curve([[-20, hy + 25, hz - 20], [-22, 12, -80], [-20, 18, -190]], 11, 16)
    trunk = curve([[hx - 4, hy - 4, hz + 32], [18, -14, 22], [26, 2, 24], [38, 8, 20]], 11.5, 16)
    right = curve([[14, -8, 20], [-8, 2, 14], [-38, 6, 9]], 9.5, 12)
    return aorta, veins + trunk + right


def paint_great_vessels(c: Canvas, patient: Patient) -> None:
    """Aorta with its branches, caval veins, pulmonary arteries, each in a thin coat of fat."""
    aorta, veins = great_vessels(patient)
    for tubes, part in ((veins, 0.8), (aorta, 1.0)):
        c.paint(0.5 * c.cover_tubes(tubes.widened(2.0)), FAT_HU + 30)
        c.paint(c.cover_tubes(tubes), _enhanced(patient, part))


def paint_airways(c: Canvas, patient: Patient, rng: np.random.Generator) -> None:
    """Trachea, its fork and the main bronchi with their walls; the oesophagus behind them."""
    fork = rng.uniform(26, 40)
    zs = np.linspace(190, -150, 14)
    sx, sy = patient.spine(zs)
    ay = sy - 24 - 10 * np.clip(-zs / 120, 0, 1)
    gullet = curve(np.stack([sx + 3 + 7 * (zs < -60), ay, zs], axis=1), 6.5, 40)
    c.paint(c.cover_tubes(gullet), 38.0)
    c.paint(0.6 * c.cover_tubes(gullet.widened(-4.8)), -700.0)
    y_top = float(patient.spine(100.0)[1]) - 34
    trachea = curve([[0, y_top, 190], [0, y_top, 100], [-1, 6, fork]], [9, 8.8, 8], 16)
    right = curve([[-1, 6, fork], [-17, 9, fork - 14], [-36, 12, 4]], [7.2, 6.6, 5.0], 10)
    left = curve([[-1, 6, fork], [18, 10, fork - 12], [36, 12, 16]], [6.8, 6.2, 5.0], 10)
    tubes = trachea + right + left
    c.paint(c.cover_tubes(tubes.widened(AIRWAY_WALL_MM + 0.6)), 35.0)
    c.paint(c.cover_tubes(tubes), AIRWAY_HU)


def paint_table(c: Canvas, patient: Patient) -> None:
    """A thin, curved couch under the back: two skins with foam between."""
    depth = patient.chest_half_depth_mm + patient.wall_mm + patient.fat_mm + 9
    top = c.axes_mm[1][:, None] - depth - 12 + (c.axes_mm[2][None, :] / 95) ** 2 * 9
    half = np.abs(c.axes_mm[2])[None, :] - 190
    slab = np.maximum(np.abs(top - 12) - 12, half)[None]
    free = c.hu < -900
    c.paint(c.cover(slab) * free, -300.0)
    c.paint(c.cover(slab + 2.5) * free, -940.0)
