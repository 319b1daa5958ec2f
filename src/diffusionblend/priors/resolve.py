"""The priors of a run: from names, folders or loaded priors to loaded ones that fit the method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Union, cast

from diffusionblend.errors import InputError
from diffusionblend.priors.reach import Reach

if TYPE_CHECKING:
    from diffusionblend.geometry.grid import Grid
    from diffusionblend.priors.prior import Prior
    from diffusionblend.priors.trained_network import TrainedNetwork

COARSE_FACTOR = 2
"""Pixels that are one in the coarse initialisation with a prior for every pixel size."""
PriorLike = Union["Prior", Path, str, None]
"""A loaded prior, the name of a shipped one, a folder, or a hub id."""


@dataclass(frozen=True)
class PriorSpec:
    """The priors that a method needs.

    prior_type: of the main one. coronal: it needs a second one, of coronal slices. coarse: it can
    start from a reconstruction at half the pixels, by a prior for those. also: types that the main
    one may have where it is given.
    """

    prior_type: str
    coronal: bool = False
    coarse: bool = False
    also: tuple[str, ...] = ()

    @property
    def roles(self) -> tuple[str, ...]:
        """The arguments of `reconstruct` that name priors of such a method."""
        return ("prior",) + self.coronal * ("coronal_prior",) + self.coarse * ("coarse_prior",)

    @property
    def prior_types(self) -> tuple[str, ...]:
        """The types that the main one may have, its usual one first."""
        return (self.prior_type, *self.also)


def resolve_priors(
    spec: PriorSpec | None,
    given: Mapping[str, PriorLike],
    *,
    method: str,
    grid: Grid,
    device: str,
    coarse_from_pixels: int | None = None,
) -> dict[str, Prior]:
    """The priors of a run by their roles, loaded and on the device.

    given: by roles, None for what is taken by default. method: its name, for messages. grid: of the
    volume; the others must fit the one on which the main prior reconstructs. coarse_from_pixels:
    see `coarse_partner`; None: where no coarse prior is given there is none. A loaded prior, its
    folder and its name mean the same. Raises InputError, also for a grid out of reach.
    """
    from diffusionblend.priors.store import shipped_for

    roles = () if spec is None else spec.roles
    unused = [role for role, prior in given.items() if prior is not None and role not in roles]
    if unused:
        raise InputError(
            f"{method} was given {' and '.join(_option(role) for role in unused)}, which it "
            "does not use.",
            f"{', '.join(map(_option, roles)) or 'no prior'} with {method}",
        )
    if spec is None:
        return {}
    chosen = given.get("prior")
    if chosen is None:
        chosen = shipped_for(grid, spec.prior_type)
    prior = _loaded(chosen, spec.prior_types, method, "prior", device)
    found = {"prior": prior}
    grid = Reach.of(prior).working_grid(grid)
    if spec.coronal:
        coronal = given.get("coronal_prior")
        if coronal is None:
            coronal = shipped_for(grid, "coronal")
        found["coronal_prior"] = _loaded(coronal, ("coronal",), method, "coronal_prior", device)
    coarse = given.get("coarse_prior") if spec.coarse else None
    if coarse is None and spec.coarse and coarse_from_pixels is not None:
        coarse = coarse_partner(prior, grid, coarse_from_pixels)
    if coarse is not None:
        kinds = (spec.prior_type,)
        found["coarse_prior"] = _loaded(coarse, kinds, method, "coarse_prior", device)
        _check_coarse(found["coarse_prior"], grid)
    return found


def check_prior_fits(prior: TrainedNetwork, grid: Grid) -> None:
    """Raise InputError unless slices of a grid are the prior's own."""
    reach = Reach.of(prior)
    if reach.serves(grid):
        return
    own = "of any size" if reach.size is None else f"of {reach.size} x {reach.size} pixels"
    if reach.size is None and reach.pixel_range_mm is not None:
        low, high = reach.pixel_range_mm
        own = f"with pixels of {low:g} to {high:g} mm"
    y, x = grid.in_plane_shape
    raise InputError(
        f"{reach.name} is for slices {own}; the grid has {y} x {x} pixels of "
        f"{grid.pixel_mm:.3g} mm.",
        "its own slices",
        "on_prior_grid(scan, priors), as reconstruct does",
    )


def coarse_partner(prior: Prior, grid: Grid, from_pixels: int) -> Prior | None:
    """The prior for slices of half the pixels of a grid that goes with another, if there is one.

    One for every pixel size is its own partner, for slices of at least `from_pixels` along x; one
    for a single size has none.
    """
    if not prior.config.length_codes:
        return None
    long_enough = grid.shape[2] >= from_pixels and _divides(grid)
    return prior if long_enough and prior.serves(grid.coarser(COARSE_FACTOR)) else None


def coarse_factor(coarse: TrainedNetwork, grid: Grid) -> int:
    """How many pixels along x of a grid are one of a coarse prior's slices."""
    if coarse.config.length_codes:
        return COARSE_FACTOR
    return grid.shape[2] // coarse.config.image_size


def _loaded(prior: PriorLike, kinds: tuple[str, ...], method: str, role: str, device: str) -> Prior:
    """A prior, loaded, of a type that the method takes, its usual one first. Raises InputError."""
    from diffusionblend.priors.prior import load_prior
    from diffusionblend.priors.store import shipped_of_type

    if prior is None:
        found, what = None, "none was given"
    elif isinstance(prior, str | Path):
        found = load_prior(prior, device)
        what = f"{prior} is of the type {found.config.prior_type!r}"
    else:
        found = prior.to(device)
        what = f"the one given is of the type {found.config.prior_type!r}"
    if found is not None and found.config.prior_type in kinds:
        return cast("Prior", found)  # of fbp-unet a Restorer, as its method expects
    option, kind = _option(role), kinds[0]
    shipped = ", ".join(shipped_of_type(kind))
    raise InputError(
        f"{method} needs a prior of the type {' or '.join(map(repr, kinds))}, and {what}.",
        f"{option} with one of the type {kind!r}" + (f" ({shipped} is shipped)" if shipped else ""),
        f"leave {option} out"
        if shipped
        else f"'diffusionblend train VOLUMES -o priors/{kind} --prior-type {kind}', and then "
        f"{option} priors/{kind}",
    )


def _check_coarse(coarse: Prior, grid: Grid) -> None:
    size, pixels = coarse.config.image_size, grid.shape[2]
    if coarse.config.length_codes:
        if not _divides(grid):
            raise InputError(
                f"A coarse initialisation of slices of {grid.shape[1]} x {pixels} pixels was asked "
                "for.",
                "even numbers of pixels",
                "--init noise",
            )
        check_prior_fits(coarse, grid.coarser(COARSE_FACTOR))
    elif pixels <= size or pixels % size:
        raise InputError(
            f"The prior of the coarse initialisation is for slices of {size} pixels, and the "
            f"scan's have {pixels}.",
            f"one for {pixels // 2} pixels, or another whole part",
            "--coarse-prior with such a one, or --init noise",
        )


def _divides(grid: Grid) -> bool:
    """Whether every pixel of a grid has a place in one of half as many along each axis."""
    return not any(n % COARSE_FACTOR for n in grid.in_plane_shape)


def _option(role: str) -> str:
    return "--" + role.replace("_", "-")
