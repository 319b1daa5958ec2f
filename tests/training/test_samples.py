"""Samples, priors kept, and TensorBoard's files, on the way of a run."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from diffusionblend.errors import InputError
from diffusionblend.priors.prior import Prior, load_prior
from diffusionblend.training import log, loop
from diffusionblend.training.loop import Trainer
from easy_training import EASY_SETTINGS, easy_bank


def test_a_run_asks_for_samples_now_and_then(tmp_path: Path) -> None:
    asked = []

    def note(prior: Prior, code: float, step: int) -> None:
        weights = next(prior.unet.parameters()).detach().clone()
        asked.append((step, code, prior.prediction, weights))

    settings = replace(EASY_SETTINGS, steps=12, validate_every=3, samples_every=2)
    Trainer(settings, easy_bank(), None, tmp_path, draw_samples=note).run()
    assert [(step, code, kind) for step, code, kind, _ in asked] == [(6, 1, "v"), (12, 1, "v")]
    last = next(load_prior(tmp_path).unet.parameters())  # the averaged weights, in float16
    torch.testing.assert_close(asked[-1][-1], last.detach(), rtol=1e-3, atol=1e-5)
    plain = replace(settings, samples_every=0)
    Trainer(plain, easy_bank(), None, tmp_path / "plain", draw_samples=note).run()
    assert len(asked) == 2
    digests = [load_prior(f).weights_sha256 for f in (tmp_path, tmp_path / "plain")]
    assert digests[0] == digests[1]


def test_pictures_that_nothing_draws_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing draws"):
        Trainer(replace(EASY_SETTINGS, samples_every=1), easy_bank(), None, tmp_path)


def test_priors_are_kept_now_and_then_as_a_shorter_run_would_end(tmp_path: Path) -> None:
    settings = replace(EASY_SETTINGS, steps=8, validate_every=2, keep_every=2, schedule="constant")
    last = Trainer(settings, easy_bank(), None, tmp_path / "long").run()
    kept = tmp_path / "long" / loop.STEPS_FOLDER
    assert sorted(p.name for p in kept.iterdir()) == ["4", "8"]
    assert load_prior(kept / "8").weights_sha256 == last.weights_sha256
    short = replace(settings, steps=4, keep_every=0)
    shorter = Trainer(short, easy_bank(), None, tmp_path / "short").run()
    assert load_prior(kept / "4").weights_sha256 == shorter.weights_sha256
    assert load_prior(kept / "4").trained["blocks"] == 4 * settings.batch_size
    assert not (tmp_path / "short" / loop.STEPS_FOLDER).exists()


def test_tensorboard_is_asked_for_by_name_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"diffusionblend\[tensorboard\]"):
        log.Metrics(tmp_path, tensorboard=True)


@pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None, reason="TensorBoard is not installed"
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_gets_what_the_file_gets(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    metrics = log.Metrics(tmp_path, tensorboard=True)
    for step in (1, 2):
        metrics.write(step, loss=0.5 / step)
    metrics.close()
    events = EventAccumulator(str(tmp_path / log.TENSORBOARD_FOLDER))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(1, 0.5), (2, 0.25)]
