"""The pictures of samples that `train` draws on its way."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from diffusionblend.cli import training_samples
from tiny_network import random_prior


def test_samples_are_the_same_every_time_and_depend_on_the_code() -> None:
    prior = random_prior()
    one, again = (training_samples.sample_blocks(prior, 1.0) for _ in range(2))
    assert one.shape == (4, 3, 16, 16)
    np.testing.assert_array_equal(one, again)
    assert np.abs(training_samples.sample_blocks(prior, 2.5) - one).max() > 1e-3


def test_a_picture_has_a_row_for_each_block_and_its_slices_in_it(tmp_path: Path) -> None:
    from matplotlib.image import imread

    path = training_samples.write_samples(tmp_path, random_prior(), 1.0, 6)
    assert path == tmp_path / "samples" / "step-00000006.png"
    assert imread(path).shape[:2] == (4 * 16, 3 * 16)
