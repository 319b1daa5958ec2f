"""Training on a GPU: it learns, in bf16 too, goes on where it stopped, and its prior loads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from diffusionblend.priors.prior import load_prior
from diffusionblend.training.loop import Trainer
from diffusionblend.training.progress import Progress
from easy_training import EASY_SETTINGS, easy_bank, metrics_of

pytestmark = pytest.mark.gpu
DEVICE = "cuda"


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_loss_falls_on_cuda(tmp_path: Path, precision: str) -> None:
    settings = replace(
        EASY_SETTINGS, steps=80, batch_size=8, validate_every=1000, precision=precision
    )
    losses: list[float] = []

    def note(progress: Progress) -> None:
        losses.append(progress.loss)

    run = Trainer(settings, easy_bank(), easy_bank(1), tmp_path, device=DEVICE)
    assert run.device.type == DEVICE
    run.run(note)
    assert np.mean(losses[-15:]) < 0.7 * np.mean(losses[:5])
    assert load_prior(tmp_path, DEVICE).device.type == DEVICE


class _Killed(Exception):
    pass


def test_a_run_on_cuda_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    Trainer(EASY_SETTINGS, easy_bank(), easy_bank(1), whole, device=DEVICE).run()
    often = replace(EASY_SETTINGS, checkpoint_minutes=0)

    def kill(progress: Progress) -> None:
        if progress.step == 12:
            raise _Killed

    with pytest.raises(_Killed):
        Trainer(often, easy_bank(), easy_bank(1), parts, device=DEVICE).run(kill)
    resumed = Trainer(often, easy_bank(), easy_bank(1), parts, device=DEVICE)
    assert 0 < resumed.step <= 12
    resumed.run()
    one, other = (
        [m["validation_loss"] for m in metrics_of(folder) if "validation_loss" in m]
        for folder in (whole, parts)
    )
    assert one == pytest.approx(other, rel=1e-2)
