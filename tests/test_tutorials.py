"""The commands of the tutorials, run as they stand on small data, made quick by options more."""

from __future__ import annotations

import shlex
from collections.abc import Callable

import numpy as np
import pytest

from command_line import TINY_TRAINING
from dicom_series import write_series
from diffusionblend.io.volumes import read_volume, write_volume
from diffusionblend.phantom import synthetic_chest
from test_documentation import REPOSITORY, code_lines_of


def run_commands_of(page: str, cli: Callable, more: dict[str, tuple]) -> None:
    """Every command of a page, with more options for those that hold a text."""
    lines = code_lines_of(REPOSITORY / "docs" / "tutorials" / page)
    commands = [line for line in lines if line.startswith("diffusionblend ")]
    assert len(commands) > 3
    for command in commands:
        options = [option for text in more if text in command for option in more[text]]
        result = cli(*shlex.split(command)[1:], *options)
        assert result.code == 0, (command, options, result.err)


@pytest.fixture
def in_folder(tmp_path, monkeypatch):
    """The folder in which a tutorial's commands run."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_the_tutorial_on_a_series_of_ones_own(cli, in_folder):
    (in_folder / "scans").mkdir()
    hu = np.round(synthetic_chest(5, shape=(6, 32, 32)).values)
    spacing = {"PixelSpacing": [11.25, 11.25]}
    write_series(in_folder / "scans/patient-03", hu, change=lambda i, d: d.update(spacing))
    quick = {
        " reconstruct ": ("--device", "cpu"),
        "--preset fast": ("--steps", 1),
        "--method admm-tv": ("--iterations", 5),
        " view ": ("--static", "look.html"),
    }
    run_commands_of("own-series.md", cli, quick)
    original, again = (
        read_volume(in_folder / name, check=False) for name in ("recon.nii.gz", "again.nii.gz")
    )
    np.testing.assert_array_equal(original.values, again.values)
    exported = read_volume(in_folder / "recon-dicom", check=False)
    assert exported.grid.shape == (6, 128, 128)
    inside = (original.values > -1024) & (original.values < 3000)
    assert np.abs(exported.values - original.values)[inside].max() <= 0.5
    assert (in_folder / "report.html").exists() and (in_folder / "look.html").exists()


@pytest.mark.slow
def test_the_tutorial_on_a_prior_of_ones_own(cli, in_folder, scan_file):
    for folder, seeds in (("volumes", (1, 2)), ("others", (3,))):
        (in_folder / folder).mkdir()
        for seed in seeds:
            chest = synthetic_chest(seed, shape=(6, 16, 16))
            write_volume(chest, in_folder / folder / f"patient-{seed:02}.nii.gz")
    (in_folder / "scan.h5").write_bytes(scan_file.read_bytes())
    quick = {
        " train ": (*TINY_TRAINING, "--steps", 3, "--synthetic-volumes", 0),
        " reconstruct ": ("--device", "cpu", "--steps", 2),
    }
    run_commands_of("own-prior.md", cli, quick)
    assert read_volume(in_folder / "recon.nii.gz", check=False).grid.shape == (8, 16, 16)


def test_the_tutorial_on_measured_projections(cli, in_folder):
    run_commands_of("measured-projections.md", cli, {" reconstruct ": ("--device", "cpu")})
    for name in ("volume.nii.gz", "tv.nii.gz"):
        first = read_volume(in_folder / name, check=False).values[0]
        y, x = (np.indices(first.shape) - (len(first) - 1) / 2) * 0.5
        body = first[np.hypot(x - 2.4, y + 8.6) < 1.5]
        assert body.mean() == pytest.approx(0.020, rel=0.1)
