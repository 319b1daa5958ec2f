"""Rows of figures as a table: for the terminal (rich), for a README (Markdown), for the report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, Literal

from diffusionblend.data.printable import printable
from diffusionblend.errors import InputError
from diffusionblend.evaluation.metrics import Evaluation
from diffusionblend.evaluation.tissues import BIAS_TISSUES, TISSUES

if TYPE_CHECKING:
    from rich.table import Table

MISSING = "–"
LEAST_TEXT = 10
"""Letters of a column of text from which on it is folded where space is short; numbers are not."""
EDGES = 1
"""Letters at the edges of a table, beside one for each column."""

Row = Mapping[str, object]
"""One row: values by column key. A key that is absent or None prints as a dash."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column: the key of its values, its header with the unit, how its numbers print.

    digits: decimals of a number. best: which of the numbers is set in bold, if any; `"one"` is the
    number nearest to 1.
    """

    key: str
    header: str
    digits: int = 2
    best: Literal["high", "low", "one"] | None = None


METHOD_COLUMN = Column(key="method", header="Method")

METRIC_COLUMNS = (
    METHOD_COLUMN,
    Column(key="psnr_axial_db", header="PSNR axial (dB)", best="high"),
    Column(key="psnr_coronal_db", header="PSNR coronal (dB)", best="high"),
    Column(key="psnr_sagittal_db", header="PSNR sagittal (dB)", best="high"),
    Column(key="psnr_volume_db", header="PSNR volume (dB)", best="high"),
    Column(key="ssim_axial", header="SSIM axial", digits=3, best="high"),
    Column(key="ssim_coronal", header="SSIM coronal", digits=3, best="high"),
    Column(key="ssim_sagittal", header="SSIM sagittal", digits=3, best="high"),
)

DETAIL_COLUMNS = (
    METHOD_COLUMN,
    Column(key="mean_absolute_error_hu", header="MAE (HU)", digits=1, best="low"),
    Column(key="mean_absolute_error_per_mm", header="MAE (1/mm)", digits=6, best="low"),
    *(
        Column(
            key=f"bias_{name}_hu",
            header=f"Bias (HU), {TISSUES[name].label}: {TISSUES[name].range_in_words} HU",
            digits=1,
        )
        for name in BIAS_TISSUES
    ),
    Column(key="tv_z_ratio", header="TV along z (ratio)", digits=2, best="one"),
    Column(key="relative_residual", header="Relative residual", digits=4),
)


def evaluation_row(method: str, evaluation: Evaluation) -> dict[str, object]:
    """One method's figures as a row for METRIC_COLUMNS and DETAIL_COLUMNS."""
    row: dict[str, object] = {
        "method": method,
        "psnr_volume_db": evaluation.volume_psnr_db,
        "mean_absolute_error_hu": evaluation.mean_absolute_error_hu,
        "mean_absolute_error_per_mm": evaluation.mean_absolute_error_per_mm,
        "tv_z_ratio": evaluation.tv_z_ratio,
        "relative_residual": evaluation.relative_residual,
    }
    for name, score in evaluation.planes.items():
        row[f"psnr_{name}_db"], row[f"ssim_{name}"] = score.psnr_db, score.ssim
    for name, bias in evaluation.bias_hu.items():
        row[f"bias_{name}_hu"] = bias.mean_hu
    return row


def format_table(
    rows: Sequence[Row],
    columns: Sequence[Column],
    style: Literal["rich", "markdown", "lines"] = "rich",
    *,
    title: str | None = None,
) -> Table | str:
    """A `rich.table.Table` to print on a console, or text: a Markdown table, or a fact a line.

    The best number of a column is bold where the column says so and more than one row has a
    number. Raises InputError for an unknown style.
    """
    columns = shown_columns(rows, columns)
    if style == "markdown":
        return _markdown(rows, columns, title)
    if style == "rich":
        return _rich(rows, columns, title)
    if style == "lines":
        return _lines(rows, columns, title)
    raise InputError(f"The table style is {style!r}.", "'rich', 'markdown' or 'lines'")


def shown_columns(rows: Sequence[Row], columns: Sequence[Column]) -> list[Column]:
    """The columns for which at least one row has a value."""
    return [c for c in columns if any(row.get(c.key) is not None for row in rows)]


