"""The rows of a benchmark as tables: means over patients with their intervals, and the costs.

The interval is that of the mean over the patients at hand: 1.96 standard errors from the spread of
the seeds and of the slices, taken as independent. It does not tell how other patients would score,
and since neighbouring slices are alike it is rather too narrow than too wide.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from statistics import fmean, variance

from diffusionblend.evaluation.metrics import PLANE_AXES, Evaluation
from diffusionblend.evaluation.tables import MISSING, Column, format_table

NORMAL_95 = 1.96
HALF_TURN_DEGREES = 180.0
FIGURES = {"psnr": ("PSNR (dB)", 2), "ssim": ("SSIM", 3)}
"""Name and decimals of each figure of a plane."""
WHOLE = {"psnr_volume_db": ("PSNR (dB)", 2)}
"""The same of the whole volume."""
COSTS = {"seconds": ("Seconds", 1), "network_calls": ("Network calls", 0)} | {
    "peak_memory_mb": ("Peak memory (MB)", 0)
}

Row = Mapping[str, object]


@dataclass(frozen=True)
class Setting:
    """What is measured: views, equally spaced over an arc."""

    views: int
    arc_degrees: float = HALF_TURN_DEGREES

    @property
    def name(self) -> str:
        """ "8 views", or "90 degrees" for an arc below half a turn."""
        if self.arc_degrees == HALF_TURN_DEGREES:
            return f"{self.views} views"
        return f"{self.arc_degrees:g} degrees"


def scores_of(evaluation: Evaluation) -> dict[str, float | int | None]:
    """What a row keeps of an evaluation: each plane's means, the slices' spread and number."""
    whole = evaluation.volume_psnr_db
    scores: dict[str, float | int | None] = {"psnr_volume_db": whole if isfinite(whole) else None}
    for plane, score in evaluation.planes.items():
        scores |= {
            f"psnr_{plane}": score.psnr_db if isfinite(score.psnr_db) else None,
            f"psnr_{plane}_sd": score.psnr_sd_db,
            f"ssim_{plane}": score.ssim,
            f"ssim_{plane}_sd": score.ssim_sd,
            f"slices_{plane}": score.n_slices - score.n_identical,
        }
    return scores


def mean_and_interval(rows: Sequence[Row], figure: str, plane: str) -> tuple[float, float] | None:
    """A figure's mean over patients, and half its 95% interval; None where no row has it."""
    key = f"{figure}_{plane}"
    by_patient: dict[str, list[Row]] = {}
    for row in rows:
        if row.get(key) is not None:
            by_patient.setdefault(str(row["volume"]), []).append(row)
    if not by_patient:
        return None
    means, squares = [], []
    for mine in by_patient.values():
        values = [float(row[key]) for row in mine]
        means.append(fmean(values))
        of_seeds = variance(values) / len(values) if len(values) > 1 else 0.0
        of_slices = fmean(
            float(row.get(f"{key}_sd") or 0.0) ** 2 / max(1, int(row[f"slices_{plane}"]))
            for row in mine
        )
        squares.append(of_seeds + of_slices)
    return fmean(means), NORMAL_95 * sum(squares) ** 0.5 / len(means)


def summaries(rows: Sequence[Row]) -> list[dict[str, object]]:
    """One row for each method, setting and plane, in the order in which they first come."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((str(row["method"]), str(row["setting"])), []).append(row)
    found = []
    for (method, setting), mine in groups.items():
        patients = {row["volume"] for row in mine}
        means = {name: _mean(row.get(name) for row in mine) for name in (*WHOLE, *COSTS)}
        for plane in PLANE_AXES:
            entry: dict[str, object] = {"method": method, "setting": setting, "plane": plane}
            for figure in FIGURES:
                pair = mean_and_interval(mine, figure, plane)
                entry[figure], entry[f"{figure}_ci95"] = pair or (None, None)
            entry |= {"patients": len(patients), "runs": len(mine)}
            entry["slices"] = sum(int(row[f"slices_{plane}"]) for row in mine)
            found.append(entry | means)
    return found


def _mean(values: Iterable[object]) -> float | None:
    """Of those that are there."""
    there = [float(value) for value in values if value is not None]
    return fmean(there) if there else None


def csv_table(rows: Sequence[Row]) -> str:
    """The summaries as CSV, with a header."""
    found = summaries(rows)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(found[0]) if found else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    return buffer.getvalue()


def markdown_tables(rows: Sequence[Row]) -> str:
    """For each plane and the whole volume a table of methods by settings, and one of costs."""
    found = summaries(rows)
    settings = list(dict.fromkeys(str(s["setting"]) for s in found))
    texts = [
        _by_setting(
            [s for s in found if s["plane"] == plane],
            settings,
            {name: (title, digits, f"{name}_ci95") for name, (title, digits) in FIGURES.items()},
            f"{plane.capitalize()} plane",
        )
        for plane in PLANE_AXES
    ]
    one_plane = [s for s in found if s["plane"] == next(iter(PLANE_AXES))]
    for title, figures in {"Whole volume": WHOLE, "Cost of one volume": COSTS}.items():
        plain = {name: (header, digits, None) for name, (header, digits) in figures.items()}
        texts.append(_by_setting(one_plane, settings, plain, title))
    return "\n".join(texts)


def published_table(published: Mapping[str, object]) -> str:
    """The published figures, with how their data and training differ from ours."""
    rows, settings = [], []
    for entry in published["rows"]:
        row: dict[str, object] = {"method": entry["method"]}
        for setting, (psnr, ssim) in ((k, v) for k, v in entry.items() if k != "method"):
            settings += [] if setting in settings else [setting]
            row |= {f"{setting} psnr": f"{psnr:.2f}", f"{setting} ssim": f"{ssim:.3f}"}
        rows.append(row)
    columns = [Column(key="method", header="Method")]
    for setting in settings:
        columns.append(Column(key=f"{setting} psnr", header=f"{setting}: PSNR (dB)"))
        columns.append(Column(key=f"{setting} ssim", header=f"{setting}: SSIM"))
    table = format_table(rows, columns, "markdown", title="Published figures")
    return f"{table}\n{published['source']}. {published['difference']}\n"


def _by_setting(
    found: Sequence[Row],
    settings: Sequence[str],
    figures: Mapping[str, tuple[str, int, str | None]],
    title: str,
) -> str:
    """Methods down, settings and figures across; a figure is (title, decimals, interval's key)."""
    columns = [Column(key="method", header="Method")]
    for setting in settings:
        for name, (header, _, _) in figures.items():
            columns.append(Column(key=f"{setting} {name}", header=f"{setting}: {header}"))
    rows: dict[str, dict[str, object]] = {}
    for entry in found:
        row = rows.setdefault(str(entry["method"]), {"method": entry["method"]})
        for name, (_, digits, interval) in figures.items():
            half = None if interval is None else entry[interval]
            row[f"{entry['setting']} {name}"] = _text(entry[name], half, digits)
    return str(format_table(list(rows.values()), columns, "markdown", title=title))


def _text(value: object, half: object, digits: int) -> str:
    """A mean with its interval."""
    if value is None:
        return MISSING
    text = f"{float(value):.{digits}f}"
    return text if half is None else f"{text} ± {float(half):.{digits}f}"
