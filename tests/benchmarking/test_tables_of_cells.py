"""Means and intervals of a benchmark by hand, and the layout of its tables."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from diffusionblend.benchmarking.setups import Setup
from diffusionblend.benchmarking.tables import (
    csv_table,
    markdown_tables,
    mean_and_interval,
    published_table,
    scores_of,
    told_apart,
)
from diffusionblend.data.volume import Volume
from diffusionblend.evaluation.metrics import evaluate
from diffusionblend.geometry.grid import Grid


def row(method: str, volume: str, seed: int, psnr: float, sd: float = 0.0, n: int = 4) -> dict:
    entry = {"label": method, "setup": "8 views", "volume": volume, "seed": seed}
    for plane in ("axial", "coronal", "sagittal"):
        entry |= {f"psnr_{plane}": psnr, f"psnr_{plane}_sd": sd, f"slices_{plane}": n}
        entry |= {f"ssim_{plane}": psnr / 40, f"ssim_{plane}_sd": 0.0}
    return entry | {"seconds": 2.0, "network_evaluations": 50, "peak_memory_mb": 100.0}


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
    rows.append(row("fbp", "p", 0, 15.0) | {"setup": "90 degrees"})
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
    scores = scores_of(evaluate(Volume(noisy, grid), Volume(truth, grid)))
    clipped = np.clip(noisy, -1000, 1000).astype(np.float32)
    squares = ((clipped - truth.astype(np.float32)) / 2000) ** 2
    psnr = -10 * np.log10(squares.mean((1, 2)))
    assert scores["psnr_axial"] == pytest.approx(psnr.mean(), abs=1e-3)
    assert scores["psnr_axial_sd"] == pytest.approx(psnr.std(), abs=1e-3)
    assert scores["slices_axial"] == 9
    same = scores_of(evaluate(Volume(truth, grid), Volume(truth, grid)))
    assert same["psnr_axial"] is None and same["psnr_volume_db"] is None


def test_setups_have_names_of_their_own() -> None:
    assert Setup(views=8).name == "8 views"
    assert Setup.of_arc(90.0).name == "90 degrees"
    assert Setup(views=20, arc_degrees=90.0).name == "20 views over 90 degrees"
    assert Setup(views=60, geometry="cone").name == "60 views, cone beam"
    assert Setup(views=180, geometry="fan", arc_degrees=180).name == "180 degrees, fan beam"
    assert Setup(views=36, geometry="helix").name == "36 views a turn, helix"
    assert Setup(views=8, photons=1e5).name == "8 views, 1e+05 photons"


def test_runs_of_one_label_are_separated_by_what_differs() -> None:
    def run(setup: str, psnr: float, **settings: object) -> dict:
        return row("dds", "p", 0, psnr) | {"setup": setup, "settings": {"seed": 0} | settings}

    rows = [run("8 views", 20, steps=2, weight=1.0), run("8 views", 30, steps=50, weight=1.0)]
    rows += [run("4 views", 10, steps=2, weight=3.0)]
    assert told_apart(rows) == ["dds (steps 2)", "dds (steps 50)", "dds (steps 2)"]
    assert told_apart(rows[1:]) == ["dds", "dds"]  # a weight of its own for each setup
    seeds = [run("8 views", 20, steps=2), run("8 views", 20, steps=2) | {"seed": 1}]
    assert told_apart(seeds) == ["dds", "dds"]
    found = list(csv.DictReader(io.StringIO(csv_table(rows))))
    psnr = {(f["label"], f["setup"]): float(f["psnr"]) for f in found}
    assert psnr["dds (steps 50)", "8 views"] == 30 and psnr["dds (steps 2)", "8 views"] == 20


def test_the_published_table_stands_by_itself_with_its_difference() -> None:
    published = {"source": "A paper", "difference": "Other data.", "rows": []}
    published["rows"] = [
        {"method": "X", "8 views": [30.0, 0.9]},
        {"method": "Y", "6 views": [1, 0]},
    ]
    text = published_table(published)
    assert "| X | 30.00 | 0.900 | – | – |" in text
    assert text.endswith("A paper. Other data.\n")
