"""Volumes side by side in a notebook, with their errors."""

from __future__ import annotations

from diffusionblend.data.plot import Picture
from diffusionblend.data.volume import Volume
from diffusionblend.report.figures import three_planes_figure


def compare(
    *,
    reference: Volume | None = None,
    window: tuple[float, float] | str | None = None,
    **volumes: Volume,
) -> Picture:
    """Volumes by name, side by side in three planes; with a reference also their errors.

    `compare(reference=chest, fbp=fbp, tv=tv, window="lung")`. window: as of `Volume.plot`. All on
    one grid. Raises InputError for no volume, different grids or an unknown window.
    """
    shown = volumes if reference is None else {"reference": reference, **volumes}
    named = None if reference is None else "reference"
    return Picture(three_planes_figure(shown, named, window))
