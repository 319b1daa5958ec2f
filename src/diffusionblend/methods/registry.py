"""Every method by its name: what it is, what it needs, how it is called."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffusionblend.errors import InputError
from diffusionblend.methods.method import Method
from diffusionblend.methods.method_priors import load_priors, wanted_priors
from diffusionblend.methods.settings import (
    AdmmTvSettings,
    CglsSettings,
    Dds2dSettings,
    DdsSettings,
    DiffusionBlendPPSettings,
    DiffusionBlendSettings,
    DiffusionMbirSettings,
    FbpSettings,
    FbpUnetSettings,
    MethodSettings,
    SirtSettings,
    TpdmSettings,
)

if TYPE_CHECKING:
    from diffusionblend.data.projections import Projections
    from diffusionblend.data.result import OnStep, Reconstruction
    from diffusionblend.methods.diffusion.sampler import Execution
    from diffusionblend.methods.method_priors import PriorLike

METHODS = {
    "fbp": Method(
        "filtered back-projection",
        "many views, or a first look",
        FbpSettings,
        "fbp",
        "reconstruct_fbp",
    ),
    "sirt": Method(
        "weighted least squares, stopped early",
        "noisy data, nothing to learn from",
        SirtSettings,
        "sirt",
        "reconstruct_sirt",
    ),
    "cgls": Method(
        "least squares by conjugate gradients, stopped early",
        "noisy data, in fewer passes than sirt",
        CglsSettings,
        "cgls",
        "reconstruct_cgls",
    ),
    "admm-tv": Method(
        "3D total variation",
        "few views, nothing to learn from",
        AdmmTvSettings,
        "admm_tv",
        "reconstruct_admm_tv",
    ),
    "fbp-unet": Method(
        "FBP restored by a network, slice by slice",
        "one fixed set of views and no time to sample",
        FbpUnetSettings,
        "fbp_unet",
        "reconstruct_fbp_unet",
        layout="fbp-unet",
    ),
    "dds-2d": Method(
        "prior of single slices, CG",
        "a single slice; a stack shows stripes along z",
        Dds2dSettings,
        "diffusion.dds",
        "reconstruct_dds",
        layout="slices",
    ),
    "dds": Method(
        "prior of single slices, total variation along z",
        "a stack, with a prior of single slices alone",
        DdsSettings,
        "diffusion.dds",
        "reconstruct_dds",
        layout="slices",
    ),
    "diffusion-mbir": Method(
        "prior of single slices, predictor and corrector, total variation along z",
        "comparison; many steps",
        DiffusionMbirSettings,
        "diffusion.diffusion_mbir",
        "reconstruct_diffusion_mbir",
        layout="slices",
    ),
    "tpdm": Method(
        "priors of axial and of coronal slices, gradient of the residual",
        "comparison; needs gradients through the network",
        TpdmSettings,
        "diffusion.tpdm",
        "reconstruct_tpdm",
        layout="slices",
        perpendicular="coronal",
    ),
    "diffusionblend": Method(
        "every slice given its two neighbours, CG",
        "comparison with diffusionblend++",
        DiffusionBlendSettings,
        "diffusion.diffusionblend",
        "reconstruct_diffusionblend",
        layout="conditional",
    ),
    "diffusionblend++": Method(
        "joint block prior, blended over random partitions",
        "few views or a short arc, and volumes to learn from",
        DiffusionBlendPPSettings,
        "diffusion.diffusionblend_pp",
        "reconstruct_diffusionblend_pp",
        layout="joint",
        starts_coarse=True,
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
    prior: PriorLike = None,
    perpendicular_prior: PriorLike = None,
    coarse_prior: PriorLike = None,
    device: str = "cpu",
    on_step: OnStep = lambda done, total: None,
    execution: Execution | None = None,
) -> Reconstruction:
    """A volume in HU from projections, by the named method.

    settings: of the method's own class; None takes its defaults. prior: a loaded one, the name of a
    shipped one or a folder, None the shipped one of the slices' size; only methods with a prior
    look at it. perpendicular_prior: of coronal slices, for tpdm. coarse_prior: for slices of half
    the pixels, from whose reconstruction diffusionblend++ starts; None the shipped one that goes
    with a shipped prior. device: "cpu" or "cuda". on_step: told the steps done and in all.
    execution: how a diffusion method's run is kept and shared. Raises InputError.
    """
    chosen = find_method(method)
    settings = chosen.settings() if settings is None else settings
    if not isinstance(settings, chosen.settings):
        raise InputError(
            f"{method} was given {type(settings).__name__}.", f"{chosen.settings.__name__}"
        )
    if not chosen.needs_prior:
        return chosen.load()(projections, settings, on_step=on_step, device=device)
    pixels = projections.grid.shape[2]
    given = {
        "prior": prior,
        "perpendicular_prior": perpendicular_prior,
        "coarse_prior": coarse_prior,
    }
    wanted = wanted_priors(chosen, given, settings, pixels=pixels)
    priors = load_priors(method, chosen, wanted, device, pixels=pixels)
    first = priors.pop("prior")
    return chosen.load()(
        projections, first, settings, on_step=on_step, execution=execution, **priors
    )
