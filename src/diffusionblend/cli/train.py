"""`diffusionblend train`: a prior from a folder of volumes."""

from __future__ import annotations

import shlex
from collections import deque
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from diffusionblend.cli.common import (
    Device,
    Output,
    check_seed,
    choose_device,
    say,
    write_record,
)
from diffusionblend.cli.progress import progress
from diffusionblend.errors import InputError, OutputExistsError
from diffusionblend.io.atomic import check_outputs_absent
from diffusionblend.io.locks import folder_locked
from diffusionblend.priors.config import NetworkConfig
from diffusionblend.priors.prior_types.registry import PRIOR_TYPES
from diffusionblend.ranks import rank_and_count
from diffusionblend.runs.record import RunRecord, peak_memory_mb, run_record_path
from diffusionblend.training.settings import TrainSettings

if TYPE_CHECKING:
    from diffusionblend.cli.training_trial import Trial
    from diffusionblend.priors.prior import Prior
    from diffusionblend.priors.restorer import Restorer
    from diffusionblend.training.data import DataChoice, TrainingData
    from diffusionblend.training.loop import Trainer
    from diffusionblend.training.processes import Processes
    from diffusionblend.training.progress import Progress
    from diffusionblend.training.teaching import Teachers

SIGNAL_EXIT = 128
DATA_FOLDER = "data"
"""In the output folder, for the volumes made ready."""


@dataclass(frozen=True, kw_only=True)
class NetworkOptions(NetworkConfig):
    """Size of the network."""

    prior_type: Annotated[str, tyro.conf.arg(prefix_name=False)] = field(
        default=NetworkConfig.prior_type, metadata={"kind": "|".join(PRIOR_TYPES), "basic": True}
    )
    """What the network sees and returns: joint, blocks of axial slices denoised together; slices,
    axial slices one by one; conditional, the middle slice of a block given its neighbours; coronal,
    coronal slices one by one; neighbours, the middle slice of a block given its clean neighbours;
    fbp-unet, axial slices of an FBP to be restored."""


