"""The page of a comparison: its numbers are those of the rows, its pictures those of the files."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from statistics import fmean

import pytest


class Read(HTMLParser):
    """Cells by table, sources of pictures, bold texts, and tags of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.bold: list[str] = []
        self.sources: list[str] = []
        self.tags: list[str] = []
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append(tag)
        self._open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        elif tag == "img":
            self.sources.append(dict(attrs)["src"])

    def handle_endtag(self, tag) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data) -> None:
        if {"td", "th"} & set(self._open[-2:]):
            self.tables[-1][-1][-1] += data
        if self._open[-1:] == ["b"]:
            self.bold.append(data)


@pytest.fixture
def compared(cli, chest_file, tmp_path):
    """The folder of a small benchmark, and its rows."""
    out = tmp_path / "out"
    words = ("--views", 6, 4, "--methods", "fbp", "cgls", "--device", "cpu")
    told = cli("benchmark", chest_file, *words, "-o", out)
    assert told.code == 0 and "report.html" in told.out, told.err
    return out, [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]


def test_the_page_shows_what_the_rows_say_and_loads_nothing(compared) -> None:
    out, rows = compared
    page = Read((out / "report.html").read_text())
    header, *lines = page.tables[0]
    assert header == ["Method", "6 views", "4 views"]
    means = {
        (label, setup): fmean(
            row["psnr_volume_db"] for row in rows if (row["label"], row["setup"]) == (label, setup)
        )
        for label in ("fbp", "cgls")
        for setup in header[1:]
    }
    assert lines == [
        [label, *(f"{means[label, setup]:.2f}" for setup in header[1:])]
        for label in ("fbp", "cgls")
    ]
    best = [max(("fbp", "cgls"), key=lambda label: means[label, s]) for s in header[1:]]
    expected = [f"{means[label, s]:.2f}" for label, s in zip(best, header[1:], strict=True)]
    assert [text for text in page.bold if re.fullmatch(r"[\d.]+", text)] == expected
    files = sorted([*out.glob("coronal-*.png"), *out.glob("error-coronal-*.png")])
    assert len(files) == 4
    held = {base64.b64decode(source.partition(",")[2]) for source in page.sources}
    assert held == {file.read_bytes() for file in files}
    assert all(source.startswith("data:") for source in page.sources)
    assert not {"script", "link", "iframe"} & set(page.tags)


def test_the_headline_counts_who_is_best(compared) -> None:
    from diffusionblend.benchmarking.tables import Table, best_in_words
    from diffusionblend.evaluation.tables import Column

    columns = [Column(key="label", header="Method")]
    columns += [Column(key=s, header=s, best="high") for s in "abc"]
    rows = [{"label": "one", "a": 3.0, "b": 9.0, "c": None}, {"label": "two", "a": 4.0, "b": 2.0}]
    rows[1]["c"] = 1.0
    assert best_in_words(Table("", rows, columns)) == (
        "two has the highest mean PSNR in 2 of 3 scans; one in 1."
    )
    assert best_in_words(Table("", rows[:1], columns[:2])) == (
        "one has the highest mean PSNR in the scan."
    )


def test_errors_are_drawn_as_differences_from_the_reference() -> None:
    import numpy as np

    from diffusionblend.data.planes import plane_slice
    from diffusionblend.phantom import synthetic_chest
    from diffusionblend.report.coronal_figure import coronal_figure
    from diffusionblend.report.figures import error_images

    truth = synthetic_chest(0, shape=(4, 16, 16))
    brighter = truth.with_values(truth.values + 150.0)
    images = {n: plane_slice(v, "coronal", 8) for n, v in {"t": truth, "r": brighter}.items()}
    (error,) = error_images(images, "t").values()
    np.testing.assert_allclose(error.values, 150.0, atol=1e-3)
    (axes,) = coronal_figure({"r": error}, "", errors=True).axes
    (drawn,) = axes.images
    red, _, blue, _ = drawn.to_rgba(drawn.get_array())[0, 0]
    assert red > blue  # too bright is red
    assert drawn.get_clim() == (-300.0, 300.0)
