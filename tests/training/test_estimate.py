"""What a run is said to cost, against counts of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dicom_series import write_series
from diffusionblend.data.volume import Volume
from diffusionblend.geometry.grid import Grid
from diffusionblend.io.volumes import write_volume
from diffusionblend.training.checkpoint import CHECKPOINT_FILE
from diffusionblend.training.cost import count_slices, estimate_run
from diffusionblend.training.loop import Trainer
from diffusionblend.training.processes import Processes
from easy_training import EASY_SETTINGS, easy_bank


def test_parameters_and_disk_are_those_of_the_run(tmp_path: Path) -> None:
    estimate = estimate_run(EASY_SETTINGS, Processes(), n_slices=12)
    run = Trainer(replace(EASY_SETTINGS, steps=2), easy_bank(), None, tmp_path)
    assert estimate.parameters == sum(p.numel() for p in run.unet.parameters())
    assert estimate.volume_bytes == easy_bank().volumes[0].nbytes
    run.run()
    tensors = 4 * 4 * estimate.parameters
    assert estimate.checkpoint_bytes == tensors
    names_bytes = 4 * 1000 * len(list(run.unet.parameters()))
    assert tensors < (tmp_path / CHECKPOINT_FILE).stat().st_size < tensors + names_bytes
    assert estimate.seconds_a_step > 0
    assert estimate.hours == pytest.approx(24 * estimate.seconds_a_step / 3600)
    words = " ".join(estimate.lines(1500.0))
    assert "1.5 GB" in words and f"{estimate.parameters / 1e6:.2f} M" in words


def test_slices_are_counted_by_headers(tmp_path: Path) -> None:
    grid = Grid(shape=(7, 4, 4), spacing_mm=(1.0, 1.0, 1.0))
    write_volume(Volume(np.zeros(grid.shape), grid), tmp_path / "a.nii.gz")
    write_series(tmp_path / "series")
    (tmp_path / "broken.mha").write_bytes(b"broken")
    assert count_slices(tmp_path / "a.nii.gz") == 7
    assert count_slices(tmp_path / "series") == len(list((tmp_path / "series").iterdir()))
    assert count_slices(tmp_path / "broken.mha") == 0
