"""An axis that leans in the detector's plane is reported, with its angle; an upright one is not."""

from __future__ import annotations

import numpy as np
import pytest

from diffusionblend.preprocessing.lean import lean_note
from diffusionblend.preprocessing.prepare import prepare_scan
from measured_scan import half_scan, lines_of, scan_of

ANGLES = np.arange(40) * np.pi / 20
ROWS = 18


def leaning(columns: float, angles: np.ndarray = ANGLES) -> np.ndarray:
    """Lines (view, row, column) of 64 columns, the axis moving by so many over the rows."""
    places = 31.5 + columns * ((np.arange(ROWS) + 0.5) / ROWS - 0.5)
    return np.concatenate([lines_of(angles, centre_column=c, rows=1) for c in places], axis=1)


@pytest.mark.parametrize("columns", [2.0, -3.0])
def test_a_leaning_axis_is_reported(columns):
    (note,) = lean_note(leaning(columns), ANGLES, 1.0)
    found = float(note.split("leans by ")[1].split()[0])
    assert found == pytest.approx(columns, abs=0.2)
    assert f"({np.degrees(np.arctan2(found, ROWS)):.0f}" in note
    done = prepare_scan(scan_of(leaning(columns), ANGLES))
    assert "leans by" in " ".join(done.correction.notes)


def test_what_is_upright_or_not_determined_is_not():
    noisy = leaning(0.0) + np.random.default_rng(0).normal(0, 0.05, (len(ANGLES), ROWS, 64))
    assert not lean_note(noisy, ANGLES, 1.0)
    few = half_scan(40)
    assert not lean_note(leaning(3.0, few), few, 1.0)  # no opposite views
    assert not lean_note(leaning(3.0)[:, :8], ANGLES, 1.0)
    empty = leaning(3.0) * (np.arange(ROWS)[:, None] > 8)
    assert not lean_note(empty, ANGLES, 1.0)
