"""Three planes of several volumes side by side, with their errors in HU.

Drawn with matplotlib's objects alone: no pyplot, no global state, no display needed.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diffusionblend.data.ensemble import check_deviation
from diffusionblend.data.planes import PLANE_AXES, PlaneImage, middle_slices
from diffusionblend.data.volume import Volume
from diffusionblend.data.windows import Windows, window_limits
from diffusionblend.errors import InputError
from diffusionblend.evaluation.metrics import Evaluation
from diffusionblend.geometry.grid import check_same_grid
from diffusionblend.report.colours import deviation_limit_hu, on_black, overlay_rgba

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

ERROR_COLOURS = "RdBu_r"

PANEL_INCHES = 2.0
MIN_ROW_INCHES = 0.55
MIN_LABELLED_INCHES = 0.3
"""Rows are at least this high; lower panels carry no letters and figures."""

GAP_INCHES = 0.04
LEFT_INCHES = 0.35
TOP_INCHES = 0.38
BOTTOM_INCHES = 0.08
BAR_INCHES = 0.11
BAR_SPACE_INCHES = 0.80
"""The width of a colour bar, and with its labels."""

TITLE_POINTS = 10.0
TITLE_LETTERS = 24
"""Longer titles are set smaller, to stay above their column."""

COLOUR_STEPS = 256
INK = "#1b1f24"
DPI = 200


@dataclass(frozen=True)
class _Layout:
    """Where panels go, in inches from the figure's lower left corner."""

    width: float
    height: float
    row_bottoms: tuple[float, ...]
    row_heights: tuple[float, ...]
    inches_per_mm: float
    n_images: int

    def column_left(self, column: int) -> float:
        """The left edge of a column; error maps come after the first colour bar."""
        bar = BAR_SPACE_INCHES if column >= self.n_images else 0.0
        return LEFT_INCHES + column * (PANEL_INCHES + GAP_INCHES) + bar


def three_planes_figure(
    volumes: Mapping[str, Volume],
    reference: str | None = None,
    window: tuple[float, float] | str | None = None,
    *,
    evaluations: Mapping[str, Evaluation] | None = None,
    error_limit: float | None = None,
) -> Figure:
    """The middle axial, coronal and sagittal slice of each volume, one column each.

    window: (black, white) in the volumes' unit, or a name: of WINDOWS_HU, or of volumes in 1/mm
    "auto" or "full"; None: "full" in HU, "auto" in 1/mm. reference: the name of the volume that
    the others' signed errors are shown against, in a second block of columns, up to `error_limit`.
    evaluations: by name; each panel then carries the mean PSNR of its plane. All panels share one
    scale in mm. Raises InputError for no volume, an unknown name or different grids.
    """
    check_volumes(volumes, reference)
    shown = Windows.of(volumes)
    low, high = window_limits(shown.first if window is None else window, shown)
    limit = shown.error_limit if error_limit is None else error_limit
    slices = {name: middle_slices(volume) for name, volume in volumes.items()}
    errors = error_slices(slices, reference)
    layout = _layout(next(iter(slices.values())), len(slices), len(errors))

    from matplotlib.figure import Figure

    figure = Figure(figsize=(layout.width, layout.height), dpi=DPI, facecolor="white")
    for column, (name, planes) in enumerate(slices.items()):
        image = _draw_column(figure, layout, column, planes, name, ("gray", low, high))
        _draw_scores(figure, (evaluations or {}).get(name), name == reference)
    _draw_bar(figure, layout, len(slices), image, shown.unit)
    for column, (name, planes) in enumerate(errors.items(), start=len(slices)):
        colours = (ERROR_COLOURS, -limit, limit)
        image = _draw_column(figure, layout, column, planes, f"{name}: error", colours)
    if errors:
        _draw_bar(figure, layout, len(slices) + len(errors), image, f"error ({shown.unit})")
    _draw_plane_names(figure, layout)
    return figure


