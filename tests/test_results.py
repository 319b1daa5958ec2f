"""The tables of docs/results/ are those of the stored rows."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
import warnings
from collections import defaultdict
from pathlib import Path
from statistics import fmean

import pytest

from diffusionblend.io.jsonl import read_json_lines

REPOSITORY = Path(__file__).resolve().parent.parent
RESULTS = REPOSITORY / "docs" / "results"
ROWS = REPOSITORY / "benchmarks" / "results"
SCANS = ("8 views", "6 views", "4 views", "90 degrees")
"""Of the tables of every method."""
FIGURES = "src/diffusionblend/benchmarking/published_figures.json"


def check(repository: Path) -> subprocess.CompletedProcess[str]:
    """Runs the check of a repository's pages."""
    command = [sys.executable, "-B", str(repository / "docs/results/tables.py"), "--check"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def cells_of(page: str, name: str) -> list[list[str]]:
    """The lines of a table in a page, without its headings."""
    text = (RESULTS / page).read_text("utf-8")
    block = re.search(rf"<!-- table: {name} -->\n\n(.*?)\n\n<!-- end -->", text, re.DOTALL).group(1)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in block.split("\n")[2:]]


def test_the_pages_show_what_the_rows_contain():
    found = check(REPOSITORY)
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize("file", sorted(p.name for p in ROWS.glob("*.jsonl")))
def test_every_stored_row_is_whole(file):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # as of damaged lines
        assert read_json_lines(ROWS / file)


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A copy of the pages and their rows."""
    copy = tmp_path_factory.mktemp("pages")
    for folder in ("docs/results", "benchmarks/results"):
        shutil.copytree(REPOSITORY / folder, copy / folder)
    (copy / FIGURES).parent.mkdir(parents=True)
    for name in (FIGURES, "README.md", "docs/choosing-views.md", "docs/choosing-a-method.md"):
        shutil.copy(REPOSITORY / name, copy / name)
    assert check(copy).returncode == 0
    return copy


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("docs/results/data-consistency.md", "| 30.72 (32.85 /", "| 30.27 (32.85 /"),
        ("docs/choosing-views.md", "| 29.04 |", "| 29.20 |"),
        ("README.md", "**29.04 dB**", "**29.22 dB**"),
        ("benchmarks/results/kill.jsonl", '"equal": "yes"', '"equal": "no"'),
    ],
)
def test_a_changed_figure_is_found(pages, file, old, new):
    changed = pages / file
    text = changed.read_text("utf-8")
    assert old in text
    changed.write_text(text.replace(old, new, 1), "utf-8")
    try:
        assert check(pages).returncode == 1
    finally:
        changed.write_text(text, "utf-8")


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_tables_of_every_method_agree_with_those_the_benchmark_wrote(plane):
    with (ROWS / "every_method_table.csv").open(encoding="utf-8", newline="") as file:
        written = {
            (row["label"], row["setup"]): row
            for row in csv.DictReader(file)
            if row["plane"] == plane
        }
    shown = cells_of("every-method.md", f"every-method-{plane}")
    assert len(shown) == 15
    for label, *cells in shown:
        for cell, setup in zip(cells, SCANS, strict=True):
            row = written[label.strip("`"), setup]
            assert cell == f"{float(row['psnr']):.2f} / {float(row['ssim']):.3f}"


def test_leads_are_differences_of_the_rows():
    lines = (ROWS / "sizes.jsonl").read_text("utf-8").splitlines()
    values = defaultdict(list)
    for row in map(json.loads, lines):
        slice_mm = row["extent"].removesuffix(" mm").rpartition(" ")[2]
        voxels = f"{row['size']} x {row['size']}, {slice_mm} mm"
        values[voxels, row["setup"], row["label"]].append(row["psnr_volume_db"])
    assert {len(patients) for patients in values.values()} == {3}
    shown = cells_of("data-consistency.md", "sizes")
    assert len(shown) == len(values) / 2 == 9
    for voxels, setup, *means, lead in shown:
        total_variation, ours = (
            fmean(values[voxels, setup, label])
            for label in ("admm-tv, weight 1", "diffusionblend++")
        )
        assert lead == f"{ours - total_variation:.2f}"
        assert [mean.split()[0] for mean in means] == [f"{total_variation:.2f}", f"{ours:.2f}"]
