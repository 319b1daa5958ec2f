"""Rows of grey pictures with names, for benchmarks whose objects are not volumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANEL_INCHES = 2.4
NAME_INCHES = 0.3
DPI = 150


def image_rows_figure(
    rows: Mapping[str, Sequence[np.ndarray]], window: tuple[float, float], unit: str
) -> Figure:
    """Pictures (y, x) in rows, each row below its name, one grey scale for all."""
    from matplotlib.figure import Figure

    across = max(len(pictures) for pictures in rows.values())
    height = len(rows) * (PANEL_INCHES + NAME_INCHES)
    size = (across * PANEL_INCHES + 1.0, height)
    figure = Figure(figsize=size, dpi=DPI, facecolor="white", layout="constrained")
    axes = figure.subplots(len(rows), across, squeeze=False)
    for line, (name, pictures) in zip(axes, rows.items(), strict=True):
        line[0].set_title(name, loc="left", fontsize=9)
        for panel in line:
            panel.set_axis_off()
        for panel, picture in zip(line, pictures, strict=False):
            shown = panel.imshow(picture, cmap="gray", vmin=window[0], vmax=window[1])
    figure.colorbar(shown, ax=axes, label=unit, shrink=0.6)
    return figure
