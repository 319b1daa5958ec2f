"""The training loop: it learns, and a run that is interrupted is the run that is not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from diffusionblend.errors import InputError
from diffusionblend.priors.prior import load_prior
from diffusionblend.training import loop
from diffusionblend.training.checkpoint import CHECKPOINT_FILE, write_checkpoint
from diffusionblend.training.log import METRICS_FILE, PICTURE_FILE, Metrics
from diffusionblend.training.loop import Stopped, Trainer
from diffusionblend.training.progress import Progress
from diffusionblend.training.settings import TrainSettings
from easy_training import EASY_SETTINGS, easy_bank, environment_of_a_script, metrics_of
from tiny_network import TINY

LOG_EVERY = 4
SETTINGS = EASY_SETTINGS


@pytest.fixture(autouse=True)
def frequent_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "LOG_EVERY", LOG_EVERY)


def trainer(folder: Path, settings: TrainSettings = SETTINGS) -> Trainer:
    return Trainer(settings, easy_bank(), easy_bank(1), folder)


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "LOG_EVERY", LOG_EVERY)
        trainer(folder).run()
    return folder


def assert_same_run(folder: Path, whole: Path) -> None:
    """Weights, averaged weights and optimiser bit by bit, and the same metrics."""
    one, other = (torch.load(f / CHECKPOINT_FILE, weights_only=True) for f in (folder, whole))
    for part in ("unet", "ema", "optimizer", "step"):
        assert flat(one[part]) == flat(other[part]), part
    assert load_prior(folder).weights_sha256 == load_prior(whole).weights_sha256
    steps = [(m["step"], "loss" in m) for m in metrics_of(folder)]
    assert steps == [(m["step"], "loss" in m) for m in metrics_of(whole)]
    for kind in ("loss", "validation_loss"):
        losses = [m.get(kind) for m in metrics_of(folder)]
        assert losses == [m.get(kind) for m in metrics_of(whole)]


def flat(state: object) -> object:
    """A state with its tensors as bytes, so that it can be compared."""
    if isinstance(state, torch.Tensor):
        return state.contiguous().numpy().tobytes()
    if isinstance(state, dict):
        return {k: flat(v) for k, v in state.items()}
    if isinstance(state, list | tuple):
        return [flat(v) for v in state]
    return state


@pytest.mark.slow
def test_the_loss_falls_on_an_easy_set(tmp_path: Path) -> None:
    losses = []
    settings = replace(SETTINGS, steps=80, batch_size=8, validate_every=1000)
    trainer(tmp_path, settings).run(lambda progress: losses.append(progress.loss))
    assert len(losses) == 80
    assert np.mean(losses[-15:]) < 0.7 * np.mean(losses[:5])


def test_metrics_are_complete(whole_run: Path) -> None:
    lines = metrics_of(whole_run)
    assert [m["step"] for m in lines if "loss" in m] == [4, 8, 12, 16, 20, 24]
    assert [m["step"] for m in lines if "validation_loss" in m] == [8, 16, 24]
    assert all(m["blocks"] == 4 * m["step"] and m["seconds"] >= 0 for m in lines)
    assert all(np.isfinite(m.get("loss", m.get("validation_loss"))) for m in lines)
    assert lines[-1]["learning_rate"] == 0


def test_the_losses_are_drawn_at_each_validation(whole_run: Path, tmp_path: Path) -> None:
    from matplotlib.image import imread

    drawn = imread(whole_run / PICTURE_FILE)
    assert drawn.ndim == 3 and drawn.std() > 0.05
    metrics = Metrics(tmp_path)
    metrics.write(4, loss=0.5)
    metrics.draw()
    one = imread(tmp_path / PICTURE_FILE)
    metrics.write(8, loss=0.25, validation_loss=0.3)
    metrics.draw()
    assert one.shape == drawn.shape and (imread(tmp_path / PICTURE_FILE) != one).any()
    (tmp_path / METRICS_FILE).write_text("{damaged\n")
    with pytest.warns(UserWarning, match="could not be drawn"):
        metrics.draw()


def stop_after(step: int, number: int) -> object:
    def on_step(progress: Progress) -> None:
        if progress.step == step:
            os.kill(os.getpid(), number)

    return on_step


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_stopped_by_a_signal_resumes_as_if_it_had_not_been(
    tmp_path: Path, whole_run: Path, number: int
) -> None:
    handler = signal.getsignal(number)
    with pytest.raises(Stopped) as stopped:
        trainer(tmp_path).run(stop_after(10, number))
    assert stopped.value.signal_number == number
    assert signal.getsignal(number) is handler
    resumed = trainer(tmp_path)
    assert resumed.step == 10
    seen = []
    resumed.run(lambda progress: seen.append(progress.step))
    assert seen == list(range(11, 25))
    assert_same_run(tmp_path, whole_run)


KILLED_RUN = """
import sys
from pathlib import Path
import test_loop
from diffusionblend.training import loop

