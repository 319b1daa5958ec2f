"""Train a prior for so many minutes from a pack of volumes, and go on from there the next time.

    python benchmarks/gpu_train.py --train train.npz --validation val.npz -o run/ --minutes 10
    python benchmarks/gpu_train.py --train train.npz -o run/ --minutes 8 --total-minutes 24

The number of steps follows from the speed seen in the first ones, so that the learning rate has
come down when the minutes are over. With --total-minutes a call is one of several: each resumes the
run in the folder, and the rate comes down in the last. Packs come from pack_volumes.py; neither an
image library nor the command line's libraries are needed. With --keep every checkpoint also leaves
the prior there, in files of a size that can be brought home, so that a call that is cut off has
given something.

A prior for every pixel size (--init chest) is trained on by the recipe of train_priors.py.

It reads its options by argparse, since it also runs on machines without tyro.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from common import TINY_NETWORK, say
from diffusionblend import InputError, Volume, load_prior
from diffusionblend.errors import on_the_command_line
from diffusionblend.io.atomic import atomic_output
from diffusionblend.io.jsonl import append_json_line
from diffusionblend.priors.config import NetworkConfig
from diffusionblend.priors.trained_network import CONFIG_FILE, PRIOR_FILE, WEIGHTS_FILE
from diffusionblend.training.dataset import VolumeBank
from diffusionblend.training.log import METRICS_FILE
from diffusionblend.training.loop import Stopped, Trainer
from diffusionblend.training.progress import Progress
from diffusionblend.training.settings import TrainSettings
from diffusionblend.training.synthetic import synthetic_bank
from pack_volumes import read_pack
from train_priors import RECIPE

ENDLESS_STEPS = 10_000_000
"""Steps of a run whose end is not yet known."""
FIRST_STEPS, TRIAL_STEPS = 10, 30
"""Steps left out of the speed, and steps it is taken from."""
DECAY_SHARE = 0.3
"""Share of all steps over which the learning rate falls."""
MARGIN = 0.97
"""Share of the time left that is planned with."""
STOPPED_EXIT = 128
CHECKPOINTS = 4
"""Of a call, with their copies of the prior."""
BYTES_PER_MB = 1_000_000


class _Pause(Exception):
    """The loop is to stop here."""


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    default = TrainSettings()
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--train", type=Path, help="pack of training volumes; none: synthetic chests alone")
    add("--validation", type=Path, help="pack of other patients")
    add("-o", "--output", type=Path, required=True, help="folder of the run and the prior")
    add("--minutes", type=float, required=True, help="of this call")
    add("--total-minutes", type=float, help="of all calls together; else those of this call")
    add("--init", help="prior to start from, by name or folder; its network is taken over")
    add("--size", type=int, default=256, help="pixels a side of a slice, as in the packs")
    add("--channels", type=int, nargs="+", default=list(default.network.channels))
    add("--layers", type=int, default=default.network.layers)
    add("--batch-size", type=int, default=32)
    add("--learning-rate", type=float, help="of AdamW; by default the recipe's")
    add("--synthetic", type=int, default=default.synthetic_volumes, help="chests added")
    add("--validate-every", type=int, default=default.validate_every)
    add("--seed", type=int, default=default.seed)
    add("--device", default="cuda", help="cuda or cpu")
    add("--keep", type=Path, help="folder for metrics and prior, copied at every checkpoint")
    add("--max-file-mb", type=float, help="cut kept weights into parts; cat joins them")
    add("--tiny", action="store_true", help="a tiny network at 32 x 32, for the tests")
    return parser.parse_args(arguments)


def settings_of(chosen: argparse.Namespace, start: NetworkConfig | None) -> TrainSettings:
    """Settings of a run whose number of steps is not yet known."""
    network = start or NetworkConfig(channels=tuple(chosen.channels), layers=chosen.layers)
    every_size = network.length_codes > 0
    if chosen.tiny:
        network = replace(TINY_NETWORK, length_codes=network.length_codes)
    elif not every_size:
        network = replace(network, image_size=chosen.size)
    return TrainSettings(
        network=network,
        **(of_every_size(chosen) if every_size else {}),
        steps=ENDLESS_STEPS,
        batch_size=chosen.batch_size,
        learning_rate=chosen.learning_rate or default_rate(every_size),
        synthetic_volumes=chosen.synthetic,
        validate_every=chosen.validate_every,
        checkpoint_minutes=minutes_between_checkpoints(chosen.minutes),
        seed=chosen.seed,
    )


def of_every_size(chosen: argparse.Namespace) -> dict[str, Any]:
    """The settings of train_priors.py for a network of every pixel size; packs are its source."""
    return {
        "multi_size": True,
        "source_size": TINY_NETWORK.image_size if chosen.tiny else chosen.size,
        "optimizer": RECIPE["--optimizer"],
        "muon_learning_rate": float(RECIPE["--muon-learning-rate"]),
        "low_noise_share": float(RECIPE["--low-noise-share"]),
    }


def default_rate(every_size: bool) -> float:
    """AdamW's learning rate where none is given."""
    return float(RECIPE["--learning-rate"]) if every_size else TrainSettings().learning_rate


