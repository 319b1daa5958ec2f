"""The priors that a method takes, found by name and noted in a run's record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffusionblend.verbs.options import add_input

if TYPE_CHECKING:
    from diffusionblend.geometry import Projections
    from diffusionblend.priors.prior import Prior
    from diffusionblend.provenance import RunRecord


def priors_of(
    method: str,
    names: tuple[str | None, str | None],
    projections: Projections,
    device: str,
    record: RunRecord,
) -> tuple[Prior | None, Prior | None]:
    """The prior that a method needs, and the one of coronal slices, if it does.

    names: of both, None for the shipped one that fits. Raises InputError.
    """
    from diffusionblend.methods.registry import find_method, fitting_prior
    from diffusionblend.priors.prior import WEIGHTS_FILE
    from diffusionblend.priors.shipped import find_prior

    chosen, (name, perpendicular) = find_method(method), names
    if not chosen.needs_prior:
        return None, None
    pixels, second = projections.grid.shape[2], None
    prior = fitting_prior(method, chosen.layout, name, device, pixels=pixels)
    record.weights_sha256 = prior.weights_sha256
    if chosen.perpendicular is not None:
        option = "--perpendicular-prior"
        second = fitting_prior(method, chosen.perpendicular, perpendicular, device, option)
        add_input(record, find_prior(perpendicular) / WEIGHTS_FILE)
    return prior, second
