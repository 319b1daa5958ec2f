"""Tables on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from diffusionblend.cli.streams import note_output
from diffusionblend.evaluation.tables import Column, Row, format_table, least_width

if TYPE_CHECKING:
    from rich.console import Console


def print_table(rows: Sequence[Row], columns: Sequence[Column], *, title: str = "") -> None:
    """Print rows as a table, or a fact a line where the terminal is too narrow for its numbers."""
    terminal = console()
    fits = least_width(rows, columns) <= terminal.width
    table = format_table(rows, columns, "rich" if fits else "lines", title=title)
    terminal.print(table, markup=False, highlight=False)


def console() -> Console:
    """Standard output for tables; where nobody reads it any more it raises BrokenPipeError.

    The library's own exits with code 1 and says nothing.
    """
    from rich.console import Console

    class Output(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    note_output()
    return Output()
