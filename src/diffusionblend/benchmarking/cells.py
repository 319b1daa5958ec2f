"""What a benchmark runs: subjects (volumes or measured scans) and cells, distinguished by all that
decides a result.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from diffusionblend.benchmarking.setups import Setup, simulated
from diffusionblend.errors import InputError
from diffusionblend.runs.identity import key_of, run_identity

if TYPE_CHECKING:
    from diffusionblend.benchmarking.grid import CellSpec, ScanFile
    from diffusionblend.data.projections import Projections
    from diffusionblend.data.volume import Volume
    from diffusionblend.methods.base import Method
    from diffusionblend.priors.prior import Prior


@dataclass(frozen=True)
class Subject:
    """What is compared on: a volume that is scanned, or a measured scan with its reference.

    name: of its file. sha256: of the file, or of both. truth: in HU. size, slices: as asked for,
    None for the volume's own. projections: of a measured scan, None where they are simulated.
    source: the same slices with the pixels of the file, None for those of truth.
    """

    name: str
    sha256: tuple[str, ...]
    truth: Volume
    size: int | None = None
    slices: int | None = None
    projections: Projections | None = None
    source: Volume | None = None

    @classmethod
    def read(cls, path: Path, *, size: int | None, n_slices: int | None) -> Subject:
        """A volume in HU from a file, brought to a slice size and cut to its middle slices."""
        from diffusionblend.data.resample import to_square_slices
        from diffusionblend.io.atomic import sha256_of
        from diffusionblend.io.volumes import read_volume

        volume = read_volume(path)
        volume = volume if n_slices is None else middle_of(volume, n_slices)
        truth = volume if size is None else to_square_slices(volume, size)
        return cls(path.name, (sha256_of(path),), truth, size, n_slices, source=volume)

    @classmethod
    def measured(cls, scan: ScanFile) -> Subject:
        """A measured scan and its reference. Raises InputError where their grids differ."""
        from diffusionblend.io.atomic import sha256_of
        from diffusionblend.io.projections import read_projections
        from diffusionblend.io.volumes import read_volume

        projections, truth = read_projections(scan.file), read_volume(scan.reference)
        if projections.grid.shape != truth.grid.shape:
            raise InputError(
                f"{scan.reference.name} has {truth.grid.shape} voxels (z, y, x), and the scan "
                f"{scan.file.name} is of {projections.grid.shape}.",
                "a reference on the scan's grid",
                "a reconstruction of all views of the same scan",
            )
        sha256 = sha256_of(scan.file), sha256_of(scan.reference)
        return cls(scan.name, sha256, truth, projections=projections)

    def scan(self, setup: Setup | None) -> Projections:
        """Its projections: measured where there is no setup, else simulated."""
        if setup is not None:
            return simulated(self._with_pixels_for(setup), setup)
        if self.projections is None:
            raise InputError(f"{self.name} is no measured scan.", "a setup to simulate one")
        return self.projections

    def scan_kind(self, setup: Setup | None) -> Hashable:
        """Scans of one kind take a method the same time, but for their slices: views, pixels,
        beam and whether there is noise.
        """
        if setup is None:
            return self.sha256
        pixels = self.truth.grid.in_plane_shape
        return setup.geometry, setup.views, setup.photons is None, setup.oversample, pixels

    def middle(self, n_slices: int) -> Subject:
        """The same of its middle slices; of a volume that is scanned."""
        source = None if self.source is None else middle_of(self.source, n_slices)
        return replace(self, truth=middle_of(self.truth, n_slices), source=source)

    def _with_pixels_for(self, setup: Setup) -> Volume:
        """The volume with the pixels that a setup simulates from. Raises InputError."""
        from diffusionblend.data.resample import to_square_slices

        if setup.oversample == 1:
            return self.truth
        source, size = self.source or self.truth, self.truth.grid.shape[2] * setup.oversample
        if max(source.grid.in_plane_shape) < size:
            raise InputError(
                f"{self.name} has {source.grid.shape[2]} pixels a row, and a simulation from "
                f"{size} was asked for.",
                "a volume of finer pixels than those that are reconstructed",
                f"a size of {max(source.grid.in_plane_shape) // setup.oversample}, or oversample 1",
            )
        return to_square_slices(source, size)

    def setup_name(self, setup: Setup | None) -> str:
        """As the tables show it: a setup's name, or that of a measured scan by its views."""
        if setup is not None:
            return setup.name
        return f"{self.scan(None).geometry.n_views} views, measured"


@dataclass(frozen=True)
class Cell:
    """One run: a method with its settings and loaded priors on a subject.

    resolved: the method that draws the volume or the first sample, every default written out. key:
    a short hash of all that the result depends on.
    """

    subject: Subject
    setup: Setup | None
    label: str
    method: Method
    resolved: Method
    seed: int
    samples: int
    priors: Mapping[str, Prior]
    key: str

    @classmethod
    def of(
        cls,
        subject: Subject,
        setup: Setup | None,
        spec: CellSpec,
        method: Method,
        seed: int,
        priors: Mapping[str, Prior],
        device: str,
    ) -> Cell:
        """The run of a specification's method, its settings searched, with a seed."""
        seeded = method.with_seed(seed)
        roles = frozenset(priors)
        drawn = seeded.for_ensemble(seed, roles) if spec.samples > 1 else seeded
        key = cell_key(subject, setup, drawn, priors, device, samples=spec.samples)
        resolved = drawn.resolved(roles)
        return cls(subject, setup, spec.label, seeded, resolved, seed, spec.samples, priors, key)

    @property
    def name(self) -> str:
        """For messages and files."""
        parts = [self.subject.name, self.subject.setup_name(self.setup), self.label]
        return ", ".join([*parts, f"seed {self.seed}"] if self.method.is_random else parts)


def cell_key(
    subject: Subject,
    setup: Setup | None,
    method: Method,
    priors: Mapping[str, Prior],
    device: str,
    **more: object,
) -> str:
    """A short hash of all that decides a result: the run's identity, and what is scanned.

    more: plain values beside. Raises InputError where the settings do not fit together.
    """
    identity = run_identity(method, priors, subject.sha256, device)
    scanned = {
        "shape": list(subject.truth.grid.shape),
        "setup": None if setup is None else setup.facts(),
    }
    return key_of(identity | scanned | more)


def middle_of(volume: Volume, n_slices: int) -> Volume:
    """The middle slices of a volume, or all where there are fewer."""
    first = max(0, (volume.grid.shape[0] - n_slices) // 2)
    values = volume.values[first : first + n_slices]
    return replace(volume, values=values, grid=volume.grid.with_slices(len(values)))
