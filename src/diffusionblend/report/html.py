"""One self-contained HTML page about a reconstruction: pictures, errors, figures, settings.

Everything is inside the file: images are base64 PNG, there is no script, and a content security
policy forbids the page to load anything.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import diffusionblend
from diffusionblend.data.ensemble import check_deviation
from diffusionblend.data.planes import middle_slices
from diffusionblend.data.volume import Volume
from diffusionblend.data.windows import Windows
from diffusionblend.errors import InputError
from diffusionblend.evaluation import calibration
from diffusionblend.evaluation.calibration import Calibration
from diffusionblend.evaluation.metrics import (
    CLIP_HU,
    Evaluation,
)
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
from diffusionblend.evaluation.tissues import BIAS_TISSUES, TISSUES
from diffusionblend.io.atomic import atomic_output, check_outputs_absent
from diffusionblend.report.colours import deviation_limit_hu
from diffusionblend.report.figures import (
    ERROR_COLOURS,
    check_volumes,
    error_slices,
)
from diffusionblend.report.panels import (
    Panel,
    colour_bar_uri,
    make_panel,
    overlay_bar_uri,
    uncertainty_panel,
)
from diffusionblend.report.profiles import centre_profiles, profile_chart

if TYPE_CHECKING:
    from jinja2 import Template

TEMPLATE = "report.html.j2"
OVERLAYS = {"off": 0.0, "light": 0.4, "strong": 0.8}
"""How much of the standard deviation's colours can be chosen to be seen."""


def write_report(
    path: Path | str,
    *,
    title: str,
    volumes: Mapping[str, Volume],
    reference: str | None = None,
    evaluations: Mapping[str, Evaluation] | None = None,
    deviations: Mapping[str, Volume] | None = None,
    bands: Mapping[str, Volume] | None = None,
    calibrations: Mapping[str, Calibration] | None = None,
    settings: Mapping[str, object] | None = None,
    run_records: Mapping[str, Mapping[str, object]] | None = None,
    projections: Mapping[str, object] | None = None,
    simulated: bool = True,
    learned: bool = True,
    headline: str | None = None,
    error_limit: float | None = None,
    force: bool = False,
) -> Path:
    """Writes the report on `volumes` (by name, one grid, one unit) to one HTML file.

    reference: the name of the truth among the volumes. evaluations, deviations (standard deviations
    in HU), bands (half widths of 90 % bands in HU), calibrations: by volume name. settings: setting
    to value, or method to such a mapping. run_records: by method; their `timings` or `seconds` make
    a table, the whole stands below it. projections: how they were made (`Projections.notes`).
    simulated: whether they were computed from the reference. learned: whether a learned prior made
    one of the volumes. headline: a sentence above all. error_limit: half the range of errors'
    colours, in the volumes' unit.
    Returns its path. Raises InputError for no volume, unknown names, different grids or what is
    no standard deviation, OutputExistsError where the file exists without `force`.
    """
    check_outputs_absent([path], force)
    check_volumes(volumes, reference)
    evaluations, calibrations = dict(evaluations or {}), dict(calibrations or {})
    widths = {"deviations": dict(deviations or {}), "bands": dict(bands or {})}
    _check_named(volumes, evaluations=evaluations, calibrations=calibrations, **widths)
    deviations = widths["deviations"]
    limit_hu = deviation_limit_hu(d.values for d in deviations.values())
    windows = Windows.of(volumes)
    limit = windows.error_limit if error_limit is None else error_limit
    page = template(TEMPLATE).render(
        title=title,
        made=now_in_words(),
        version=diffusionblend.__version__,
        grid=next(iter(volumes.values())).grid,
        reference=reference,
        simulated=simulated,
        learned=learned,
        headline=headline,
        **_ranges(windows, limit),
        **_pictures(volumes, reference, evaluations, windows, limit, deviations, limit_hu),
        **_uncertainty(volumes, reference, **widths),
        calibrations=_calibration_tables(calibrations),
        **_figures(evaluations),
        charts=[profile_chart(profile) for profile in centre_profiles(volumes)],
        **_runs(settings or {}, run_records or {}, projections or {}),
    )
    with atomic_output(path, force=force) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="backslashreplace")
    return Path(path)


def now_in_words() -> str:
    """When a page is made."""
    return datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")


def _ranges(windows: Windows, error_limit: float) -> dict[str, object]:
    """The unit of the volumes, the windows they are shown in and the range of their errors."""
    return {
        "unit": windows.unit,
        "windows": windows.limits,
        "first_window": windows.first,
        "error_limit": error_limit,
        "error_bar": colour_bar_uri(ERROR_COLOURS),
    }


def _runs(
    settings: Mapping[str, object],
    records: Mapping[str, Mapping[str, object]],
    projections: Mapping[str, object],
) -> dict[str, object]:
    """The tables of settings and times, and projections and records as text."""
    return {
        "projections": [(k, _text(v)) for k, v in projections.items()],
        "settings": _settings_table(settings),
        "timings": _timing_table(records),
        "records": [(name, _json(record)) for name, record in records.items()],
    }


