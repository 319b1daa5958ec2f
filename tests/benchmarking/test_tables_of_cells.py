"""Means and intervals of a benchmark by hand, and the layout of its tables."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from diffusionblend.benchmarking.tables import (
    Setting,
    csv_table,
    markdown_tables,
    mean_and_interval,
    published_table,
    scores_of,
)
from diffusionblend.data.volume import Volume
from diffusionblend.evaluation.metrics import evaluate_volume
from diffusionblend.geometry.grid import Grid


def row(method: str, volume: str, seed: int, psnr: float, sd: float = 0.0, n: int = 4) -> dict:
    entry = {"method": method, "setting": "8 views", "volume": volume, "seed": seed}
    for plane in ("axial", "coronal", "sagittal"):
        entry |= {f"psnr_{plane}": psnr, f"psnr_{plane}_sd": sd, f"slices_{plane}": n}
        entry |= {f"ssim_{plane}": psnr / 40, f"ssim_{plane}_sd": 0.0}
    return entry | {"seconds": 2.0, "network_calls": 50, "peak_memory_mb": 100.0}


def test_the_mean_is_over_patients_however_many_seeds_each_has() -> None:
    rows = [row("A", "p1", 0, 30.0), row("A", "p1", 1, 32.0), row("A", "p2", 0, 20.0)]
    mean, half = mean_and_interval(rows, "psnr", "coronal")
    assert mean == pytest.approx((31 + 20) / 2)
    of_seeds = np.var([30, 32], ddof=1) / 2
    assert half == pytest.approx(1.96 * of_seeds**0.5 / 2)


def test_the_interval_covers_the_mean_of_independent_slices_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(2000):
        slices = rng.normal(30, 2, 50)
        one = row("A", "p", 0, slices.mean(), slices.std(), 50)
        mean, half = mean_and_interval([one], "psnr", "axial")
        covered += abs(mean - 30) < half
    assert 0.93 < covered / 2000 < 0.965


def test_what_no_row_has_is_left_out() -> None:
    rows = [row("A", "p", 0, 30.0) | {"ssim_axial": None}]
    assert mean_and_interval(rows, "ssim", "axial") is None
    assert "–" in markdown_tables(rows)


def test_tables_have_a_row_a_method_and_columns_a_setting() -> None:
    rows = [row("fbp", "p", 0, 20.0), row("dds", "p", 0, 30.0, sd=1.0)]
    rows.append(row("fbp", "p", 0, 15.0) | {"setting": "90 degrees"})
    text = markdown_tables(rows)
    for title in ("Axial plane", "Coronal plane", "Sagittal plane", "Cost of one volume"):
        assert title in text
    lines = [line for line in text.splitlines() if line.startswith("| fbp |")]
    assert lines[0].split(" | ")[1:3] == ["20.00 ± 0.00", "0.500 ± 0.000"]
    assert "30.00 ± 0.98" in text
    assert "8 views: PSNR (dB)" in text and "90 degrees: SSIM" in text


def test_csv_has_all_of_it() -> None:
    rows = [row("fbp", "p", 0, 20.0), row("fbp", "q", 0, 22.0)]
    found = list(csv.DictReader(io.StringIO(csv_table(rows))))
    assert [f["plane"] for f in found] == ["axial", "coronal", "sagittal"]
    assert float(found[1]["psnr"]) == 21.0
    assert (found[1]["patients"], found[1]["runs"], found[1]["slices"]) == ("2", "2", "8")
    assert float(found[0]["seconds"]) == 2.0


def test_scores_keep_the_spread_of_the_slices() -> None:
    rng = np.random.default_rng(1)
    truth = rng.uniform(-900, 900, (9, 10, 11))
    noisy = truth + rng.normal(0, np.linspace(10, 90, 9))[:, None, None] * rng.normal(
        size=(9, 10, 11)
    )
    grid = Grid(shape=truth.shape, spacing_mm=(1, 1, 1))
    scores = scores_of(evaluate_volume(Volume(noisy, grid), Volume(truth, grid)))
    clipped = np.clip(noisy, -1000, 1000).astype(np.float32)
    squares = ((clipped - truth.astype(np.float32)) / 2000) ** 2
    psnr = -10 * np.log10(squares.mean((1, 2)))
    assert scores["psnr_axial"] == pytest.approx(psnr.mean(), abs=1e-3)
    assert scores["psnr_axial_sd"] == pytest.approx(psnr.std(), abs=1e-3)
    assert scores["slices_axial"] == 9
    same = scores_of(evaluate_volume(Volume(truth, grid), Volume(truth, grid)))
    assert same["psnr_axial"] is None and same["psnr_volume_db"] is None


def test_settings_have_the_names_of_the_talk() -> None:
    assert Setting(8).name == "8 views"
    assert Setting(90, 90.0).name == "90 degrees"


def test_the_published_table_stands_by_itself_with_its_difference() -> None:
    published = {"source": "A paper", "difference": "Other data.", "rows": []}
    published["rows"] = [
        {"method": "X", "8 views": [30.0, 0.9]},
        {"method": "Y", "6 views": [1, 0]},
    ]
    text = published_table(published)
    assert "| X | 30.00 | 0.900 | – | – |" in text
    assert text.endswith("A paper. Other data.\n")