@dataclass(frozen=True, kw_only=True)
class TrainOptions(TrainSettings):
    """The settings of a run as the command line takes them."""

    network: NetworkOptions = field(default_factory=NetworkOptions)
    """Size of the network."""

    def as_settings(self) -> TrainSettings:
        """The same as plain settings."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return TrainSettings(**values | {"network": NetworkConfig(**asdict(self.network))})


SHOWN_STEPS = 50
"""Of which the progress shows the mean loss."""


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a prior on a folder of volumes; the same command resumes an interrupted run."""

    volumes: Annotated[Path, tyro.conf.Positional]
    """Folder of training volumes in HU (.nii.gz, .nrrd, .mha ...) or of DICOM folders."""
    output: Output
    """Folder for the prior, its checkpoint and metrics.jsonl."""
    validation: Path | None = None
    """Folder of volumes of other patients, for the validation loss."""
    validation_share: float = 0.0
    """Fraction of the patients to hold out for validation instead, drawn by the seed; 0 for
    none."""
    patient_pattern: str | None = None
    """Regular expression for what follows the patient in a file's name, such as '_scan'."""
    cache: Path | None = None
    """Folder for the prepared volumes; by default <output>/data."""
    initial_prior: str | None = None
    """Name or folder of a prior to start from; layers that do not fit are initialised at random."""
    teachers: tuple[str, ...] = ()
    """Names or folders of priors of the same kind. At timesteps from --taught-from on the network
    learns what they say of a noisy block, so that few patients are not learnt by heart there."""
    trial_views: int = 8
    """At each validation, reconstruct nine slices of the first validation volume from so many views
    and show the PSNR; 0 for never."""
    tensorboard: bool = False
    """Also write the metrics for TensorBoard, into <output>/tensorboard."""
    pause_file: Path | None = None
    """The run waits between two steps while this file exists."""
    dry_run: bool = False
    """Print what the run would cost in memory, time and disk, and write nothing."""
    device: Device = "auto"
    """Where to train; auto takes a GPU if there is one."""
    force: bool = False
    """Start anew in a folder that holds another run."""
    settings: Annotated[TrainOptions, tyro.conf.arg(name="")] = field(default_factory=TrainOptions)

    def run(self) -> None:
        """Read the volumes, train or resume, write the prior."""
        say(f"train on {self.volumes}, into {self.output}")
        if self.dry_run or rank_and_count()[0] > 0:
            self._run()
            return
        with folder_locked(self.output, "training"):
            self._run()

    def _run(self) -> None:
        from diffusionblend.priors.prior import load_prior
        from diffusionblend.training.loop import Stopped
        from diffusionblend.training.processes import Processes
        from diffusionblend.training.teaching import Teachers

        check_seed(self.settings.seed)
        device = choose_device(self.device)
        if rank_and_count()[0] == 0:
            self._check_output()
        processes = Processes(device)
        initial = None if self.initial_prior is None else load_prior(self.initial_prior)
        priors = [load_prior(name, str(processes.device)) for name in self.teachers]
        teachers = Teachers(priors, self.settings.as_settings()) if priors else None
        self._print_estimate(processes)
        if self.dry_run:
            self._try_volumes()
            return
        record = RunRecord(
            command="train", settings=asdict(self), seed=self.settings.seed, device=device
        )
        with record.timed("read"):
            data = self._data(processes, record)
        say(f"{len(data.facts['volumes'])} training volumes, {data.facts['slices']} slices")
        if self.force and processes.is_first:
            self._remove_old_run()
        processes.wait()
        trainer = self._trainer(processes, data, initial, teachers)
        if initial is not None and not trainer.step:
            say(f"{trainer.initial_share:.1%} of the weights are from {self.initial_prior}")
        if trainer.step:
            say(f"resuming at step {trainer.step} of {self.settings.steps}")
        try:
            losses = _Losses()
            with record.timed("train"), progress("train", note=losses.in_words) as on_step:

                def report(state: Progress) -> None:
                    losses.add(state)
                    on_step(state.step, state.steps)

                prior = trainer.run(report)
        except Stopped as stopped:
            say(f"{stopped}; checkpoint at step {trainer.step} in {self.output}")
            raise SystemExit(SIGNAL_EXIT + stopped.signal_number) from stopped
        if not processes.is_first:
            return
        record.weights_sha256 = prior.weights_sha256
        record.results = prior.trained
        write_record(record, self.output)
        loss = prior.trained.get("validation_loss")
        shown = "not measured" if loss is None else f"{loss:.4f}"
        say(f"wrote the prior {self.output}; validation loss {shown}")
        self._say_what_next(prior.config.prior_type)

    def _say_what_next(self, prior_type: str) -> None:
        """The command that uses the prior."""
        from diffusionblend.methods import METHODS
        from diffusionblend.training.log import METRICS_FILE

        specs = {name: METHODS[name].prior for name in METHODS}
        fitting = [name for name, spec in specs.items() if spec and prior_type in spec.prior_types]
        losses = self.output / METRICS_FILE
        say(f"losses, and PSNR of the small reconstruction, by step: {losses}")
        if fitting:
            say(
                f"use it: diffusionblend reconstruct scan.h5 --method {fitting[-1]} "
                f"--prior {shlex.quote(str(self.output))} -o volume.nii.gz"
            )

    def _trainer(
        self,
        processes: Processes,
        data: TrainingData,
        initial: Prior | Restorer | None,
        teachers: Teachers | None,
    ) -> Trainer:
        """The run, at its first step or where its checkpoint is."""
        from diffusionblend.cli.training_samples import write_samples
        from diffusionblend.training.loop import Trainer

        facts = data.facts
        if initial is not None:
            facts = facts | {"initial_prior_sha256": initial.weights_sha256}
        if teachers is not None:
            facts = facts | {"teachers_sha256": teachers.weights_sha256}
        return Trainer(
            self.settings.as_settings(),
            data.train,
            data.validation,
            self.output,
            data_facts=facts,
            processes=processes,
            initial=initial,
            teachers=teachers,
            tensorboard=self.tensorboard and processes.is_first,
            draw_samples=lambda prior, code, step: write_samples(self.output, prior, code, step),
            trial=self._trial(processes, data),
            paused=(lambda: False) if self.pause_file is None else self.pause_file.exists,
        )

    def _trial(self, processes: Processes, data: TrainingData) -> Trial | None:
        """The small reconstruction at each validation, by the first process; None for never."""
        from diffusionblend.cli.training_trial import trial_of

        if not self.trial_views or data.validation is None or not processes.is_first:
            return None
        return trial_of(
            data.validation, self.settings.as_settings(), self.trial_views, str(processes.device)
        )

    def _print_estimate(self, processes: Processes) -> None:
        """Print what the run costs, before any long work."""
        from diffusionblend.training.cost import count_slices, estimate_run
        from diffusionblend.training.log import check_tensorboard

        if self.tensorboard:
            check_tensorboard()
        n_slices = 0
        if processes.is_first:
            n_slices = sum(count_slices(p) for p in chain(*self._choice.paths(self.settings.seed)))
        say("trying two steps, to say what the run costs")
        estimate = estimate_run(self.settings, processes, n_slices)
        peaks_mb = peak_memory_mb()
        for line in estimate.lines(peaks_mb.get("gpu", peaks_mb.get("process", 0.0))):
            say(line)

    def _try_volumes(self) -> None:
        """Read every volume once, so that none is refused hours later; raises InputError."""
        from diffusionblend.io.volumes import read_volume

        paths = [*chain(*self._choice.paths(self.settings.seed))]
        with progress("volumes") as on_step:
            for i, path in enumerate(paths):
                read_volume(path)
                on_step(i + 1, len(paths))
        say(f"all {len(paths)} volumes can be read")

    def _check_output(self) -> None:
        """Refuse foreign folders, and a finished prior unless it is to be continued or replaced."""
        from diffusionblend.priors.prior import PRIOR_FILE
        from diffusionblend.training.cache import INDEX_FILE
        from diffusionblend.training.checkpoint import CHECKPOINT_FILE

        for data in (self.volumes, self.validation):
            for ours in (self.output, self._cache_folder):
                if data is None or data.resolve() not in (ours.resolve(), *ours.resolve().parents):
                    continue
                raise InputError(
                    f"The output {ours} lies inside the volumes, {data}.",
                    "a folder beside them, so that a resumed run reads the same volumes",
                )
        if self.output.exists() and not self.output.is_dir():
            raise OutputExistsError(f"{self.output} is a file.", "a folder for the prior")
        present = {p.name for p in self.output.iterdir()} if self.output.is_dir() else set()
        finished = PRIOR_FILE in present and not self.force
        goes_further = finished and CHECKPOINT_FILE in present and self._asks_for_more_steps()
        if finished and not goes_further:
            raise OutputExistsError(
                f"{self.output} holds a finished prior.",
                "a new folder, or one with an interrupted run",
                "another folder, more --steps to train it further, or --force to train it anew",
            )
        foreign = sorted(n for n in present if not n.startswith("."))
        kept = self.output / DATA_FOLDER
        has_cache = (kept / INDEX_FILE).exists()
        if foreign == [DATA_FOLDER] and kept.is_dir():  # of a run that ended while it was made
            has_cache |= all(p.suffix == ".npy" for p in kept.iterdir())
        if foreign and not has_cache and not present & set(_run_files()):
            raise OutputExistsError(
                f"{self.output} holds other things, such as {foreign[0]}.",
                "a new folder, or one with an interrupted run",
                "another folder",
            )
        check_outputs_absent([run_record_path(self.output)], goes_further or self.force)

    def _asks_for_more_steps(self) -> bool:
        """Whether the settings have more steps than the finished prior in the output folder."""
        from diffusionblend.priors.prior import read_facts

        trained = read_facts(self.output).get("trained", {})
        return self.settings.steps > trained.get("steps", self.settings.steps)

    def _remove_old_run(self) -> None:
        """Make a run in the output folder start anew; called once all inputs are known good."""
        for name in _run_files():
            (self.output / name).unlink(missing_ok=True)

    @property
    def _choice(self) -> DataChoice:
        from diffusionblend.training.data import DataChoice

        return DataChoice(
            self.volumes, self.validation, self.validation_share, self.patient_pattern
        )

    @property
    def _cache_folder(self) -> Path:
        return self.output / DATA_FOLDER if self.cache is None else self.cache

    def _data(self, processes: Processes, record: RunRecord) -> TrainingData:
        """The data of the run; the first process makes the cache before the others look."""
        from diffusionblend.training.cache import VolumeCache
        from diffusionblend.training.data import read_training_data
        from diffusionblend.training.synthetic import synthetic_bank

        choice = self._choice
        cache = VolumeCache(self._cache_folder, self.settings.volume_size)
        if processes.is_first:
            with progress("volumes") as on_step:
                read_training_data(choice, self.settings, cache, on_volume=on_step)
            for folder in (self.volumes, self.validation):
                if folder is not None:
                    record.add_input(folder, sha256=cache.sha256_of(folder))
        processes.wait()
        data = read_training_data(choice, self.settings, cache)
        if self.settings.synthetic_volumes:
            n, share = self.settings.synthetic_volumes, self.settings.synthetic_share
            say(f"{share:.0%} of the blocks are drawn from {n} synthetic chest{'s' * (n > 1)}")
            with progress("synthetic chests") as on_step:
                synthetic = synthetic_bank(self.settings, on_step)
            train = data.train.mixed_with(synthetic, self.settings.synthetic_share)
            data = replace(data, train=train)
        return data