loop.LOG_EVERY = test_loop.LOG_EVERY
settings = test_loop.replace(test_loop.SETTINGS, checkpoint_minutes=0)

def on_step(progress):
    print(progress.step, flush=True)
    if progress.step == 14:
        sys.stdin.read()

test_loop.trainer(Path(sys.argv[1]), settings).run(on_step)
"""


@pytest.mark.slow
def test_a_run_killed_outright_resumes_as_if_it_had_not_been(
    tmp_path: Path, whole_run: Path
) -> None:
    environment = environment_of_a_script(Path(__file__).parent)
    command = [sys.executable, "-c", KILLED_RUN, str(tmp_path)]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        steps = []
        for line in process.stdout:
            steps.append(int(line))
            if steps[-1] == 14:
                process.kill()
                break
    assert process.returncode == -signal.SIGKILL
    assert steps[-1] == 14
    assert metrics_of(tmp_path)[-1]["step"] == 12
    resumed = trainer(tmp_path)
    assert resumed.step == 13
    resumed.run()
    assert_same_run(tmp_path, whole_run)


def test_metrics_after_the_checkpoint_and_torn_lines_are_dropped(
    tmp_path: Path, whole_run: Path
) -> None:
    with pytest.raises(Stopped):
        trainer(tmp_path).run(stop_after(10, signal.SIGTERM))
    with (tmp_path / METRICS_FILE).open("a") as file:
        file.write('{"step": 12, "loss": 1.0}\n{"step": 16, "los')
    trainer(tmp_path).run()
    assert_same_run(tmp_path, whole_run)


def test_a_finished_run_is_not_trained_again(tmp_path: Path, whole_run: Path) -> None:
    trainer(tmp_path).run()
    (tmp_path / "prior.json").unlink()
    seen = []
    trainer(tmp_path).run(seen.append)
    assert not seen
    assert_same_run(tmp_path, whole_run)


def test_validation_loss_is_a_function_of_the_weights_alone(tmp_path: Path) -> None:
    run = trainer(tmp_path)
    torch.manual_seed(1)
    one = run.validation_losses()["validation_loss"]
    before = flat(run.unet.state_dict())
    torch.manual_seed(2)
    assert run.validation_losses()["validation_loss"] == one
    assert flat(run.unet.state_dict()) == before
    other = Trainer(
        replace(SETTINGS, batch_size=7, steps=2), easy_bank(), easy_bank(1), tmp_path / "b"
    )
    assert other.validation_losses()["validation_loss"] == one
    other.run()
    assert other.validation_losses()["validation_loss"] != one


def test_validation_loss_is_the_error_of_v_by_the_averaged_weights(tmp_path: Path) -> None:
    run = trainer(tmp_path)
    with torch.no_grad():
        for p in run.unet.parameters():
            p.zero_()
    with_average = run.validation_losses()["validation_loss"]
    for shadow in run.averages.models[0].shadow_params:
        shadow.zero_()
    without = run.validation_losses()["validation_loss"]
    assert with_average != without
    batch = run.validation_batch()
    abar = run.schedule.alpha_bar[batch.t].float()[:, None, None, None]
    v = abar.sqrt() * batch.eps - (1 - abar).sqrt() * batch.x0
    assert without == pytest.approx(v.square().mean().item(), rel=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rate": 1e-3},
        {"seed": 8},
        {"strides": (1,)},
        {"network": replace(TINY, layers=2)},
    ],
)
def test_a_run_with_other_settings_is_not_resumed(whole_run: Path, change: dict) -> None:
    before = (whole_run / METRICS_FILE).read_bytes()
    with pytest.raises(InputError, match=next(iter(change))):
        trainer(whole_run, replace(SETTINGS, **change))
    assert (whole_run / METRICS_FILE).read_bytes() == before


def test_a_run_with_other_data_is_not_resumed(whole_run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="other training data"):
        Trainer(SETTINGS, easy_bank(seed=5), None, whole_run)


def test_a_run_can_be_made_longer(tmp_path: Path) -> None:
    trainer(tmp_path, replace(SETTINGS, steps=4)).run()
    longer = trainer(tmp_path, replace(SETTINGS, steps=6, checkpoint_minutes=1))
    assert longer.step == 4
    longer.run()
    assert json.loads((tmp_path / "prior.json").read_text())["trained"]["steps"] == 6


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    trainer(tmp_path, replace(SETTINGS, steps=1)).run()
    path = tmp_path / CHECKPOINT_FILE
    content = path.read_bytes()
    for damaged in (b"", b"not a checkpoint", content[: len(content) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=CHECKPOINT_FILE):
            trainer(tmp_path)


def test_the_exported_prior_holds_the_averaged_weights(whole_run: Path) -> None:
    prior = load_prior(whole_run)
    state = torch.load(whole_run / CHECKPOINT_FILE, weights_only=True)
    averaged = state["ema"]["shadow_params"]
    last = list(state["unet"].values())
    for p, shadow in zip(prior.unet.parameters(), averaged, strict=True):
        torch.testing.assert_close(p, shadow.half().float(), rtol=0, atol=0)
    assert any(not torch.equal(a, b) for a, b in zip(averaged, last, strict=True))
    assert prior.config == TINY
    assert prior.trained["steps"] == 24
    assert prior.trained["blocks"] == 96
    assert prior.trained["validation_loss"] == metrics_of(whole_run)[-1]["validation_loss"]
    x0, eps = prior.denoise(torch.zeros(1, 3, 16, 16), 500, 1)
    assert x0.isfinite().all() and eps.isfinite().all()


def test_a_network_that_takes_lengths_is_trained_validated_and_kept(tmp_path: Path) -> None:
    network = replace(TINY, length_codes=4, refine=6)
    settings = replace(SETTINGS, network=network, steps=4, validate_every=2)
    run = trainer(tmp_path, settings)
    before = run.unet.class_embedding.size_2.weight.clone()
    prior = run.run()
    assert not torch.equal(run.unet.class_embedding.size_2.weight, before)  # it learns from them
    assert prior.trained["validation_loss"] > 0
    zoom = np.exp(settings.augmentation.log_zoom)
    assert load_prior(tmp_path).pixel_range_mm == pytest.approx((1 / zoom, zoom))
    with pytest.raises(InputError, match="neither pixel size nor slice spacing"):
        prior.denoise(torch.zeros(1, 3, 16, 16), 500, 1)


def test_the_learning_rate_rises_stays_and_falls_to_zero() -> None:
    settings = replace(SETTINGS, steps=100, warmup_steps=10, decay_steps=20, learning_rate=1.0)
    assert [settings.learning_rate_at(s) for s in (0, 4, 9, 50, 80, 90, 100)] == pytest.approx(
        [0.1, 0.5, 1, 1, 1, 0.5, 0]
    )


def test_the_other_schedules() -> None:
    changes = {"steps": 110, "warmup_steps": 10, "decay_steps": 20, "learning_rate": 1.0}
    cosine = replace(SETTINGS, schedule="cosine", **changes)
    rates = [cosine.learning_rate_at(s) for s in (0, 9, 10, 35, 60, 85, 110)]
    assert rates == pytest.approx([0.1, 1, 1, 0.5 + 0.125**0.5, 0.5, 0.5 - 0.125**0.5, 0])
    constant = replace(SETTINGS, schedule="constant", **changes)
    assert [constant.learning_rate_at(s) for s in (4, 9, 109)] == pytest.approx([0.5, 1, 1])


def test_settings_that_a_checkpoint_lacks_had_their_defaults(tmp_path: Path) -> None:
    trainer(tmp_path, replace(SETTINGS, steps=2)).run()
    path = tmp_path / CHECKPOINT_FILE
    state = torch.load(path, weights_only=True)
    for name in ("accumulate", "schedule", "augmentation"):
        del state["settings"][name]
    del state["sha256"]
    write_checkpoint(path, state)
    assert trainer(tmp_path).step == 2
    augmentation = replace(SETTINGS.augmentation, shift=0.1)
    for changed in ({"schedule": "cosine"}, {"augmentation": augmentation}):
        with pytest.raises(InputError, match=next(iter(changed))):
            trainer(tmp_path, replace(SETTINGS, **changed))


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    run = trainer(tmp_path)
    with torch.no_grad():
        next(iter(run.unet.parameters())).fill_(float("nan"))
    with pytest.raises(InputError, match="nan"):
        run.run()
    assert not (tmp_path / CHECKPOINT_FILE).exists()


@pytest.mark.parametrize(
    "bad", [{"steps": 0}, {"batch_size": 0}, {"strides": ()}, {"strides": (0,)}]
)
def test_settings_that_make_no_sense_are_refused(bad: dict) -> None:
    with pytest.raises(InputError):
        replace(SETTINGS, **bad)
