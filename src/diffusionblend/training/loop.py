"""The training loop: v-prediction on random blocks, EMA, exact resume."""

from __future__ import annotations

import json
import pickle
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from diffusionblend.errors import InputError
from diffusionblend.io.files import atomic_output
from diffusionblend.priors.network import apply_unet, build_unet
from diffusionblend.priors.prior import Prior
from diffusionblend.priors.schedule import NoiseSchedule
from diffusionblend.training.dataset import VolumeBank, draw_blocks
from diffusionblend.training.settings import TrainSettings

CHECKPOINT_FILE = "checkpoint.pt"
METRICS_FILE = "metrics.jsonl"
VALIDATION_BLOCKS = 32
VALIDATION_SEED = 20241122
LOG_EVERY = 50


class Stopped(Exception):
    """A signal asked the run to stop; it has written its checkpoint."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"stopped by signal {signal_number}; run again to resume")
        self.signal_number = signal_number


@dataclass
class Progress:
    """What the loop tells its caller after a step."""

    step: int
    steps: int
    loss: float


class Trainer:
    """One training run in a folder: build it, then `run()`; an interrupted one resumes by itself.

    train, validation: banks of volumes; validation may be None. folder: takes the checkpoint,
    metrics and, at the end, the prior. Raises InputError where the folder's run had other settings.
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
    ) -> None:
        from diffusers.training_utils import EMAModel

        self.settings, self.train, self.validation = settings, train, validation
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.data_facts = data_facts or {}
        self.device = torch.device(device)
        self.schedule = NoiseSchedule()
        torch.manual_seed(settings.seed)
        self.unet = build_unet(settings.network).to(device, memory_format=torch.channels_last)
        self.ema = EMAModel(self.unet.parameters(), decay=settings.ema_decay, use_ema_warmup=True)
        self.optimizer = torch.optim.AdamW(
            self.unet.parameters(),
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            foreach=True,
        )
        self._data = train.fingerprint()
        self.step, self.seconds = 0, 0.0
        self._signal: int | None = None
        self._resume()

    def run(self, on_step: Callable[[Progress], None] = lambda progress: None) -> Prior:
        """Train to the last step and write the prior; raises Stopped after a SIGINT or SIGTERM."""
        previous = {s: signal.signal(s, self._on_signal) for s in (signal.SIGINT, signal.SIGTERM)}
        last_checkpoint = last_tick = time.monotonic()
        recent: list[float] = []
        try:
            while self.step < self.settings.steps:
                recent.append(self._train_step())
                self.seconds += time.monotonic() - last_tick
                last_tick = time.monotonic()
                on_step(Progress(self.step, self.settings.steps, recent[-1]))
                if self.step % LOG_EVERY == 0:
                    self._log(loss=float(np.mean(recent)))
                    recent.clear()
                if self.step % self.settings.validate_every == 0 and self.validation is not None:
                    self._log(validation_loss=self.validation_loss())
                if self._signal is not None:
                    self.save_checkpoint()
                    raise Stopped(self._signal)
                if time.monotonic() - last_checkpoint > 60 * self.settings.checkpoint_minutes:
                    self.save_checkpoint()
                    last_checkpoint = time.monotonic()
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
        if recent:
            self._log(loss=float(np.mean(recent)))
        self.save_checkpoint()
        return self.export()

    def export(self) -> Prior:
        """Write the averaged weights as a prior into the folder, and return it."""
        unet = build_unet(self.settings.network)
        unet.load_state_dict(self.unet.state_dict())
        self.ema.copy_to(unet.parameters())
        facts = {
            **self.data_facts,
            "steps": self.step,
            "blocks": self.step * self.settings.batch_size,
            "hours": round(self.seconds / 3600, 3),
            "settings": _plain(asdict(self.settings)),
        }
        if self.validation is not None:
            facts["validation_loss"] = self.validation_loss()
        prior = Prior(unet, self.settings.network, trained=facts, bf16=self.settings.bf16)
        prior.save(self.folder)
        return prior.to("cpu")

    def validation_loss(self) -> float:
        """Mean squared error of v on fixed blocks, noise and times, with the averaged weights."""
        if self.validation is None:
            raise InputError("There are no validation volumes.", "a folder of them")
        parameters = list(self.unet.parameters())
        self.ema.store(parameters)
        self.ema.copy_to(parameters)
        try:
            batch = self._batch(
                self.validation, VALIDATION_SEED, 0, VALIDATION_BLOCKS, augment=False
            )
            with torch.no_grad():
                losses = [
                    self._loss(*(part[i : i + 8] for part in batch)).item()
                    for i in range(0, VALIDATION_BLOCKS, 8)
                ]
        finally:
            self.ema.restore(parameters)
        return float(np.mean(losses))

    def save_checkpoint(self) -> None:
        """Write all that a resume needs, whole or not at all; raises OutputWriteError."""
        state = {
            "settings": _plain(asdict(self.settings)),
            "data": self._data,
            "unet": self.unet.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        with atomic_output(self.folder / CHECKPOINT_FILE, force=True) as temporary:
            torch.save(state, temporary)

    def _resume(self) -> None:
        path = self.folder / CHECKPOINT_FILE
        if not path.exists():
            self._drop_metrics_after(0)
            return
        state = _read_checkpoint(path, self.device)
        ours, theirs = _plain(asdict(self.settings)), state["settings"]
        may_change = ("steps", "decay_steps", "checkpoint_minutes", "validate_every")
        changed = [k for k in ours if ours[k] != theirs.get(k) and k not in may_change]
        if changed:
            raise InputError(
                f"{path} was written with other settings: {', '.join(changed)}.",
                "the same settings to resume it",
                "another output folder, or --force to start anew",
            )
        if state.get("data") != self._data:
            raise InputError(
                f"{path} was written with other training data.",
                "the same volumes to resume it",
                "another output folder, or --force to start anew",
            )
        self.unet.load_state_dict(state["unet"])
        self.ema.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = state["step"], state["seconds"]
        self._drop_metrics_after(self.step)

    def _drop_metrics_after(self, step: int) -> None:
        """Forget metrics of steps that the checkpoint does not have, since they come again."""
        path = self.folder / METRICS_FILE
        if not path.exists():
            return
        kept = []
        for line in path.read_text().splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line + "\n")
            except json.JSONDecodeError:  # a crash or a full disk cut it short
                continue
        with atomic_output(path, force=True) as temporary:
            temporary.write_text("".join(kept))

    def _batch(
        self, bank: VolumeBank, seed: int, step: int, n_blocks: int, *, augment: bool
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """x0, codes, noise and timesteps: a function of seed and step alone."""
        rng = np.random.default_rng([seed, step])
        x0, codes = draw_blocks(
            bank,
            n_blocks=n_blocks,
            block_slices=self.settings.network.block_slices,
            strides=self.settings.strides,
            rng=rng,
            augment=augment,
        )
        noise_generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        eps = torch.randn(x0.shape, generator=noise_generator)
        strata = (np.arange(n_blocks) + rng.random(n_blocks)) / n_blocks
        t = torch.from_numpy((strata * self.schedule.n_timesteps).astype(np.int64))
        return tuple(part.to(self.device) for part in (x0, codes, eps, t))

    def _loss(
        self, x0: torch.Tensor, codes: torch.Tensor, eps: torch.Tensor, t: torch.Tensor
    ) -> torch.Tensor:
        predicted = apply_unet(
            self.unet,
            self.schedule.add_noise(x0, eps, t),
            t,
            codes,
            unshuffle=self.settings.network.unshuffle,
            bf16=self.settings.bf16,
        )
        return (predicted - self.schedule.v_target(x0, eps, t)).square().mean()

    def _train_step(self) -> float:
        s = self.settings
        batch = self._batch(self.train, s.seed, self.step, s.batch_size, augment=True)
        for group in self.optimizer.param_groups:
            group["lr"] = s.learning_rate_at(self.step)
        loss = self._loss(*batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.unet.parameters(), s.gradient_clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.ema.step(self.unet.parameters())
        self.step += 1
        value = loss.item()
        if not np.isfinite(value):
            raise InputError(
                f"The loss is {value} at step {self.step}.", try_="a lower --learning-rate"
            )
        return value

    def _log(self, **values: float) -> None:
        line = {
            "step": self.step,
            "blocks": self.step * self.settings.batch_size,
            "seconds": round(self.seconds, 1),
            "learning_rate": self.settings.learning_rate_at(self.step),
            **values,
        }
        with (self.folder / METRICS_FILE).open("a") as file:
            file.write(json.dumps(line) + "\n")

    def _on_signal(self, number: int, frame: object) -> None:
        self._signal = number


def _read_checkpoint(path: Path, device: torch.device) -> dict:
    """The state in a checkpoint; raises InputError where the file is damaged."""
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        raise InputError(
            f"{path} cannot be read: {str(error).partition(chr(10))[0]}",
            "a checkpoint as written by 'diffusionblend train'",
            "another output folder, or --force to start anew",
        ) from error


def _plain(settings: dict) -> dict:
    """Settings as JSON would give them back, so that stored and new ones compare equal."""
    return json.loads(json.dumps(settings))
