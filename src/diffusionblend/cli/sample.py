"""`diffusionblend sample`: small scans to begin with, and where public ones are."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from diffusionblend.cli.common import (
    add_input,
    check_output_and_record,
    check_seed,
    check_suffix,
    recorded,
    say,
)
from diffusionblend.errors import InputError, did_you_mean
from diffusionblend.io.atomic import file_suffix, sha256_of
from diffusionblend.runs.record import RunRecord

if TYPE_CHECKING:
    from diffusionblend.data.volume import Volume

SHAPE = (24, 128, 128)
VIEWS = 8
SAMPLES = {
    "chest": ("chest.nii.gz", "a synthetic chest, 24 slices of 128 x 128, in HU"),
    "scan": ("scan.h5", "8 noisy views of that chest, as 'reconstruct' takes them"),
    "counts": ("counts.npz", "counts with flats and darks, as 'projections import' takes them"),
}
"""Name, file and what it is."""
PUBLIC = {
    "tooth": "tooth.h5 of TomoPy's test data, a parallel beam in Data Exchange: 181 views",
    "savu": "24888 of Savu's test data, Diamond Light Source i13: 91 views, frames and NeXus",
    "htc2022": "Helsinki Tomography Challenge 2022, Zenodo, CC BY 4.0: fan beam, limited arcs",
    "lidc": "LIDC-IDRI of The Cancer Imaging Archive, CC BY 3.0: chest CT as DICOM",
}
"""Names by which public sets are found; none is fetched by this program."""
KNOWN = {
    "ab1d9bd073b7fb1beae4defa991c2a2626605c5cf1f4be0d0203656bc47b6489": "tooth, tooth.h5",
    "764d4e58bbd88b6ec491a5e57540d2482a47f1234ad90b1731d04d3c1719dbe1": "savu, 24888.nxs",
    "4fcfca67bfa0b408018c588698d88ace87b95de769585a9762ba1d68dda5e1ba": "htc2022, 01a limited",
    "e4abf73976eaa36c3c6c2a1b31ffae88577ab7ef3bd002575408ead5031a1cc9": "htc2022, 04b limited",
    "500642df00890bd684ebe147219262a0f1abff62d1d8471a5f03646ddbbb9f63": "htc2022, 07c limited",
    "6147e43df9766427a9db56351e1dc650196f77b0ba5f93277164381dd340f026": "htc2022, ta full",
}
"""SHA-256 of files that the results of the documentation were made with."""
NAME_WIDTH = 10


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Write a small scan that the package makes itself, or check a file of a public set."""

    name: Annotated[str | None, tyro.conf.Positional] = None
    """What to write: chest, scan or counts. Without a name these and public data sets are
    listed."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """File to write; by default the sample's own name in this folder."""
    check: Path | None = None
    """Print whether a file is one of the public files used for the results."""
    seed: int = 7
    """Random seed of the chest and of the noise."""
    force: bool = False
    """Overwrite the output."""

    def run(self) -> None:
        """Write it, check a file, or print the list."""
        check_seed(self.seed)
        if self.check is not None:
            self._say_whether_known(self.check)
        elif self.name is None:
            self._print_list()
        elif self.name in PUBLIC:
            raise InputError(
                f"{self.name} is a public set, which is not fetched: {PUBLIC[self.name]}.",
                f"one of {', '.join(SAMPLES)}",
                "fetch it from there, then 'diffusionblend sample --check FILE'",
            )
        elif self.name not in SAMPLES:
            raise InputError(
                f"There is no sample {self.name!r}.",
                f"one of {', '.join(SAMPLES)}",
                did_you_mean(self.name, [*SAMPLES, *PUBLIC]) or "diffusionblend sample chest",
            )
        else:
            self._write(self.name)

    def _write(self, name: str) -> None:
        """Make a sample and write it with its record."""
        file, what = SAMPLES[name]
        output = Path(file) if self.output is None else self.output
        check_suffix(output, f"The sample {name}", (file_suffix(file),))
        check_output_and_record(output, self.force)
        record = RunRecord(
            command="sample", settings=asdict(self) | {"output": str(output)}, seed=self.seed
        )
        with recorded(record, output):
            {"chest": self._chest, "scan": self._scan, "counts": self._counts}[name](output)
        say(f"wrote {output}: {what}")
        say(f"next: diffusionblend run {output} -o results")

    def _volume(self) -> Volume:
        from diffusionblend.phantom import synthetic_chest

        return synthetic_chest(self.seed, shape=SHAPE)

    def _chest(self, output: Path) -> None:
        from diffusionblend.io.volumes import write_volume

        write_volume(self._volume(), output, force=self.force, dtype="int16")

    def _scan(self, output: Path) -> None:
        from diffusionblend.geometry import ParallelBeam
        from diffusionblend.io.projections import write_projections
        from diffusionblend.simulation import PAPER_ELECTRONIC_COUNTS, PAPER_PHOTONS, simulate

        volume = self._volume()
        geometry = ParallelBeam.fitting(volume.grid, VIEWS)
        scan = simulate(volume, geometry, PAPER_PHOTONS, PAPER_ELECTRONIC_COUNTS, self.seed)
        write_projections(scan, output, force=self.force)

    def _counts(self, output: Path) -> None:
        import numpy as np

        from diffusionblend.io.atomic import atomic_output
        from diffusionblend.phantom.counts import synthetic_counts

        raw = synthetic_counts(seed=self.seed)
        with atomic_output(output, force=self.force) as temporary, temporary.open("wb") as file:
            np.savez_compressed(
                file,
                angles_degrees=np.degrees(raw.angles_rad),
                data=raw.data,
                flats=np.asarray(raw.flats),
                darks=np.asarray(raw.darks),
            )

    def _say_whether_known(self, path: Path) -> None:
        """Raises InputError for a file that is none of the known ones."""
        record = RunRecord(command="sample", settings={})
        add_input(record, path)
        known = KNOWN.get(sha256_of(path))
        if known is None:
            raise InputError(
                f"{path} is none of the files that the results were made with.",
                f"a file of {', '.join(PUBLIC)}, as it was published",
                "other versions may do as well; 'diffusionblend projections info' says what it has",
            )
        say(f"{path}: {known}, as published")

    def _print_list(self) -> None:
        for name, (_, what) in SAMPLES.items():
            say(f"{name:{NAME_WIDTH}}{what}")
        say("public sets, not fetched by this program:")
        for name, what in PUBLIC.items():
            say(f"{name:{NAME_WIDTH}}{what}")
