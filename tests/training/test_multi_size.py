"""Blocks of every pixel size: areas and distances in mm by the inputs that the network gets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError
from diffusionblend.geometry.grid import Grid
from diffusionblend.priors.prior import load_prior
from diffusionblend.training import multi_size
from diffusionblend.training.batches import draw_batch
from diffusionblend.training.dataset import VolumeBank
from diffusionblend.training.loop import AVERAGES_FOLDER, Stopped, Trainer
from diffusionblend.training.multi_size import draw_size, resampled
from diffusionblend.training.settings import Augmentation, TrainSettings
from easy_training import EASY_SETTINGS
from tiny_network import TINY

NETWORK = replace(TINY, length_codes=4, refine=6)
SETTINGS = replace(
    EASY_SETTINGS,
    network=NETWORK,
    multi_size=True,
    source_size=32,
    optimizer="muon",
    average_shares=(0.25,),
    low_noise_share=0.5,
    steps=6,
    validate_every=3,
)
PIXEL_MM, SLICE_MM, HU_PER_MM = 1.5, 1.25, 8.0  # whole HU from slice to slice


def bank(size: int = 32, radius_mm: float = 15.0) -> VolumeBank:
    """Slices whose disc, of the area pi r^2 over air, is brighter by HU_PER_MM a mm upwards."""
    y, x = (np.mgrid[:size, :size] + 0.5 - size / 2) * PIXEL_MM
    inside = np.hypot(y, x) < radius_mm
    heights = np.arange(24)[:, None, None] * SLICE_MM * HU_PER_MM - 500
    grid = Grid(shape=(24, size, size), spacing_mm=(SLICE_MM, PIXEL_MM, PIXEL_MM))
    return VolumeBank.of([Volume(np.where(inside, heights, -1000.0), grid)], block_slices=3)


def batch(step: int, settings: TrainSettings = SETTINGS, **changes: object) -> object:
    options = {"augmentation": settings.augmentation, "n_blocks": 4} | changes
    return draw_batch(bank(), settings, seed=0, step=step, n_timesteps=1000, **options)


def test_a_part_is_the_mean_over_its_areas() -> None:
    generator = torch.Generator().manual_seed(0)
    block = torch.randn(2, 12, 12, generator=generator)
    means = block.reshape(2, 4, 3, 4, 3).mean((2, 4))
    torch.testing.assert_close(resampled(block, 4, 3.0, (0.0, 0.0)), means)
    torch.testing.assert_close(resampled(block, 5, 1.0, (3.0, 6.0)), block[:, 3:8, 6:11])
    place = torch.arange(12.0) + 0.5  # the centres, whose mean over an area is the area's own
    plane = (place[:, None] + 10 * place[None])[None]
    got = resampled(plane, 4, 1.7, (2.2, 0.9))
    centres = 1.7 * (torch.arange(4) + 0.5)
    weighed = (centres + 2.2)[:, None] + 10 * (centres + 0.9)[None]
    torch.testing.assert_close(got[0], weighed, atol=0.7, rtol=0)  # of steps a pixel wide
    torch.testing.assert_close(got.mean(), weighed.mean(), atol=0.15, rtol=0)


def test_sizes_are_the_networks_and_batches_of_about_the_same_pixels() -> None:
    settings = replace(SETTINGS, network=replace(NETWORK, image_size=128), source_size=256)
    rng = np.random.default_rng(0)
    drawn = [draw_size(settings, rng) for _ in range(400)]
    assert {d.size for d in drawn} == {48, 64, 80, 96, 112, 128, 256}
    for d in drawn:
        assert 1 <= d.pixels[0] <= d.pixels[1] <= 256 / d.size
        n = multi_size.blocks_of(d.size, replace(settings, batch_size=8))
        assert n * d.size**2 == pytest.approx(8 * 128**2, rel=0.15) or n == 32
    share = np.mean([d.size == 128 and d.fine for d in drawn])
    assert share == pytest.approx(0.25, abs=0.06)


def test_lengths_given_are_those_of_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disc's area and the slices' distance in mm, from the block and the told lengths alone."""
    monkeypatch.setattr(multi_size, "LENGTH_ERROR", 0.0)
    monkeypatch.setattr(multi_size, "OMITTED_SHARE", 0.0)
    moved = Augmentation(moved=1.0, shift=0.0)
    sizes, spacings, strides = set(), set(), set()
    for step in range(60):
        found = batch(step, augmentation=moved)
        stride, pixel_mm, slice_mm = found.codes.T
        centre = found.x0.shape[-1] // 2
        values = found.x0[:, :, centre, centre]
        whole = found.x0.shape[-1] * pixel_mm > 0.84 * 32 * PIXEL_MM  # no crop
        steps_mm = 1000 * values[whole].diff(dim=1).abs() / HU_PER_MM
        expected_mm = (stride * slice_mm)[whole, None].expand(-1, 2)
        torch.testing.assert_close(steps_mm, expected_mm, atol=1e-2, rtol=1e-3)
        areas_mm2 = ((found.x0 + 1).sum((2, 3)) / (values + 1)).mean(1) * pixel_mm**2
        expected = torch.full_like(areas_mm2, np.pi * 15**2)
        torch.testing.assert_close(areas_mm2[whole], expected[whole], rtol=0.06, atol=0)
        sizes.add(found.x0.shape[-1])
        strides |= set(stride.tolist())
        spacings |= set(slice_mm.tolist())
    assert sizes == {6, 8, 10, 12, 14, 16, 32} and strides == {1, 2}
    assert spacings == {SLICE_MM * n for n in (1, 2, 3, 4)}