def uncertainty_figure(
    mean: Volume,
    deviation: Volume,
    reference: Volume | None = None,
    window: tuple[float, float] | str = "full",
) -> Figure:
    """The middle slices of a mean of samples, its standard deviation and the size of its error.

    The latter two in HU and in the same colours, up to a round limit; without a reference neither
    it nor the error is shown. Raises InputError for different grids or what is no deviation.
    """
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure

    check_deviation(deviation, mean)
    volumes = {"mean": mean} if reference is None else {"reference": reference, "mean": mean}
    check_volumes(volumes, None if reference is None else "reference")
    slices = {name: middle_slices(volume) for name, volume in volumes.items()}
    maps = {"standard deviation": middle_slices(deviation)}
    for planes in error_slices(slices, None if reference is None else "reference").values():
        maps["size of the error"] = {
            plane: replace(image, values=np.abs(image.values)) for plane, image in planes.items()
        }
    limit = deviation_limit_hu([deviation.values])
    colours = ListedColormap(on_black(overlay_rgba(np.linspace(0, 1, COLOUR_STEPS), 1.0)))
    layout = _layout(slices["mean"], len(slices), len(maps))
    figure = Figure(figsize=(layout.width, layout.height), dpi=DPI, facecolor="white")
    greys = ("gray", *window_limits(window))
    for column, (name, planes) in enumerate(slices.items()):
        image = _draw_column(figure, layout, column, planes, name, greys)
    _draw_bar(figure, layout, len(slices), image, "HU")
    for column, (name, planes) in enumerate(maps.items(), start=len(slices)):
        image = _draw_column(figure, layout, column, planes, name, (colours, 0.0, limit))
    _draw_bar(figure, layout, len(slices) + len(maps), image, "HU")
    _draw_plane_names(figure, layout)
    return figure


def figure_png_bytes(figure: Figure) -> bytes:
    """The figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def save_figure(figure: Figure, path: Path | str, *, force: bool = False) -> Path:
    """Writes the figure to `path`, in the format of its suffix (png, pdf, svg).

    Raises OutputExistsError where the file exists and `force` is false, InputError for a format
    that matplotlib does not write.
    """
    from diffusionblend.io.atomic import atomic_output

    path = Path(path)
    check_figure_suffix(path)
    with atomic_output(path, force=force) as temporary:
        figure.savefig(temporary, format=path.suffix.lstrip(".").lower())
    return path


def check_figure_suffix(path: Path | str) -> None:
    """Raises InputError unless a figure can be written to `path`; call it before long work."""
    from matplotlib.backend_bases import FigureCanvasBase

    path, known = Path(path), sorted(FigureCanvasBase.get_supported_filetypes())
    if path.suffix.lstrip(".").lower() not in known:
        raise InputError(
            f"A figure cannot be written as {path.name}.",
            f"a name that ends in .{', .'.join(known)}",
            path.with_suffix(".png").name,
        )


def check_volumes(volumes: Mapping[str, Volume], reference: str | None) -> None:
    """Raises InputError unless there are volumes, the reference is one, and all share a grid."""
    if not volumes:
        raise InputError("There is no volume to show.", "at least one")
    if reference is not None and reference not in volumes:
        raise InputError(f"The reference is {reference!r}.", f"one of {', '.join(volumes)}")
    for name, volume in volumes.items():
        if not isinstance(volume, Volume):
            raise InputError(
                f"{name} is a {type(volume).__name__}.",
                "a Volume",
                "result.volume, read_volume(file), or chest.with_values(array) for an array",
            )
    first = volumes[reference] if reference is not None else next(iter(volumes.values()))
    for volume in volumes.values():
        check_same_grid(volume.grid, first.grid)


def error_slices(
    slices: Mapping[str, Mapping[str, PlaneImage]], reference: str | None
) -> dict[str, dict[str, PlaneImage]]:
    """Each method's slices minus the reference's, in HU; empty without a reference."""
    if reference is None:
        return {}
    truth = slices[reference]
    by_plane = {
        plane: error_images({name: planes[plane] for name, planes in slices.items()}, reference)
        for plane in truth
    }
    others = [name for name in slices if name != reference]
    return {name: {plane: by_plane[plane][name] for plane in truth} for name in others}


def error_images(images: Mapping[str, PlaneImage], reference: str) -> dict[str, PlaneImage]:
    """Each image of one slice minus the reference's."""
    truth = images[reference].values
    return {
        name: replace(image, values=image.values - truth)
        for name, image in images.items()
        if name != reference
    }


def _layout(planes: Mapping[str, PlaneImage], n_images: int, n_errors: int) -> _Layout:
    """Sizes in inches such that every panel has the same scale in mm."""
    scale = PANEL_INCHES / max(image.width_mm for image in planes.values())
    heights = tuple(max(MIN_ROW_INCHES, planes[name].height_mm * scale) for name in PLANE_AXES)
    height = TOP_INCHES + sum(heights) + GAP_INCHES * (len(heights) - 1) + BOTTOM_INCHES
    below = np.cumsum(heights) + GAP_INCHES * np.arange(len(heights))
    columns = n_images + n_errors
    bars = BAR_SPACE_INCHES * (2 if n_errors else 1)
    return _Layout(
        width=LEFT_INCHES + columns * (PANEL_INCHES + GAP_INCHES) + bars,
        height=height,
        row_bottoms=tuple(float(height - TOP_INCHES - b) for b in below),
        row_heights=heights,
        inches_per_mm=scale,
        n_images=n_images,
    )


