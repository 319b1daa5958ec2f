"""The same coronal slice of many reconstructions, side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from diffusionblend.data.planes import PlaneImage
from diffusionblend.data.windows import ERROR_LIMIT_HU
from diffusionblend.units import WINDOWS_HU

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 4
PANEL_INCHES = 2.4
TITLE_INCHES = 0.28
DPI = 150
WINDOW = "full"


def coronal_figure(images: Mapping[str, PlaneImage], title: str, *, errors: bool = False) -> Figure:
    """One panel for each image, in order, all in one window and to one scale in mm.

    errors: whether the images are of errors, in the colours of reports.
    """
    from matplotlib.figure import Figure

    from diffusionblend.report.figures import ERROR_COLOURS

    low, high = (-ERROR_LIMIT_HU, ERROR_LIMIT_HU) if errors else WINDOWS_HU[WINDOW]
    first = next(iter(images.values()))
    n_rows = math.ceil(len(images) / COLUMNS)
    panel_height = PANEL_INCHES * first.height_mm / first.width_mm + TITLE_INCHES
    size = (COLUMNS * PANEL_INCHES, n_rows * panel_height + 2 * TITLE_INCHES)
    figure = Figure(figsize=size, dpi=DPI, facecolor="white", layout="constrained")
    figure.suptitle(f"{title}, {low:.0f} to {high:.0f} HU", fontsize=10)
    for number, (name, image) in enumerate(images.items(), 1):
        axes = figure.add_subplot(n_rows, COLUMNS, number)
        axes.set_title(name, fontsize=9, parse_math=False)
        axes.set_axis_off()
        extent = (0, image.width_mm, image.height_mm, 0)
        colours = ERROR_COLOURS if errors else "gray"
        axes.imshow(image.values, cmap=colours, vmin=low, vmax=high, extent=extent)
    return figure
