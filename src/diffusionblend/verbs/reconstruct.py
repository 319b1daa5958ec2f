"""`diffusionblend reconstruct`: projections to a volume in HU."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from diffusionblend.errors import InputError
from diffusionblend.methods.settings import (
    AdmmTvSettings,
    DiffusionBlendPPSettings,
    FbpSettings,
)
from diffusionblend.provenance import RunRecord
from diffusionblend.verbs.options import (
    Device,
    Output,
    add_input,
    check_output_and_record,
    check_seed,
    choose_device,
    say,
    timed_part,
    write_record,
)
from diffusionblend.verbs.progress import progress

MethodName = Literal["fbp", "admm-tv", "diffusionblend++"]


@dataclass(frozen=True, kw_only=True)
class Reconstruct:
    """Reconstruct a volume in HU from projections."""

    projections: Annotated[Path, tyro.conf.Positional]
    """Projections file (.h5) that carries its geometry, as 'simulate' writes it."""
    output: Output
    """Volume to write: .nii.gz, .nii, .nrrd or .mha, in HU."""
    method: MethodName = "diffusionblend++"
    """How; each method has its own settings below, the others are not looked at."""
    prior: str = "chest-128"
    """A shipped prior's name, a folder that 'train' wrote, or a hub id, owner/name[@revision]."""
    device: Device = "auto"
    """Where to compute; auto takes a GPU if there is one."""
    force: bool = False
    """Overwrite the output."""
    diffusionblend: Annotated[DiffusionBlendPPSettings, tyro.conf.arg(name="")] = field(
        default_factory=DiffusionBlendPPSettings
    )
    tv: AdmmTvSettings = field(default_factory=AdmmTvSettings)
    fbp: FbpSettings = field(default_factory=FbpSettings)

    def run(self) -> None:
        """Read, reconstruct, write, and tell the residual and the cost."""
        from diffusionblend.io.projections import read_projections
        from diffusionblend.io.volumes import check_volume_suffix, write_volume
        from diffusionblend.methods.registry import find_method, reconstruct

        check_output_and_record(self.output, self.force)
        check_volume_suffix(self.output)
        check_seed(self.diffusionblend.seed)
        device = choose_device(self.device)
        record = RunRecord(
            verb="reconstruct",
            settings=asdict(self),
            seed=self.diffusionblend.seed,
            device=device,
        )
        add_input(record, self.projections)
        with timed_part(record, "read", self.projections.name):
            projections = read_projections(self.projections)
            prior = self._prior(record, device) if find_method(self.method).needs_prior else None
        with progress(self.method) as on_step:
            result = reconstruct(
                projections,
                method=self.method,
                settings=self._settings(),
                prior=prior,
                device=device,
                on_step=on_step,
            )
        if not math.isfinite(result.relative_residual):
            raise InputError(
                "The reconstruction holds values that are NaN or infinite; it was not written.",
                "finite HU",
                f"another prior or the defaults of {self.method}",
            )
        with timed_part(record, "write", self.output.name):
            write_volume(result.volume, self.output, force=self.force)
        record.seconds |= result.seconds
        record.results = {
            "relative_residual": result.relative_residual,
            "network_calls": result.network_calls,
            "network_share": result.network_share,
        }
        write_record(record, self.output)
        say(
            f"wrote {self.output}: residual |Ax - y| / |y| {result.relative_residual:.2e}, "
            f"{result.network_calls} network calls, {result.seconds['total']:.0f} s"
        )

    def _settings(self) -> FbpSettings | AdmmTvSettings | DiffusionBlendPPSettings:
        by_method = {"fbp": self.fbp, "admm-tv": self.tv, "diffusionblend++": self.diffusionblend}
        return by_method[self.method]

    def _prior(self, record: RunRecord, device: str) -> object:
        from diffusionblend.priors.prior import load_prior

        prior = load_prior(self.prior, device)
        record.weights_sha256 = prior.weights_sha256
        return prior
