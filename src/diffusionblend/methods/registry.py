"""Every method by its name: what it is, what it needs, how it is called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from diffusionblend.errors import InputError
from diffusionblend.methods.settings import (
    AdmmTvSettings,
    CglsSettings,
    DiffusionBlendPPSettings,
    FbpSettings,
    SirtSettings,
)

if TYPE_CHECKING:
    from diffusionblend.geometry import Projections
    from diffusionblend.methods.result import OnStep, Reconstruction
    from diffusionblend.methods.sampler import Execution
    from diffusionblend.priors.prior import Prior

MethodSettings = (
    FbpSettings | SirtSettings | CglsSettings | AdmmTvSettings | DiffusionBlendPPSettings
)


@dataclass(frozen=True)
class Method:
    """A method: its settings' class, where its function is, whether it needs a prior."""

    summary: str
    settings: type[MethodSettings]
    module: str
    function: str
    needs_prior: bool = False

    def load(self) -> Callable[..., Reconstruction]:
        """The method's function, imported when it is wanted."""
        return getattr(import_module(f"diffusionblend.methods.{self.module}"), self.function)


METHODS = {
    "fbp": Method("filtered back-projection", FbpSettings, "fbp", "reconstruct_fbp"),
    "sirt": Method(
        "weighted least squares, stopped early", SirtSettings, "sirt", "reconstruct_sirt"
    ),
    "cgls": Method("least squares, stopped early", CglsSettings, "cgls", "reconstruct_cgls"),
    "admm-tv": Method("3D total variation", AdmmTvSettings, "admm_tv", "reconstruct_admm_tv"),
    "diffusionblend++": Method(
        "joint block prior, blended over random partitions",
        DiffusionBlendPPSettings,
        "diffusionblend_pp",
        "reconstruct_diffusionblend_pp",
        needs_prior=True,
    ),
}


def find_method(name: str) -> Method:
    """The method of a name; raises InputError with the known ones."""
    if name not in METHODS:
        raise InputError(f"There is no method {name!r}.", f"one of {', '.join(METHODS)}")
    return METHODS[name]


def reconstruct(
    projections: Projections,
    *,
    method: str = "diffusionblend++",
    settings: MethodSettings | None = None,
    prior: Prior | Path | str | None = None,
    device: str = "cpu",
    on_step: OnStep = lambda done, total: None,
    execution: Execution | None = None,
) -> Reconstruction:
    """A volume in HU from projections, by the named method.

    settings: of the method's own class; None takes its defaults. prior: a loaded one, the name of a
    shipped one or a folder; only methods with a prior look at it. device: "cpu" or "cuda". on_step:
    told the steps done and in all. execution: how a diffusion method's run is kept and shared.
    Raises InputError.
    """
    chosen = find_method(method)
    settings = chosen.settings() if settings is None else settings
    if not isinstance(settings, chosen.settings):
        raise InputError(
            f"{method} was given {type(settings).__name__}.", f"{chosen.settings.__name__}"
        )
    if not chosen.needs_prior:
        return chosen.load()(projections, settings, on_step=on_step, device=device)
    from diffusionblend.priors.shipped import DEFAULT_PRIOR

    if prior is None or isinstance(prior, str | Path):
        from diffusionblend.priors.prior import load_prior

        prior = load_prior(prior or DEFAULT_PRIOR, device)
    return chosen.load()(projections, prior, settings, on_step=on_step, execution=execution)
