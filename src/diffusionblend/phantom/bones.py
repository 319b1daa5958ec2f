"""Painters of bone: spine, ribs with cartilage, breastbone, shoulder blades, collar bones."""

from __future__ import annotations

import numpy as np

from diffusionblend.phantom.patient import N_RIBS, Patient
from diffusionblend.phantom.shapes import Canvas, Tubes, curve, ellipse, ellipsoid, polyline

CARTILAGE_HU = 110.0
DISC_HU = 85.0
CANAL_HU = 25.0
CORTEX_MM = 1.6
RIB_RADIUS_MM = 4.0
RIB_Z_SQUEEZE = 0.62
RIB_OFFSET_MM = 4.5
CARTILAGE_FROM_RAD = 2.3
TRUE_RIBS = 7
"""Ribs whose cartilage reaches the breastbone."""


def _marrow(patient: Patient) -> float:
    return 0.36 * patient.bone_hu


def _paint_bone(c: Canvas, patient: Patient, tubes: Tubes, z_squeeze: float = 1.0) -> None:
    """Tubes with a shell of cortical bone round marrow."""
    c.paint(c.cover_tubes(tubes, z_squeeze), patient.bone_hu)
    c.paint(c.cover_tubes(tubes.widened(-CORTEX_MM - 0.4), z_squeeze), _marrow(patient))


