"""Stored rows of the benchmarks and the pieces that the tables of the pages share."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
ROWS = REPOSITORY / "benchmarks" / "results"
PLANES = ("axial", "coronal", "sagittal")
Row = dict[str, Any]


@functools.cache
def rows_of(name: str) -> tuple[Row, ...]:
    """The rows of a JSON Lines file in `benchmarks/results/`, which is read once."""
    lines = (ROWS / name).read_text("utf-8").splitlines()
    return tuple(json.loads(line) for line in lines if line.strip())


def json_of(name: str) -> Row:
    """The content of a JSON file in `benchmarks/results/`."""
    return json.loads((ROWS / name).read_text("utf-8"))


def markdown_rows(name: str) -> list[Row]:
    """The rows of the table in a Markdown file in `benchmarks/results/`, as text by column."""
    lines = (ROWS / name).read_text("utf-8").splitlines()
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in lines if line[:1] == "|"
    ]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; columns of figures, but for the first, are right-aligned."""
    texts = [["" if cell is None else str(cell) for cell in row] for row in rows]
    columns = list(zip(*texts, strict=True))
    numeric = [i > 0 and all(map(_is_figure, column)) for i, column in enumerate(columns)]
    rule = ["---:" if figures else "---" for figures in numeric]
    lines = [list(headers), rule, *texts]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _is_figure(cell: str) -> bool:
    return not cell or cell.strip("*")[:1] in set("0123456789+-–")


def by_planes(row: Row, stem: str, digits: int = 2, suffix: str = "") -> str:
    """Axial / coronal / sagittal values of a row, such as `psnr_axial_db`."""
    return " / ".join(f"{row[f'{stem}_{plane}{suffix}']:.{digits}f}" for plane in PLANES)


def psnr(row: Row) -> str:
    """PSNR in dB, axial / coronal / sagittal."""
    return by_planes(row, "psnr", suffix="_db")


def ssim(row: Row) -> str:
    """SSIM, axial / coronal / sagittal."""
    return by_planes(row, "ssim", digits=3)


def seconds(value: float) -> str:
    """Seconds: whole ones from 10 on, one decimal below."""
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def only(rows: Iterable[Row], **wanted: object) -> Row:
    """The one row with these values; an error if there is none or several."""
    found = [row for row in rows if all(row.get(key) == value for key, value in wanted.items())]
    if len(found) != 1:
        raise LookupError(f"{len(found)} rows with {wanted}, expected one")
    return found[0]
