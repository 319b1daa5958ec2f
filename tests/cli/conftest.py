"""The whole path, gone once for the tests of what comes out and of running it again."""

from __future__ import annotations

import numpy as np
import pytest

from command_line import METHODS, run_command
from dicom_series import write_series
from diffusionblend.phantom import synthetic_chest
from tiny_network import TINY


@pytest.fixture(scope="session")
def walked(tmp_path_factory, tiny_prior):
    """A folder in which the whole path has been gone."""
    folder = tmp_path_factory.mktemp("path")
    hu = np.round(synthetic_chest(5, shape=(8, 32, 32)).values)
    write_series(folder / "series", hu, change=lambda i, d: setattr(d, "PixelSpacing", [5, 5]))
    size = ("--size", TINY.image_size)
    commands = [
        ("import", folder / "series", "-o", folder / "chest.nii.gz", *size),
        ("simulate", folder / "chest.nii.gz", "-o", folder / "scan.h5", "--views", 24)
        + ("--photons", 1e5),
    ]
    for name, options in METHODS.items():
        output = folder / f"{name}.nii.gz"
        prior = ("--prior", tiny_prior) if name == "diffusionblend++" else ()
        commands.append(
            ("reconstruct", folder / "scan.h5", "-o", output, "--method", name)
            + ("--device", "cpu", *prior, *options)
        )
        commands.append(
            ("evaluate", output, "--reference", folder / "chest.nii.gz")
            + ("-o", folder / f"{name}.json", "--projections", folder / "scan.h5")
        )
    commands[-1] += ("--figure", folder / "planes.png", "--report", folder / "page.html")
    for command in commands:
        assert run_command(*command) == 0, command
    return folder
