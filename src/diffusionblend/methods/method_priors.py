"""The priors that a method takes: which, by default those of the package, and their loading."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from diffusionblend.errors import InputError

if TYPE_CHECKING:
    from diffusionblend.methods.method import Method
    from diffusionblend.methods.settings import MethodSettings
    from diffusionblend.priors.prior import Prior

    PriorLike = Prior | Path | str | None
    """A loaded prior, the name of a shipped one, a folder, or a hub id."""


def wanted_priors(
    method: Method, given: Mapping[str, PriorLike], settings: MethodSettings, *, pixels: int
) -> dict[str, PriorLike]:
    """What is taken for each prior that a method looks at: what was given, or what is shipped.

    given: by the arguments of `reconstruct`. pixels: of a slice, along x. Raises InputError.
    """
    from diffusionblend.priors.store import shipped_for, shipped_half_of

    if method.layout is None:
        return {}
    prior, coarse = given.get("prior"), given.get("coarse_prior")
    if prior is None and method.layout == "joint":
        prior = shipped_for(pixels)
    wanted = {"prior": prior}
    if method.perpendicular is not None:
        wanted["perpendicular_prior"] = given.get("perpendicular_prior")
    if not method.starts_coarse or settings.start not in (None, "coarse"):
        if coarse is not None and method.starts_coarse:
            raise InputError(
                f"A prior for a coarse start was given, and the start is {settings.start!r}.",
                "a start from that prior's reconstruction, or no such prior",
                "--start coarse, or no --coarse-prior",
            )
        return wanted
    if coarse is None and isinstance(prior, str):
        coarse = shipped_half_of(prior)
    if coarse is not None or settings.resolved().start == "coarse":
        wanted["coarse_prior"] = coarse
    elif (settings.fine_steps, settings.coarse_start) != (None, None):
        raise InputError(
            f"fine_steps {settings.fine_steps} and coarse_start {settings.coarse_start} were "
            f"given, and there is no prior for slices of half the {pixels} pixels.",
            "neither of them, or a prior for a coarse start",
            "--steps for the number of steps, or --coarse-prior",
        )
    return wanted


def load_priors(
    name: str, method: Method, wanted: Mapping[str, PriorLike], device: str, *, pixels: int
) -> dict[str, Prior]:
    """The wanted priors, loaded, once each is known to fit the method of that name.

    pixels: of a slice, along x. Raises InputError, which tells how to train one.
    """
    layouts = {"perpendicular_prior": method.perpendicular}
    loaded = {}
    for argument, prior in wanted.items():
        option = "--" + argument.replace("_", "-")
        layout = layouts.get(argument) or method.layout
        loaded[argument] = _fitting_prior(name, layout, prior, device, option)
    if "coarse_prior" in loaded:
        coarse = loaded["coarse_prior"].config.image_size
        if pixels <= coarse or pixels % coarse:
            raise InputError(
                f"The prior of the coarse start is for slices of {coarse} pixels, and the scan's "
                f"have {pixels}.",
                f"one for {pixels // 2} pixels, or another whole part",
                "--coarse-prior with such a one, or --start noise",
            )
    return loaded


def _fitting_prior(method: str, layout: str, prior: PriorLike, device: str, option: str) -> Prior:
    """The prior, loaded, once it is known to have the layout that the method needs."""
    from diffusionblend.priors.prior import load_prior

    if prior is None or isinstance(prior, str | Path):
        name = str(prior)
        found = None if prior is None else load_prior(prior, device)
    else:
        name, found = "the one given", prior
    if found is not None and found.config.layout == layout:
        return found
    what = "none was given" if found is None else f"{name} has the layout {found.config.layout!r}"
    train = f"diffusionblend train VOLUMES -o priors/{layout} --layout {layout}"
    raise InputError(
        f"{method} needs a prior of layout {layout!r}, and {what}.",
        f"{option} with one of layout {layout!r}",
        f"'{train}', and then {option} priors/{layout}",
    )
