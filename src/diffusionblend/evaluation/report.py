"""One self-contained HTML page about a reconstruction: pictures, errors, figures, settings.

Everything is inside the file: images are base64 PNG, there is no script, and a content security
policy forbids the page to load anything.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import diffusionblend
from diffusionblend.errors import InputError
from diffusionblend.evaluation.figures import (
    ERROR_COLOURS,
    ERROR_LIMIT_HU,
    check_volumes,
    error_slices,
)
from diffusionblend.evaluation.metrics import (
    CLIP_HU,
    TISSUE_LABELS,
    Evaluation,
    tissue_range,
)
from diffusionblend.evaluation.planes import PlaneImage, middle_slices
from diffusionblend.evaluation.profiles import centre_profiles, profile_chart
from diffusionblend.evaluation.tables import (
    DETAIL_COLUMNS,
    METRIC_COLUMNS,
    Column,
    Row,
    cells,
    evaluation_row,
    format_value,
    is_numeric,
    shown_columns,
)
from diffusionblend.units import WINDOWS_HU
from diffusionblend.volume import Volume

if TYPE_CHECKING:
    from jinja2 import Template

TEMPLATE = "report.html.j2"
FIRST_WINDOW = "full"
COLOUR_BAR_STEPS = 256

MIN_LABELLED_HEIGHT = 0.12
"""Panels lower than this share of the widest panel's width carry no letters and figures."""


@dataclass(frozen=True)
class _Panel:
    """A picture of one plane of one volume. images: (window name, data URI); corner: a figure."""

    images: tuple[tuple[str, str], ...]
    width_percent: float
    aspect: str
    sides: tuple[str, str, str, str]
    description: str
    corner: str = ""
    labelled: bool = True


def write_report(
    path: Path | str,
    *,
    title: str,
    volumes: Mapping[str, Volume],
    reference: str | None = None,
    evaluations: Mapping[str, Evaluation] | None = None,
    settings: Mapping[str, object] | None = None,
    run_records: Mapping[str, Mapping[str, object]] | None = None,
    projections: Mapping[str, object] | None = None,
    simulated: bool = True,
    error_limit_hu: float = ERROR_LIMIT_HU,
    force: bool = False,
) -> Path:
    """Writes the report on `volumes` (by name, one grid, HU) to one HTML file and returns its path.

    reference: the name of the truth among the volumes. evaluations: by volume name. settings:
    setting to value, or method to such a mapping. run_records: by method; their `timings` or
    `seconds` make a table, the whole stands below it. projections: how they were made
    (`Projections.notes`). simulated: whether they were computed from the reference. Raises
    InputError for no volume, unknown names or different grids, OutputExistsError where the file
    exists without `force`.
    """
    from diffusionblend.io.files import atomic_output, check_outputs_absent

    check_outputs_absent([path], force)
    check_volumes(volumes, reference)
    evaluations = dict(evaluations or {})
    unknown = sorted(set(evaluations) - set(volumes))
    if unknown:
        raise InputError(f"There are evaluations of {unknown}.", f"names among {list(volumes)}")
    records = dict(run_records or {})
    page = _template().render(
        title=title,
        made=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        version=diffusionblend.__version__,
        grid=next(iter(volumes.values())).grid,
        reference=reference,
        simulated=simulated,
        windows=WINDOWS_HU,
        first_window=FIRST_WINDOW,
        error_limit_hu=error_limit_hu,
        error_bar=_colour_bar(),
        **_pictures(volumes, reference, evaluations, error_limit_hu),
        **_figures(evaluations),
        charts=[profile_chart(profile) for profile in centre_profiles(volumes)],
        clip_hu=CLIP_HU,
        tissue_classes=_tissue_sentences(),
        settings=_settings_table(settings or {}),
        timings=_timing_table(records),
        projections=[(k, _text(v)) for k, v in (projections or {}).items()],
        records=[(name, _json(record)) for name, record in records.items()],
    )
    with atomic_output(path, force=force) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return Path(path)


