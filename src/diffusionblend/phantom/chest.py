"""The synthetic chest CT put together: grid, warp, organs, blur and noise."""

from __future__ import annotations

import numpy as np

from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError
from diffusionblend.geometry.grid import Grid
from diffusionblend.phantom import bones, organs
from diffusionblend.phantom.patient import Patient, draw_patient
from diffusionblend.phantom.shapes import Canvas
from diffusionblend.units import AIR_HU

FULL_FIELD_MM = 360.0
"""Fields of view narrower than this hold a patient shrunk to fit."""

SMALLEST_AXIS = 3
WARP_MM = 3.0
WARP_WAVES = 4
WARP_LENGTH_MM = (70.0, 190.0)
EDGE_VOXELS = 0.9
"""An edge fades over this part of the mean of voxel width and slice thickness."""

BLUR_VOXELS = 0.4
PATCH_MM = 6.0
HAZE_MM = 9.0
GRAIN_VOXELS = (0.5, 0.75, 0.75)
LOWEST_HU, HIGHEST_HU = -1000.0, 1800.0


def synthetic_chest(
    seed: int,
    *,
    shape: tuple[int, int, int] = (96, 128, 128),
    in_plane_mm: float = 360.0 / 128,
    slice_mm: float = 2.5,
) -> Volume:
    """A made-up chest CT in HU, the same for the same seed and another patient for another seed.

    shape: (z, y, x). in_plane_mm, slice_mm: the voxel's size. The chest sits in the middle of the
    field of view; where that is narrower than 360 mm, the whole patient is shrunk to fit. Raises
    InputError for a negative seed, a shape below 3 voxels along an axis or a size that is not
    positive.
    """
    if seed < 0:
        raise InputError(f"The phantom's seed is {seed}.", "an integer of 0 or more")
    grid = Grid(shape=shape, spacing_mm=(slice_mm, in_plane_mm, in_plane_mm))
    if min(grid.shape) < SMALLEST_AXIS:
        raise InputError(
            f"The phantom's shape is {grid.shape}.",
            f"at least {SMALLEST_AXIS} voxels along each axis",
        )
    patient_rng, anatomy_rng, warp_rng, texture_rng = (
        np.random.default_rng([seed, stream]) for stream in range(4)
    )
    patient = draw_patient(patient_rng)
    canvas = _blank(grid, warp_rng)
    _paint_patient(canvas, patient, anatomy_rng, texture_rng)
    return Volume(_finish(canvas, patient, texture_rng), grid)


def _blank(grid: Grid, rng: np.random.Generator) -> Canvas:
    """A volume of air with canonical coordinates that a few long waves bend."""
    field_mm = np.multiply(grid.shape, grid.spacing_mm)[1:].min()
    scale = max(1.0, FULL_FIELD_MM / float(field_mm))
    spacing = [scale * s for s in grid.spacing_mm]
    axes = [
        ((np.arange(n) - (n - 1) / 2) * s).astype(np.float32)
        for n, s in zip(grid.shape, spacing, strict=True)
    ]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    bent = []
    for straight in (x, y, z):
        shift = np.zeros_like(x)
        for _ in range(WARP_WAVES):
            towards = rng.normal(size=3)
            wave = 2 * np.pi / rng.uniform(*WARP_LENGTH_MM) * towards / np.linalg.norm(towards)
            kx, ky, kz = wave.astype(np.float32)
            shift += np.sin(kx * x + ky * y + kz * z + np.float32(rng.uniform(0, 2 * np.pi)))
        bent.append(straight + np.float32(WARP_MM / WARP_WAVES) * shift)
    return Canvas(
        np.full(grid.shape, AIR_HU, np.float32),
        x=bent[0],
        y=bent[1],
        z=bent[2],
        axes_mm=(axes[0], axes[1], axes[2]),
        margin_mm=WARP_MM,
        edge_mm=EDGE_VOXELS * (spacing[0] + spacing[2]) / 2,
    )


def _smooth_noise(c: Canvas, length_mm: float, rng: np.random.Generator) -> np.ndarray:
    """Noise (z, y, x) of mean 0 and standard deviation 1, smooth over `length_mm`."""
    from scipy.ndimage import gaussian_filter

    sigma = [length_mm / float(axis[1] - axis[0]) for axis in c.axes_mm]
    noise = gaussian_filter(rng.standard_normal(c.hu.shape, dtype=np.float32), sigma, mode="wrap")
    return (noise - noise.mean()) / max(float(noise.std()), 1e-12)


def _paint_patient(
    c: Canvas,
    patient: Patient,
    anatomy_rng: np.random.Generator,
    texture_rng: np.random.Generator,
) -> None:
    """Every organ, from the outside in and from the large to the small."""
    patches = _smooth_noise(c, PATCH_MM, texture_rng)
    haze = _smooth_noise(c, HAZE_MM, texture_rng)
    organs.paint_wall(c, patient, patches)
    bones.paint_shoulders(c, patient)
    organs.paint_inside(c, patient, patches)
    lungs = organs.paint_lungs(c, patient, haze)
    organs.paint_heart(c, patient)
    organs.paint_great_vessels(c, patient)
    bones.paint_spine(c, patient)
    organs.paint_lung_trees(c, patient, lungs, anatomy_rng)
    organs.paint_airways(c, patient, anatomy_rng)
    organs.paint_nodules(c, patient, anatomy_rng)
    bones.paint_front(c, patient)
    bones.paint_ribs(c, patient)
    if patient.has_table:
        organs.paint_table(c, patient)


def _finish(c: Canvas, patient: Patient, rng: np.random.Generator) -> np.ndarray:
    """The scanner's blur and grain; air outside the patient stays exactly at -1000 HU."""
    from scipy.ndimage import gaussian_filter

    air = c.hu <= AIR_HU
    hu = gaussian_filter(c.hu, BLUR_VOXELS)
    grain = gaussian_filter(rng.standard_normal(hu.shape, dtype=np.float32), GRAIN_VOXELS)
    grain *= patient.noise_hu / max(float(grain.std()), 1e-12)
    hu = np.clip(hu + grain, LOWEST_HU, HIGHEST_HU)
    hu[air & (hu < -900)] = AIR_HU
    return hu.astype(np.float32)