def _add_axes(figure: Figure, box_inches: tuple[float, float, float, float]) -> Axes:
    """Axes at (left, bottom, width, height) in inches, without ticks or frame."""
    left, bottom, width, height = box_inches
    full_width, full_height = figure.get_size_inches()
    box = (left / full_width, bottom / full_height, width / full_width, height / full_height)
    axes = figure.add_axes(box)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    return axes


def _draw_column(
    figure: Figure,
    layout: _Layout,
    column: int,
    planes: Mapping[str, PlaneImage],
    title: str,
    colours: tuple[str | Colormap, float, float],
) -> ScalarMappable:
    """One volume's three planes below its title; colours: (map, low HU, high HU)."""
    colour_map, low, high = colours
    left = layout.column_left(column)
    figure.text(
        (left + PANEL_INCHES / 2) / layout.width,
        1 - TOP_INCHES / 2 / layout.height,
        title,
        ha="center",
        va="center",
        fontsize=min(TITLE_POINTS, TITLE_POINTS * TITLE_LETTERS / len(title or " ")),
        fontweight="bold",
        color=INK,
        parse_math=False,
    )
    for row, (name, image) in enumerate(planes.items()):
        width = image.width_mm * layout.inches_per_mm
        height = image.height_mm * layout.inches_per_mm
        bottom = layout.row_bottoms[row] + (layout.row_heights[row] - height) / 2
        axes = _add_axes(figure, (left + (PANEL_INCHES - width) / 2, bottom, width, height))
        axes.set_label(f"{title}/{name}")
        shown = axes.imshow(
            image.values,
            cmap=colour_map,
            vmin=low,
            vmax=high,
            extent=(0, image.width_mm, image.height_mm, 0),
            interpolation="bilinear",
        )
        if column == 0 and height >= MIN_LABELLED_INCHES:
            _draw_sides(axes, image.sides)
    return shown


def _draw_sides(axes: Axes, sides: tuple[str, str, str, str]) -> None:
    """The patient's sides as letters at the left, right and top of a panel."""
    left, right, top, _ = sides
    for x, y, text, ha, va in (
        (0.02, 0.5, left, "left", "center"),
        (0.98, 0.5, right, "right", "center"),
        (0.5, 0.98, top, "center", "top"),
    ):
        axes.text(x, y, text, ha=ha, va=va, transform=axes.transAxes, **_label_style(7))


def _draw_scores(figure: Figure, evaluation: Evaluation | None, is_reference: bool) -> None:
    """The plane's mean PSNR in the lower left corner of each of the three panels drawn last."""
    if evaluation is None or is_reference:
        return
    for axes, name in zip(figure.axes[-len(PLANE_AXES) :], PLANE_AXES, strict=True):
        if axes.get_position().height * figure.get_size_inches()[1] < MIN_LABELLED_INCHES:
            continue
        text = f"{evaluation.planes[name].psnr_db:.1f} dB"
        axes.text(0.025, 0.03, text, transform=axes.transAxes, va="bottom", **_label_style(8.5))


def _label_style(size: float) -> dict[str, Any]:
    """White text with a dark rim, readable on any image."""
    from matplotlib.patheffects import withStroke

    rim = [withStroke(linewidth=1.6, foreground="black", alpha=0.7)]
    return {"color": "white", "fontsize": size, "path_effects": rim}


def _draw_bar(
    figure: Figure, layout: _Layout, columns: int, image: ScalarMappable, label: str
) -> None:
    """A colour bar with its unit, right of the first `columns` columns."""
    left = layout.column_left(columns - 1) + PANEL_INCHES + 2 * GAP_INCHES
    height = layout.height - TOP_INCHES - BOTTOM_INCHES
    shrunk = min(height, 2 * PANEL_INCHES)
    bottom = BOTTOM_INCHES + (height - shrunk) / 2
    axes = _add_axes(figure, (left, bottom, BAR_INCHES, shrunk))
    bar = figure.colorbar(image, cax=axes)
    bar.set_label(label, fontsize=8, color=INK, labelpad=3)
    bar.ax.tick_params(labelsize=7, length=2, color=INK, labelcolor=INK)
    bar.outline.set(edgecolor=INK, linewidth=0.5)


def _draw_plane_names(figure: Figure, layout: _Layout) -> None:
    """The name of each row's plane, upright along the left margin."""
    for name, bottom, height in zip(
        PLANE_AXES, layout.row_bottoms, layout.row_heights, strict=True
    ):
        figure.text(
            LEFT_INCHES / 2 / layout.width,
            (bottom + height / 2) / layout.height,
            name,
            rotation="vertical",
            ha="center",
            va="center",
            fontsize=9,
            color=INK,
        )
