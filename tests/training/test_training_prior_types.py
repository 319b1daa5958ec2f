"""Training blocks of each prior type, and a short run of each that ends in a prior of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError
from diffusionblend.geometry import ParallelBeam
from diffusionblend.geometry.grid import Grid
from diffusionblend.methods.api import reconstruct
from diffusionblend.priors.prior import load_prior
from diffusionblend.priors.prior_types.registry import PRIOR_TYPES, prior_type_of
from diffusionblend.priors.scans import draw_scans
from diffusionblend.priors.schedule import NoiseSchedule
from diffusionblend.simulation import simulate
from diffusionblend.training.batches import draw_batch
from diffusionblend.training.checkpoint import check_same_settings, plain_settings
from diffusionblend.training.dataset import VolumeBank, draw_blocks
from diffusionblend.training.loop import Trainer
from diffusionblend.training.objective import Objective
from diffusionblend.training.settings import TrainSettings
from diffusionblend.units import AIR_HU, hu_to_network, network_to_hu
from easy_training import EASY_SETTINGS, easy_bank

SIZE = 8


def numbered(n_slices: int) -> VolumeBank:
    """Every voxel tells where it is: 64 z + 8 y + x in HU."""
    values = np.arange(n_slices * SIZE * SIZE, dtype=float).reshape(n_slices, SIZE, SIZE)
    grid = Grid(shape=values.shape, spacing_mm=(2.5, 1.0, 1.0))
    return VolumeBank.of([Volume(values, grid)], block_slices=1)


def drawn(prior_type: str, n_slices: int, k: int, **options: object) -> tuple[np.ndarray, list]:
    """Blocks in HU as whole numbers, and their codes."""
    blocks, codes = draw_blocks(
        numbered(n_slices),
        n_blocks=300,
        block_slices=k,
        strides=(1, 2, 3),
        rng=np.random.default_rng(0),
        prior_type=prior_type_of(prior_type),
        **options,
    )
    return np.round(network_to_hu(blocks).numpy()).astype(int), codes.tolist()


def test_single_slices_have_code_1_whatever_the_strides() -> None:
    blocks, codes = drawn("slices", 5, 1)
    assert set(codes) == {1}
    assert {int(b[0, 0, 0]) // 64 for b in blocks} == set(range(5))
    assert set(drawn("slices", 5, 1, code="mm")[1]) == {2.5}


def test_conditional_blocks_are_neighbours_mirrored_at_the_ends() -> None:
    blocks, codes = drawn("conditional", 6, 3)
    found = {tuple(int(s[0, 0]) // 64 for s in b) for b in blocks}
    assert found == {(1, 0, 1), (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (4, 5, 4)}
    assert set(codes) == {1}


@pytest.mark.parametrize("n_slices", [5, 8, 11])
def test_coronal_blocks_are_cut_along_z_and_filled_up_with_air(n_slices: int) -> None:
    blocks, codes = drawn("coronal", n_slices, 1)
    assert set(codes) == {1}
    volume = np.arange(n_slices * 64).reshape(n_slices, 8, 8)
    air = np.full((max(0, 8 - n_slices), 8, 8), AIR_HU, volume.dtype)
    filled = np.concatenate([air, volume, air])
    allowed = {
        filled[first : first + 8, row].tobytes()
        for first in range(len(filled) - 7)
        for row in range(8)
    }
    found = {b[0].tobytes() for b in blocks}
    assert found <= allowed
    assert len(found) > 0.9 * len(allowed)


def test_joint_blocks_are_drawn_as_ever() -> None:
    """The very blocks of a seed, so that a resumed run of an earlier version is the same run."""
    blocks, codes = drawn("joint", 9, 3)
    rng = np.random.default_rng(0)
    for block, code in zip(blocks, codes, strict=True):
        assert int(rng.choice(1, p=[1.0])) == 0
        stride = min(int(rng.choice((1, 2, 3))), 4)
        first = int(rng.integers(9 - 2 * stride))
        assert code == stride
        assert [int(s[0, 0]) // 64 for s in block] == [first + i * stride for i in range(3)]


def settings_of(prior_type: str, **changes: object) -> TrainSettings:
    network = replace(EASY_SETTINGS.network, prior_type=prior_type)
    return replace(EASY_SETTINGS, network=network, steps=3, validate_every=2, **changes)


def test_fbp_unet_learns_from_the_fbp_of_its_views() -> None:
    settings = settings_of("fbp-unet", views=5, arc_degrees=120.0)
    options = {"seed": 0, "step": 0, "n_blocks": 4, "n_timesteps": 1000, "augmentation": None}
    batch = draw_batch(easy_bank(), settings, **options)
    assert not batch.codes.any()
    hu = network_to_hu(batch.x0[:, 0]).numpy()
    volume = Volume(hu, Grid(shape=hu.shape, spacing_mm=(3.0, 0.7, 0.7)))
    geometry = ParallelBeam.fitting(volume.grid, 5, 120.0)
    fbp = reconstruct(simulate(volume, geometry), "fbp", device="cpu").volume
    expected = hu_to_network(fbp.values)
    np.testing.assert_allclose(batch.image[:, 0].numpy(), expected, atol=2e-3)
    part = draw_batch(easy_bank(), settings, **options, share=slice(1, 3))
    torch.testing.assert_close(part.image, batch.image[1:3])


def test_fbp_unet_for_any_scan_learns_from_each_slice_s_own_and_gets_it() -> None:
    settings = settings_of("fbp-unet", any_scan=True)
    options = {"seed": 0, "step": 0, "n_blocks": 6, "n_timesteps": 1000, "augmentation": None}
    batch = draw_batch(easy_bank(), settings, **options)
    assert len({(int(v), float(a)) for v, a in zip(batch.views, batch.codes, strict=True)}) > 3
    for x0, image, views, arc in zip(
        batch.x0, batch.image, batch.views.tolist(), batch.codes.tolist(), strict=True
    ):
        hu = network_to_hu(x0).numpy()
        volume = Volume(hu, Grid(shape=hu.shape, spacing_mm=(3.0, 0.7, 0.7)))
        scan = simulate(volume, ParallelBeam.fitting(volume.grid, views, arc))
        fbp = reconstruct(scan, "fbp", device="cpu").volume
        np.testing.assert_allclose(image.numpy(), hu_to_network(fbp.values), atol=2e-3)
    part = draw_batch(easy_bank(), settings, **options, share=slice(2, 5))
    torch.testing.assert_close(part.image, batch.image[2:5])
    assert torch.equal(part.views, batch.views[2:5])


def test_drawn_scans_have_whole_arcs_and_a_view_a_degree_and_any_number() -> None:
    scans = draw_scans(np.random.default_rng(0), 2_000)
    assert 0.45 < np.mean([arc == 180.0 for _, arc in scans]) < 0.55
    assert 0.15 < np.mean([views == arc < 180.0 for views, arc in scans]) < 0.25
    assert min(scans)[0] == 3
    assert 150 < max(views for views, _ in scans) <= 180
    assert all(45 <= arc <= 180 for _, arc in scans)


@pytest.mark.parametrize("prior_type", ["conditional", "fbp-unet"])
def test_the_error_is_of_what_is_returned_alone(prior_type: str) -> None:
    settings, schedule = settings_of(prior_type), NoiseSchedule()
    options = {"seed": 0, "step": 0, "n_blocks": 4, "n_timesteps": 1000, "augmentation": None}
    batch = draw_batch(easy_bank(), settings, **options)

    class Nothing(torch.nn.Module):
        def forward(self, tiles, t, class_labels):
            self.seen = tiles
            out = torch.zeros(len(tiles), 1, *tiles.shape[2:])
            return type("Output", (), {"sample": out})

    nothing = Nothing()
    squares = Objective(settings, schedule).squared_error(nothing, batch)
    if prior_type == "fbp-unet":
        assert torch.equal(nothing.seen, batch.image)
        expected = (batch.x0 - batch.image).square()
    else:
        assert nothing.seen.shape[1] == 3
        middle = (batch.x0[:, 1:2], batch.eps[:, 1:2], batch.t)
        expected = schedule.v_target(*middle).square()
    torch.testing.assert_close(squares, expected)


@pytest.mark.parametrize("prior_type", PRIOR_TYPES.names())
def test_a_short_run_ends_in_a_prior_of_its_type(prior_type: str, tmp_path: Path) -> None:
    trainer = Trainer(settings_of(prior_type), easy_bank(), easy_bank(1), tmp_path)
    prior = trainer.run()
    assert np.isfinite(prior.trained["validation_loss"])
    loaded = load_prior(tmp_path)
    assert loaded.config.prior_type == prior_type
    assert loaded.prediction == ("residual" if prior_type == "fbp-unet" else "v")
    if prior_type == "fbp-unet":
        assert loaded.views == (8, 180.0)


def test_settings_without_a_prior_type_are_joint_ones() -> None:
    """Checkpoints of before there were prior types, and of when those were called layouts."""
    stored = plain_settings(EASY_SETTINGS)
    for name in ("views", "arc_degrees"):
        del stored[name]
    del stored["network"]["prior_type"]
    check_same_settings(Path("checkpoint.pt"), EASY_SETTINGS, stored)
    slices = replace(settings_of("slices"), steps=24)
    with pytest.raises(InputError, match="network"):
        check_same_settings(Path("checkpoint.pt"), slices, stored)
    stored["network"]["layout"] = "slices"
    check_same_settings(Path("checkpoint.pt"), slices, stored | {"validate_every": 2})


@pytest.mark.parametrize(
    "bad",
    [
        {"prior_type": "conditional", "samples_every": 1},
        {"prior_type": "fbp-unet", "loss_weighting": "min-snr"},
        {"prior_type": "fbp-unet", "views": 0},
        {"prior_type": "joint", "any_scan": True},
        {"prior_type": "fbp-unet", "arc_degrees": 400.0},
    ],
)
def test_settings_that_do_not_go_together_are_refused(bad: dict) -> None:
    with pytest.raises(InputError):
        settings_of(**bad)
