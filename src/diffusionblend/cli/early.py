"""What `reconstruct` can refuse at once: grids that its prior does not reach, too few slices, and
priors whose files contradict each other.

Only the head of the scan and the description of the prior are read; nothing heavy is imported.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from diffusionblend.errors import InputError
from diffusionblend.geometry.grid import Grid, grid_with_pixels
from diffusionblend.io.foreign.limits import check_memory
from diffusionblend.io.json_file import read_json_object
from diffusionblend.io.projections import read_grid_and_source
from diffusionblend.priors.description import PRIOR_FILE, WEIGHTS_FILE, network_of, read_facts
from diffusionblend.priors.reach import Reach
from diffusionblend.priors.store import shipped_facts, shipped_for

if TYPE_CHECKING:
    from diffusionblend.cli.reconstruct import Reconstruct

LEAST_VOLUMES, BYTES_A_VOXEL = 2, 4
"""What any method holds at least: the volume, and one beside it."""
MOST_BLOCK_SLICES = 99
"""A prior that says more is no sound one, which is told where it is loaded."""
OTHER_PIXELS = {
    "simulated": "'reconstruct --pixel-mm 2' or '--size', for another grid of the same scan, or "
    "'import --size' before 'simulate'",
    "measured": "'reconstruct --pixel-mm 2' or '--size', for another grid of the same scan; "
    "'projections import --column-mm' where its columns are of another width",
}
"""What to try, by the source of a scan."""


def check_early(options: Reconstruct) -> None:
    """Raise InputError for a scan that cannot be read, a prior that claims what its files do not
    hold, and a grid that the prior does not reach, with what to do by the scan's source.

    A prior that is not at hand is left for those that read it.
    """
    spec = options.method.prior
    grid, source = read_grid_and_source(options.projections)
    grid = grid_with_pixels(grid, size=options.size, pixel_mm=options.pixel_mm)
    check_room(options.projections, grid)
    if spec is None:
        return
    for named in options.priors.values():
        _check_claims(named)
    name = options.prior or shipped_for(grid, spec.prior_type)
    facts = {} if name is None else _facts_of(name)
    if not facts:
        return
    _check_block(grid.shape[0], str(name), facts["network"])
    try:
        reach = Reach.of_facts(str(name), facts)
    except (AttributeError, LookupError, OverflowError, TypeError, ValueError):
        return  # a prior.json that is refused where the prior is loaded
    try:
        reach.working_grid(grid)
    except InputError as error:
        where = OTHER_PIXELS.get(source, OTHER_PIXELS["simulated"])
        raise InputError(
            error.got, error.expected, f"{where}; or a method without a prior (--method admm-tv)"
        ) from error


def check_room(projections: Path, grid: Grid) -> None:
    """Raise InputError for a grid whose volumes do not fit into the memory."""
    check_memory(projections, LEAST_VOLUMES * BYTES_A_VOXEL * math.prod(grid.shape))


def _check_claims(name: str | None) -> None:
    """Raise InputError where the files in the folder of a prior contradict each other."""
    if name is None or name in shipped_facts():
        return
    folder = Path(name)
    if (folder / WEIGHTS_FILE).is_file():
        network_of(read_facts(folder), folder)


def _check_block(n_slices: int, name: str, network: object) -> None:
    """Raise InputError for fewer slices than a joint prior denoises at once."""
    if not isinstance(network, Mapping):
        return
    block = network.get("block_slices")
    if network.get("prior_type") != "joint" or not isinstance(block, int):
        return
    if n_slices < block <= MOST_BLOCK_SLICES:
        raise InputError(
            f"The volume has {n_slices} slice(s), and the prior {name} denoises blocks of {block}.",
            f"at least {block} slices",
            "a scan of more detector rows, or a method for single slices (--method dds-2d) "
            "or without a prior (--method admm-tv)",
        )


def _facts_of(name: str) -> dict:
    """The prior.json of a shipped prior or a folder; nothing for one that is not at hand."""
    shipped = shipped_facts()
    if name in shipped:
        return shipped[name]
    path = Path(name) / PRIOR_FILE
    try:
        facts = read_json_object(path, "the description of a prior", "prior.json", "another prior")
        return facts if "image_size" in facts["network"] else {}
    except (InputError, KeyError, TypeError):
        return {}
