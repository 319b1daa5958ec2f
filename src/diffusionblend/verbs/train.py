"""`diffusionblend train`: a prior from a folder of volumes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from diffusionblend.errors import InputError, OutputExistsError
from diffusionblend.io.files import check_outputs_absent
from diffusionblend.provenance import RunRecord, run_record_path
from diffusionblend.training.settings import TrainSettings
from diffusionblend.verbs.options import (
    Device,
    Output,
    check_seed,
    choose_device,
    say,
    write_record,
)
from diffusionblend.verbs.progress import progress

if TYPE_CHECKING:
    from diffusionblend.training.dataset import VolumeBank

SIGNAL_EXIT = 128


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a prior on a folder of volumes; the same command resumes an interrupted run."""

    volumes: Annotated[Path, tyro.conf.Positional]
    """Folder of training volumes in HU (.nii.gz, .nrrd, .mha ...) or of DICOM folders."""
    output: Output
    """Folder for the prior, its checkpoint and metrics.jsonl."""
    validation: Path | None = None
    """Folder of volumes of other patients, for the validation loss."""
    device: Device = "auto"
    """Where to train; auto takes a GPU if there is one."""
    force: bool = False
    """Start anew in a folder that holds another run."""
    settings: Annotated[TrainSettings, tyro.conf.arg(name="")] = field(
        default_factory=TrainSettings
    )

    def run(self) -> None:
        """Read the volumes, train or resume, write the prior."""
        from diffusionblend.training.loop import Progress, Stopped, Trainer

        check_seed(self.settings.seed)
        self._check_output()
        check_outputs_absent([run_record_path(self.output)], self.force)
        device = choose_device(self.device)
        record = RunRecord(
            verb="train", settings=asdict(self), seed=self.settings.seed, device=device
        )
        record.add_input(self.volumes)
        with record.timed("read"):
            train, validation, facts = self._banks(record)
        if self.force:
            self._remove_old_run()
        trainer = Trainer(
            self.settings, train, validation, self.output, data_facts=facts, device=device
        )
        if trainer.step:
            say(f"resuming at step {trainer.step} of {self.settings.steps}")
        try:
            with record.timed("train"), progress("train") as on_step:

                def report(state: Progress) -> None:
                    on_step(state.step, state.steps)

                prior = trainer.run(report)
        except Stopped as stopped:
            say(f"{stopped}; checkpoint at step {trainer.step} in {self.output}")
            raise SystemExit(SIGNAL_EXIT + stopped.signal_number) from stopped
        record.weights_sha256 = prior.weights_sha256
        record.results = prior.trained
        write_record(record, self.output)
        loss = prior.trained.get("validation_loss", "not measured")
        say(f"wrote the prior {self.output}; validation loss {loss}")

    def _check_output(self) -> None:
        """Refuse a finished prior, unless told to start anew, and a folder of other things."""
        from diffusionblend.priors.prior import PRIOR_FILE

        for data in (self.volumes, self.validation):
            if data is not None and data.resolve() in (
                self.output.resolve(),
                *self.output.resolve().parents,
            ):
                raise InputError(
                    f"The output {self.output} lies inside the volumes, {data}.",
                    "a folder beside them, so that a resumed run reads the same volumes",
                )
        if self.output.exists() and not self.output.is_dir():
            raise OutputExistsError(f"{self.output} is a file.", "a folder for the prior")
        present = {p.name for p in self.output.iterdir()} if self.output.is_dir() else set()
        if PRIOR_FILE in present and not self.force:
            raise OutputExistsError(
                f"{self.output} holds a finished prior.",
                "a new folder, or one with an interrupted run",
                "another folder, or --force to train it anew",
            )
        foreign = sorted(n for n in present if not n.startswith("."))
        if foreign and not present & set(_run_files()):
            raise OutputExistsError(
                f"{self.output} holds other things, such as {foreign[0]}.",
                "a new folder, or one with an interrupted run",
                "another folder",
            )

    def _remove_old_run(self) -> None:
        """Make a run in the output folder start anew; called once all inputs are known good."""
        for name in _run_files():
            (self.output / name).unlink(missing_ok=True)

    def _banks(self, record: RunRecord) -> tuple[VolumeBank, VolumeBank | None, dict]:
        """Banks of training and validation volumes, and the facts of the data for the prior."""
        from diffusionblend.training.dataset import VolumeBank, read_square_volumes
        from diffusionblend.training.synthetic import synthetic_bank

        network = self.settings.network
        volumes = read_square_volumes(self.volumes, network.image_size)
        train = VolumeBank.of(list(volumes.values()), block_slices=network.block_slices)
        facts: dict[str, object] = {"volumes": list(volumes), "slices": train.n_slices}
        if self.settings.synthetic_volumes:
            with progress("synthetic chests") as on_step:
                synthetic = synthetic_bank(self.settings, on_step)
            train = train.mixed_with(synthetic, self.settings.synthetic_share)
        validation = None
        if self.validation is not None:
            record.add_input(self.validation)
            held_out = read_square_volumes(self.validation, network.image_size)
            both = sorted(set(held_out) & set(volumes))
            if both:
                raise InputError(
                    f"{', '.join(both)} is in training and validation.", "other patients"
                )
            validation = VolumeBank.of(list(held_out.values()), block_slices=network.block_slices)
            facts["validation_volumes"] = list(held_out)
        say(f"{len(volumes)} training volumes, {facts['slices']} slices")
        return train, validation, facts


def _run_files() -> tuple[str, ...]:
    """The files of a training run and its prior, by which its folder is known."""
    from diffusionblend.priors.prior import PRIOR_FILE, WEIGHTS_FILE
    from diffusionblend.training.loop import CHECKPOINT_FILE, METRICS_FILE

    return CHECKPOINT_FILE, METRICS_FILE, PRIOR_FILE, WEIGHTS_FILE, "config.json"
