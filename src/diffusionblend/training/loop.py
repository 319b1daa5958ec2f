"""The training loop: random blocks on any number of processes, EMA, exact resume."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from statistics import median

import numpy as np
import torch

from diffusionblend.errors import InputError, OutputWriteError
from diffusionblend.priors.network import build_unet
from diffusionblend.priors.prior import Prior, make_prior
from diffusionblend.priors.prior_types.batches import Batch
from diffusionblend.priors.restorer import Restorer
from diffusionblend.priors.schedule import NoiseSchedule
from diffusionblend.training.averages import Averages
from diffusionblend.training.batches import TrainingBatches, draw_batch
from diffusionblend.training.checkpoint import (
    CHECKPOINT_FILE,
    check_same_settings,
    check_same_sources,
    has_checkpoint,
    plain_settings,
    read_checkpoint,
    write_checkpoint,
)
from diffusionblend.training.dataset import VolumeBank
from diffusionblend.training.initial import take_weights
from diffusionblend.training.log import Metrics
from diffusionblend.training.losses import Losses
from diffusionblend.training.multi_size import pixel_range_mm
from diffusionblend.training.objective import Objective
from diffusionblend.training.optimizer import make_optimizer, set_learning_rate
from diffusionblend.training.processes import Processes
from diffusionblend.training.progress import Progress
from diffusionblend.training.settings import TrainSettings
from diffusionblend.training.signals import signals_noted
from diffusionblend.training.teaching import Teachers

VALIDATION_BLOCKS = 32
VALIDATION_PART = 8
VALIDATION_SEED = 20241122
LOG_EVERY = 50
PAUSE_SECONDS = 0.5
"""Between two looks at whether a paused run may go on."""
STEPS_FOLDER = "steps"
"""Of the priors that are kept on the way."""
AVERAGES_FOLDER = "averages"
"""Of the priors with further averages of the weights."""


class Stopped(Exception):
    """A signal asked the run to stop; it has written its checkpoint."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"stopped by signal {signal_number}; run again to resume")
        self.signal_number = signal_number


