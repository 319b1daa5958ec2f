"""The priors of a run: from names, folders or loaded priors to loaded ones that fit the method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Union, cast

from diffusionblend.errors import InputError

if TYPE_CHECKING:
    from diffusionblend.priors.prior import Prior
    from diffusionblend.priors.trained_network import TrainedNetwork

PriorLike = Union["Prior", Path, str, None]
"""A loaded prior, the name of a shipped one, a folder, or a hub id."""


@dataclass(frozen=True)
class PriorSpec:
    """The priors that a method needs.

    prior_type: of the main one. coronal: it needs a second one, of coronal slices. coarse: it can
    start from a reconstruction at half the pixels, by a prior for those.
    """

    prior_type: str
    coronal: bool = False
    coarse: bool = False

    @property
    def roles(self) -> tuple[str, ...]:
        """The arguments of `reconstruct` that name priors of such a method."""
        return ("prior",) + self.coronal * ("coronal_prior",) + self.coarse * ("coarse_prior",)


def resolve_priors(
    spec: PriorSpec | None,
    given: Mapping[str, PriorLike],
    *,
    method: str,
    pixels: int,
    device: str,
    wants_coarse: bool = True,
) -> dict[str, Prior]:
    """The priors of a run by their roles, loaded and on the device.

    given: by roles, None for what is taken by default. method: its name, for messages. pixels: of a
    slice, along x. wants_coarse: whether a coarse prior is looked for where none is given. A loaded
    prior, its folder and its name mean the same. Raises InputError.
    """
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
    prior = _loaded(given.get("prior"), spec.prior_type, method, "prior", device, pixels)
    found = {"prior": prior}
    if spec.coronal:
        coronal = given.get("coronal_prior")
        found["coronal_prior"] = _loaded(coronal, "coronal", method, "coronal_prior", device)
    coarse = given.get("coarse_prior") if spec.coarse else None
    fits = prior.config.image_size == pixels  # else the prior itself is refused when it runs
    if coarse is None and spec.coarse and wants_coarse and fits:
        coarse = shipped_partner(prior)
    if coarse is not None:
        kind = spec.prior_type
        found["coarse_prior"] = _loaded(coarse, kind, method, "coarse_prior", device)
        _check_coarse(found["coarse_prior"], pixels)
    return found


def check_prior_fits(prior: TrainedNetwork, shape: tuple[int, int, int]) -> None:
    """Raise InputError unless the prior was trained for slices of a volume (z, y, x)."""
    size, found = prior.config.image_size, shape[1:]
    if tuple(found) != (size, size):
        name = prior.source or "The prior"
        raise InputError(
            f"{name} is for slices of {size} x {size} pixels; the scan has {found[0]} x "
            f"{found[1]}.",
            f"projections of slices of {size} x {size}, or a prior of the scan's size",
            "'diffusionblend priors' for those there are, 'diffusionblend import --size "
            f"{size}' before simulating, 'projections import --size {size}' for measured scans, "
            "or a method without a prior (--method admm-tv)",
        )


def shipped_partner(prior: Prior) -> str | None:
    """The shipped prior for half the pixels of a shipped one, however that was loaded."""
    from diffusionblend.priors.store import shipped_facts, shipped_half_of

    for name, facts in shipped_facts().items():
        if prior.weights_sha256 and facts.get("weights_sha256") == prior.weights_sha256:
            return shipped_half_of(name)
    return None


def _loaded(
    prior: PriorLike, kind: str, method: str, role: str, device: str, pixels: int | None = None
) -> Prior:
    """A prior, loaded, of the type that the method needs. Raises InputError."""
    from diffusionblend.priors.prior import load_prior
    from diffusionblend.priors.store import shipped_for

    if prior is None and kind == "joint" and pixels is not None:
        prior = shipped_for(pixels)
    if prior is None:
        found, what = None, "none was given"
    elif isinstance(prior, str | Path):
        found = load_prior(prior, device)
        what = f"{prior} is of the type {found.config.prior_type!r}"
    else:
        found = prior.to(device)
        what = f"the one given is of the type {found.config.prior_type!r}"
    if found is not None and found.config.prior_type == kind:
        return cast("Prior", found)  # of fbp-unet a Restorer, as its method expects
    option = _option(role)
    raise InputError(
        f"{method} needs a prior of the type {kind!r}, and {what}.",
        f"{option} with one of the type {kind!r}",
        f"'diffusionblend train VOLUMES -o priors/{kind} --prior-type {kind}', and then {option} "
        f"priors/{kind}",
    )


def _check_coarse(coarse: Prior, pixels: int) -> None:
    size = coarse.config.image_size
    if pixels <= size or pixels % size:
        raise InputError(
            f"The prior of the coarse initialisation is for slices of {size} pixels, and the "
            f"scan's have {pixels}.",
            f"one for {pixels // 2} pixels, or another whole part",
            "--coarse-prior with such a one, or --init noise",
        )


def _option(role: str) -> str:
    return "--" + role.replace("_", "-")
