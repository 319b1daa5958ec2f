"""Files that claim, nest or lead too far, through the command line: refused in words, at once."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys

import h5py
import pytest

from command_line import assert_succeeded
from diffusionblend import Fbp
from diffusionblend.priors.description import CONFIG_FILE, PRIOR_FILE, WEIGHTS_FILE

MANY = 1 << 31


def refused(result, *words):
    assert result.code == 1 and "Traceback" not in result.err, result
    assert "Expected: " in result.err and "Try: " in result.err, result.err
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
    claim_many_columns(scan)
    refused(reconstruct("--method", "fbp"), "The projections have shape", str(MANY))


def test_angles_that_are_claimed_and_not_there(reconstruct, scan):
    with h5py.File(scan, "r+") as file:
        del file["diffusionblend/angles_rad"]
        file.create_dataset("diffusionblend/angles_rad", (MANY,), "f8", chunks=(1024,))
    refused(reconstruct("--method", "fbp"), "claims 17.2 GB", "of memory are free")


def test_a_grid_beyond_the_memory(reconstruct, scan):
    claim_a_large_grid(scan)
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


def lying_header(prior, name, shape):
    """Weights of which one claims another shape, with the digest made right."""
    content = (prior / WEIGHTS_FILE).read_bytes()
    length = int.from_bytes(content[:8], "little")
    facts = json.loads(content[8 : 8 + length])
    facts[name]["shape"] = shape
    header = json.dumps(facts).encode()
    made = len(header).to_bytes(8, "little") + header + content[8 + length :]
    (prior / WEIGHTS_FILE).write_bytes(made)
    described = json.loads((prior / PRIOR_FILE).read_text())
    described["weights_sha256"] = hashlib.sha256(made).hexdigest()
    (prior / PRIOR_FILE).write_text(json.dumps(described))


def other_config(prior, **changes):
    found = json.loads((prior / CONFIG_FILE).read_text())
    (prior / CONFIG_FILE).write_text(json.dumps(found | changes))


def cut_in_half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


HOSTILE = {
    "another config.json": (
        lambda prior: other_config(prior, block_out_channels=[8_000_000, 8_000_000]),
        "has another block_out_channels than prior.json says",
    ),
    "a header of weights that lies": (
        lambda prior: lying_header(prior, "conv_in.weight", [1 << 40, 3, 3, 3]),
        "are corrupt",
    ),
    "a network that the weights cannot be of": (
        lambda prior: lying_header(prior, "conv_in.weight", [0, 3, 3, 3]),
        "are corrupt",
    ),
}
REFUSED_UNLOADED = """
import sys
from diffusionblend.cli.main import run
code = run(sys.argv[1:])
assert "torch" not in sys.modules and "diffusers" not in sys.modules, "it was loaded"
sys.exit(code)
"""


@pytest.mark.parametrize("name", HOSTILE)
def test_priors_that_lie_are_refused_before_anything_heavy_is_loaded(
    scan_file, tiny_prior, tmp_path, name
):
    prior = shutil.copytree(tiny_prior, tmp_path / "prior")
    damage, word = HOSTILE[name]
    damage(prior)
    words = ("reconstruct", scan_file, "-o", tmp_path / "a.nii.gz", "--prior", prior)
    command = [sys.executable, "-c", REFUSED_UNLOADED, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 1 and word in done.stderr, done.stderr
    assert "Expected: " in done.stderr and "Try: " in done.stderr
    assert not list(tmp_path.glob("a.*"))


def claim_a_large_grid(path):
    with h5py.File(path, "r+") as file:
        slices = file["diffusionblend"].attrs["grid_shape_zyx"][0]
        file["diffusionblend"].attrs["grid_shape_zyx"] = [slices, 400_000, 400_000]


def claim_many_columns(path):
    with h5py.File(path, "r+") as file:
        shape = (*file["exchange/data"].shape[:2], MANY)
        del file["exchange/data"]
        file.create_dataset("exchange/data", shape, "f4", chunks=(1, 1, 1024))


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (cut_in_half, "scan.h5 could not be read"),
        (claim_many_columns, "The projections have shape"),
        (claim_a_large_grid, "would take about"),
    ],
)
def test_damaged_scans_are_refused_before_anything_heavy_is_loaded(scan, tmp_path, damage, word):
    damage(scan)
    words = ("reconstruct", scan, "-o", tmp_path / "a.nii.gz", "--method", "fbp")
    command = [sys.executable, "-c", REFUSED_UNLOADED, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 1 and word in done.stderr and "scan.h5" in done.stderr, done.stderr


def test_what_torch_says_of_too_little_memory_is_put_in_words(cli, monkeypatch, scan, tmp_path):
    """The text is torch's own, of a run with `ulimit -v`."""
    said = (
        "[enforce fail at alloc_cpu.cpp:121] data. DefaultCPUAllocator: can't allocate memory: you "
        "tried to allocate 1610612736 bytes. Error code 12 (Cannot allocate memory)"
    )

    def fails(*_: object) -> None:
        raise RuntimeError(said)

    monkeypatch.setattr(Fbp, "run", fails)
    result = cli("reconstruct", scan, "-o", tmp_path / "a.nii.gz", "--method", "fbp")
    refused(result, "too little memory (1.6 GB were asked for)", "--consistency cg")
    assert "enforce" not in result.err
    assert not (tmp_path / "a.nii.gz").exists()
