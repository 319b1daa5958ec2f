"""The small reconstruction at each validation of `train`."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from diffusionblend.cli.training_trial import trial_of, trial_volume
from diffusionblend.errors import InputError
from diffusionblend.training.dataset import VolumeBank
from diffusionblend.training.loop import Trainer
from easy_training import EASY_SETTINGS, easy_bank, metrics_of
from tiny_network import random_prior


def test_the_volume_is_the_middle_of_the_first_brought_to_the_network_s_pixels():
    rng = np.random.default_rng(0)
    whole = rng.integers(-1000, 1000, (15, 32, 32)).astype(np.int16)
    bank = VolumeBank.of_arrays([whole], [3.0], block_slices=3, pixel_mm=[1.5])
    volume = trial_volume(bank, 16)
    assert volume.grid.shape == (9, 16, 16) and volume.grid.spacing_mm == (3.0, 3.0, 3.0)
    means = whole[3:12].astype(float).reshape(9, 16, 2, 16, 2).mean((2, 4))
    np.testing.assert_allclose(volume.values, means, atol=1e-3)
    assert trial_volume(bank, 32).grid.spacing_mm == (3.0, 1.5, 1.5)
    assert trial_volume(bank, 20).grid.shape == (9, 32, 32), "not divided: as it is"


def test_the_figure_repeats_and_leaves_torch_s_random_numbers():
    trial = trial_of(easy_bank(1), EASY_SETTINGS, 8, "cpu")
    prior = random_prior()
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    first = trial(prior)
    assert math.isfinite(first) and trial(prior) == first
    assert torch.equal(torch.random.get_rng_state(), before)


def test_training_makes_it_better_and_is_not_changed_by_it(tmp_path):
    settings = replace(EASY_SETTINGS, steps=64, validate_every=32)
    trial = trial_of(easy_bank(1), settings, 4, "cpu")
    seen = []

    def note(state) -> None:
        seen.append(state.trial_psnr_db)

    prior = Trainer(settings, easy_bank(), easy_bank(1), tmp_path / "a", trial=trial).run(note)
    plain = Trainer(settings, easy_bank(), easy_bank(1), tmp_path / "b").run()
    assert prior.weights_sha256 == plain.weights_sha256
    rows = [row["trial_psnr_db"] for row in metrics_of(tmp_path / "a") if "trial_psnr_db" in row]
    assert len(rows) == 2 and seen[:32] == [None] * 32 and set(seen[32:]) == {rows[0]}
    assert trial(prior) == pytest.approx(rows[-1], abs=0.2)
    assert trial(prior) > trial(random_prior()), "it has learnt something"
    assert not any("trial_psnr_db" in row for row in metrics_of(tmp_path / "b"))


@pytest.mark.parametrize("views", [0, -3])
def test_less_than_one_view_is_refused(views):
    with pytest.raises(InputError, match="at least one"):
        trial_of(easy_bank(1), EASY_SETTINGS, views, "cpu")


def test_a_type_without_a_method_of_its_own_has_none():
    network = replace(EASY_SETTINGS.network, prior_type="coronal")
    assert trial_of(easy_bank(1), replace(EASY_SETTINGS, network=network), 8, "cpu") is None