def _run_files() -> tuple[str, ...]:
    """The files of a training run and its prior, by which its folder is known."""
    from diffusionblend.priors.prior import PRIOR_FILE, WEIGHTS_FILE
    from diffusionblend.training.checkpoint import CHECKPOINT_FILE, previous_path
    from diffusionblend.training.log import METRICS_FILE

    checkpoints = CHECKPOINT_FILE, previous_path(Path(CHECKPOINT_FILE)).name
    return *checkpoints, METRICS_FILE, PRIOR_FILE, WEIGHTS_FILE, "config.json"


class _Losses:
    """The losses of a run as its progress shows them."""

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=SHOWN_STEPS)
        self._last: Progress | None = None

    def add(self, state: Progress) -> None:
        """Take in a step."""
        self._recent.append(state.loss)
        self._last = state

    def in_words(self) -> str:
        """The mean loss of the last steps, the learning rate, and what the last validation gave."""
        if self._last is None:
            return ""
        mean = sum(self._recent) / len(self._recent)
        shown = f"loss {mean:.4f}, learning rate {self._last.learning_rate:.1e}"
        if self._last.validation_loss is not None:
            shown += f", validation {self._last.validation_loss:.4f}"
        if self._last.trial_psnr_db is not None:
            shown += f", {self._last.trial_psnr_db:.1f} dB"
        return shown
