"""A volume as a picture of its three middle slices, for notebooks and scripts."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from diffusionblend.data.planes import middle_slices
from diffusionblend.data.windows import Windows, window_limits

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from diffusionblend.data.volume import Volume

HEIGHT_INCHES, WIDEST_INCHES, DPI = 3.0, 12.0, 110
LETTER_POINTS = 8
LETTERS: Any = {"color": "white", "fontsize": LETTER_POINTS}
PLACES = (
    (0, 0.5, "left", "center"),
    (1, 0.5, "right", "center"),
    (0.5, 1, "center", "top"),
    (0.5, 0, "center", "bottom"),
)
"""Of the letters at the left, right, top and bottom of a plane."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure that a notebook shows as the value of a cell. figure: matplotlib's, to be saved."""

    figure: Figure

    def _repr_png_(self) -> bytes:
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        buffer = io.BytesIO()
        FigureCanvasAgg(self.figure).print_png(buffer)
        return buffer.getvalue()


def plotted(volume: Volume, window: tuple[float, float] | str | None = None) -> Picture:
    """The middle axial, coronal and sagittal slice side by side, on one scale in mm."""
    from matplotlib.figure import Figure

    shown = Windows.of({"volume": volume})
    low, high = window_limits(shown.first if window is None else window, shown)
    planes = middle_slices(volume)
    widths = [image.width_mm for image in planes.values()]
    tallest = max(image.height_mm for image in planes.values())
    inches = min(HEIGHT_INCHES / tallest, WIDEST_INCHES / sum(widths))
    figure = Figure(figsize=(sum(widths) * inches + 1.2, HEIGHT_INCHES + 0.5), dpi=DPI)
    axes = figure.subplots(1, len(planes), width_ratios=widths)
    for one, (name, image) in zip(axes, planes.items(), strict=True):
        drawn = one.imshow(
            image.values,
            cmap="gray",
            vmin=low,
            vmax=high,
            extent=(0, image.width_mm, image.height_mm, 0),
        )
        one.set_title(f"{name}, slice {image.index}", fontsize=LETTER_POINTS)
        one.set_axis_off()
        for (x, y, ha, va), side in zip(PLACES, image.sides, strict=True):
            one.text(x, y, side, ha=ha, va=va, transform=one.transAxes, **LETTERS)
    figure.colorbar(drawn, ax=list(axes), label=shown.unit, shrink=0.8)
    return Picture(figure)