def format_value(value: object, digits: int = 2) -> str:
    """A cell's text: numbers with their decimals, a dash for none, an infinity sign."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Integral):
        return f"{int(value):,}"
    if not isinstance(value, Real):
        return MISSING if value is None else printable(str(value))
    number = float(value)
    if math.isnan(number):
        return MISSING
    if math.isinf(number):
        return "∞" if number > 0 else "-∞"
    text = f"{number:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def best_texts(rows: Sequence[Row], column: Column) -> set[str]:
    """The printed form of a column's best number; empty where there is nothing to compare."""
    found = [float(v) for row in rows if isinstance(v := row.get(column.key), Real)]
    numbers = [v for v in found if not math.isnan(v)]
    if column.best is None or len(numbers) < 2:
        return set()
    cost = {
        "high": lambda v: -v,
        "low": lambda v: v,
        "one": lambda v: abs(v - 1),
    }[column.best]
    return {format_value(min(numbers, key=cost), column.digits)}


def cells(rows: Sequence[Row], column: Column) -> list[tuple[str, bool]]:
    """(text, is best) of every row in one column."""
    best = best_texts(rows, column)
    texts = [format_value(row.get(column.key), column.digits) for row in rows]
    return [(text, text in best) for text in texts]


def is_numeric(rows: Sequence[Row], column: Column) -> bool:
    """Whether a column holds numbers only, and is set flush right."""
    values = [v for row in rows if (v := row.get(column.key)) is not None]
    return bool(values) and all(isinstance(v, Real) for v in values)


def _markdown(rows: Sequence[Row], columns: Sequence[Column], title: str | None) -> str:
    """The table in Markdown; a vertical bar inside a cell is escaped."""

    def line(texts: Sequence[str]) -> str:
        return "| " + " | ".join(texts) + " |"

    def escape(text: str) -> str:
        return text.replace("|", "\\|").replace("\n", " ")

    body = [
        [f"**{escape(text)}**" if best else escape(text) for text, best in cells(rows, column)]
        for column in columns
    ]
    rule = ["---:" if is_numeric(rows, column) else "---" for column in columns]
    lines = [line([escape(c.header) for c in columns]), line(rule)]
    lines += [line(texts) for texts in zip(*body, strict=True)]
    return "\n".join([f"**{title}**", "", *lines] if title else lines) + "\n"


def least_width(rows: Sequence[Row], columns: Sequence[Column]) -> int:
    """Letters across that a table needs on a console to cut no number."""
    widths = [_least_width(rows, column) for column in shown_columns(rows, columns)]
    return sum(widths) + len(widths) + EDGES


def _least_width(rows: Sequence[Row], column: Column) -> int:
    """Of a column; words of its header are not broken, and longer text than LEAST_TEXT is."""
    longest = max((len(text) for text, _ in cells(rows, column)), default=0)
    shown = longest if is_numeric(rows, column) else min(longest, LEAST_TEXT)
    return max(shown, *(len(word) for word in column.header.split()))


def _lines(rows: Sequence[Row], columns: Sequence[Column], title: str | None) -> str:
    """Each row as its first value with the others below it, a line each, for narrow terminals."""
    body = [[text for text, _ in cells(rows, column)] for column in columns]
    lines = [title] if title else []
    for first, *texts in zip(*body, strict=True):
        named = zip(columns[1:], texts, strict=True)
        lines += [first, *(f"  {c.header}: {text}" for c, text in named if text != MISSING)]
    return "\n".join(lines)


def _rich(rows: Sequence[Row], columns: Sequence[Column], title: str | None) -> Table:
    """The table for a console; text is taken as it is, never as rich markup."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    heading = Text(title, style="bold") if title else None
    table = Table(title=heading, title_justify="left", box=SIMPLE_HEAD, padding=0)
    for column in columns:
        numeric, least = is_numeric(rows, column), _least_width(rows, column)
        table.add_column(
            Text(column.header),
            justify="right" if numeric else "left",
            overflow="fold",
            min_width=least,
            max_width=least if numeric else None,
        )
    body = [
        [Text(text, style="bold" if best else "") for text, best in cells(rows, column)]
        for column in columns
    ]
    for texts in zip(*body, strict=True):
        table.add_row(*texts)
    return table