def _template() -> Template:
    """The page's template; every value put into it is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("diffusionblend.evaluation", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE)


def _pictures(
    volumes: Mapping[str, Volume],
    reference: str | None,
    evaluations: Mapping[str, Evaluation],
    error_limit_hu: float,
) -> dict[str, object]:
    """Panels by plane then by column, of the volumes and of their errors, with column names."""
    slices = {name: middle_slices(volume) for name, volume in volumes.items()}
    errors = error_slices(slices, reference)
    planes = next(iter(slices.values()))
    widest_mm = max(image.width_mm for image in planes.values())
    views = [(name, "gray", low, high) for name, (low, high) in WINDOWS_HU.items()]
    error_views = [("error", ERROR_COLOURS, -error_limit_hu, error_limit_hu)]

    def corner(name: str, plane: str) -> str:
        if name not in evaluations or name == reference:
            return ""
        return f"{format_value(evaluations[name].planes[plane].psnr_db, 1)} dB"

    return {
        "names": list(slices),
        "rows": [
            (
                plane,
                planes[plane].index,
                [
                    _panel(s[plane], views, widest_mm, f"{name}, {plane}", corner(name, plane))
                    for name, s in slices.items()
                ],
            )
            for plane in planes
        ],
        "error_names": list(errors),
        "error_rows": [
            (
                plane,
                planes[plane].index,
                [
                    _panel(s[plane], error_views, widest_mm, f"{name}, {plane}, error")
                    for name, s in errors.items()
                ],
            )
            for plane in planes
        ],
    }


def _panel(
    image: PlaneImage,
    views: list[tuple[str, str, float, float]],
    widest_mm: float,
    description: str,
    corner: str = "",
) -> _Panel:
    """One slice drawn once for each view (name, colour map, low HU, high HU)."""
    labelled = image.height_mm >= MIN_LABELLED_HEIGHT * widest_mm
    return _Panel(
        images=tuple((v[0], _png_uri(image.values, *v[1:])) for v in views),
        width_percent=round(100 * image.width_mm / widest_mm, 2),
        aspect=f"{image.width_mm:.4f} / {image.height_mm:.4f}",
        sides=image.sides,
        description=description,
        corner=corner if labelled else "",
        labelled=labelled,
    )


def _png_uri(values: np.ndarray, colour_map: str, low: float, high: float) -> str:
    """A 2D array as a data URI: a PNG with one pixel for each value."""
    from matplotlib.image import imsave

    buffer = io.BytesIO()
    imsave(buffer, values, cmap=colour_map, vmin=low, vmax=high, format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _colour_bar() -> str:
    """The error maps' colours from low to high, one pixel high, as a data URI."""
    return _png_uri(np.linspace(0, 1, COLOUR_BAR_STEPS)[None], ERROR_COLOURS, 0, 1)


def _figures(evaluations: Mapping[str, Evaluation]) -> dict[str, object]:
    """The two tables of metrics and the notes about them."""
    rows = [evaluation_row(name, evaluation) for name, evaluation in evaluations.items()]
    said_of: dict[str, list[str]] = {}
    for name, evaluation in evaluations.items():
        for note in evaluation.notes:
            said_of.setdefault(note, []).append(name)
    notes = [
        note if len(names) == len(evaluations) else f"{', '.join(names)}: {note}"
        for note, names in said_of.items()
    ]
    return {
        "metrics": _html_table(rows, METRIC_COLUMNS),
        "details": _html_table(rows, DETAIL_COLUMNS),
        "notes": notes,
    }


def _html_table(rows: list[Row], columns: tuple[Column, ...]) -> dict[str, object] | None:
    """A table as the template draws it: headers with `numeric`, rows of (text, best, numeric)."""
    if not rows:
        return None
    columns = tuple(shown_columns(rows, columns))
    numeric = [is_numeric(rows, column) for column in columns]
    body = zip(*(cells(rows, column) for column in columns), strict=True)
    return {
        "headers": list(zip([c.header for c in columns], numeric, strict=True)),
        "rows": [
            [(text, best, n) for (text, best), n in zip(row, numeric, strict=True)] for row in body
        ],
    }


def _settings_table(settings: Mapping[str, object]) -> dict[str, object] | None:
    """Settings as rows; one column for each method where the values are mappings by method."""
    by_method = {k: v for k, v in settings.items() if isinstance(v, Mapping)}
    shared = {k: v for k, v in settings.items() if not isinstance(v, Mapping)}
    methods = {"All" if by_method else "Value": shared, **by_method} if shared else by_method
    return _transposed("Setting", methods)


def _timing_table(records: Mapping[str, Mapping[str, object]]) -> dict[str, object] | None:
    """The records' `timings` or `seconds` as rows, one column for each method."""
    timings = {name: r.get("timings", r.get("seconds")) for name, r in records.items()}
    return _transposed(
        "Time (s)", {name: t for name, t in timings.items() if isinstance(t, Mapping)}
    )


def _transposed(
    corner: str, columns: Mapping[str, Mapping[str, object]]
) -> dict[str, object] | None:
    """A table with one column for each mapping and one row for each key that any of them has."""
    keys = list(dict.fromkeys(str(key) for values in columns.values() for key in values))
    if not keys:
        return None
    rows = [{"key": k, **{name: _text(v.get(k)) for name, v in columns.items()}} for k in keys]
    shown = [Column(key=name, header=name) for name in columns]
    return _html_table(rows, (Column(key="key", header=corner), *shown))


def _text(value: object) -> str | None:
    """A setting as text: numbers short, lists with commas, anything else as Python prints it."""
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, list | tuple):
        return ", ".join(str(_text(v)) for v in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_text(v)}" for k, v in value.items())
    return None if value is None else format_value(value)


def _json(record: Mapping[str, object]) -> str:
    """A run record as indented JSON; what JSON does not know is written as text."""
    return json.dumps(record, indent=2, ensure_ascii=False, default=str)


def _tissue_sentences() -> list[tuple[str, str]]:
    """(class, its range in HU) in words."""
    return [(label, f"{tissue_range(name)} HU") for name, label in TISSUE_LABELS.items()]
