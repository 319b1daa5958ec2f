"""Files that claim, nest or lead too far, through the command line: refused in words, at once."""

from __future__ import annotations

import json
import shutil

import h5py
import pytest

from command_line import assert_succeeded

MANY = 1 << 31


def refused(result, *words):
    assert result.code == 1 and "Traceback" not in result.err, result
    assert "Expected: " in result.err
    for word in words:
        assert word in result.err, result.err


@pytest.fixture
def scan(scan_file, tmp_path):
    return shutil.copy(scan_file, tmp_path / "scan.h5")


@pytest.fixture
def reconstruct(cli, scan, tmp_path):
    def run(*options):
        return cli("reconstruct", scan, "-o", tmp_path / "a.nii.gz", *options)

    return run


def test_data_that_are_claimed_and_not_there(reconstruct, scan):
    with h5py.File(scan, "r+") as file:
        shape = (*file["exchange/data"].shape[:2], MANY)
        del file["exchange/data"]
        file.create_dataset("exchange/data", shape, "f4", chunks=(1, 1, 1024))
    refused(reconstruct("--method", "fbp"), "The projections have shape", str(MANY))


def test_angles_that_are_claimed_and_not_there(reconstruct, scan):
    with h5py.File(scan, "r+") as file:
        del file["diffusionblend/angles_rad"]
        file.create_dataset("diffusionblend/angles_rad", (MANY,), "f8", chunks=(1024,))
    refused(reconstruct("--method", "fbp"), "claims 17.2 GB", "of memory are free")


def test_a_grid_beyond_the_memory(reconstruct, scan):
    with h5py.File(scan, "r+") as file:
        slices = file["diffusionblend"].attrs["grid_shape_zyx"][0]
        file["diffusionblend"].attrs["grid_shape_zyx"] = [slices, 400_000, 400_000]
    refused(reconstruct("--method", "fbp"), "would take about 1.02e+04 GB", "are free")


def test_data_in_another_folders_file(reconstruct, scan, tmp_path):
    outside = tmp_path.parent / f"{tmp_path.name}-outside.h5"
    with h5py.File(outside, "w") as file, h5py.File(scan, "r+") as here:
        file["data"] = here["exchange/data"][()]
        del here["exchange/data"]
        here["exchange/data"] = h5py.ExternalLink(f"../{outside.name}", "data")
    refused(reconstruct("--method", "fbp"), "has the data of exchange/data in another file")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"layers": 1_000_000}, "describes a network of at least"),
        ({"channels": [8000, 8000]}, "describes a network of at least"),
        ({"block_slices": 1_000_000_000}, "describes a network of at least"),
        ({"image_size": None}, "image_size=None"),
        (None, "nested too deeply"),
    ],
)
def test_priors_that_describe_what_they_are_not(reconstruct, tiny_prior, tmp_path, change, word):
    prior = shutil.copytree(tiny_prior, tmp_path / "prior")
    facts = json.loads((prior / "prior.json").read_text())
    text = "[" * 100_000
    if change is not None:
        facts["network"] |= change
        text = json.dumps(facts)
    (prior / "prior.json").write_text(text)
    refused(reconstruct("--prior", prior, "--steps", 2), word)


@pytest.mark.parametrize(
    "change",
    [
        {"inputs": None},
        {"inputs": [5]},
        {"settings": {"samples": "one"}},
        {"settings": {"samples": 1_000_000_000}},
        {"settings": {"dry_run": "perhaps"}},
        {"settings": {"settings": {"steps": "many"}}},
        {"settings": {"checkpoint_minutes": [1]}},
        None,
    ],
)
def test_records_that_are_no_runs(cli, scan_file, tiny_prior, tmp_path, change):
    output = tmp_path / "first.nii.gz"
    options = ("--prior", tiny_prior, "--steps", 2, "--device", "cpu")
    assert_succeeded(cli("reconstruct", scan_file, "-o", output, *options))
    path = tmp_path / "first.nii.gz.run.json"
    record = json.loads(path.read_text())
    settings = (change or {}).get("settings")
    inner = (settings or {}).get("settings")
    if inner is not None:
        record["settings"]["settings"] |= inner
    elif settings is not None:
        record["settings"] |= settings
    elif change is not None:
        record |= change
    path.write_text("[" * 100_000 if change is None else json.dumps(record))
    refused(cli("repeat", path, "-o", tmp_path / "again.nii.gz"), "")
    assert not (tmp_path / "again.nii.gz").exists()
