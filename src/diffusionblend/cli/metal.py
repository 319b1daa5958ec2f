"""`diffusionblend projections metal`: a scan without the rays through metal."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from diffusionblend.cli.common import (
    Device,
    Output,
    add_input,
    check_output_and_record,
    check_outputs_are_no_inputs,
    recorded,
    say,
    timed_part,
)
from diffusionblend.runs.record import RunRecord


@dataclass(frozen=True, kw_only=True)
class Metal:
    """Leave out the rays through metal, found by a threshold in a first reconstruction.

    Their values are interpolated along the detector, which fbp takes; all other methods reconstruct
    from the other rays, and total variation or the prior fill in.
    """

    scan: Annotated[Path, tyro.conf.Positional]
    """Projections file (.h5)."""
    output: Output
    """Projections file to write (.h5)."""
    threshold_hu: float = 3000.0
    """Voxels above this are metal."""
    grow_columns: int = 1
    """Detector columns to leave out on both sides of the metal's shadow."""
    interpolate: bool = False
    """Let the interpolated values count as measured, for every method: the usual correction, to
    compare with."""
    device: Device = "auto"
    """Where the first reconstruction is computed."""
    force: bool = False
    """Overwrite the output."""

    def run(self) -> None:
        """Read, reconstruct, find the rays, write."""
        from diffusionblend.io.projections import (
            check_projections_suffix,
            read_projections,
            write_projections,
        )
        from diffusionblend.methods.metal import without_metal

        check_output_and_record(self.output, self.force)
        check_projections_suffix(self.output)
        check_outputs_are_no_inputs([self.output], [self.scan])
        record = RunRecord(command="projections metal", settings=asdict(self))
        add_input(record, self.scan)
        with timed_part(record, "read", self.scan.name):
            scan = read_projections(self.scan)
        with timed_part(record, "find metal"):
            found = without_metal(
                scan,
                threshold_hu=self.threshold_hu,
                grow_columns=self.grow_columns,
                device=self.device,
            )
        record.results |= {"metal_voxels": int(found.metal.sum()), "rays_left_out": found.share}
        done = replace(found.scan, measured=scan.measured) if self.interpolate else found.scan
        with recorded(record, self.output), timed_part(record, "write", self.output.name):
            write_projections(done, self.output, force=self.force)
        what = "interpolated" if self.interpolate else "left out"
        say(
            f"wrote {self.output}: {int(found.metal.sum())} voxels above {self.threshold_hu:g} HU, "
            f"{100 * found.share:.1f} % of the rays {what}"
        )
