"""How close a reconstruction is to its reference: the definitions every table of this project uses.

PSNR and SSIM: both volumes are clipped to [-1000, 1000] HU and mapped to [0, 1]; PSNR has data
range 1, SSIM is scikit-image's `structural_similarity(data_range=1)` with its default 7 x 7 window.
Both are taken per 2D slice and averaged over all slices of a plane, and the whole-volume PSNR (one
mean square over all voxels) stands beside them. Planes go by array axes: axial slices are
values[k], coronal values[:, k], sagittal values[:, :, k].

Slices that are identical in both volumes after clipping (all air, say) have an infinite PSNR: they
are left out of the mean PSNR, counted in `n_identical`, and enter the mean SSIM as the 1 they are.

Mean absolute error, HU bias and total variation are taken in HU as they stand, without clipping.

Two volumes in 1/mm are scored alike, in the range that the reference has, and without tissues.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

from diffusionblend.data.planes import PLANE_AXES
from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError, check_kind
from diffusionblend.evaluation.tissues import BIAS_TISSUES, TISSUES
from diffusionblend.geometry.grid import Grid, check_same_grid
from diffusionblend.units import Unit

CLIP_HU = (-1000.0, 1000.0)
SSIM_WINDOW = 7
FACTORS = (10.0, 100.0, 1000.0, 1e4)
"""By which volumes in other units than their reference differ: 1/cm, 1/m."""
NEAR_A_FACTOR, ALIKE = 1.3, 0.8
"""How near the slope of a regression must be to a factor, and the least correlation."""


@dataclass(frozen=True, kw_only=True)
class PlaneScore:
    """Mean PSNR (dB) and SSIM over the slices of one plane.

    psnr_db: over the slices that differ; infinite where none does. ssim: over all slices; None
    where a slice is smaller than SSIM's window. n_identical: slices left out of the PSNR.
    psnr_sd_db, ssim_sd: the slices' standard deviations.
    """

    psnr_db: float
    ssim: float | None
    n_slices: int
    n_identical: int
    psnr_sd_db: float = 0.0
    ssim_sd: float | None = None


@dataclass(frozen=True, kw_only=True)
class HuBias:
    """Mean of reconstruction minus reference, in HU, where low_hu <= reference < high_hu.

    mean_hu is None where the reference has no such voxel.
    """

    mean_hu: float | None
    low_hu: float
    high_hu: float
    n_voxels: int


@dataclass(frozen=True, kw_only=True, repr=False)
class Evaluation:
    """Every figure of one reconstruction against its reference.

    planes: by name, axial, coronal, sagittal. tv_z_ratio: sum of |differences along z| of the
    reconstruction over the reference's, None where the reference is constant along z.
    relative_residual: ||Ax - y|| / ||y|| where the caller knows it. notes: what a figure does not
    cover and why, in sentences. unit: of the volumes; in 1/mm mean_absolute_error_hu is None,
    mean_absolute_error_per_mm takes its place, and there is no bias. clip: the range of values that
    PSNR and SSIM are taken in.
    """

    planes: dict[str, PlaneScore]
    volume_psnr_db: float
    mean_absolute_error_hu: float | None
    bias_hu: dict[str, HuBias]
    tv_z_ratio: float | None
    relative_residual: float | None = None
    notes: tuple[str, ...] = ()
    unit: Unit = "HU"
    clip: tuple[float, float] = CLIP_HU
    mean_absolute_error_per_mm: float | None = None

    def __repr__(self) -> str:
        axial = self.planes["axial"]
        ssim = "" if axial.ssim is None else f", axial SSIM {axial.ssim:.3f}"
        return (
            f"Evaluation: PSNR {self.volume_psnr_db:.2f} dB (axial slices "
            f"{axial.psnr_db:.2f} dB){ssim}, mean absolute error {self._error()}"
        )

    def _error(self) -> str:
        """The mean absolute error with its unit."""
        if self.mean_absolute_error_hu is not None:
            return f"{self.mean_absolute_error_hu:.1f} HU"
        return f"{self.mean_absolute_error_per_mm:.3g} 1/mm"

    def _repr_html_(self) -> str:
        """What a notebook shows: a row for each plane, and the figures of the whole volume."""
        rows = "".join(
            f"<tr><th>{name}</th><td>{score.psnr_db:.2f}</td>"
            f"<td>{'' if score.ssim is None else f'{score.ssim:.3f}'}</td></tr>"
            for name, score in self.planes.items()
        )
        whole = f"<tr><th>whole volume</th><td>{self.volume_psnr_db:.2f}</td><td></td></tr>"
        error = f"mean absolute error {self._error()}"
        notes = "".join(f"<p>{note}</p>" for note in self.notes)
        head = "<tr><th></th><th>PSNR (dB)</th><th>SSIM</th></tr>"
        return f"<table>{head}{rows}{whole}</table><p>{error}</p>{notes}"

    def to_dict(self) -> dict[str, object]:
        """The figures as strict JSON can hold them: an infinite number becomes None."""
        clip, error = "clip_hu", "mean_absolute_error_hu"
        if self.unit != "HU":
            clip, error = "clip_per_mm", "mean_absolute_error_per_mm"
        return {
            clip: list(self.clip),
            "planes": {name: _finite_fields(score) for name, score in self.planes.items()},
            "volume_psnr_db": _finite(self.volume_psnr_db),
            error: getattr(self, error),
            "bias_hu": {name: _finite_fields(bias) for name, bias in self.bias_hu.items()},
            "tv_z_ratio": self.tv_z_ratio,
            "relative_residual": self.relative_residual,
            "notes": list(self.notes),
        }


def evaluate(
    reconstruction: Volume,
    reference: Volume,
    *,
    unit: Unit = "HU",
    relative_residual: float | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Scores a reconstruction against its reference on the same grid.

    Both (z, y, x) in `unit`. relative_residual is passed through (it needs an operator). on_step:
    called with the slices scored and in all, over the three planes. Raises InputError where the
    grids differ or a value is not finite.
    """
    check_kind(reconstruction, Volume, "The reconstruction")
    check_kind(reference, Volume, "The reference")
    check_same_grid(reconstruction.grid, reference.grid)
    for name, volume in (("reconstruction", reconstruction), ("reference", reference)):
        n_bad = int((~np.isfinite(volume.values)).sum())
        if n_bad:
            raise InputError(
                f"The {name} holds {n_bad} voxels that are NaN or infinite.", "finite HU"
            )
    clip = CLIP_HU if unit == "HU" else _range_of(reference.values)
    x, truth = unit_range(reconstruction.values, clip), unit_range(reference.values, clip)
    n_done = itertools.count(1)

    def on_slice() -> None:
        if on_step is not None:
            on_step(next(n_done), sum(x.shape))

    planes = {name: _plane_score(x, truth, axis, on_slice) for name, axis in PLANE_AXES.items()}
    difference = reconstruction.values.astype(np.float64) - reference.values
    truth_tv = _tv_z(reference.values)
    tv_z_ratio = _tv_z(reconstruction.values) / truth_tv if truth_tv > 0 else None
    error = float(np.abs(difference).mean())
    return Evaluation(
        planes=planes,
        volume_psnr_db=_psnr_db(float(np.mean((x - truth) ** 2))),
        mean_absolute_error_hu=error if unit == "HU" else None,
        mean_absolute_error_per_mm=None if unit == "HU" else error,
        bias_hu=_biases(difference, reference.values) if unit == "HU" else {},
        unit=unit,
        clip=clip,
        tv_z_ratio=tv_z_ratio,
        relative_residual=None if relative_residual is None else float(relative_residual),
        notes=(
            *_scale_notes(reconstruction.values, reference.values),
            *_notes(planes, tv_z_ratio, reference.grid),
        ),
    )


