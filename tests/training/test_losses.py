"""When a training run looks at its losses, and what it does where a checkpoint finds no room."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import pretended_device
from diffusionblend.errors import InputError, OutputWriteError
from diffusionblend.training import loop
from diffusionblend.training.checkpoint import write_checkpoint
from diffusionblend.training.loop import Trainer
from diffusionblend.training.losses import Losses
from diffusionblend.training.processes import Processes
from diffusionblend.training.progress import Progress
from easy_training import EASY_SETTINGS, easy_bank, metrics_of

STEPS = 13


class Followed:
    """A run of some steps: the loss that each reports, and what has waited for the device in it."""

    def __init__(self, folder: Path, device: torch.device | str) -> None:
        self.losses: list[float] = []
        self.waits: dict[int, list[str]] = {}
        processes = Processes()
        processes.device = torch.device(device)
        settings = replace(EASY_SETTINGS, checkpoint_minutes=0)
        run = Trainer(settings, easy_bank(), easy_bank(1), folder, processes=processes)
        pretended_device.waits.clear()
        with pytest.raises(KeyboardInterrupt):
            run.run(self._note)

    def _note(self, progress: Progress) -> None:
        waits = pretended_device.waits
        if "to" in waits:  # of the clipped gradients, which autograd has on the host here
            waits.remove("to")
        self.losses.append(progress.loss)
        self.waits[progress.step] = [*waits]
        waits.clear()
        if progress.step == STEPS:
            raise KeyboardInterrupt


def test_a_gpu_is_waited_for_only_where_its_results_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "LOG_EVERY", 12)
    monkeypatch.setattr(Trainer, "_validate", lambda self: None)
    monkeypatch.setattr(Trainer, "save_checkpoint", lambda self: None)
    on_cpu = Followed(tmp_path / "cpu", "cpu")
    with pretended_device.pretended_device(monkeypatch):
        there = Followed(tmp_path / "cuda", pretended_device.DEVICE)
    looks = {1: ["tolist"], 8: ["tolist"], 10: ["tolist"], 12: ["tolist"]}
    assert there.waits == {step: looks.get(step, []) for step in range(1, STEPS + 1)}
    means = [np.mean(on_cpu.losses[a:b]) for a, b in ((0, 1), (1, 8), (8, 10), (10, 12))]
    expected = np.repeat(means, [7, 2, 2, 2])  # from each look to the next
    np.testing.assert_allclose(there.losses, expected, rtol=1e-6)
    ours, theirs = ([m["loss"] for m in metrics_of(tmp_path / d)] for d in ("cuda", "cpu"))
    assert ours == pytest.approx(theirs, rel=1e-6) and len(ours) == 1


def test_a_loss_that_was_read_late_is_named_by_its_step() -> None:
    losses = Losses(Processes())
    for value in (1.0, 2.0, float("inf"), 3.0):
        losses.add(torch.tensor(value))
    with pytest.raises(InputError, match="inf at step 7"):
        losses.read(8)


def test_a_checkpoint_that_finds_no_room_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, state: dict) -> None:
        if state["step"] == 2:
            raise OutputWriteError(f"{path} was not written: the disk is full.")
        write_checkpoint(path, state)

    def trainer() -> Trainer:
        settings = replace(EASY_SETTINGS, steps=2, checkpoint_minutes=0)
        return Trainer(settings, easy_bank(), None, tmp_path)

    monkeypatch.setattr(loop, "write_checkpoint", full)
    run = trainer()
    with (
        pytest.warns(UserWarning, match="no checkpoint was kept at step 2; the run goes on.*full"),
        pytest.raises(OutputWriteError),  # of the last one, which has to be kept
    ):
        run.run()
    assert trainer().step == 1
