"""Tables on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from diffusionblend.evaluation.tables import Column, Row, format_table, least_width


def print_table(rows: Sequence[Row], columns: Sequence[Column], *, title: str = "") -> None:
    """Print rows as a table, or a fact a line where the terminal is too narrow for its numbers."""
    from rich.console import Console

    console = Console()
    fits = least_width(rows, columns) <= console.width
    table = format_table(rows, columns, "rich" if fits else "lines", title=title)
    console.print(table, markup=False, highlight=False)