def unit_range(values: np.ndarray, clip: tuple[float, float] = CLIP_HU) -> np.ndarray:
    """Values clipped to a range, by default [-1000, 1000] HU, mapped to [0, 1], float64."""
    low, high = clip
    return (np.clip(values.astype(np.float64), low, high) - low) / (high - low)


def _range_of(values: np.ndarray) -> tuple[float, float]:
    """From 0, or the lowest value where that is below, to the highest. Raises InputError."""
    low, high = min(0.0, float(values.min())), float(values.max())
    if not high > low:
        raise InputError("The reference is 0 everywhere.", "a volume with something in it")
    return low, high


def _plane_score(
    x: np.ndarray, truth: np.ndarray, axis: int, on_slice: Callable[[], None]
) -> PlaneScore:
    """Mean PSNR and SSIM of two (z, y, x) arrays in [0, 1] over their slices along `axis`."""
    from skimage.metrics import structural_similarity

    x, truth = np.moveaxis(x, axis, 0), np.moveaxis(truth, axis, 0)
    mean_squares = np.array([np.mean((a - b) ** 2) for a, b in zip(x, truth, strict=True)])
    different = mean_squares > 0
    psnr = [_psnr_db(float(m)) for m in mean_squares[different]]
    has_ssim = min(x.shape[1:]) >= SSIM_WINDOW
    ssim = []
    for a, b in zip(x, truth, strict=True):
        if has_ssim:
            ssim.append(structural_similarity(a, b, data_range=1))
        on_slice()
    return PlaneScore(
        psnr_db=float(np.mean(psnr)) if psnr else math.inf,
        ssim=float(np.mean(ssim)) if has_ssim else None,
        n_slices=len(x),
        n_identical=int((~different).sum()),
        psnr_sd_db=float(np.std(psnr)) if psnr else 0.0,
        ssim_sd=float(np.std(ssim)) if has_ssim else None,
    )


