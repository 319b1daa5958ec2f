"""`methods` lists what there is; `train --prior-type` makes what a method needs."""

from __future__ import annotations

import json

import numpy as np

from command_line import TINY_TRAINING, assert_refused
from diffusionblend.methods import METHODS


def test_every_method_has_its_line(cli):
    result = cli("methods")
    assert result.code == 0
    for name in METHODS:
        method = METHODS[name]
        (line,) = [x for x in result.out.splitlines() if x.split()[:1] == [name]]
        assert method.summary in line and method.when in line
        assert ("none" if method.prior is None else method.prior.prior_type) in line
    assert "'Choosing a method'" in result.out


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
    assert cli("train", volumes, "-o", prior, "--prior-type", "slices", *training).code == 0
    run = ("reconstruct", scan_file, "-o", output, "--device", "cpu", "--prior", prior)
    assert cli(*run, "--method", "dds-2d", "--steps", 2).code == 0
    record = json.loads(output.with_name("a.nii.gz.run.json").read_text())
    assert record["results"]["identity"]["settings"]["steps"] == 2
    foreign = cli(*run, "--force", "--method", "dds-2d", "--steps", 2, "--jump-every", 3)
    assert foreign.code == 2
    assert "--jump-every is an option of --method diffusionblend++" in foreign.err
    refused = cli(*run, "--force", "--method", "diffusionblend")
    assert refused.code == 1
    assert (
        "is of the type 'slices'" in refused.err and "chest-conditional is shipped" in refused.err
    )


def test_what_suits_a_scan_is_listed_with_commands(cli, scan_file):
    result = cli("methods", "--for", scan_file)
    assert result.code == 0
    assert result.out.startswith("fbp ") and "\nadmm-tv " in result.out  # 6 views, 16 pixels
    rows = json.loads(cli("methods", "--for", scan_file, "--json").out)
    assert [row["method"] for row in rows] == ["fbp", "admm-tv"]
    assert f"diffusionblend reconstruct {scan_file} -o volume.nii.gz" in rows[0]["command"]
    assert_refused(cli("methods", "dds", "--for", scan_file), "Both the method dds and a scan")
    assert_refused(cli("methods", "--for", scan_file.with_name("none.h5")), "none.h5")


def test_what_is_no_projections_file_is_sent_to_run(cli, tmp_path, chest_file):
    counts = tmp_path / "counts.npz"
    np.savez(counts, data=np.ones((4, 2, 8)))
    for source in (counts, chest_file, tmp_path):
        result = cli("methods", "--for", source)
        assert result.code == 1 and f"diffusionblend run {source}" in result.err
