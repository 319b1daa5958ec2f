"""The rows of a benchmark as tables: means over patients with their intervals, and the costs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from statistics import fmean, variance
from typing import Any

from diffusionblend.data.planes import PLANE_AXES
from diffusionblend.evaluation.metrics import Evaluation
from diffusionblend.evaluation.tables import MISSING, Column, evaluation_row, format_table

NORMAL_95 = 1.96
DETAILS = ("mean_absolute_error", "tv_z_ratio", "bias_")
"""Figures of an evaluation that rows keep and tables leave out, by how their names begin."""
FIGURES = {"psnr": ("PSNR (dB)", 2), "ssim": ("SSIM", 3)}
"""Name and decimals of each figure of a plane."""
WHOLE = {"psnr_volume_db": ("PSNR (dB)", 2)}
"""The same of the whole volume."""
WHOLE_TITLE = "Whole volume"
COSTS = {
    "seconds": ("Seconds", 1),
    "network_evaluations": ("Network evaluations", 0),
    "peak_memory_mb": ("Peak memory (MB)", 0),
}
INTERVALS = (
    "The interval is that of the mean over the patients at hand: 1.96 standard errors from the "
    "variation of the seeds and of the slices, taken as independent. It does not say how other "
    "patients would score, and since neighbouring slices are alike it is too narrow rather than "
    "too wide."
)

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """Rows under a title, to be shown in any form."""

    title: str
    rows: list[dict[str, object]]
    columns: list[Column]

    def markdown(self) -> str:
        """As Markdown, with its title."""
        return str(format_table(self.rows, self.columns, "markdown", title=self.title))


def scores_of(evaluation: Evaluation) -> dict[str, object]:
    """What a row keeps of an evaluation: of each plane the means, with the standard deviation over
    the slices and their number.
    """
    whole = evaluation.volume_psnr_db
    scores: dict[str, object] = {"psnr_volume_db": whole if isfinite(whole) else None}
    more = evaluation_row("", evaluation)
    scores |= {name: value for name, value in more.items() if name.startswith(DETAILS)}
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
            by_patient.setdefault(_patient(row), []).append(row)
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
    """One row for each label, setup and plane, in the order in which they first come.

    Runs of one label with several settings or priors get labels of their own.
    """
    groups: dict[tuple[str, str], list[Row]] = {}
    for label, row in zip(told_apart(rows), rows, strict=True):
        groups.setdefault((label, str(row["setup"])), []).append(row)
    found = []
    for (label, setup), mine in groups.items():
        patients = {_patient(row) for row in mine}
        means = {name: _mean(row.get(name) for row in mine) for name in (*WHOLE, *COSTS)}
        for plane in PLANE_AXES:
            entry: dict[str, object] = {"label": label, "setup": setup, "plane": plane}
            for figure in FIGURES:
                pair = mean_and_interval(mine, figure, plane)
                entry[figure], entry[f"{figure}_ci95"] = pair or (None, None)
            entry |= {"patients": len(patients), "runs": len(mine)}
            entry["slices"] = sum(int(row[f"slices_{plane}"]) for row in mine)
            found.append(entry | means)
    return found


def told_apart(rows: Sequence[Row]) -> list[str]:
    """The label of every row, with what differs where runs of one label and setup differ.

    Seeds and volumes are what a mean is taken over, and do not count.
    """
    variants: dict[str, dict[str, list[dict[str, object]]]] = {}
    for row in rows:
        of_setup = variants.setdefault(str(row["label"]), {}).setdefault(str(row["setup"]), [])
        facts = _facts(row)
        of_setup += [] if facts in of_setup else [facts]
    differing = {
        label: dict.fromkeys(
            name
            for alternatives in setups.values()
            for name in dict.fromkeys(n for facts in alternatives for n in facts)
            if any(facts.get(name) != alternatives[0].get(name) for facts in alternatives)
        )
        for label, setups in variants.items()
    }
    labels = []
    for row in rows:
        label, facts = str(row["label"]), _facts(row)
        parts = [
            f"{name} {facts[name]}" for name in differing[label] if facts.get(name) is not None
        ]
        labels.append(f"{label} ({', '.join(parts)})" if parts else label)
    return labels


def _facts(row: Row) -> dict[str, object]:
    """What decides a run beside its volume and seed: settings, priors and the volume's extent."""
    settings: Mapping[str, object] = row.get("settings") or {}
    priors: Mapping[str, Mapping[str, str]] = row.get("priors") or {}
    facts = {name: value for name, value in settings.items() if name != "seed"}
    for role, prior in priors.items():
        facts[str(role).replace("_", " ")] = f"{prior['name']} {prior['weights_sha256'][:8]}"
    return facts | {
        name: row.get(name) for name in ("size", "slices", "samples", "device", "version")
    }


def _patient(row: Row) -> str:
    return str(row.get("volume_sha256") or row["volume"])


def _mean(values: Iterable[Any]) -> float | None:
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
    """The tables of scores and costs as Markdown."""
    return "\n".join(table.markdown() for table in tables_of(rows))


