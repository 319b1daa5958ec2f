"""The command that kills runs: what it calls equal, and what it calls left over."""

from __future__ import annotations

import json

import numpy as np
import pytest

from diffusionblend.io.volumes import write_volume
from diffusionblend.phantom import synthetic_chest
from kill import Kill, _differences
from kill_experiments import EXPERIMENTS, leftovers

RECORDED_VERBS_TRIED = {name.partition(" ")[0] for name in EXPERIMENTS}


def test_all_verbs_that_write_are_killed():
    from diffusionblend.cli.recorded import RECORDED

    assert {name.partition(" ")[0] for name in RECORDED} <= RECORDED_VERBS_TRIED


def test_what_differs_and_what_is_left_over_is_seen(tmp_path):
    experiment, chest = EXPERIMENTS["import"], synthetic_chest(1, shape=(3, 8, 8))
    for name in ("whole", "killed"):
        write_volume(chest, tmp_path / name / "a.nii.gz")
    expected = experiment.facts(tmp_path / "whole")
    assert _differences(experiment, tmp_path / "killed", expected) == ""
    changed = chest.values.copy()
    changed[1, 2, 3] += 1
    write_volume(chest.with_values(changed), tmp_path / "killed" / "a.nii.gz", force=True)
    assert _differences(experiment, tmp_path / "killed", expected) == "a.nii.gz"
    assert leftovers(tmp_path / "killed") == []
    (tmp_path / "killed" / "a.nii.gz.state").touch()
    (tmp_path / ".killed.1.partial").mkdir()
    assert sorted(leftovers(tmp_path / "killed")) == [".killed.1.partial", "a.nii.gz.state"]
    np.testing.assert_equal(_differences(experiment, tmp_path / "none", expected), "a.nii.gz")


@pytest.mark.slow
def test_a_command_killed_and_given_again(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("kill.prepare", lambda folder, run: _one_volume(folder))
    with pytest.raises(SystemExit) as ended:
        Kill(times=2, commands=("export tiff",), output=tmp_path).run()
    assert not ended.value.code, capfd.readouterr()
    rows = [json.loads(line) for line in (tmp_path / "kill.jsonl").read_text().splitlines()]
    assert [row["equal"] for row in rows] == [True, True]


def _one_volume(folder):
    write_volume(synthetic_chest(1, shape=(6, 32, 32)), folder / "one" / "a.nii.gz")