class Trainer:
    """One training run in a folder: build it, then `run()`; an interrupted one resumes by itself.

    train, validation: banks of volumes; validation may be None. folder: takes the checkpoint,
    metrics and, at the end, the prior. processes: those that share the run, by default those that
    torchrun started; the first alone writes. initial: a prior whose weights a new run starts from,
    as far as they fit; `initial_share` is the share that did. teachers: those of high noise.
    draw_samples: is called where the settings ask for pictures of samples, with the prior as it is,
    the position code of neighbouring slices, and the step. trial: the PSNR in dB that a prior gives
    of a small reconstruction, asked for at each validation. paused: while it is true the run waits,
    and the time does not count. Raises InputError where the folder's run had other settings, or
    pictures are asked for and nothing draws them.
    """

    def __init__(
        self,
        settings: TrainSettings,
        train: VolumeBank,
        validation: VolumeBank | None,
        folder: Path,
        *,
        data_facts: dict[str, object] | None = None,
        device: str = "cpu",
        processes: Processes | None = None,
        initial: Prior | Restorer | None = None,
        teachers: Teachers | None = None,
        tensorboard: bool = False,
        draw_samples: Callable[[Prior, float, int], object] | None = None,
        trial: Callable[[Prior | Restorer], float] | None = None,
        paused: Callable[[], bool] = lambda: False,
    ) -> None:
        if settings.samples_every and draw_samples is None:
            raise InputError(
                f"samples_every is {settings.samples_every}, and nothing draws the pictures.",
                "a function draw_samples, or samples_every 0",
            )
        self.settings, self.train, self.validation = settings, train, validation
        self._sample_drawer, self._trial, self._paused = draw_samples, trial, paused
        self.folder, self.data_facts = Path(folder), data_facts or {}
        self.processes = processes if processes is not None else Processes(device)
        self.device = self.processes.device
        self.schedule = NoiseSchedule()
        self.objective = Objective(settings, self.schedule, teachers)
        if settings.multi_size and self.processes.count > 1:
            raise InputError(
                f"{self.processes.count} processes share a run with blocks of every pixel size.",
                "one process",
                "without --multi-size, or without torchrun",
            )
        self._parts = self.processes.shares(settings.batch_size, settings.accumulate)
        torch.manual_seed(settings.seed)
        self.unet = build_unet(settings.network).to(self.device)
        self.unet.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # not in its stubs
        self.initial_share = 0.0 if initial is None else take_weights(self.unet, initial, settings)
        self.averages = Averages(self.unet, settings.ema_decay, settings.average_shares)
        self.optimizer = make_optimizer(self.unet, settings)
        self.step, self.seconds = 0, 0.0
        self._validated: dict[str, float] = {}
        self._losses = Losses(self.processes)
        self._signal: int | None = None
        self._metrics = Metrics(self.folder, tensorboard=tensorboard)
        if self.processes.is_first:
            self.folder.mkdir(parents=True, exist_ok=True)
            sized = settings.network.length_codes > 0
            by_spacing = settings.code == "mm" or sized
            self._learnt_from: dict[str, object] = {
                "data": train.fingerprint(with_spacing=by_spacing, with_pixels=sized),
                "teachers": [] if teachers is None else teachers.weights_sha256,
            }
        self._resume()
        self._shared_unet = self.processes.wrapped(self.unet)

    def run(self, on_step: Callable[[Progress], None] = lambda progress: None) -> Prior | Restorer:
        """Train to the last step and write the prior; raises Stopped after a SIGINT or SIGTERM.

        A signal to any process stops all of them after the same step.
        """
        with closing(self._metrics):
            self._take_steps(on_step)
            self._log_losses()
        self.save_checkpoint()
        return self.export()

    def _take_steps(self, on_step: Callable[[Progress], None]) -> None:
        """All steps that are left, with metrics, validation and checkpoints on the way."""
        with signals_noted(self._note_signal), self._batches() as batches:
            self._wait_while_paused()
            last_checkpoint = last_tick = time.monotonic()
            for batch in batches:
                self._train_step(batch)
                looks = self._losses.is_due(self.step, LOG_EVERY, self.settings)
                if looks:  # the device has to be waited for
                    self._losses.read(self.step)
                self.seconds += time.monotonic() - last_tick
                last_tick = time.monotonic()
                rate = self.settings.learning_rate_at(self.step - 1)
                loss = self._losses.newest
                on_step(Progress(self.step, self.settings.steps, loss, rate, self._validated))
                if self.step % LOG_EVERY == 0:
                    self._log_losses()
                if self.step % self.settings.validate_every == 0 and self.validation is not None:
                    self._validate()
                self._draw_samples()
                self._keep_prior()
                last_tick += self._wait_while_paused()
                if not looks:
                    continue
                stop = int(self.processes.gathered(self._signal or 0).max())
                if stop:
                    self.save_checkpoint()
                    self.processes.wait()
                    raise Stopped(stop)
                if time.monotonic() - last_checkpoint > 60 * self.settings.checkpoint_minutes:
                    self._save_if_possible()
                    last_checkpoint = time.monotonic()

    def _validate(self) -> None:
        """Log the losses on the validation volumes, and what a small reconstruction is worth."""
        found = self.validation_losses()
        if self._trial is not None and self.processes.is_first:
            found["trial_psnr_db"] = self._trial(self._averaged_prior({}))
        self._validated = found
        self._log(**found)
        if self.processes.is_first:
            self._metrics.draw()

    def _wait_while_paused(self) -> float:
        """Wait until the run may go on, or is stopped; seconds that it took."""
        began = time.monotonic()
        while self._paused() and not self._signal:
            time.sleep(PAUSE_SECONDS)
        return time.monotonic() - began

    def export(self) -> Prior | Restorer:
        """Write the averaged weights as a prior into the folder, and return it."""
        for which, name in reversed([*enumerate(self.averages.names)]):  # the run's own last
            losses = {} if self.validation is None else self.validation_losses(which)
            prior = self._averaged_prior(losses, which)
            if self.processes.is_first:
                prior.save(self.folder / AVERAGES_FOLDER / name if name else self.folder)
        self.processes.wait()
        return prior.to("cpu")

    def _averaged_prior(self, more_facts: Mapping[str, object], which: int = 0) -> Prior | Restorer:
        """The averaged weights so far as a prior, with its facts."""
        unet = build_unet(self.settings.network)
        unet.load_state_dict(self.unet.state_dict())
        self.averages.copy_to(unet, which)
        facts = {
            **self.data_facts,
            "steps": self.step,
            "blocks": self.step * self.settings.batch_size,
            "hours": round(self.seconds / 3600, 3),
            "settings": plain_settings(self.settings),
        }
        return self._prior(unet, {**facts, **more_facts})

    def validation_losses(self, which: int = 0) -> dict[str, float]:
        """Errors on fixed blocks, noise and times, with the averaged weights and no weighting.

        "validation_loss": mean squared error of the prediction, v or eps; "validation_eps_loss": of
        eps, by which priors of either prediction compare.
        """
        if self.validation is None:
            raise InputError("There are no validation volumes.", "a folder of them")
        batch = self.validation_batch()
        starts = range(0, VALIDATION_BLOCKS, VALIDATION_PART)
        losses = [0.0] * (2 * len(starts))
        with self.averages.in_place(which), torch.no_grad():
            for i in range(self.processes.rank, len(starts), self.processes.count):
                part = batch.part(slice(starts[i], starts[i] + VALIDATION_PART)).to(self.device)
                squares = self.objective.squared_error(self.unet, part)
                losses[i] = squares.mean().item()
                losses[len(starts) + i] = self.objective.eps_error(squares, part).mean().item()
        parts = self.processes.gathered(*losses).sum(0).reshape(2, -1).mean(1)
        return {"validation_loss": float(parts[0]), "validation_eps_loss": float(parts[1])}

    def validation_batch(self) -> Batch:
        """The fixed blocks, noise and times of the validation loss, on the CPU."""
        assert self.validation is not None, "there are validation volumes"
        return draw_batch(
            self.validation,
            self.settings,
            seed=VALIDATION_SEED,
            step=0,
            n_blocks=VALIDATION_BLOCKS,
            n_timesteps=self.schedule.n_timesteps,
            augmentation=None,
        )

    def save_checkpoint(self) -> None:
        """Have the first process write all that a resume needs, whole or not at all.

        Raises OutputWriteError.
        """
        if not self.processes.is_first:
            return
        state = {
            "settings": plain_settings(self.settings),
            **self._learnt_from,
            "unet": self.unet.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "recent": self._losses.known,
            **self.averages.state(),
        }
        write_checkpoint(self.folder / CHECKPOINT_FILE, state)

    def _save_if_possible(self) -> None:
        """A checkpoint on the way; where it cannot be written the run goes on, with a warning."""
        try:
            self.save_checkpoint()
        except OutputWriteError as error:
            warnings.warn(
                f"no checkpoint was kept at step {self.step}; the run goes on. {error.got}",
                stacklevel=2,
            )

    def _resume(self) -> None:
        path = self.folder / CHECKPOINT_FILE
        if has_checkpoint(path):
            state = read_checkpoint(path, self.device)
            check_same_settings(path, self.settings, state["settings"])
            if self.processes.is_first:
                check_same_sources(path, self._learnt_from, state)
            self.unet.load_state_dict(state["unet"])
            self.averages.load(state)
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.seconds = state["step"], state["seconds"]
            self._losses.known = state.get("recent", [])
        steps = self.processes.gathered(self.step)
        if steps.min() != steps.max():
            raise InputError(
                f"The processes would go on from different steps, {steps.min():.0f} to "
                f"{steps.max():.0f}.",
                "one checkpoint that all of them see",
                "an output folder on a disk that all machines share",
            )
        if self.processes.is_first:
            self._metrics.drop_after(self.step)

    @contextmanager
    def _batches(self) -> Iterator[Generator[Batch, None, None]]:
        """This process's share of the batches from this step on."""
        share, n = slice(self._parts[0].start, self._parts[-1].stop), self.schedule.n_timesteps
        source = TrainingBatches(self.train, self.settings, n, share, self.device)
        batches = source.from_step(self.step)
        try:
            yield batches
        finally:
            batches.close()

    def _draw_samples(self) -> None:
        """Have the first process draw samples, where it is time to."""
        every = self.settings.samples_every * self.settings.validate_every
        due = every and self.step % every == 0 and self.processes.is_first
        if not due or self._sample_drawer is None:
            return
        slice_mm = median(self.train.slice_spacing_mm)
        prior = self._prior(self.unet, {})
        assert isinstance(prior, Prior), "the settings refuse samples of others"
        if self.settings.network.length_codes:
            pixels = self.settings.volume_size / self.settings.network.image_size
            prior.lengths_mm = (median(self.train.pixel_mm) * pixels, slice_mm)
        with self.averages.in_place():
            self._sample_drawer(
                prior, 1.0 if self.settings.code == "slices" else slice_mm, self.step
            )

    def _keep_prior(self) -> None:
        """Have the first process keep the prior as it is now, where it is time to."""
        every = self.settings.keep_every * self.settings.validate_every
        if every and self.step % every == 0 and self.processes.is_first:
            self._averaged_prior({}).save(self.folder / STEPS_FOLDER / str(self.step))

    def _prior(self, unet: torch.nn.Module, facts: dict[str, object]) -> Prior | Restorer:
        s = self.settings
        return make_prior(
            unet,
            s.network,
            facts,
            precision=s.precision,
            prediction=s.prediction,
            code_unit=s.code,
            pixel_range_mm=pixel_range_mm(self.train, s),
        )

    def _backward(self, batch: Batch) -> torch.Tensor:
        """Add up the gradient of the whole batch's mean loss; the loss of this process's share."""
        parts, n_blocks = self._parts, self.settings.batch_size
        if self.settings.multi_size:
            n_blocks = len(batch)
            parts = self.processes.shares(n_blocks, min(self.settings.accumulate, n_blocks))
        total, first = torch.zeros((), device=self.device), parts[0].start
        for part in parts:
            blocks = batch.part(slice(part.start - first, part.stop - first))
            last = part is parts[-1]
            share = len(blocks) / n_blocks
            with nullcontext() if last else self.processes.unsynchronised(self._shared_unet):
                loss = self.objective.loss(self._shared_unet, blocks)
                (loss * (share * self.processes.count)).backward()  # the processes' mean is taken
            total += loss.detach() * share
        return total

    def _train_step(self, batch: Batch) -> None:
        """One step of the weights and their averages; nothing here waits for the device."""
        s = self.settings
        set_learning_rate(self.optimizer, s.learning_rate_at(self.step))
        loss = self._backward(batch)
        torch.nn.utils.clip_grad_norm_(self.unet.parameters(), s.gradient_clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.averages.step()
        self.step += 1
        self._losses.add(loss)

    def _log_losses(self) -> None:
        """A line of the metrics with the mean loss since the last one, if there were steps."""
        if self._losses.known:
            self._log(loss=float(np.mean(self._losses.known)))
            self._losses.known.clear()

    def _log(self, **values: float) -> None:
        if self.processes.is_first:
            self._metrics.write(
                self.step,
                blocks=self.step * self.settings.batch_size,
                seconds=round(self.seconds, 1),
                learning_rate=self.settings.learning_rate_at(self.step),
                **values,
            )

    def _note_signal(self, number: int) -> None:
        """Have the loop stop after the step that it is in."""
        self._signal = number
