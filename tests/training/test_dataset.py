"""Training blocks: spacing, sizes, mixing and augmentation, with volumes that tell their slices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from diffusionblend.errors import InputError
from diffusionblend.io.volumes import write_volume
from diffusionblend.training.dataset import VolumeBank, draw_blocks, read_square_volumes
from diffusionblend.volume import Grid, Volume


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
    options = {"block_slices": 3, "strides": (1, 2, 3), "augment": False} | changes
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
    blocks, codes = draw(bank_of(numbered(20, size=32)), 200, augment=True)
    steps = (blocks[:, :, 16, 16] * 1000).diff(dim=1)
    torch.testing.assert_close(steps.abs(), codes[:, None].expand(-1, 2).float(), atol=0.01, rtol=0)
    upward = (steps > 0).all(1)
    assert (upward | (steps < 0).all(1)).all()
    assert 60 < upward.sum() < 140


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
    for augment in (False, True):
        one, again, other = (draw(bank, 20, seed, augment=augment) for seed in (1, 1, 2))
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
    blocks, _ = draw(same, 200, augment=True)
    assert torch.equal(blocks[:, 0], blocks[:, 1])
    assert torch.equal(blocks[:, 0], blocks[:, 2])
    assert blocks.min() >= -1.024
    overshoot_of_bicubic = 0.25 * (plain.max() - plain.min())
    assert blocks.max() < plain.max() + overshoot_of_bicubic
    moved = [not any(torch.equal(b[0], f) for f in flips(plain)) for b in blocks]
    assert 60 < sum(moved) < 140


def flips(image: torch.Tensor) -> list[torch.Tensor]:
    return [image, image.flip(1), image.flip(0), image.flip(0, 1)]


def test_what_moves_in_from_outside_is_air() -> None:
    bank = bank_of(volume(np.full((5, 32, 32), -1000.0)))
    blocks, _ = draw(bank, 50, augment=True)
    torch.testing.assert_close(blocks, torch.full_like(blocks, -1.0))
    water = bank_of(volume(np.zeros((5, 32, 32))))
    blocks, _ = draw(water, 100, augment=True)
    assert blocks[:, :, 8:24, 8:24].abs().max() < 0.05
    assert (blocks[:, :, 0, 0] < -0.95).any()


def test_no_volumes_too_few_slices_or_two_sizes_are_refused() -> None:
    with pytest.raises(InputError, match="2 slices"):
        bank_of(numbered(2))
    with pytest.raises(InputError, match="no training volumes"):
        bank_of()
    with pytest.raises(InputError, match="one size"):
        bank_of(numbered(5), numbered(5, size=16))


def test_volumes_of_a_folder_are_read_at_the_size_asked_for(tmp_path: Path) -> None:
    for name, hu in (("b.nii.gz", 100.0), ("a.mha", 200.0)):
        values = np.full((4, 16, 16), hu, np.float32)
        values[2, :8] = -1000
        write_volume(volume(values), tmp_path / name)
    (tmp_path / "notes.txt").touch()
    found = read_square_volumes(tmp_path, 8)
    assert list(found) == ["a.mha", "b.nii.gz"]
    for name, hu in (("a.mha", 200.0), ("b.nii.gz", 100.0)):
        assert found[name].grid.shape == (4, 8, 8)
        expected = np.full((4, 8, 8), hu)
        expected[2, :4] = -1000
        inner = np.abs(np.arange(8) - 3.5) > 1  # resampling may blur across the border
        np.testing.assert_allclose(found[name].values[:, inner], expected[:, inner], atol=1.0)


def test_a_folder_without_volumes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(InputError, match="no volumes"):
            read_square_volumes(folder, 8)
