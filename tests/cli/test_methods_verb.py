"""`methods` lists what there is; `train --layout` makes what a method needs."""

from __future__ import annotations

import json

from command_line import TINY_TRAINING
from diffusionblend.methods.registry import METHODS


def test_every_method_has_its_line(cli):
    result = cli("methods")
    assert result.code == 0
    for name, method in METHODS.items():
        (line,) = [x for x in result.out.splitlines() if x.split()[:1] == [name]]
        assert method.summary in line and method.when in line
        assert (method.layout or "none") in line
    assert "docs/choosing-a-method.md" in result.out


def test_json_says_which_priors_are_needed(cli):
    rows = {row["name"]: row for row in json.loads(cli("methods", "--json").out)}
    assert list(rows) == list(METHODS)
    assert rows["tpdm"]["needs"] == "slices and coronal"
    assert rows["fbp"]["needs"] == "none"


def test_a_trained_layout_is_what_its_method_takes(cli, tmp_path, chest_file, scan_file):
    volumes = tmp_path / "volumes"
    volumes.mkdir()
    (volumes / chest_file.name).symlink_to(chest_file)
    prior, output = tmp_path / "slices", tmp_path / "a.nii.gz"
    training = ("--steps", 2, "--synthetic-volumes", 0, *TINY_TRAINING)
    assert cli("train", volumes, "-o", prior, "--layout", "slices", *training).code == 0
    run = ("reconstruct", scan_file, "-o", output, "--device", "cpu", "--prior", prior)
    assert cli(*run, "--method", "dds-2d", "--dds-2d.steps", 2).code == 0
    record = json.loads(output.with_name("a.nii.gz.run.json").read_text())
    assert record["results"]["identity"]["settings"]["steps"] == 2
    bare = cli(*run, "--force", "--method", "dds-2d", "--steps", 2, "--seed", 3)
    assert bare.code == 1
    assert "--steps, --seed was given, which dds-2d does not look at" in bare.err
    assert "--dds-2d.steps" in bare.err
    refused = cli(*run, "--force", "--method", "diffusionblend")
    assert refused.code == 1
    assert "has the layout 'slices'" in refused.err and "--layout conditional" in refused.err