def _check_named(
    volumes: Mapping[str, Volume],
    *,
    deviations: Mapping[str, Volume],
    bands: Mapping[str, Volume],
    **others: Mapping,
) -> None:
    """Raises InputError for what is of no volume, and for what is no standard deviation or band."""
    for what, named in {"deviations": deviations, "bands": bands, **others}.items():
        unknown = sorted(set(named) - set(volumes))
        if unknown:
            raise InputError(f"There are {what} of {unknown}.", f"names among {list(volumes)}")
    for name, deviation in deviations.items():
        check_deviation(deviation, volumes[name], f"The standard deviation of {name}")
    for name, band in bands.items():
        check_deviation(band, volumes[name], f"The band of {name}")


def template(name: str) -> Template:
    """A page's template; every value put into it is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("diffusionblend.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def _pictures(
    volumes: Mapping[str, Volume],
    reference: str | None,
    evaluations: Mapping[str, Evaluation],
    windows: Windows,
    error_limit: float,
    deviations: Mapping[str, Volume],
    limit_hu: float,
) -> dict[str, object]:
    """Panels by plane then by column, of the volumes and of their errors, with column names."""
    slices = {name: middle_slices(volume) for name, volume in volumes.items()}
    deviation_slices = {name: middle_slices(volume) for name, volume in deviations.items()}
    errors = error_slices(slices, reference)
    widest_mm = _widest_mm(volumes)
    views = [(name, "gray", low, high) for name, (low, high) in windows.limits.items()]
    error_views = [("error", ERROR_COLOURS, -error_limit, error_limit)]

    def picture(name: str, plane: str) -> Panel:
        corner = ""
        if name in evaluations and name != reference:
            corner = f"{format_value(evaluations[name].planes[plane].psnr_db, 1)} dB"
        return make_panel(
            slices[name][plane],
            views,
            widest_mm,
            f"{name}, {plane}",
            corner=corner,
            deviation=deviation_slices[name][plane] if name in deviation_slices else None,
            limit_hu=limit_hu,
        )

    def error(name: str, plane: str) -> Panel:
        image = errors[name][plane]
        return make_panel(image, error_views, widest_mm, f"{name}, {plane}, error")

    return {
        "names": list(slices),
        "rows": _rows(volumes, list(slices), picture),
        "error_names": list(errors),
        "error_rows": _rows(volumes, list(errors), error),
    }


def _uncertainty(
    volumes: Mapping[str, Volume],
    reference: str | None,
    deviations: Mapping[str, Volume],
    bands: Mapping[str, Volume],
) -> dict[str, object]:
    """Panels of the standard deviations and bands and, with a reference, of the errors' sizes."""
    slices = {name: middle_slices(volume) for name, volume in volumes.items()}
    errors = error_slices(slices, reference)
    columns = {}
    for name, deviation in deviations.items():
        columns[f"{name}: standard deviation"] = middle_slices(deviation)
        if name in bands:
            columns[f"{name}: half the 90 % band"] = middle_slices(bands[name])
        if name in errors:
            columns[f"{name}: size of the error"] = errors[name]
    widest_mm = _widest_mm(volumes)
    limit_hu = deviation_limit_hu(w.values for w in [*deviations.values(), *bands.values()])

    def panel(name: str, plane: str) -> Panel:
        return uncertainty_panel(columns[name][plane], limit_hu, widest_mm, f"{name}, {plane}")

    return {
        "overlays": OVERLAYS,
        "has_band": bool(bands),
        "deviation_names": list(columns),
        "deviation_rows": _rows(volumes, list(columns), panel),
        "overlay_limit_hu": deviation_limit_hu(d.values for d in deviations.values()),
        "deviation_limit_hu": limit_hu,
        "deviation_bar": overlay_bar_uri() if deviations else "",
    }


def _calibration_tables(
    calibrations: Mapping[str, Calibration],
) -> list[tuple[str, dict[str, object] | None]]:
    """(name, its table) of every volume with a calibration."""
    return [(name, html_table(c.rows(), calibration.COLUMNS)) for name, c in calibrations.items()]


def _rows(
    volumes: Mapping[str, Volume], names: list[str], panel: Callable[[str, str], Panel]
) -> list[tuple[str, int, list[Panel]]]:
    """(plane, index of its middle slice, a panel for each name)."""
    planes = middle_slices(next(iter(volumes.values())))
    return [(p, image.index, [panel(name, p) for name in names]) for p, image in planes.items()]


def _widest_mm(volumes: Mapping[str, Volume]) -> float:
    """The width of the widest plane."""
    return max(i.width_mm for i in middle_slices(next(iter(volumes.values()))).values())


def _figures(evaluations: Mapping[str, Evaluation]) -> dict[str, object]:
    """The two tables of metrics, the notes about them and what they are of."""
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
        "clip": next((e.clip for e in evaluations.values()), CLIP_HU),
        "tissue_classes": _tissue_sentences(),
        "metrics": html_table(rows, METRIC_COLUMNS),
        "details": html_table(rows, DETAIL_COLUMNS),
        "notes": notes,
    }


def html_table(rows: Sequence[Row], columns: Sequence[Column]) -> dict[str, object] | None:
    """A table as the template draws it: headers with `numeric`, rows of (text, best, numeric)."""
    if not rows:
        return None
    columns = shown_columns(rows, columns)
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
    return html_table(rows, (Column(key="key", header=corner), *shown))


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
    return [(t.label, f"{t.range_in_words} HU") for t in map(TISSUES.__getitem__, BIAS_TISSUES)]
