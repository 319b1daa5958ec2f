"""Fills the tables of results in the pages from the rows in benchmarks/results/.

    python docs/results/tables.py            # writes the tables into the pages
    python docs/results/tables.py --check    # writes nothing; fails if a page differs

A page holds `<!-- table: NAME -->` and `<!-- end -->`; what stands between them is replaced.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import every_method_tables
import method_tables
import quality_tables
import scanner_tables
import speed_tables

TABLES = {
    **quality_tables.TABLES,
    **every_method_tables.TABLES,
    **method_tables.TABLES,
    **speed_tables.TABLES,
    **scanner_tables.TABLES,
}
BLOCK = re.compile(r"<!-- table: (\S+) -->\n.*?<!-- end -->", re.DOTALL)
FOLDER = Path(__file__).resolve().parent
PAGES = [
    *sorted(FOLDER.glob("*.md")),
    *(FOLDER.parent / name for name in ("choosing-a-method.md", "choosing-views.md")),
    FOLDER.parents[1] / "README.md",
]


def filled(text: str) -> str:
    """The text of a page with every table made anew from the stored rows."""

    def block(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in TABLES:
            raise LookupError(f"there is no table '{name}'; known are {', '.join(sorted(TABLES))}")
        return f"<!-- table: {name} -->\n\n{TABLES[name]()}\n\n<!-- end -->"

    return BLOCK.sub(block, text)


def main(arguments: list[str] | None = None) -> int:
    """Fills the pages, or checks them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, fail on a difference")
    check = parser.parse_args(arguments).check
    stale, used = [], set()
    for page in PAGES:
        text = page.read_text("utf-8")
        made = filled(text)
        used |= set(BLOCK.findall(made))
        if made != text:
            stale.append(page.name)
            if not check:
                page.write_text(made, "utf-8")
    for name in sorted(set(TABLES) - used):
        print(f"no page shows the table '{name}'")
    if stale:
        print(f"{'differ from the rows' if check else 'written'}: {', '.join(stale)}")
    return int(check and bool(stale or set(TABLES) - used))


if __name__ == "__main__":
    sys.exit(main())
