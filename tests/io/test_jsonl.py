"""Lines of JSON that survive a kill in the middle of one."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("line", ["not json", "[1, 2]", '{"a": 1', "[" * 100_000])
def test_another_damaged_line_is_reported(tmp_path: Path, line: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{{"a": 1}}\n{line}\n{{"b": 2}}\n')
    with pytest.warns(UserWarning, match="line\\(s\\) 2 of .*rows.jsonl are damaged and left out"):
        assert read_json_lines(path) == [{"a": 1}, {"b": 2}]


def test_every_changed_bit_of_a_line_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    append_json_line(path, {"psnr": 21.25, "label": "fbp"})
    whole = path.read_bytes()
    for place in range(len(whole) - 1):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rows = read_json_lines(path)
        assert rows == [] or {"psnr": 21.25, "label": "fbp"}.items() <= rows[0].items()


def test_two_processes_that_add_lose_no_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    writers = []
    for n in range(2):
        forked = os.fork()
        if not forked:
            for i in range(50):
                append_json_line(path, {"writer": n, "line": i})
            os._exit(0)
        writers.append(forked)
    for forked in writers:
        os.waitpid(forked, 0)
    assert len(read_json_lines(path)) == 100
