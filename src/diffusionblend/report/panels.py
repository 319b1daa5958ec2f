"""Slices as pictures inside a page: PNG files as data URIs, with what stands on them."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np

from diffusionblend.data.planes import PlaneImage
from diffusionblend.report.colours import overlay_rgba

MIN_LABELLED_HEIGHT = 0.12
"""Panels lower than this share of the widest panel's width carry no letters and figures."""
COLOUR_BAR_STEPS = 256

View = tuple[str, str, float, float]
"""A name, and the colour map with the HU of its first and last colour."""


@dataclass(frozen=True)
class Panel:
    """A picture of one plane of one volume.

    images: (view's name, data URI). corner: a figure. overlay: a data URI that is laid over it.
    """

    images: tuple[tuple[str, str], ...]
    width_percent: float
    aspect: str
    sides: tuple[str, str, str, str]
    description: str
    corner: str = ""
    labelled: bool = True
    overlay: str = ""


def make_panel(
    image: PlaneImage,
    views: list[View],
    widest_mm: float,
    description: str,
    *,
    corner: str = "",
    deviation: PlaneImage | None = None,
    limit_hu: float = 1.0,
) -> Panel:
    """One slice drawn once for each view; its standard deviation is coloured up to `limit_hu`."""
    return _framed(
        image,
        tuple((name, png_uri(image.values, colours, *ends)) for name, colours, *ends in views),
        widest_mm,
        description,
        corner=corner,
        overlay="" if deviation is None else overlay_uri(deviation.values, limit_hu),
    )


def uncertainty_panel(
    image: PlaneImage, limit_hu: float, widest_mm: float, description: str
) -> Panel:
    """A slice of a standard deviation, or of errors, in the colours of the overlay."""
    uri = overlay_uri(np.abs(image.values), limit_hu)
    return _framed(image, (("error", uri),), widest_mm, description)


def _framed(
    image: PlaneImage,
    images: tuple[tuple[str, str], ...],
    widest_mm: float,
    description: str,
    corner: str = "",
    overlay: str = "",
) -> Panel:
    """The pictures of a slice with its size and letters."""
    labelled = image.height_mm >= MIN_LABELLED_HEIGHT * widest_mm
    return Panel(
        images=images,
        width_percent=round(100 * image.width_mm / widest_mm, 2),
        aspect=f"{image.width_mm:.4f} / {image.height_mm:.4f}",
        sides=image.sides,
        description=description,
        corner=corner if labelled else "",
        labelled=labelled,
        overlay=overlay,
    )


def png_uri(values: np.ndarray, colour_map: str, low: float, high: float) -> str:
    """A 2D array as a data URI: a PNG with one pixel for each value."""
    return _as_uri(values, cmap=colour_map, vmin=low, vmax=high)


def overlay_uri(values_hu: np.ndarray, limit_hu: float) -> str:
    """A 2D array of standard deviations as a data URI: a PNG that is clear where they are 0."""
    return _as_uri(overlay_rgba(values_hu, limit_hu))


def colour_bar_uri(colour_map: str) -> str:
    """A colour map from low to high, one pixel high, as a data URI."""
    return png_uri(np.linspace(0, 1, COLOUR_BAR_STEPS)[None], colour_map, 0, 1)


def overlay_bar_uri() -> str:
    """The overlay's colours from 0 to the limit, one pixel high, as a data URI."""
    return overlay_uri(np.linspace(0, 1, COLOUR_BAR_STEPS)[None], 1.0)


def _as_uri(values: np.ndarray, **options: Any) -> str:
    from matplotlib.image import imsave

    buffer = io.BytesIO()
    imsave(buffer, values, format="png", **options)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
