"""A prior type from another package: one file and an entry point, no change to this one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from diffusionblend.errors import InputError
from diffusionblend.priors.config import NetworkConfig
from diffusionblend.priors.prior import load_prior
from diffusionblend.priors.prior_types.registry import PRIOR_TYPES, prior_type_of
from diffusionblend.training.batches import draw_batch
from diffusionblend.training.loop import Trainer
from easy_training import EASY_SETTINGS, easy_bank

SAGITTAL = '''
"""Sagittal slices, denoised one by one."""

from dataclasses import dataclass

import numpy as np

from diffusionblend.priors import PriorType, slice_partition


@dataclass(frozen=True)
class Column:
    column: int
    stride: int = 1

    def read(self, volume):
        return np.ascontiguousarray(volume[None, :, :, self.column])


class Sagittal(PriorType):
    name = "sagittal"
    summary = "sagittal slices, denoised one by one"

    def slices_seen(self, block_slices):
        return 1

    def partition(self, shape, block_slices):
        return slice_partition(shape[2], axis=2, depth=shape[0])

    def draw_place(self, shape, block_slices, strides, rng):
        return Column(int(rng.integers(shape[2])))
'''


@pytest.fixture
def sagittal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The package installed, as pip leaves it."""
    site = tmp_path / "site"
    info = site / "sagittal_prior-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sagittal-prior\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[diffusionblend.prior_types]\nsagittal = sagittal_prior:Sagittal\n"
    )
    (site / "sagittal_prior.py").write_text(SAGITTAL)
    monkeypatch.syspath_prepend(site)
    yield
    sys.modules.pop("sagittal_prior", None)


def cube() -> np.ndarray:
    """Sixteen axial slices, so that sagittal ones are square as well."""
    (volume,) = easy_bank().volumes
    return np.concatenate([volume, volume[:4]])


@pytest.mark.usefixtures("sagittal")
def test_a_type_of_another_package_is_trained_saved_and_loaded(tmp_path: Path) -> None:
    assert PRIOR_TYPES.names()[-1] == "sagittal"
    network = replace(EASY_SETTINGS.network, prior_type="sagittal")
    settings = replace(EASY_SETTINGS, network=network, steps=80)
    volume = cube()
    bank = replace(easy_bank(), volumes=(volume,))
    options = {"seed": 0, "step": 0, "n_blocks": 5, "n_timesteps": 1000, "augmentation": None}
    batch = draw_batch(bank, settings, **options)
    columns = {volume[:, :, x].tobytes() for x in range(16)}
    hu = np.round(1000 * batch.x0[:, 0].numpy()).astype(np.int16)
    assert {block.tobytes() for block in hu} <= columns

    losses = []
    prior = Trainer(settings, bank, bank, tmp_path / "prior").run(lambda p: losses.append(p.loss))
    assert np.mean(losses[-6:]) < 0.8 * np.mean(losses[:6])
    loaded = load_prior(tmp_path / "prior")
    assert loaded.config == prior.config and loaded.block_slices == 1

    x = torch.randn(16, 16, 16, generator=torch.Generator().manual_seed(0))
    partition = prior_type_of("sagittal").partition((16, 16, 16), 3)
    x0, eps = loaded.denoise(partition.gather(x), 500, partition.code)
    abar = float(loaded.schedule.alpha_bar[500])
    back = partition.scatter(abar**0.5 * x0 + (1 - abar) ** 0.5 * eps, 16)
    torch.testing.assert_close(back, x, atol=1e-4, rtol=0)


def test_without_the_package_its_name_is_refused_with_those_there_are() -> None:
    with pytest.raises(InputError, match="no prior type 'sagittal'") as caught:
        NetworkConfig(prior_type="sagittal")
    assert "joint, slices, conditional, neighbours, coronal, fbp-unet" in caught.value.expected
    with pytest.raises(InputError) as caught:
        NetworkConfig(prior_type="corronal")
    assert caught.value.try_ == "did you mean coronal?"


@pytest.mark.usefixtures("sagittal")
def test_a_prior_whose_package_is_gone_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = replace(EASY_SETTINGS.network, prior_type="sagittal")
    settings = replace(EASY_SETTINGS, network=network, steps=1)
    bank = replace(easy_bank(), volumes=(cube(),))
    Trainer(settings, bank, None, tmp_path / "prior").run()
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != str(tmp_path / "site")])
    with pytest.raises(InputError, match="no prior type 'sagittal'"):
        load_prior(tmp_path / "prior")


@pytest.mark.usefixtures("sagittal")
def test_the_help_of_train_lists_it(cli, monkeypatch) -> None:
    monkeypatch.delitem(sys.modules, "diffusionblend.cli.train", raising=False)
    listed = cli("train", "--help-all").out
    assert "sagittal" in listed and "fbp-unet|" in " ".join(listed.split())