def test_some_lengths_are_a_little_wrong_and_some_are_omitted() -> None:
    codes = torch.cat([batch(step).codes for step in range(80)])
    missing = (codes[:, 1:] == 0).all(1)
    assert missing.float().mean() == pytest.approx(0.1, abs=0.05)
    assert ((codes[:, 1:] == 0).any(1) == missing).all() and (codes[:, 0] > 0).all()
    told = torch.log2(codes[~missing, 2] / SLICE_MM)
    apart = told - told.round() if (told < 1.3).all() else told[told < 0.4]
    assert 0.05 < apart.std() < 0.12


def test_validation_is_of_whole_slices_with_their_true_lengths() -> None:
    found = batch(0, augmentation=None, n_blocks=16)
    assert found.x0.shape == (16, 3, 16, 16)
    assert set(found.codes[:, 1].tolist()) == {2 * PIXEL_MM}
    assert set(found.codes[:, 2].tolist()) == {SLICE_MM}
    assert (found.t.diff() > 0).all() and (found.t < 350).float().mean() < 0.45


@pytest.mark.parametrize(("chances", "low"), [((0, 1, 0, 0), 0.5), ((0, 0, 0, 1), 0.6)])
def test_more_of_the_timesteps_are_low(
    monkeypatch: pytest.MonkeyPatch, chances: tuple[int, ...], low: float
) -> None:
    """Of the even ones 0.35 are below 350 as well."""
    monkeypatch.setattr(multi_size, "CHANCES", chances)
    times = torch.cat([batch(step).t for step in range(200)])
    assert float((times < 350).float().mean()) == pytest.approx(low + (1 - low) * 0.35, abs=0.06)
    assert times.max() > 950 and (times >= 0).all()


def trainer(folder: Path) -> Trainer:
    return Trainer(SETTINGS, bank(), bank(radius_mm=9.0), folder)


def test_a_run_that_is_stopped_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    """With blocks of every size, Muon, and two averages of which each is kept."""
    trainer(tmp_path / "whole").run()
    half = trainer(tmp_path / "half")

    def stop(progress: object) -> None:
        if progress.step == 3:
            half._signal = 15

    with pytest.raises(Stopped):
        half.run(stop)
    resumed = trainer(tmp_path / "half")
    assert resumed.step == 3
    resumed.run()
    hashes = []
    for folder in ("", f"{AVERAGES_FOLDER}/0.25"):
        one, other = (load_prior(tmp_path / name / folder) for name in ("whole", "half"))
        assert one.weights_sha256 == other.weights_sha256
        assert one.trained["validation_loss"] > 0
        hashes.append(one.weights_sha256)
        zoom = np.exp(0.14)
        smallest, largest = one.pixel_range_mm
        assert smallest == pytest.approx(PIXEL_MM / zoom)
        assert largest == pytest.approx(PIXEL_MM * zoom * 32 / 6)
    assert len(set(hashes)) == 2


def test_an_average_is_over_its_share_of_the_steps(tmp_path: Path) -> None:
    """Weights that are the step's number: the mean's age is about the share of the steps."""
    run = trainer(tmp_path)
    weight = next(run.unet.parameters())
    with torch.no_grad():
        for step in range(1, 101):
            weight.fill_(float(step))
            run.averages.step()
    with run.averages.in_place(1):
        age = 100 - float(weight.detach().mean())
    assert age == pytest.approx(0.25 * 100 / 1.25, rel=0.1)
    assert float(weight.detach().mean()) == 100


def test_a_paused_run_waits_and_its_time_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter([True, True, False])
    slept: list[float] = []
    monkeypatch.setattr("diffusionblend.training.loop.time.sleep", slept.append)
    run = Trainer(
        replace(SETTINGS, steps=1), bank(), None, tmp_path, paused=lambda: next(looks, False)
    )
    run.run()
    assert run.step == 1 and len(slept) == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"network": TINY}, "lengths are no inputs"),
        ({"source_size": 8}, "source_size is 8"),
        ({"source_size": 33}, "source_size is 33"),
        ({"code": "mm"}, "code in mm"),
        ({"network": replace(NETWORK, prior_type="coronal")}, "prior type coronal"),
        ({"network": replace(NETWORK, prior_type="fbp-unet")}, "prior type fbp-unet"),
        ({"low_noise_share": 1.0}, "low_noise_share is 1.0"),
        ({"average_shares": (0.1, 0.1)}, "average_shares"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(change: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        replace(SETTINGS, **change)
