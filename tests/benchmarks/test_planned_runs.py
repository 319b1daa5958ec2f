"""The benchmark of the estimates reads what runs said and took from their records."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from planned_runs import LINES_FILE, PlannedRuns


def test_a_tiny_run_is_recorded(tmp_path: Path, tiny_prior: Path, capsys) -> None:
    PlannedRuns(
        output=tmp_path,
        sizes=("16x9",),
        steps=3,
        methods=("diffusionblend++",),
        prior=str(tiny_prior),
    ).run()
    (row,) = map(json.loads, (tmp_path / LINES_FILE).read_text().splitlines())
    assert row["run"] == "16x9, diffusionblend++" and row["steps"] == 3
    assert row["seconds_ratio"] == pytest.approx(row["planned_seconds"] / row["seconds"])
    assert row["mb_ratio"] == pytest.approx(row["planned_mb"] / row["mb"])
    assert 0.5 < row["mb_ratio"] < 2
    assert "| 16x9, diffusionblend++ |" in capsys.readouterr().out
