"""Training blocks: spacing, sizes, mixing and augmentation, with volumes that tell their slices."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError
from diffusionblend.geometry.grid import Grid
from diffusionblend.training.augmentation import BlockChange, change_block
from diffusionblend.training.dataset import VolumeBank, draw_blocks
from diffusionblend.training.settings import Augmentation


def volume(values: np.ndarray) -> Volume:
    return Volume(values, Grid(shape=values.shape, spacing_mm=(2.5, 1.0, 1.0)))


def numbered(n_slices: int, size: int = 8, first_hu: float = 0.0) -> Volume:
    """Every voxel of slice i has the value first_hu + i HU."""
    values = first_hu + np.arange(n_slices)[:, None, None] + np.zeros((1, size, size))
    return volume(values)


def bank_of(*volumes: Volume, k: int = 3) -> VolumeBank:
    return VolumeBank.of(volumes, block_slices=k)


def draw(
    bank: VolumeBank, n: int, seed: int = 0, **changes: object
) -> tuple[torch.Tensor, torch.Tensor]:
    options = {"block_slices": 3, "strides": (1, 2, 3), "augmentation": None} | changes
    return draw_blocks(bank, n_blocks=n, rng=np.random.default_rng(seed), **options)


@pytest.mark.parametrize("k", [2, 3, 5])
def test_the_code_is_the_distance_between_the_slices(k: int) -> None:
    bank = bank_of(numbered(20), k=k)
    blocks, codes = draw(bank, 200, block_slices=k)
    assert blocks.shape == (200, k, 8, 8)
    assert blocks.dtype == torch.float32
    assert set(codes.tolist()) == {1, 2, 3}
    numbers = blocks[:, :, 0, 0] * 1000
    torch.testing.assert_close(numbers.diff(dim=1), codes[:, None].expand(-1, k - 1).float())
    assert (blocks == blocks[:, :, :1, :1]).all()
    assert numbers.min() == 0
    assert numbers.max().item() == pytest.approx(19)


def test_augmented_blocks_keep_their_spacing_in_either_order() -> None:
    blocks, codes = draw(bank_of(numbered(20, size=32)), 200, augmentation=Augmentation())
    steps = (blocks[:, :, 16, 16] * 1000).diff(dim=1)
    torch.testing.assert_close(steps.abs(), codes[:, None].expand(-1, 2).float(), atol=0.01, rtol=0)
    upward = (steps > 0).all(1)
    assert (upward | (steps < 0).all(1)).all()
    assert 60 < upward.sum() < 140


def test_codes_with_lengths_have_the_volumes_own_and_pixels_as_they_are_zoomed() -> None:
    """A disc of known area in mm, measured in pixels of the size that is told."""
    y, x = np.mgrid[:64, :64] - 31.5
    disc = np.where(np.hypot(y, x) < 16, 1000.0, -1000.0)  # pixels of 1 and of 2 mm
    grid = Grid(shape=(6, 64, 64), spacing_mm=(2.5, 1.0, 1.0))
    discs = Volume(np.broadcast_to(disc, grid.shape).copy(), grid)
    coarse = replace(grid, spacing_mm=(5.0, 2.0, 2.0))
    bank = bank_of(discs, Volume(discs.values, coarse))
    still, codes = draw(bank, 60, with_lengths=True)
    assert codes.shape == (60, 3) and codes.dtype == torch.float32
    assert {tuple(c) for c in codes[:, 1:].tolist()} == {(1.0, 2.5), (2.0, 5.0)}
    assert torch.equal(codes[:, 0], draw(bank, 60)[1].float())
    settings = Augmentation(moved=1.0, shift=0.0)
    blocks, codes = draw(bank, 60, with_lengths=True, augmentation=settings)
    area_mm2 = (blocks + 1).sum((2, 3))[:, 0] * codes[:, 1] ** 2
    expected = float((still[0, 0] + 1).sum()) * codes[:, 2].div(2.5).square()
    torch.testing.assert_close(area_mm2, expected, rtol=0.03, atol=0)
    assert codes[:, 1].div(codes[:, 2] / 2.5).std() > 0.03


def test_stretched_blocks_keep_their_area_and_change_their_shape() -> None:
    """An ellipse by its moments: the ratio of its axes is within the stretch, its area stays."""
    y, x = np.mgrid[:96, :96] - 47.5
    disc = np.where(np.hypot(y, x) < 24, 1000.0, -1000.0)
    still = Augmentation(moved=1.0, shift=0.0, log_zoom=0.0, rotation_degrees=0.0)
    discs = bank_of(volume(np.broadcast_to(disc, (3, 96, 96)).copy()))
    blocks, _ = draw(discs, 60, augmentation=replace(still, log_stretch=0.3))
    weights = (blocks[:, 0] + 1).double() / 2
    area = weights.sum((1, 2))
    torch.testing.assert_close(area, torch.full_like(area, np.pi * 24**2), rtol=0.01, atol=0)
    along_x, along_y = ((weights * torch.tensor(a**2)).sum((1, 2)) for a in (x, y))
    ratio = torch.log(along_x / along_y) / 2
    assert ratio.abs().max() < 0.31
    assert ratio.std().item() == pytest.approx(0.3 / np.sqrt(3), rel=0.25)


def test_a_warp_moves_every_slice_alike_and_about_as_far_as_it_says() -> None:
    """A ramp along x shows the displacement itself."""
    ramp = np.broadcast_to(10.0 * np.arange(64.0), (3, 64, 64)).copy()
    still = Augmentation(mirror_x=0, mirror_y=0, moved=1.0, shift=0, log_zoom=0, rotation_degrees=0)
    blocks, _ = draw(bank_of(volume(ramp)), 40, augmentation=replace(still, warp=0.05))
    inner = (blocks * 1000 - torch.tensor(ramp))[:, :, 12:-12, 12:-12] / 10
    assert torch.equal(inner[:, 0], inner[:, 2])
    assert 1.5 < inner.abs().max() < 1.9 * 0.05 * 64  # a cubic overshoots, 1.38 times an axis
    change = inner[:, 0].diff(dim=2).abs()
    assert 0.02 < change.mean() < 0.1  # smooth: nodes are 21 pixels apart
    plain, _ = draw(bank_of(volume(ramp)), 40, augmentation=still)
    torch.testing.assert_close(plain * 1000, torch.tensor(ramp).float().expand(40, 3, 64, 64))


def test_every_part_of_a_volume_is_drawn_evenly() -> None:
    blocks, _ = draw(bank_of(numbered(12)), 2000, strides=(1,))
    counts = torch.bincount((blocks[:, 0, 0, 0] * 1000).round().long(), minlength=10)
    assert len(counts) == 10
    assert (counts > 140).all() and (counts < 260).all()


@pytest.mark.parametrize(("n_slices", "longest"), [(3, 1), (4, 1), (5, 2), (7, 3)])
def test_short_volumes_take_the_longest_stride_that_fits(n_slices: int, longest: int) -> None:
    blocks, codes = draw(bank_of(numbered(n_slices)), 60)
    assert codes.max() == longest
    torch.testing.assert_close((blocks[:, 1] - blocks[:, 0])[:, 0, 0] * 1000, codes.float())


def test_volumes_are_held_as_whole_hu_within_int16() -> None:
    values = np.zeros((3, 8, 8))
    values[0], values[1], values[2] = 41.6, 1e6, -3024
    held = bank_of(volume(values)).volumes[0]
    assert held.dtype == np.int16
    assert [int(v[0, 0]) for v in held] == [42, 32000, -1024]


def test_a_seed_decides_the_blocks() -> None:
    bank = bank_of(numbered(30), numbered(10, first_hu=500))
    for augmentation in (None, Augmentation()):
        one, again, other = (draw(bank, 20, s, augmentation=augmentation) for s in (1, 1, 2))
        assert torch.equal(one[0], again[0]) and torch.equal(one[1], again[1])
        assert not torch.equal(one[0], other[0])


def test_long_volumes_are_drawn_as_the_root_of_their_slices() -> None:
    bank = bank_of(numbered(36), numbered(9))
    assert bank.chances.tolist() == pytest.approx([2 / 3, 1 / 3])
    assert bank.n_slices == 45


def test_a_share_of_the_blocks_comes_from_the_other_bank() -> None:
    bank = bank_of(numbered(20), numbered(5)).mixed_with(bank_of(numbered(9, first_hu=500)), 0.25)
    assert bank.chances.sum() == pytest.approx(1.0)
    blocks, _ = draw(bank, 4000)
    share = (blocks[:, 0, 0, 0] >= 0.5).float().mean().item()
    assert share == pytest.approx(0.25, abs=4 * (0.25 * 0.75 / 4000) ** 0.5)


def test_augmentation_keeps_the_range_and_the_slices_aligned() -> None:
    rng = np.random.default_rng(0)
    texture = np.kron(rng.uniform(-1000, 1500, (8, 8)), np.ones((4, 4)))
    same = bank_of(volume(np.broadcast_to(texture, (5, 32, 32))))
    plain = torch.from_numpy(texture).float().round() / 1000
    blocks, _ = draw(same, 200, augmentation=Augmentation())
    assert torch.equal(blocks[:, 0], blocks[:, 1])
    assert torch.equal(blocks[:, 0], blocks[:, 2])
    assert blocks.min() >= -1.024
    overshoot_of_bicubic = 0.25 * (plain.max() - plain.min())
    assert blocks.max() < plain.max() + overshoot_of_bicubic
    moved = [not any(torch.equal(b[0], f) for f in flips(plain)) for b in blocks]
    assert 60 < sum(moved) < 140


def test_a_single_slice_in_float32_is_reversed_too() -> None:
    """NumPy calls it contiguous, with a negative stride that torch does not take."""
    block = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    change = BlockChange((True, False, False), None, None)
    torch.testing.assert_close(1000 * change_block(block, change), torch.from_numpy(block.copy()))


def flips(image: torch.Tensor) -> list[torch.Tensor]:
    return [image, image.flip(1), image.flip(0), image.flip(0, 1)]


def test_what_moves_in_from_outside_is_air() -> None:
    bank = bank_of(volume(np.full((5, 32, 32), -1000.0)))
    blocks, _ = draw(bank, 50, augmentation=Augmentation())
    torch.testing.assert_close(blocks, torch.full_like(blocks, -1.0))
    water = bank_of(volume(np.zeros((5, 32, 32))))
    blocks, _ = draw(water, 100, augmentation=Augmentation())
    assert blocks[:, :, 8:24, 8:24].abs().max() < 0.05
    assert (blocks[:, :, 0, 0] < -0.95).any()


def test_no_volumes_too_few_slices_or_two_sizes_are_refused() -> None:
    with pytest.raises(InputError, match="2 slices"):
        bank_of(numbered(2))
    with pytest.raises(InputError, match="no training volumes"):
        bank_of()
    with pytest.raises(InputError, match="one size"):
        bank_of(numbered(5), numbered(5, size=16))


def random_bank() -> VolumeBank:
    rng = np.random.default_rng(3)
    volumes = [volume(rng.normal(0, 300, (n, 16, 16)).round()) for n in (20, 7, 9)]
    return bank_of(*volumes[:2]).mixed_with(bank_of(volumes[2]), 0.25)


def test_the_fingerprint_stays_what_it_was_for_the_same_data() -> None:
    expected = "4ed07853ab63b5755a84f2d5ba24e6644a097dab107e86d0837f48b7287b90c0"
    assert random_bank().fingerprint() == expected  # as old checkpoints have it
    assert bank_of(numbered(5)).fingerprint() != bank_of(numbered(6)).fingerprint()


def test_the_default_random_stream_stays_what_it_was() -> None:
    # sums over 64 blocks by the first version of the augmentation, which had no settings
    options = {"strides": (1, 1, 2, 3, 3), "augmentation": Augmentation()}
    blocks, codes = draw(random_bank(), 64, 5, **options)
    digest = hashlib.sha256(codes.numpy().astype("<i8").tobytes()).hexdigest()
    assert digest == "c78588e4e3e8b37de24864f5ac18f4a271f13844f1eccb726616e136ffe49996"
    assert blocks.double().sum().item() == pytest.approx(-1801.7227457440458, rel=1e-5)
    assert blocks.double().square().sum().item() == pytest.approx(5448.170731615873, rel=1e-5)


def test_noise_has_the_size_asked_for_and_is_off_by_default() -> None:
    still = Augmentation(mirror_x=0, mirror_y=0, reverse_z=0, moved=0)
    flat = bank_of(volume(np.full((5, 32, 32), 100.0)))
    blocks, _ = draw(flat, 20, augmentation=still)
    assert (blocks == 0.1).all()
    noisy = replace(still, noise_hu=25)
    blocks, _ = draw(flat, 20, augmentation=noisy)
    assert blocks.mean().item() == pytest.approx(0.1, abs=5e-4)
    assert blocks.std().item() == pytest.approx(0.025, rel=0.02)
    assert not torch.equal(blocks[0], blocks[1])


def test_codes_in_mm_are_strides_times_the_spacing() -> None:
    thin = Volume(numbered(20).values, Grid(shape=(20, 8, 8), spacing_mm=(0.8, 1.0, 1.0)))
    thick = Volume(numbered(20, first_hu=500).values, Grid(shape=(20, 8, 8), spacing_mm=(5, 1, 1)))
    bank = bank_of(thin).mixed_with(bank_of(thick), 0.5)
    blocks, codes = draw(bank, 100, code="mm")
    strides = (blocks[:, 1] - blocks[:, 0])[:, 0, 0] * 1000
    spacing_mm = torch.where(blocks[:, 0, 0, 0] >= 0.5, 5.0, 0.8)
    torch.testing.assert_close(codes, strides * spacing_mm, rtol=1e-4, atol=1e-4)
    thicker = VolumeBank(bank.volumes, bank.chances, (0.8, 6.0))
    assert thicker.fingerprint() == bank.fingerprint()
    assert thicker.fingerprint(with_spacing=True) != bank.fingerprint(with_spacing=True)


def test_a_share_of_a_batch_is_that_part_of_the_whole() -> None:
    augmentation = Augmentation(noise_hu=10)
    whole, codes = draw(random_bank(), 12, augmentation=augmentation)
    part, part_codes = draw(random_bank(), 12, augmentation=augmentation, share=slice(3, 8))
    assert torch.equal(part, whole[3:8]) and torch.equal(part_codes, codes[3:8])


@pytest.mark.parametrize(
    "bad", [{"moved": 1.5}, {"mirror_x": -0.1}, {"shift": -1}, {"log_zoom": np.nan}, {"warp": -0.1}]
)
def test_augmentation_that_makes_no_sense_is_refused(bad: dict) -> None:
    with pytest.raises(InputError):
        Augmentation(**bad)
