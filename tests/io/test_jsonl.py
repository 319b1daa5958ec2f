"""Lines of JSON that survive a kill in the middle of one."""

from __future__ import annotations

from pathlib import Path

import pytest

from diffusionblend.errors import InputError
from diffusionblend.io.jsonl import append_json_line, read_json_lines


def test_lines_come_back_in_order(tmp_path: Path) -> None:
    path = tmp_path / "new" / "rows.jsonl"
    assert read_json_lines(path) == []
    rows = [{"a": 1}, {"b": [1.5, None], "text": "ä\n"}, {}]
    for n, row in enumerate(rows, 1):
        append_json_line(path, row)
        assert read_json_lines(path) == rows[:n]


@pytest.mark.parametrize("cut", [1, 5, 11])
def test_a_line_cut_short_is_left_out_and_replaced(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "rows.jsonl"
    append_json_line(path, {"a": 1})
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"second": 2}\n'[:cut])
    assert read_json_lines(path) == [{"a": 1}]
    append_json_line(path, {"third": 3})
    assert read_json_lines(path) == [{"a": 1}, {"third": 3}]


@pytest.mark.parametrize("line", ["not json", "[1, 2]", '{"a": 1'])
def test_another_damaged_line_is_told(tmp_path: Path, line: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{{"a": 1}}\n{line}\n{{"b": 2}}\n')
    with pytest.raises(InputError, match="Line 2"):
        read_json_lines(path)