def rib_line(patient: Patient, number: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Points (n, 3) in mm of rib `number` (0 the highest) and their angles from the back in rad.

    side: -1 right, 1 left. The line hugs the rib cage and falls towards the front.
    """
    last = 2.85 if number < TRUE_RIBS else (2.3 if number < N_RIBS - 2 else 1.3)
    phi = np.linspace(0.3, last, 34)
    head = patient.top_mm + 8 - patient.pitch_mm * number
    drop = patient.rib_drop_mm * (0.46 + 0.09 * min(number, 6))
    z = head - drop * phi / CARTILAGE_FROM_RAD
    rise = 0.75 * drop * min(number, TRUE_RIBS) / TRUE_RIBS
    z = z + rise * np.clip((phi - CARTILAGE_FROM_RAD) / 0.55, 0, 1) ** 1.5
    a, b, middle = patient.cavity_axes(np.minimum(z, patient.top_mm - 6))
    s, k = np.sin(phi), np.cos(phi)
    power = 2 / 2.3
    x = side * (a + RIB_OFFSET_MM) * np.abs(s) ** power
    y = middle + (b + RIB_OFFSET_MM) * np.sign(k) * np.abs(k) ** power
    sx, sy = patient.spine(head)
    start = [[sx + side * 16, sy + 10, head + 3], [sx + side * 24, sy + 19, head + 2]]
    keep = np.abs(x) > 27
    keep[phi > CARTILAGE_FROM_RAD] = True
    points = np.concatenate([start, np.stack([x, y, z], axis=1)[keep]])
    return points, np.concatenate([[0.0, 0.1], phi[keep]])


def paint_ribs(c: Canvas, patient: Patient) -> None:
    """Twelve pairs of ribs, bone at the back and sides, cartilage at the front."""
    bone, cartilage = [], []
    for side in (-1, 1):
        for number in range(N_RIBS):
            points, phi = rib_line(patient, number, side)
            n_bone = int((phi <= CARTILAGE_FROM_RAD).sum())
            bone.append(polyline(points[:n_bone], RIB_RADIUS_MM))
            if number < TRUE_RIBS:
                cartilage.append(polyline(points[n_bone - 1 :], RIB_RADIUS_MM + 0.5))
    c.paint(c.cover_tubes(sum(cartilage[1:], cartilage[0]), RIB_Z_SQUEEZE), CARTILAGE_HU)
    _paint_bone(c, patient, sum(bone[1:], bone[0]), RIB_Z_SQUEEZE)


def paint_spine(c: Canvas, patient: Patient) -> None:
    """Vertebral bodies parted by discs, canal, arches, spinous and transverse processes."""
    sx, sy = patient.spine(c.z)
    a, b = patient.vertebra_axes(c.z)
    phase = (c.z - patient.top_mm - 8) / patient.pitch_mm
    from_disc = (0.5 - np.abs(phase - np.round(phase))) * patient.pitch_mm
    waist = 1 - 0.09 * np.clip(from_disc / patient.pitch_mm * 2, 0, 1) ** 2
    body = ellipse(c.x, c.y, (sx, sy), (a * waist, b * waist), power=2.4)
    c.paint(c.cover(body - 0.5), DISC_HU)
    bone = np.maximum(body, 2.6 - from_disc)
    c.paint(c.cover(bone), 0.75 * patient.bone_hu)
    c.paint(c.cover(bone + CORTEX_MM), 0.32 * patient.bone_hu)
    arch = np.maximum(ellipse(c.x, c.y, (sx, sy + b + 8), (14, 12.5)), 6.5 - from_disc)
    c.paint(c.cover(arch), 0.7 * patient.bone_hu)
    processes = []
    for number in range(-4, N_RIBS + 5):
        z = patient.top_mm + 8 - patient.pitch_mm * number
        x, y = patient.spine(z)
        back = y + patient.vertebra_axes(z)[1]
        processes.append(
            curve([[x, back + 16, z], [x, back + 40, z - 0.9 * patient.pitch_mm]], 3, 6)
        )
        for side in (-1, 1):
            tip = [x + side * 31, back + 17, z + 3]
            processes.append(polyline([[x + side * 9, back + 7, z], tip], 4.2))
    _paint_bone(c, patient, sum(processes[1:], processes[0]))
    c.paint(c.cover(ellipse(c.x, c.y, (sx, sy + b + 8), (9.5, 8))), CANAL_HU)


def paint_front(c: Canvas, patient: Patient) -> None:
    """Breastbone and collar bones."""
    top, bottom = patient.top_mm - 38, patient.dome_right_mm + 8
    z = np.clip(c.z, bottom, top)
    _, depth, middle = patient.cavity_axes(z)
    wide = 15 + 8 * np.clip((c.z - top + 40) / 40, 0, 1)
    d = ellipse(c.x, c.y, (0.0, middle - depth - 7), (wide, 6.5), power=2.6)
    d = np.maximum(d, np.maximum(bottom - c.z, c.z - top))
    c.paint(c.cover(d), 0.6 * patient.bone_hu)
    c.paint(c.cover(d + CORTEX_MM), 0.22 * patient.bone_hu)
    _, front, centre = patient.cavity_axes(top)
    y = centre - front - 6
    for side in (-1, 1):
        line = [[side * 17, y, top + 4], [side * 60, y + 2, top + 22], [side * 128, 8, top + 46]]
        _paint_bone(c, patient, curve(line, [7, 5.5, 6.5], 16))


def paint_shoulders(c: Canvas, patient: Patient) -> None:
    """Shoulder blades behind the ribs and the heads of the upper arms."""
    cavity = patient.cavity(c.x, c.y, np.minimum(c.z, patient.top_mm - 45))
    low, high = patient.top_mm - 128, patient.top_mm + 5
    part = np.clip((c.z - low) / (high - low), 0, 1)
    side = np.abs(c.x)
    inner, outer = 92 - 32 * part, 104 + 34 * part
    sheet = np.abs(cavity - 15 - 4 * part) - 2.0 - 1.5 * np.clip((side - outer + 14) / 14, 0, 1)
    sheet = np.maximum(np.maximum(sheet, inner - side), side - outer)
    sheet = np.maximum(np.maximum(sheet, 8 - c.y), np.maximum(low - c.z, c.z - high))
    c.paint(c.cover(sheet), 0.85 * patient.bone_hu)
    head = ellipsoid(side, c.y, c.z, (150.0, 14.0, patient.top_mm + 26), (23, 23, 30))
    c.paint(c.cover(head), 0.7 * patient.bone_hu)
    c.paint(c.cover(head + CORTEX_MM), 0.35 * patient.bone_hu)
