"""`diffusionblend calibrate`: how many standard deviations of samples hold 90 % of the truth."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from diffusionblend.cli.common import (
    Device,
    Output,
    PrecisionChoice,
    add_input,
    check_output_and_record,
    check_outputs_are_no_inputs,
    check_suffix,
    recorded,
    say,
    write_text,
)
from diffusionblend.cli.progress import progress
from diffusionblend.cli.tables import print_table
from diffusionblend.devices import choose_device
from diffusionblend.errors import InputError
from diffusionblend.evaluation.tables import Column
from diffusionblend.methods.api import check_can_sample, make_method
from diffusionblend.methods.base import Method
from diffusionblend.runs.record import RunRecord
from diffusionblend.simulation import PAPER_PHOTONS

if TYPE_CHECKING:
    from diffusionblend.benchmarking.calibrating import Calibrator
    from diffusionblend.benchmarking.setups import Setup
    from diffusionblend.priors.prior import Prior

SUFFIXES = (".json",)
SAMPLES_SUFFIX = ".samples"
READINGS = {"by_mean": "tissues by the mean's HU", "by_reference": "tissues by the reference's HU"}


def _in(group: str, default: Any, *, basic: bool = False) -> Any:
    """A field with a default, under a heading of the help."""
    return field(default=default, metadata={"group": group, "basic": basic})


FILES, SCAN, RUN = "input and output", "scans", "run"


@dataclass(frozen=True, kw_only=True)
class Calibrate:
    """Fit bands that hold 90 % of the truth, for 'reconstruct --samples'.

    Scans of patients that trained nothing are simulated and sampled; one factor of the standard
    deviation is fitted for each tissue and kind of scan, and tried on every patient with the
    factors of the others. The same command goes on where it stopped.
    """

    volumes: Annotated[tuple[Path, ...], tyro.conf.Positional] = field(metadata={"group": FILES})
    """Reference volumes in HU of two or more patients, or a folder of them."""
    output: Output = field(metadata={"group": FILES})
    """Calibration to write (.json); as calibration.json in a prior's folder 'reconstruct' finds it
    by itself."""
    method: Method = field(default_factory=make_method, metadata={"group": "method"})
    prior: str | None = _in("method", None, basic=True)
    """Shipped name, folder that 'train' wrote, or hub id, owner/name[@revision]; by default the
    shipped one."""
    views: tuple[int, ...] = _in(SCAN, (), basic=True)
    """Numbers of views, each equally spaced over 180 degrees (360 of a fan or cone); by default 8,
    unless an arc is given."""
    arc_degrees: tuple[float, ...] = _in(SCAN, (), basic=True)
    """Shorter arcs in degrees, with one view per degree."""
    geometry: Literal["parallel", "fan", "cone"] = _in(SCAN, "parallel")
    """Beam of the simulated scans."""
    photons: float = _in(SCAN, PAPER_PHOTONS, basic=True)
    """Photons counted by an unattenuated detector pixel, with 5 counts of electronic noise."""
    noiseless: bool = _in(SCAN, False)
    """Simulate no noise, whatever the photons."""
    oversample: int = _in(SCAN, 2)
    """Factor by which the simulation's pixels are finer than the reconstruction's. 1 uses the same
    operator for both, and the bands come out too narrow for measured scans."""
    samples: int = _in(RUN, 4, basic=True)
    """Number of samples whose mean and standard deviation the bands are for."""
    size: int | None = _in(RUN, None)
    """Slice size in pixels; by default that which the prior was trained at."""
    slices: int | None = _in(RUN, None, basic=True)
    """Number of slices to use, from the middle of each volume; by default all."""
    device: Device = field(default="auto", metadata={"group": RUN})
    """Where to compute; auto takes a GPU if there is one."""
    precision: PrecisionChoice = field(default="auto", metadata={"group": RUN})
    """Number format of the network; auto is bfloat16 in hardware, else float32; int8 needs
    OpenVINO."""
    force: bool = _in(RUN, False, basic=True)
    """Overwrite the output."""

    @staticmethod
    def unused_by(method: type[Method]) -> frozenset[str]:
        """The options that a method has no use for."""
        return frozenset({"prior", "precision"} if method.prior is None else ())

    def recorded_settings(self) -> dict[str, object]:
        """The options as a run record contains them."""
        unused = self.unused_by(type(self.method))
        options = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in unused}
        return options | {"method": self.method.name, "settings": self.method.settings()}

    def run(self) -> None:
        """Simulate, sample, fit, try on the patients left out, and write."""
        check_suffix(self.output, "The calibration", SUFFIXES)
        check_output_and_record(self.output, self.force)
        check_can_sample(self.method, self.samples)
        if self.samples < 2:
            raise InputError(f"--samples is {self.samples}.", "two or more", "--samples 4")
        setups, paths = self._setups(), self._paths()
        check_outputs_are_no_inputs([self.output], paths)
        device = choose_device(self.device)
        record = RunRecord(
            command="calibrate",
            settings=self.recorded_settings(),
            seed=self.method.first_seed,
            device=device,
        )
        for path in paths:
            add_input(record, path)
        calibrator = self._calibrator(setups, device)
        with record.timed("calibrate"):
            card = calibrator.card(paths)
        record.results = {"scans": [scan["name"] for scan in card["scans"]]}
        with recorded(record, self.output):
            write_text(self.output, json.dumps(card, indent=1) + "\n", self.force)
            calibrator.remove_samples()  # before the record, so that a kill leaves none for good
        self._print(card)
        say(f"wrote {self.output}")

    def _setups(self) -> tuple[Setup, ...]:
        from diffusionblend.benchmarking.grid import setups_from

        views = self.views or (() if self.arc_degrees else (8,))
        beam: dict[str, Any] = {"geometry": self.geometry, "oversample": self.oversample}
        if not self.noiseless:
            beam["photons"] = self.photons
        return setups_from(beam | {"views": [*views], "arc_degrees": [*self.arc_degrees]})

    def _paths(self) -> list[Path]:
        """The patients' files. Raises InputError for one that is not there."""
        from diffusionblend.io.volumes import find_volumes

        if not self.volumes:
            raise InputError("No volume was given.", "two or more patients, or a folder of them")
        missing = [path for path in self.volumes if not path.exists()]
        if missing:
            raise InputError(f"There is no {missing[0]}.", "a volume in HU, or a folder of them")
        folders = [find_volumes(p) if p.is_dir() else [p] for p in self.volumes]
        return [path for found in folders for path in found]

    def _calibrator(self, setups: tuple[Setup, ...], device: str) -> Calibrator:
        from diffusionblend.benchmarking.calibrating import Calibrator

        prior = self._loaded(device)
        size = self.size
        if size is None and prior is not None:
            size = prior.config.image_size
        return Calibrator(
            method=self.method,
            priors={"prior": prior},
            setups=setups,
            samples=self.samples,
            size=size,
            slices=self.slices,
            device=device,
            folder=self.output.with_name(self.output.name + SAMPLES_SUFFIX),
            progress=progress,
        )

    def _loaded(self, device: str) -> Prior | None:
        """The prior that was named, or the best shipped one of the method's type."""
        from diffusionblend.priors.prior import load_prior
        from diffusionblend.priors.store import shipped_of_type

        spec = self.method.prior
        if spec is None:
            return None
        names = [self.prior] if self.prior else [*shipped_of_type(spec.prior_type)]
        if not names:
            raise InputError(
                f"{self.method.name} needs a prior, and none is shipped for it.",
                "the name of one",
                "--prior priors/mine",
            )
        return load_prior(names[0], device, precision=self.precision)  # type: ignore[return-value]

    def _print(self, card: dict[str, Any]) -> None:
        """The factors, and what was held of every patient by those of the others."""
        for scan in card["scans"]:
            for reading, words in READINGS.items():
                title = f"{scan['name']}: {100 * card['share']:.0f} % bands, {words}"
                columns, rows = _table(scan, reading)
                print_table(rows, columns, title=title)


def _table(scan: dict[str, Any], reading: str) -> tuple[tuple[Column, ...], list[dict[str, Any]]]:
    """Columns and rows of one kind of scan, a row a tissue."""
    held = {patient: found[reading] for patient, found in scan["left_out"].items()}
    columns = (
        Column(key="tissue", header="Tissue"),
        Column(key="factor", header="Factor"),
        Column(key="mean_half_width_hu", header="Half width (HU)", digits=0),
        *(Column(key=patient, header=f"{patient} left out (%)", digits=1) for patient in held),
    )
    factors = scan["tissues"] if reading == "by_mean" else {}
    names = dict.fromkeys([*(name for found in held.values() for name in found), *factors])
    rows = []
    for name in names:
        shares = {p: 100 * found[name] for p, found in held.items() if name in found}
        rows.append({"tissue": name} | factors.get(name, {}) | shares)
    return columns, rows
