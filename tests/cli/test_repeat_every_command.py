"""Whatever leaves a record can be repeated from it."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest

from command_line import assert_refused, assert_succeeded
from diffusionblend.cli.commands import COMMANDS, RECORDED
from diffusionblend.cli.parse import parsed_command
from diffusionblend.cli.repeat import repeated
from diffusionblend.runs.record import RunRecord, read_run_record, run_record_path

LINES = {
    "run": ("scans/a", "-o", "first", "--views", "6", "--subject", "patient"),
    "demo": ("-o", "first", "--views", "6"),
    "sample": ("chest", "-o", "first.nii.gz", "--seed", "3"),
    "import": ("series", "-o", "first.nii.gz", "--spacing-mm", "2", "3", "4"),
    "train": ("volumes", "-o", "first", "--network.image-size", "64", "--steps", "7"),
    "simulate": ("a.nii.gz", "-o", "first.h5", "--photons", "1e5"),
    "reconstruct": ("a.h5", "-o", "first.nii.gz", "--method", "dds", "--consistency", "prox")
    + ("--rho", "0.3", "--noise-fraction", "0.5"),
    "evaluate": ("a.nii.gz", "--reference", "b.nii.gz", "-o", "first.json"),
    "calibrate": ("a.nii.gz", "b.nii.gz", "-o", "first.json", "--views", "8", "--samples", "3"),
    "view": ("a.nii.gz", "b.nii.gz", "--static", "first.html"),
    "export": ("a.nii.gz", "-o", "first"),
    "benchmark": ("a.nii.gz", "-o", "first", "--views", "4", "6", "--methods", "fbp", "cgls"),
    "projections import": ("scan.h5", "-o", "first.h5"),
    "projections metal": ("scan.h5", "-o", "first.h5", "--threshold-hu", "2500", "--interpolate"),
}


def recorded(command) -> dict:
    """The settings as the command records them, once they have been written and read."""
    own = getattr(command, "recorded_settings", None)
    return own() if own else {f.name: getattr(command, f.name) for f in fields(command)}


@pytest.mark.parametrize("name", RECORDED)
def test_the_command_is_the_same_but_for_its_output(tmp_path, name):
    command = parsed_command(name, LINES[name])
    path = tmp_path / "first.run.json"
    RunRecord(command=name, settings=recorded(command)).write(path)
    output = Path("again" + Path(LINES[name][LINES[name].index(_option(name)) + 1]).suffix)
    again = repeated(read_run_record(path), output, path, force=True)
    changed = {_field(name): output} | ({"force": True} if hasattr(command, "force") else {})
    assert again == replace(command, **changed)


def _option(name: str) -> str:
    return "--static" if name == "view" else "-o"


def _field(name: str) -> str:
    return "static" if name == "view" else "output"


def test_every_recorded_command_is_tried():
    assert set(LINES) == set(RECORDED) <= set(COMMANDS)


def test_a_benchmark_is_run_again(cli, tmp_path, chest_file):
    command = ("benchmark", chest_file, "-o", tmp_path / "one", "--methods", "fbp", "cgls")
    assert_succeeded(cli(*command, "--views", 6, "--device", "cpu"))
    record = run_record_path(tmp_path / "one")
    assert_succeeded(cli("repeat", record, "-o", tmp_path / "two"))
    one, two = (
        [json.loads(line) for line in (tmp_path / n / "rows.jsonl").read_text().splitlines()]
        for n in ("one", "two")
    )
    assert [row["key"] for row in one] == [row["key"] for row in two]
    assert len(one) == 2


def test_samples_come_again_from_the_record_of_their_mean(cli, tmp_path, scan_file, tiny_prior):
    import numpy as np

    from diffusionblend.io.volumes import read_volume

    first, again = tmp_path / "a.nii.gz", tmp_path / "b.nii.gz"
    options = ("--prior", tiny_prior, "--device", "cpu", "--steps", 3, "--samples", 2, "--seed", 4)
    assert_succeeded(cli("reconstruct", scan_file, "-o", first, *options))
    assert_succeeded(cli("repeat", run_record_path(first), "-o", again))
    for name in ("{}.nii.gz", "{}.sd.nii.gz"):
        one, two = (read_volume(tmp_path / name.format(n), check=False) for n in "ab")
        np.testing.assert_array_equal(one.values, two.values)
    assert read_run_record(run_record_path(again)).results["seeds"] == [4, 5]


def test_a_record_of_version_1_is_refused_with_one_sentence(cli, tmp_path):
    old = {"verb": "reconstruct", "settings": {"output": "a.nii.gz"}, "record_version": 1}
    (tmp_path / "a.run.json").write_text(json.dumps(old))
    result = cli("repeat", tmp_path / "a.run.json", "-o", tmp_path / "b.nii.gz")
    assert_refused(result, "is a run record of version 1; this diffusionblend reads version 2.")
