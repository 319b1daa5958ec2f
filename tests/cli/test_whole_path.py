"""From a DICOM series to a report, by the commands alone."""

from __future__ import annotations

import json

import numpy as np
import pytest

from command_line import METHODS, TINY_TRAINING
from diffusionblend.io.projections import read_projections
from diffusionblend.io.volumes import read_volume


def test_the_verbs_hand_over_to_each_other(walked):
    chest, scan = (
        read_volume(walked / "chest.nii.gz"),
        read_projections(walked / "scan.h5"),
    )
    assert chest.grid.shape == (8, 16, 16) and scan.grid == chest.grid
    for name in METHODS:
        volume = read_volume(walked / f"{name}.nii.gz", check=False)
        assert volume.grid.shape == chest.grid.shape
        np.testing.assert_allclose(volume.grid.origin_mm, chest.grid.origin_mm, atol=1e-3)
        figures = json.loads((walked / f"{name}.json").read_text())
        record = json.loads((walked / f"{name}.nii.gz.run.json").read_text())
        residual = record["results"]["relative_residual"]
        assert figures["relative_residual"] == pytest.approx(residual, rel=1e-3)
    scores = {n: json.loads((walked / f"{n}.json").read_text())["volume_psnr_db"] for n in METHODS}
    assert scores["admm-tv"] > scores["fbp"] > 15
    assert (walked / "planes.png").stat().st_size > 10_000
    assert "diffusionblend++.nii.gz" in (walked / "page.html").read_text()


def test_a_prior_that_was_trained_reconstructs(cli, walked, tmp_path):
    (tmp_path / "volumes").mkdir()
    (tmp_path / "volumes" / "chest.nii.gz").write_bytes((walked / "chest.nii.gz").read_bytes())
    steps = ("--steps", 3, "--synthetic-volumes", 0)
    prior = tmp_path / "prior"
    assert cli("train", tmp_path / "volumes", "-o", prior, *TINY_TRAINING, *steps).code == 0
    arguments = (
        "reconstruct",
        walked / "scan.h5",
        "--prior",
        prior,
        "-o",
        tmp_path / "a.nii.gz",
    )
    assert cli(*arguments, "--steps", 2).code == 0
