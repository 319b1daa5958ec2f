"""Metrics against closed forms and against scikit-image called directly."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError
from diffusionblend.evaluation.metrics import evaluate
from diffusionblend.geometry.grid import Grid


def volume(values: np.ndarray, **grid: object) -> Volume:
    return Volume(values, Grid(shape=values.shape, spacing_mm=(2.5, 1.0, 1.0), **grid))


def random_pair(shape: tuple[int, int, int] = (9, 11, 13), seed: int = 0) -> tuple[Volume, Volume]:
    """A reference beyond the clipping range on both sides, and a noisy copy."""
    rng = np.random.default_rng(seed)
    reference = rng.uniform(-1500, 1500, shape)
    return volume(reference + rng.normal(0, 150, shape)), volume(reference)


@pytest.mark.parametrize("offset_hu", [20.0, -200.0])
def test_a_constant_offset_gives_the_closed_form(offset_hu: float) -> None:
    reference = volume(np.random.default_rng(0).uniform(-500, 500, (8, 8, 8)))
    got = evaluate(reference.with_values(reference.values + offset_hu), reference)
    expected = -20 * math.log10(abs(offset_hu) / 2000)
    assert got.volume_psnr_db == pytest.approx(expected, abs=1e-4)
    for score in got.planes.values():
        assert score.psnr_db == pytest.approx(expected, abs=1e-4)
        assert score.n_slices == 8
        assert score.n_identical == 0
    assert got.mean_absolute_error_hu == pytest.approx(abs(offset_hu), abs=1e-3)
    assert got.tv_z_ratio == pytest.approx(1.0, abs=1e-5)


def test_each_plane_agrees_with_scikit_image_slice_by_slice() -> None:
    x, reference = random_pair()
    got = evaluate(x, reference)

    def unit(values: np.ndarray) -> np.ndarray:
        return (np.clip(values.astype(float), -1000, 1000) + 1000) / 2000

    a, b = unit(x.values), unit(reference.values)
    z, y, x_ = a.shape
    planes = {
        "axial": [(a[k], b[k]) for k in range(z)],
        "coronal": [(a[:, j], b[:, j]) for j in range(y)],
        "sagittal": [(a[:, :, i], b[:, :, i]) for i in range(x_)],
    }
    for name, pairs in planes.items():
        psnr = np.mean([peak_signal_noise_ratio(t, s, data_range=1) for s, t in pairs])
        ssim = np.mean([structural_similarity(s, t, data_range=1) for s, t in pairs])
        assert got.planes[name].psnr_db == pytest.approx(psnr, abs=1e-9)
        assert got.planes[name].ssim == pytest.approx(ssim, abs=1e-9)
        assert got.planes[name].n_slices == len(pairs)
    assert got.volume_psnr_db == pytest.approx(peak_signal_noise_ratio(b, a, data_range=1))


def test_progress_counts_the_slices_of_all_planes() -> None:
    x, reference = random_pair()
    steps: list[tuple[int, int]] = []
    evaluate(x, reference, on_step=lambda *step: steps.append(step))
    assert steps == [(i, 9 + 11 + 13) for i in range(1, 34)]


@pytest.mark.parametrize(("plane", "axis"), [("axial", 0), ("coronal", 1), ("sagittal", 2)])
def test_an_error_in_one_slice_of_a_plane_leaves_its_other_slices_out(
    plane: str, axis: int
) -> None:
    reference = volume(np.zeros((7, 8, 9)))
    values = np.zeros((7, 8, 9))
    np.moveaxis(values, axis, 0)[2] = 200.0
    got = evaluate(reference.with_values(values), reference)
    n = values.shape[axis]
    assert got.planes[plane].n_identical == n - 1
    assert got.planes[plane].psnr_db == pytest.approx(20.0)
    for other in set(got.planes) - {plane}:
        assert got.planes[other].n_identical == 0
        assert got.planes[other].psnr_db == pytest.approx(20.0 + 10 * math.log10(n))
    assert any(f"{n - 1} of {n} {plane} slices" in note for note in got.notes)


def test_values_beyond_the_clipping_range_do_not_count_in_psnr() -> None:
    reference = volume(np.full((8, 8, 8), -1000.0))
    got = evaluate(reference.with_values(reference.values - 1000), reference)
    assert math.isinf(got.volume_psnr_db)
    assert got.planes["axial"].n_identical == 8
    assert got.mean_absolute_error_hu == pytest.approx(1000)


def test_identical_volumes_are_infinite_in_psnr_and_strict_json() -> None:
    reference = volume(np.random.default_rng(0).uniform(-500, 500, (7, 7, 7)))
    got = evaluate(reference, reference, relative_residual=0.25)
    assert got.planes["coronal"].psnr_db == math.inf
    assert got.planes["coronal"].ssim == pytest.approx(1.0)
    saved = json.loads(json.dumps(got.to_dict(), allow_nan=False))
    assert saved["planes"]["coronal"]["psnr_db"] is None
    assert saved["planes"]["coronal"]["n_identical"] == 7
    assert saved["relative_residual"] == 0.25
    assert saved["bias_hu"]["lung"]["high_hu"] == -500
    assert any("infinite" in note for note in saved["notes"])


def test_bias_is_the_mean_difference_within_each_class_of_the_reference() -> None:
    reference = np.full((4, 8, 8), -300.0)
    reference[0], reference[1], reference[2] = -800.0, 50.0, 700.0
    values = reference.copy()
    values[0] += 30.0
    values[1, :4] -= 10.0
    values[2] -= 80.0
    values[3] += 999.0
    got = evaluate(volume(values), volume(reference)).bias_hu
    assert got["lung"].mean_hu == pytest.approx(30)
    assert got["soft_tissue"].mean_hu == pytest.approx(-5)
    assert got["bone"].mean_hu == pytest.approx(-80)
    assert {bias.n_voxels for bias in got.values()} == {64}


def test_a_class_without_voxels_has_no_bias() -> None:
    reference = volume(np.full((3, 8, 8), 0.0))
    assert evaluate(reference, reference).bias_hu["bone"].mean_hu is None


def test_total_variation_along_z_is_a_ratio_of_sums() -> None:
    ramp = np.arange(6.0)[:, None, None] * np.ones((6, 8, 8))
    zigzag = np.tile([0.0, 3.0], 3)[:, None, None] * np.ones((6, 8, 8))
    assert evaluate(volume(zigzag), volume(ramp)).tv_z_ratio == pytest.approx(3.0)
    in_plane_only = volume(ramp.transpose(1, 0, 2)[:6])
    got = evaluate(volume(np.zeros(in_plane_only.values.shape)), in_plane_only)
    assert got.tv_z_ratio is None
    assert any("total variation" in note for note in got.notes)


def test_planes_smaller_than_the_window_have_no_ssim_and_say_so() -> None:
    x, reference = random_pair((3, 9, 9))
    got = evaluate(x, reference)
    assert got.planes["axial"].ssim is not None
    assert got.planes["coronal"].ssim is None
    assert any("coronal" in note and "3 x 9" in note and "7 x 7" in note for note in got.notes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": (9, 11, 12)}, "voxels"),
        ({"spacing_mm": (2.5, 1.0, 1.1)}, "spacings"),
        ({"origin_mm": (0.0, 0.0, 2.5)}, "origins"),
        ({"direction": (-1.0, 0, 0, 0, 1, 0, 0, 0, 1)}, "directions"),
    ],
)
def test_different_grids_are_refused(change: dict[str, object], message: str) -> None:
    _, reference = random_pair()
    grid = replace(reference.grid, **change)
    with pytest.raises(InputError, match=message):
        evaluate(Volume(np.zeros(grid.shape), grid), reference)


def test_rounding_of_a_file_header_passes_for_the_same_grid() -> None:
    x, reference = random_pair()
    grid = replace(x.grid, spacing_mm=(2.5000004, 1.0, 1.0), origin_mm=(1e-5, 0.0, 0.0))
    assert evaluate(Volume(x.values, grid), reference) == evaluate(x, reference)


def test_values_that_are_not_finite_are_refused() -> None:
    x, reference = random_pair()
    bad = x.values.copy()
    bad[0, 0, :2] = np.nan
    with pytest.raises(InputError, match="reconstruction holds 2"):
        evaluate(x.with_values(bad), reference)


@pytest.mark.parametrize(
    ("factor", "words"),
    [(10.0, "reconstruction is about 10 times"), (0.001, "reference is about 1000 times")],
)
def test_a_volume_in_another_unit_is_reported(factor, words):
    truth = np.random.default_rng(0).uniform(0, 0.03, (8, 12, 12)).astype(np.float32)
    noisy = truth + np.random.default_rng(1).normal(0, 0.003, truth.shape).astype(np.float32)
    grid = Grid(shape=truth.shape, spacing_mm=(1.0, 1.0, 1.0))
    found = evaluate(Volume(factor * noisy, grid), Volume(truth, grid), unit="1/mm")
    assert words in " ".join(found.notes)
    same = evaluate(Volume(noisy, grid), Volume(truth, grid), unit="1/mm")
    assert "times" not in " ".join(same.notes)
