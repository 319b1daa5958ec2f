"""The path of a new user: what is typed exists, and what comes back is compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from diffusionblend.cli.commands import COMMANDS
from diffusionblend.phantom import synthetic_chest
from new_user import path_of, round_trip, timed


def test_every_step_is_a_command_of_the_readme():
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    for _, command in path_of(Path("/scans/patient-03"), ["--preset", "fast"]):
        if command[0] == "make":
            assert " ".join(command) in readme
        else:
            assert command[1] in COMMANDS and f"diffusionblend {command[1]}" in readme


def test_a_volume_that_changed_on_its_way_is_reported():
    chest = synthetic_chest(0, shape=(4, 8, 8))
    rounded = chest.with_values(np.round(chest.values))
    assert round_trip(chest, rounded)["kept"]
    assert not round_trip(chest, chest.with_values(chest.values + 0.6))["kept"]
    moved = replace(chest, grid=replace(chest.grid, origin_mm=(0.01, 0.0, 0.0)))
    assert not round_trip(chest, moved)["kept"]
    assert not round_trip(chest, synthetic_chest(0, shape=(5, 8, 8)))["kept"]


def test_a_step_is_timed(tmp_path):
    row = timed("look", ["ls"], tmp_path)
    assert row["step"] == "look" and row["seconds"] > 0
