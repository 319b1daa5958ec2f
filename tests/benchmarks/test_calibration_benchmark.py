"""The calibration benchmark: its samples are made once, its table is that of the package."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from calibration import LINES_FILE, TABLE_FILE, CalibrationBenchmark
from diffusionblend import DiffusionBlendPPSettings, read_volume
from diffusionblend.evaluation.calibration import WHOLE


def test_a_tiny_run(tmp_path: Path, tiny_prior: Path, chest_file: Path, capsys) -> None:
    benchmark = CalibrationBenchmark(
        volume=chest_file,
        output=tmp_path,
        views=(6, 3),
        samples=3,
        slices=6,
        prior=str(tiny_prior),
        blend=DiffusionBlendPPSettings(steps=3, seed=5),
    )
    benchmark.run()
    lines = [json.loads(line) for line in (tmp_path / LINES_FILE).read_text().splitlines()]
    assert [line["views"] for line in lines] == [6, 3]
    truth = read_volume(chest_file).values[1:7]
    (folder,) = (tmp_path / "samples").iterdir()
    paths = [folder / f"6 views, seed {seed}.nii.gz" for seed in (5, 6, 7)]
    stacked = np.stack([read_volume(p, check=False).values for p in paths]).astype(np.float64)
    error = np.abs(stacked.mean(0) - truth)
    body = lines[0]["tissues"][WHOLE]
    assert lines[0]["n_samples"] == 3 and lines[0]["steps"] == 3
    bone = truth >= 300
    assert lines[0]["tissues"]["bone"]["rms_error_hu"] == pytest.approx(
        np.sqrt((error[bone] ** 2).mean()), rel=0.05
    )
    assert 0 < body["within"]["1"] <= body["within"]["2"] <= 1
    table = (tmp_path / TABLE_FILE).read_text()
    assert table.count("to be expected (3 samples)") == 2
    assert table.splitlines()[0] in capsys.readouterr().out
    assert (tmp_path / "uncertainty-3.png").read_bytes().startswith(b"\x89PNG")
    before = [p.stat().st_mtime_ns for p in paths]
    benchmark.run()
    assert [p.stat().st_mtime_ns for p in paths] == before
    replace(benchmark, blend=DiffusionBlendPPSettings(steps=4, seed=5)).run()
    assert len(list((tmp_path / "samples").iterdir())) == 2  # of other settings: made anew
