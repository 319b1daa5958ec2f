"""Every notebook of examples/notebooks, cell by cell, and what its cells show."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((REPOSITORY / "examples" / "notebooks").glob("*.ipynb"))
SHOWN = {
    "synthetic_chest": ["png", "html", "png", "repr", "html"],
    "own_arrays": ["png", "repr", "png", "repr"],
    "measured_scan": ["repr", "html", "png"],
}
"""What a notebook shows of each cell of code."""


def code_of(path: Path) -> list[str]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert not any(cell.get("outputs") for cell in cells), "notebooks are kept without outputs"
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def shown_by(code: str, names: dict) -> object:
    """Run a cell; the value of its last expression."""
    tree = ast.parse(code)
    last = tree.body.pop()
    assert isinstance(last, ast.Expr), "each cell ends in something to see"
    exec(compile(tree, "cell", "exec"), names)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names)


def kind_of(value: object) -> str:
    """How a notebook shows it."""
    if hasattr(value, "_repr_png_"):
        assert value._repr_png_().startswith(b"\x89PNG")
        return "png"
    if hasattr(value, "_repr_html_"):
        assert "<" in value._repr_html_()
        return "html"
    return "repr"


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_runs_and_shows_something_in_every_cell(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    assert [kind_of(shown_by(code, names)) for code in code_of(path)] == SHOWN[path.stem]
    if path.stem == "synthetic_chest":
        scores = {n: names["db"].evaluate(names[n], names["chest"]) for n in ("fbp", "blend")}
        assert scores["blend"].volume_psnr_db > scores["fbp"].volume_psnr_db + 5


def test_every_notebook_is_tried():
    assert {p.stem for p in NOTEBOOKS} == set(SHOWN)
