"""The command that times number formats: what it compares, and with what."""

from __future__ import annotations

import json

import pytest
import torch

from diffusionblend import Grid, load_prior
from precisions import EXACT, ROWS_FILE, TIMESTEP, Precisions


@pytest.fixture(scope="module")
def rows(tiny_prior, tmp_path_factory) -> list[dict]:
    """What a run with a small prior records, but for int8."""
    folder = tmp_path_factory.mktemp("precisions")
    Precisions(prior=str(tiny_prior), sizes=(32, 48), blocks=2, rounds=2, output=folder).run()
    found = [json.loads(line) for line in (folder / ROWS_FILE).read_text().splitlines()]
    return [row for row in found if row["precision"] != "int8"]


def test_every_format_is_timed_at_every_size(rows):
    assert [(row["pixels"], row["precision"]) for row in rows] == [
        (size, name) for size in (32, 48) for name in ("float32", "bfloat16")
    ]
    for row in rows:
        assert len(row["rounds"]) == 2
        assert row["milliseconds"] == pytest.approx(1e3 * min(row["rounds"]) / 2)
    exact, other = rows[:2]
    assert other["times_faster"] == pytest.approx(min(exact["rounds"]) / min(other["rounds"]))


def test_the_error_is_that_of_the_network_in_the_format(rows, tiny_prior):
    grid = Grid(shape=(3, 32, 32), spacing_mm=(2.5, 360 / 32, 360 / 32))
    torch.manual_seed(0)
    x = torch.randn(2, 3, 32, 32)
    exact, rounded = (
        load_prior(tiny_prior, precision=name).for_grid(grid).denoise(x, TIMESTEP, 0.0)[0]
        for name in (EXACT, "bfloat16")
    )
    expected = 100 * float((rounded - exact).norm() / exact.norm())
    assert rows[0]["error_percent"] == 0
    assert rows[1]["error_percent"] == pytest.approx(expected, rel=1e-4)
    assert expected > 0