def tables_of(rows: Sequence[Row]) -> list[Table]:
    """For each plane and the whole volume a table of labels by setups, and one of costs."""
    found = summaries(rows)
    setups = list(dict.fromkeys(str(s["setup"]) for s in found))
    tables = [
        _by_setup(
            [s for s in found if s["plane"] == plane],
            setups,
            {name: (title, digits, f"{name}_ci95") for name, (title, digits) in FIGURES.items()},
            f"{plane.capitalize()} plane",
        )
        for plane in PLANE_AXES
    ]
    one_plane = [s for s in found if s["plane"] == next(iter(PLANE_AXES))]
    for title, figures in {WHOLE_TITLE: WHOLE, "Cost of one volume": COSTS}.items():
        plain = {name: (header, digits, None) for name, (header, digits) in figures.items()}
        tables.append(_by_setup(one_plane, setups, plain, title))
    return tables


def whole_volume_table(rows: Sequence[Row]) -> Table:
    """The mean PSNR of the volume of every label in every setup (a column), in numbers."""
    one_plane = [s for s in summaries(rows) if s["plane"] == next(iter(PLANE_AXES))]
    by_label: dict[str, dict[str, object]] = {}
    for entry in one_plane:
        row = by_label.setdefault(str(entry["label"]), {"label": entry["label"]})
        row[str(entry["setup"])] = entry["psnr_volume_db"]
    setups = dict.fromkeys(str(s["setup"]) for s in one_plane)
    columns = [Column(key="label", header="Method")]
    columns += [Column(key=s, header=s, digits=2, best="high") for s in setups]
    return Table("PSNR of the volume (dB), mean over volumes", list(by_label.values()), columns)


def best_in_words(table: Table) -> str:
    """Which rows are best in how many columns, as a sentence."""
    wins: dict[str, int] = {}
    columns = [column for column in table.columns if column.best is not None]
    for column in columns:
        scored = [row for row in table.rows if row.get(column.key) is not None]
        if scored:
            best = max(scored, key=lambda row: float(str(row[column.key])))
            wins[str(best["label"])] = wins.get(str(best["label"]), 0) + 1
    if not wins:
        return "No run has a score."
    ranked = sorted(wins.items(), key=lambda pair: -pair[1])
    (first, count), rest = ranked[0], [f"{label} in {n}" for label, n in ranked[1:]]
    scans = f"{count} of {len(columns)} scans" if len(columns) > 1 else "the scan"
    return "; ".join([f"{first} has the highest mean PSNR in {scans}", *rest]) + "."


def calibration_table(rows: Sequence[Row]) -> Table | None:
    """How often the truth lies within the standard deviation of ensembles, by tissue.

    None where no row is of an ensemble.
    """
    columns = [Column(key="label", header="Method"), Column(key="setup", header="Scan")]
    columns.append(Column(key="tissue", header="Tissue"))
    columns += [
        Column(key=f"within_{k}", header=f"Within {k} sd (%)", digits=1) for k in ("1", "2")
    ]
    columns.append(Column(key="mean_deviation_hu", header="Mean sd (HU)", digits=1))
    columns.append(Column(key="rms_error_hu", header="RMS error (HU)", digits=1))
    found: list[dict[str, Any]] = []
    for label, row in zip(told_apart(rows), rows, strict=True):
        calibration = row.get("calibration")
        if calibration is None:
            continue
        of_row = {"label": label, "setup": row["setup"]}
        expected = f"expected of {calibration['n_samples']} samples"
        within = {"within": calibration["expected_within"]}
        tissues = calibration["tissues"] | {expected: within}
        for name, tissue in tissues.items():
            shares = {f"within_{k}": 100 * v for k, v in (tissue["within"] or {}).items()}
            found.append(of_row | {"tissue": name} | tissue | shares)
    if not found:
        return None
    return Table("Truth within the deviation", found, columns)


def published_table(published: Mapping[str, Any]) -> str:
    """The published figures, with how their data and training differ from ours."""
    rows, setups = [], []
    for entry in published["rows"]:
        row: dict[str, object] = {"method": entry["method"]}
        for setup, (psnr, ssim) in ((k, v) for k, v in entry.items() if k != "method"):
            setups += [] if setup in setups else [setup]
            row |= {f"{setup} psnr": f"{psnr:.2f}", f"{setup} ssim": f"{ssim:.3f}"}
        rows.append(row)
    columns = [Column(key="method", header="Method")]
    for setup in setups:
        columns.append(Column(key=f"{setup} psnr", header=f"{setup}: PSNR (dB)"))
        columns.append(Column(key=f"{setup} ssim", header=f"{setup}: SSIM"))
    table = format_table(rows, columns, "markdown", title="Published figures")
    return f"{table}\n{published['source']}. {published['difference']}\n"


def _by_setup(
    found: Sequence[Row],
    setups: Sequence[str],
    figures: Mapping[str, tuple[str, int, str | None]],
    title: str,
) -> Table:
    """Labels down, setups and figures across; a figure is (title, decimals, interval's key)."""
    columns = [Column(key="label", header="Method")]
    for setup in setups:
        for name, (header, _, _) in figures.items():
            columns.append(Column(key=f"{setup} {name}", header=f"{setup}: {header}"))
    rows: dict[str, dict[str, object]] = {}
    for entry in found:
        row = rows.setdefault(str(entry["label"]), {"label": entry["label"]})
        for name, (_, digits, interval) in figures.items():
            half = None if interval is None else entry[interval]
            row[f"{entry['setup']} {name}"] = _text(entry[name], half, digits)
    return Table(title, list(rows.values()), columns)


def _text(value: Any, half: Any, digits: int) -> str:
    """A mean with its interval."""
    if value is None:
        return MISSING
    text = f"{float(value):.{digits}f}"
    return text if half is None else f"{text} ± {float(half):.{digits}f}"