def _psnr_db(mean_square: float) -> float:
    """10 log10(1 / mean square error), data range 1; infinite where the error is 0."""
    return -10.0 * math.log10(mean_square) if mean_square > 0 else math.inf


def _tv_z(values_hu: np.ndarray) -> float:
    """Sum over voxels of |difference to the next slice|, HU, of a (z, y, x) array."""
    return float(np.abs(np.diff(values_hu, axis=0)).sum(dtype=np.float64))


def _biases(difference_hu: np.ndarray, reference_hu: np.ndarray) -> dict[str, HuBias]:
    """The mean of the difference within each class of the reference, both (z, y, x) in HU."""
    biases = {}
    for name in BIAS_TISSUES:
        tissue = TISSUES[name]
        inside = tissue.mask(reference_hu)
        n_voxels = int(inside.sum())
        mean = float(difference_hu[inside].mean()) if n_voxels else None
        biases[name] = HuBias(
            mean_hu=mean, low_hu=tissue.low_hu, high_hu=tissue.high_hu, n_voxels=n_voxels
        )
    return biases


def _scale_notes(values: np.ndarray, truth: np.ndarray) -> tuple[str, ...]:
    """A sentence on a reconstruction that is its reference times a power of ten, (z, y, x) both."""
    a, b = (v.astype(np.float64) - v.mean(dtype=np.float64) for v in (values, truth))
    covariance, of_a, of_b = (float(np.vdot(*two)) for two in ((a, b), (a, a), (b, b)))
    if covariance <= 0 or covariance**2 < ALIKE**2 * of_a * of_b:
        return ()
    slope = covariance / of_b
    larger = max(slope, 1 / slope)
    factor = next((f for f in FACTORS if 1 / NEAR_A_FACTOR < larger / f < NEAR_A_FACTOR), None)
    if factor is None:
        return ()
    first, second = "reconstruction", "reference"
    if slope < 1:
        first, second = second, first
    return (
        f"The {first} is about {factor:g} times the {second} everywhere (slope of a regression "
        f"{larger:.3g}): one of them is in another unit, as 1/cm for 1/mm, and the figures "
        "compare nothing.",
    )


def _notes(planes: dict[str, PlaneScore], tv_z_ratio: float | None, grid: Grid) -> tuple[str, ...]:
    """Sentences about what a figure does not cover."""
    notes = []
    for name, score in planes.items():
        if score.n_identical == score.n_slices:
            notes.append(f"All {name} slices equal the reference: the PSNR is infinite.")
        elif score.n_identical:
            notes.append(
                f"{score.n_identical} of {score.n_slices} {name} slices equal the reference "
                "and are left out of the mean PSNR."
            )
        if score.ssim is None:
            size = " x ".join(str(n) for i, n in enumerate(grid.shape) if i != PLANE_AXES[name])
            notes.append(
                f"No SSIM in the {name} plane: its slices have {size} pixels, "
                f"the window needs {SSIM_WINDOW} x {SSIM_WINDOW}."
            )
    if tv_z_ratio is None:
        notes.append("No total variation ratio: the reference does not vary along z.")
    return tuple(notes)


def _finite(value: object) -> object:
    """The value, or None for a float that JSON cannot hold."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _finite_fields(score: PlaneScore | HuBias) -> dict[str, object]:
    """A dataclass as a dict that strict JSON can hold."""
    return {key: _finite(value) for key, value in asdict(score).items()}
