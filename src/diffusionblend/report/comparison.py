"""One self-contained HTML page about many reconstructions: tables and pictures of a benchmark."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path

import diffusionblend
from diffusionblend.evaluation.tables import Column, Row
from diffusionblend.io.atomic import atomic_output
from diffusionblend.report.html import html_table, now_in_words, template

TEMPLATE = "comparison.html.j2"

Tables = Mapping[str, tuple[Sequence[Row], Sequence[Column]]]
"""Rows and columns by heading."""


def write_comparison(
    path: Path,
    *,
    title: str,
    subtitle: str,
    headline: str,
    tables: Tables,
    pictures: Mapping[str, Sequence[Path]],
    caution: str = "",
    remarks: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> None:
    """Write the page, in place of one that is there.

    tables: the first stands above the pictures. pictures: PNG files by caption; those that are
    missing are left out. caution: said beside the warning that no page lacks. remarks: paragraphs
    below the tables. notes: a list at the end.
    """
    shown = {c: [_uri(file) for file in files if file.exists()] for c, files in pictures.items()}
    page = template(TEMPLATE).render(
        title=title,
        subtitle=subtitle,
        made=now_in_words(),
        version=diffusionblend.__version__,
        headline=headline,
        caution=caution,
        tables=[(heading, html_table(*table)) for heading, table in tables.items()],
        pictures=[(caption, uris) for caption, uris in shown.items() if uris],
        remarks=remarks,
        notes=notes,
        windows={},
        overlays={},
    )
    with atomic_output(path, force=True) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="backslashreplace")


def _uri(file: Path) -> str:
    """A PNG file as a data URI."""
    return "data:image/png;base64," + base64.b64encode(file.read_bytes()).decode("ascii")