def minutes_between_checkpoints(minutes: float) -> float:
    """So that a call has some, none of them at once after another."""
    return max(0.5, minutes / CHECKPOINTS)


def banks(
    chosen: argparse.Namespace, settings: TrainSettings
) -> tuple[VolumeBank, VolumeBank | None, dict[str, object]]:
    """Training and validation volumes from the packs, and the facts of the data for the prior.

    Raises InputError where slices have another size than the network, or a name is in both packs.
    """
    k = settings.network.block_slices
    train = _pack(chosen.train, settings) if chosen.train else {}
    facts: dict[str, object] = {"volumes": list(train)}
    bank = VolumeBank.of(list(train.values()), block_slices=k) if train else None
    facts["slices"] = bank.n_slices if bank else 0
    if settings.synthetic_volumes:
        synthetic = synthetic_bank(settings, lambda done, total: None)
        bank = bank.mixed_with(synthetic, settings.synthetic_share) if bank else synthetic
    if bank is None:
        raise InputError("There is nothing to train on.", "--train or --synthetic")
    held_out = None
    if chosen.validation:
        others = _pack(chosen.validation, settings)
        both = sorted(set(others) & set(train))
        if both:
            raise InputError(f"{', '.join(both)} is in training and validation.", "other patients")
        held_out = VolumeBank.of(list(others.values()), block_slices=k)
        facts["validation_volumes"] = list(others)
    return bank, held_out, facts


def _pack(path: Path, settings: TrainSettings) -> dict[str, Volume]:
    """The volumes of a pack; raises InputError where they do not suit the network."""
    size = settings.source_size if settings.multi_size else settings.network.image_size
    volumes = read_pack(path)
    for name, volume in volumes.items():
        if volume.grid.in_plane_shape != (size, size):
            found = " x ".join(map(str, volume.grid.in_plane_shape))
            raise InputError(f"{name} in {path} has slices of {found}.", f"{size} x {size}")
    return volumes


def train_for(
    trainer: Trainer, minutes: float, total_minutes: float, keep: Callable[[], None] = lambda: None
) -> None:
    """Train for so many minutes of a run of `total_minutes`, then write checkpoint and prior.

    keep: copies the prior to where it is brought home from, at every checkpoint. A run that has had
    its minutes is left as it is.
    """
    deadline = time.monotonic() + 60 * minutes
    seconds_left = 60 * total_minutes - trainer.seconds
    if seconds_left <= (1 - MARGIN) * 60 * total_minutes:
        say(f"The run has had its {total_minutes:g} minutes; --total-minutes for more.")
        trainer.export()
        return
    try:
        speed = _speed(trainer, deadline)
        seconds_left = 60 * total_minutes - trainer.seconds
        if seconds_left <= 60 * minutes:
            seconds_left = min(seconds_left, deadline - time.monotonic())
        steps = trainer.step + max(1, int(MARGIN * speed * seconds_left))
        decay = max(1, int(DECAY_SHARE * steps))
        trainer.settings = replace(trainer.settings, steps=steps, decay_steps=decay)
        blocks = speed * trainer.settings.batch_size
        say(f"{speed:.2f} steps/s, {blocks:.1f} blocks/s, {steps} steps in all")
        trainer.run(_until(deadline, trainer, keep, minutes_between_checkpoints(minutes)))
    except _Pause:
        trainer.save_checkpoint()
        trainer.export()


