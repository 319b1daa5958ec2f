"""Tables: what is printed for a number, what is bold, and that nothing is cut or interpreted."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from rich.console import Console

from diffusionblend.cli.tables import print_table
from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError
from diffusionblend.evaluation.metrics import evaluate
from diffusionblend.evaluation.tables import (
    DETAIL_COLUMNS,
    METRIC_COLUMNS,
    Column,
    evaluation_row,
    format_table,
    format_value,
    least_width,
)
from diffusionblend.geometry.grid import Grid

COLUMNS = (
    Column(key="method", header="Method"),
    Column(key="psnr", header="PSNR (dB)", digits=1, best="high"),
    Column(key="bias", header="Bias (HU)", digits=1),
    Column(key="tv", header="TV", best="one"),
    Column(key="absent", header="Absent"),
)
ROWS = [
    {"method": "a|b", "psnr": 24.26, "bias": -3.0, "tv": 1.5},
    {"method": "[red]c", "psnr": np.float32(19.1), "bias": 10.0, "tv": 0.75},
    {"method": "d", "psnr": None, "bias": -40.0, "tv": 2.0},
]


def printed(rows: list[dict[str, object]], columns: tuple[Column, ...], width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(format_table(rows, columns))
    return console.file.getvalue()


def test_markdown_is_exact() -> None:
    assert format_table(ROWS, COLUMNS, "markdown", title="T") == (
        "**T**\n\n"
        "| Method | PSNR (dB) | Bias (HU) | TV |\n"
        "| --- | ---: | ---: | ---: |\n"
        "| a\\|b | **24.3** | -3.0 | 1.50 |\n"
        "| [red]c | 19.1 | 10.0 | **0.75** |\n"
        "| d | – | -40.0 | 2.00 |\n"
    )


def test_the_console_takes_text_as_it_is() -> None:
    text = printed(ROWS, COLUMNS)
    assert "[red]c" in text
    assert "a|b" in text
    assert "Absent" not in text


@pytest.mark.parametrize(
    ("hu", "header"),
    [
        (-951.0, None),
        (-949.0, "lung: -950 to -500 HU"),
        (-501.0, "lung: -950 to -500 HU"),
        (-499.0, None),
        (-31.0, None),
        (-29.0, "soft tissue: -30 to 150 HU"),
        (149.0, "soft tissue: -30 to 150 HU"),
        (299.0, None),
        (301.0, "bone: from 300 HU"),
    ],
)
def test_headers_say_which_voxels_the_bias_is_of(hu: float, header: str | None) -> None:
    grid = Grid(shape=(8, 8, 8), spacing_mm=(1, 1, 1))
    reference = Volume(np.full(grid.shape, hu), grid)
    row = evaluation_row("a", evaluate(reference, reference))
    shown = [c.header for c in DETAIL_COLUMNS if "bias" in c.key and row.get(c.key) is not None]
    assert shown == ([f"Bias (HU), {header}"] if header else [])


@pytest.mark.parametrize("columns", [METRIC_COLUMNS, DETAIL_COLUMNS])
def test_a_row_of_metrics_fits_80_columns_uncut(columns: tuple[Column, ...]) -> None:
    rng = np.random.default_rng(0)
    grid = Grid(shape=(8, 8, 8), spacing_mm=(1, 1, 1))
    reference = Volume(rng.uniform(-1000, 1000, grid.shape), grid)
    x = reference.with_values(reference.values + rng.normal(0, 300, grid.shape))
    got = evaluate(x, reference, relative_residual=0.0123)
    row = evaluation_row("DiffusionBlend++", got)
    text = printed([row], columns)
    assert "…" not in text
    for column in columns:
        if column.key.endswith("per_mm"):  # of other volumes
            continue
        assert row[column.key] is not None
        assert format_value(row[column.key], column.digits) in text
        for word in column.header.split():
            assert word in text
    assert row["psnr_sagittal_db"] == got.planes["sagittal"].psnr_db
    assert row["bias_bone_hu"] == got.bias_hu["bone"].mean_hu


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (math.nan, "–"),
        (math.inf, "∞"),
        (-0.001, "0.00"),
        (-0.01, "-0.01"),
        (1.005e3, "1005.00"),
        (12345, "12,345"),
        (np.int64(7), "7"),
        (np.float32(0.5), "0.50"),
        (True, "yes"),
        ("8 views", "8 views"),
    ],
)
def test_values_print_as_a_reader_expects(value: object, text: str) -> None:
    assert format_value(value) == text


def test_at_its_least_width_a_table_folds_text_and_cuts_no_number() -> None:
    """With two letters less, the right edge and one more, the last column would be cut."""
    rows = [row | {"method": f"reconstruction{i}.nii.gz"} for i, row in enumerate(ROWS)]
    columns = (*COLUMNS, Column(key="seen", header="Seen by", digits=4))
    rows = [row | {"seen": 1234.5678 + i} for i, row in enumerate(rows)]
    numbers = [format_value(row[c.key], c.digits) for row in rows for c in columns[1:4]]
    numbers += ["1234.5678", "1235.5678", "1236.5678"]
    width = least_width(rows, columns)
    text = printed(rows, columns, width)
    assert all(number in text for number in numbers if number != "–")
    assert "reconstruc" in text and "reconstruction" not in text
    assert not all(n in printed(rows, columns, width - 2) for n in numbers if n != "–")


def test_facts_a_line_are_exact() -> None:
    assert format_table(ROWS[::2], COLUMNS, "lines", title="T") == (
        "T\na|b\n  PSNR (dB): 24.3\n  Bias (HU): -3.0\n  TV: 1.50\n"
        "d\n  Bias (HU): -40.0\n  TV: 2.00"
    )


@pytest.mark.parametrize("narrower", [0, 1])
def test_a_terminal_too_narrow_for_the_numbers_gets_facts_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], narrower: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(least_width(ROWS, COLUMNS) - narrower))
    print_table(ROWS, COLUMNS)
    text = capsys.readouterr().out
    assert ("  TV: 0.75" in text) == bool(narrower)
    assert "[red]c" in text and "-40.0" in text


def test_an_unknown_style_is_refused() -> None:
    with pytest.raises(InputError, match="latex"):
        format_table(ROWS, COLUMNS, "latex")
