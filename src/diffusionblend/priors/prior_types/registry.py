"""The prior types by name: those of the package, and those of other packages by entry point.

A package adds one by a line in its pyproject.toml:

    [project.entry-points."diffusionblend.prior_types"]
    sagittal = "my_package.sagittal:Sagittal"
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffusionblend.registry import Registry

if TYPE_CHECKING:
    from diffusionblend.priors.prior_types.base import PriorType

HERE = "diffusionblend.priors.prior_types"
PRIOR_TYPES: Registry[PriorType] = Registry(
    "prior type",
    "diffusionblend.prior_types",
    {
        "joint": f"{HERE}.joint:Joint",
        "slices": f"{HERE}.slices:Slices",
        "conditional": f"{HERE}.conditional:Conditional",
        "neighbours": f"{HERE}.neighbours:Neighbours",
        "coronal": f"{HERE}.coronal:Coronal",
        "fbp-unet": f"{HERE}.fbp_unet:FbpUnet",
    },
    base=f"{HERE}.base:PriorType",
)


def prior_type_of(name: str) -> PriorType:
    """The prior type of a name. Raises InputError where there is none that can be imported."""
    return PRIOR_TYPES[name]()