def _speed(trainer: Trainer, deadline: float) -> float:
    """Steps a second: of the run so far, or from its first steps. Raises _Pause at the deadline."""
    if trainer.step >= FIRST_STEPS + TRIAL_STEPS:
        return trainer.step / trainer.seconds
    return _trial(trainer, deadline)


def _trial(trainer: Trainer, deadline: float) -> float:
    """Steps a second, from the next steps of the run; raises _Pause at the deadline."""
    first = trainer.step
    marks: list[float] = []

    def on_step(progress: Progress) -> None:
        if progress.step in (first + FIRST_STEPS, first + FIRST_STEPS + TRIAL_STEPS):
            marks.append(time.monotonic())
        if len(marks) == 2 or time.monotonic() > deadline:
            raise _Pause

    try:
        trainer.run(on_step)
    except _Pause:
        if len(marks) < 2:
            raise
    return TRIAL_STEPS / (marks[1] - marks[0])


def _until(
    deadline: float, trainer: Trainer, keep: Callable[[], None], keep_minutes: float
) -> Callable[[Progress], None]:
    """A progress report that ends the loop at the deadline, and keeps the prior on the way."""
    last = time.monotonic()

    def on_step(progress: Progress) -> None:
        nonlocal last
        now = time.monotonic()
        if now > deadline:
            raise _Pause
        if now - last > 60 * keep_minutes:
            trainer.export()
            keep()
            last = time.monotonic()

    return on_step


def keep_prior(folder: Path, kept: Path | None, max_file_mb: float | None) -> None:
    """Copy metrics and prior of a run to `kept`, weights last and in parts of so many megabytes.

    The parts of an earlier copy are replaced one by one, each under a temporary name first.
    """
    if kept is None:
        return
    (kept / "prior").mkdir(parents=True, exist_ok=True)
    sources = {kept / METRICS_FILE: folder / METRICS_FILE}
    sources |= {kept / "prior" / name: folder / name for name in (PRIOR_FILE, CONFIG_FILE)}
    for target, source in sources.items():
        if source.exists():
            _written(target, source.read_bytes())
    weights, target = (folder / WEIGHTS_FILE).read_bytes(), kept / "prior" / WEIGHTS_FILE
    if max_file_mb is None or len(weights) <= BYTES_PER_MB * max_file_mb:
        _written(target, weights)
        return
    size = int(BYTES_PER_MB * max_file_mb)
    for n, first in enumerate(range(0, len(weights), size)):
        _written(target.with_name(f"{target.name}.part-{n:02}"), weights[first : first + size])


def _written(target: Path, content: bytes) -> None:
    with atomic_output(target, force=True) as temporary:
        temporary.write_bytes(content)


@on_the_command_line()
def main(arguments: list[str] | None = None) -> int:
    """Train as the command line says; 1 where an input is refused."""
    chosen = parse(arguments)
    try:
        start = load_prior(chosen.init) if chosen.init else None
        settings = settings_of(chosen, start.config if start else None)
        train, validation, facts = banks(chosen, settings)
        trainer = Trainer(
            *(settings, train, validation, chosen.output),
            data_facts=facts,
            device=chosen.device,
            initial=start,
        )
        say(f"{len(train.volumes)} volumes, {train.n_slices} slices; at step {trainer.step}")
        keep = partial(keep_prior, chosen.output, chosen.keep, chosen.max_file_mb)
        train_for(trainer, chosen.minutes, chosen.total_minutes or chosen.minutes, keep)
    except InputError as error:
        print(f"gpu_train: {error}", file=sys.stderr)
        return 1
    except Stopped as stopped:
        print(f"gpu_train: {stopped}", file=sys.stderr)
        return STOPPED_EXIT + stopped.signal_number
    done = {
        "step": trainer.step,
        "blocks": trainer.step * settings.batch_size,
        "seconds": round(trainer.seconds, 1),
    }
    if validation is not None:
        done |= trainer.validation_losses()
    append_json_line(chosen.output / METRICS_FILE, done)
    keep()
    say(json.dumps(done))
    return 0


if __name__ == "__main__":
    sys.exit(main())
