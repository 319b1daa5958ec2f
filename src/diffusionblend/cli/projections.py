"""`diffusionblend projections`: measured scans in, and what is in a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro

from diffusionblend.cli.import_projections import ImportProjections
from diffusionblend.cli.projections_info import ProjectionsInfo

Command = (
    Annotated[ImportProjections, tyro.conf.subcommand("import")]
    | Annotated[ProjectionsInfo, tyro.conf.subcommand("info")]
)


@dataclass(frozen=True, kw_only=True)
class ProjectionFiles:
    """Import a measured scan, or tell what is in a projections file."""

    command: Annotated[Command, tyro.conf.arg(name="")]

    def run(self) -> None:
        """Run the subcommand."""
        self.command.run()
