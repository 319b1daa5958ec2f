from __future__ import annotations

import hashlib
import json
import platform
import shutil
import signal
from importlib import metadata
from pathlib import Path

import h5py
import numpy as np
import pytest

from command_line import (
    assert_nothing_in,
    assert_refused,
    assert_succeeded,
    run_command,
    working_process,
)
from diffusionblend.data.volume import Volume
from diffusionblend.geometry.grid import Grid, check_same_grid
from diffusionblend.io.projections import read_projections
from diffusionblend.io.volumes import read_volume, write_volume
from diffusionblend.priors.config import NetworkConfig
from diffusionblend.priors.prior import PRIOR_FILE, WEIGHTS_FILE
from diffusionblend.runs.record import read_run_record
from small_scan import dense_system
from tiny_network import random_prior

FEW = ("--steps", 4, "--consistency", "cg", "--cg-iterations", 3)


@pytest.fixture
def tiny(tiny_prior) -> tuple[object, ...]:
    """Options of a quick run with the tiny prior."""
    return ("--prior", tiny_prior, "--device", "cpu", *FEW)


@pytest.fixture
def damaged_scan(scan_file, tmp_path):
    """A copy of the scan, to be damaged."""
    return Path(shutil.copy(scan_file, tmp_path / "damaged.h5"))


@pytest.fixture
def damaged_prior(tiny_prior, tmp_path):
    """A copy of the tiny prior, to be damaged."""
    return shutil.copytree(tiny_prior, tmp_path / "damaged")


def refuse(cli, tmp_path, projections, *words, options=()):
    """Reconstruction is refused with a whole message and leaves nothing."""
    out = tmp_path / "out"
    result = cli("reconstruct", projections, "-o", out / "a.nii.gz", *options)
    assert_refused(result, *words)
    assert_nothing_in(out)


def residual_by_hand(scan, volume: Volume) -> float:
    """|A mu - y| / |y| with the dense matrix in float64."""
    mu = scan.mu_water_per_mm * (1 + volume.values.astype(np.float64) / 1000)
    lines = dense_system(scan.geometry, scan.grid) @ mu.reshape(len(mu), -1).T
    misfit = lines.reshape(scan.geometry.n_views, scan.geometry.n_columns, -1).transpose(0, 2, 1)
    y = scan.values.astype(np.float64)
    return float(np.linalg.norm(misfit - y) / np.linalg.norm(y))


def test_the_record_tells_how_the_data_consistency_step_was_solved(
    cli, tmp_path, scan_file, tiny_prior
):
    output = tmp_path / "a.nii.gz"
    options = ("--prior", tiny_prior, "--steps", 2, "--rho", 0.5)
    assert_succeeded(cli("reconstruct", scan_file, "-o", output, *options))
    record = json.loads((tmp_path / "a.nii.gz.run.json").read_text())
    expected = {"solver": "eigenvectors", "rho": [0.5], "starved_rays": False}
    assert record["results"]["data_consistency"] == expected


def test_the_record_reports_residual_cost_versions_and_inputs(cli, tmp_path, scan_file, tiny_prior):
    output = tmp_path / "a.nii.gz"
    arguments = ("reconstruct", scan_file, "-o", output, "--prior", tiny_prior, *FEW, "--seed", 5)
    result = cli(*arguments)
    assert_succeeded(result)
    record = json.loads((tmp_path / "a.nii.gz.run.json").read_text())
    by_hand = residual_by_hand(read_projections(scan_file), read_volume(output))
    assert record["results"]["relative_residual"] == pytest.approx(by_hand, rel=1e-3)
    assert record["results"]["network_evaluations"] == 4
    assert record["results"]["views"] == len(read_projections(scan_file))
    share = record["seconds"]["network"] / record["seconds"]["total"]
    assert record["results"]["network_share"] == pytest.approx(share)
    assert 0 < share < 1
    taken = {"solver": "conjugate gradients", "iterations": 3, "rho": [0.0]}
    assert record["results"]["data_consistency"] == taken
    assert record["peak_memory_mb"]["process"] > 10
    assert record["seed"] == 5 and record["settings"]["settings"]["seed"] == 5
    assert record["versions"]["torch"] == metadata.version("torch")
    assert record["versions"]["python"] == platform.python_version()
    (entry,) = record["inputs"]
    assert entry["sha256"] == hashlib.sha256(scan_file.read_bytes()).hexdigest()
    weights = (tiny_prior / WEIGHTS_FILE).read_bytes()
    expected = {"name": str(tiny_prior), "weights_sha256": hashlib.sha256(weights).hexdigest()}
    assert record["priors"] == {"prior": expected}
    assert record["noise_device"] == "cpu" and record["record_version"] == 2
    assert f"{record['results']['relative_residual']:.2e}" in result.out


def test_the_record_names_neither_user_nor_host(cli, tmp_path, scan_file, tiny_prior, monkeypatch):
    home = tmp_path / "home-of-jane"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.chdir(tmp_path)
    scan = shutil.copy(scan_file, home / "scan.h5")
    prior = shutil.copytree(tiny_prior, home / "prior")
    output = home / "a.nii.gz"
    assert_succeeded(cli("reconstruct", scan, "-o", output, "--prior", prior, *FEW))
    text = (home / "a.nii.gz.run.json").read_text()
    assert "jane" not in text
    assert platform.node() not in text or platform.node() in ("", "localhost")
    settings = json.loads(text)["settings"]
    assert (settings["projections"], settings["prior"]) == ("~/scan.h5", "~/prior")
    # and yet the run can be repeated from it
    again = home / "b.nii.gz"
    assert_succeeded(cli("repeat", home / "a.nii.gz.run.json", "-o", again))
    np.testing.assert_array_equal(read_volume(again).values, read_volume(output).values)


def test_a_seed_gives_the_same_volume_whatever_the_batch(cli, tmp_path, scan_file, tiny):
    def values(name, *options):
        path = tmp_path / name
        assert_succeeded(cli("reconstruct", scan_file, "-o", path, *tiny, *options))
        return read_volume(path, check=False).values

    first = values("1.nii.gz", "--seed", 5)
    np.testing.assert_array_equal(values("2.nii.gz", "--seed", 5), first)
    one_by_one = values("3.nii.gz", "--seed", 5, "--batch-blocks", 1)
    spread_hu = np.std(first)
    # another batch may round otherwise in bfloat16, another seed is another sample
    assert np.abs(one_by_one - first).mean() < 0.02 * spread_hu
    assert np.abs(values("4.nii.gz", "--seed", 6) - first).mean() > 0.05 * spread_hu


def test_projections_that_do_not_fit_their_geometry(cli, tmp_path, damaged_scan, tiny):
    with h5py.File(damaged_scan, "r+") as file:
        values = file["exchange/data"][:]
        del file["exchange/data"]
        file["exchange/data"] = values[:-1]
    words = ("shape (5, 8, 23)", "(6, 8, 23) (views, rows, columns)", "every view has its angle")
    refuse(cli, tmp_path, damaged_scan, *words, options=tiny)


@pytest.mark.parametrize("kept", [0, 100, 3000])
def test_truncated_projections(cli, tmp_path, damaged_scan, tiny, kept):
    damaged_scan.write_bytes(damaged_scan.read_bytes()[:kept])
    words = ("damaged.h5",) + (("copy it again",) if kept != 100 else ())
    refuse(cli, tmp_path, damaged_scan, *words, options=tiny)


def test_projections_that_are_nan(cli, tmp_path, damaged_scan, tiny):
    with h5py.File(damaged_scan, "r+") as file:
        values = file["exchange/data"][:]
        values[1, 2, 3] = np.nan
        file["exchange/data"][...] = values
    refuse(cli, tmp_path, damaged_scan, "1 values that are NaN", options=tiny)


def test_a_prior_out_of_reach(cli, tmp_path, scan_file):
    config = NetworkConfig(
        image_size=72, unshuffle=1, channels=(8, 16), norm_groups=4, attention_head_channels=8
    )
    random_prior(config=config).save(tmp_path / "prior")
    options = ("--prior", tmp_path / "prior")
    words = ("slices of 72 x 72", "16 x 16", "--size")
    refuse(cli, tmp_path, scan_file, *words, options=options)


def flip_a_bit(folder):
    weights = folder / WEIGHTS_FILE
    content = bytearray(weights.read_bytes())
    content[-7] ^= 1
    weights.write_bytes(content)


def truncate(folder):
    weights = folder / WEIGHTS_FILE
    weights.write_bytes(weights.read_bytes()[:-300])


def test_a_corrupt_prior(cli, tmp_path, scan_file, damaged_prior):
    flip_a_bit(damaged_prior)
    words = ("weights", "are corrupt", "SHA-256")
    refuse(cli, tmp_path, scan_file, *words, options=("--prior", damaged_prior))


def test_a_truncated_prior(cli, tmp_path, scan_file, damaged_prior):
    truncate(damaged_prior)
    options = ("--prior", damaged_prior)
    refuse(cli, tmp_path, scan_file, "are corrupt", options=options)
    # also where the facts beside it were made to agree
    facts = json.loads((damaged_prior / PRIOR_FILE).read_text())
    digest = hashlib.sha256((damaged_prior / WEIGHTS_FILE).read_bytes()).hexdigest()
    (damaged_prior / PRIOR_FILE).write_text(json.dumps(facts | {"weights_sha256": digest}))
    refuse(cli, tmp_path, scan_file, "are corrupt", "header", options=options)


def test_a_prior_that_is_not_there(cli, tmp_path, scan_file):
    refuse(cli, tmp_path, scan_file, "no prior 'nowhere'", options=("--prior", "nowhere"))


@pytest.mark.parametrize("method", ["fbp", "admm-tv", "diffusionblend++"])
def test_a_volume_is_not_overwritten_without_force(cli, tmp_path, scan_file, tiny, method):
    output = tmp_path / "a.nii.gz"
    output.write_bytes(b"precious")
    few = {"fbp": (), "admm-tv": ("--iterations", 2), "diffusionblend++": tiny}[method]
    arguments = (
        "reconstruct",
        scan_file,
        "-o",
        output,
        "--method",
        method,
        "--device",
        "cpu",
        *few,
    )
    assert_refused(cli(*arguments), "exists already", "--force")
    assert output.read_bytes() == b"precious"
    assert_succeeded(cli(*arguments, "--force"))
    assert read_volume(output, check=False).grid == read_projections(scan_file).grid


def test_a_full_disk_is_reported_and_nothing_stays(cli, tmp_path, small_disk):
    hu = np.random.default_rng(0).uniform(-1000, 1000, (8, 96, 96))
    write_volume(Volume(hu, Grid(shape=hu.shape, spacing_mm=(2, 2, 2))), tmp_path / "v.nii")
    assert run_command("simulate", tmp_path / "v.nii", "-o", tmp_path / "s.h5", "--views", 2) == 0
    output = small_disk / "a.nii"
    result = cli("reconstruct", tmp_path / "s.h5", "-o", output, "--method", "fbp")
    assert_refused(result, "the disk is full")
    assert_nothing_in(small_disk)


def test_a_volume_that_is_not_finite_is_not_written(cli, tmp_path, scan_file, damaged_prior):
    from safetensors.torch import load_file, save_file

    weights = load_file(damaged_prior / WEIGHTS_FILE)
    weights["conv_out.bias"][:] = np.nan
    save_file(weights, damaged_prior / WEIGHTS_FILE)
    facts = json.loads((damaged_prior / PRIOR_FILE).read_text())
    digest = hashlib.sha256((damaged_prior / WEIGHTS_FILE).read_bytes()).hexdigest()
    (damaged_prior / PRIOR_FILE).write_text(json.dumps(facts | {"weights_sha256": digest}))
    options = ("--prior", damaged_prior, *FEW)
    refuse(cli, tmp_path, scan_file, "NaN or infinite", "not written", options=options)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--consistency", "prox", "--rho", 0), "a number above 0"),
        (("--steps", 1001, "--init", "noise"), "1 to 1000"),
        (("--steps", 1001), "--init noise, which has 1000"),
        (("--seed", -1), "seed is -1"),
        (("--jump-stride", 1), "jump_stride is 1"),
        (("--rho", "nan"), "rho is nan"),
    ],
)
def test_impossible_options_are_refused(cli, tmp_path, scan_file, tiny_prior, options, word):
    out = tmp_path / "a.nii.gz"
    result = cli("reconstruct", scan_file, "-o", out, "--prior", tiny_prior, *options)
    assert result.code == 1
    assert word in result.err
    assert "Expected:" in result.err
    assert_nothing_in(tmp_path)


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
    ids=["SIGINT", "SIGTERM"],
)
def test_a_signal_ends_a_run_and_leaves_nothing(tmp_path, scan_file, number, code, word):
    options = ("--method", "admm-tv", "--iterations", 1_000_000, "--device", "cpu")
    output = tmp_path / "out" / "a.nii.gz"
    arguments = ("reconstruct", scan_file, "-o", output, *options)
    with working_process(*arguments, at_work="admm-tv: 3/") as process:
        process.send_signal(number)
        _, err = process.communicate(timeout=240)
    assert process.returncode == code
    assert f"diffusionblend: {word}" in err
    assert "Traceback" not in err
    assert_nothing_in(output.parent)


def test_int8_is_near_float32_and_recorded(cli, monkeypatch, tmp_path, scan_file, tiny):
    pytest.importorskip("openvino", reason="needs pip install 'diffusionblend[openvino]'")
    pytest.importorskip("nncf", reason="needs pip install 'diffusionblend[openvino]'")
    monkeypatch.setenv("DIFFUSIONBLEND_CACHE", str(tmp_path / "cache"))
    volumes = {}
    for precision in ("float32", "int8"):
        output = tmp_path / f"{precision}.nii.gz"
        result = cli("reconstruct", scan_file, "-o", output, "--precision", precision, *tiny)
        assert_succeeded(result)
        assert ("making the int8 network" in result.out) == (precision == "int8")
        volumes[precision] = read_volume(output).values
    record = json.loads((tmp_path / "int8.nii.gz.run.json").read_text())
    assert record["settings"]["precision"] == "int8" and "openvino" in record["versions"]
    assert set(record["results"]["identity"]["precision"].values()) == {"int8"}
    difference = np.abs(volumes["float32"] - volumes["int8"])
    assert 0 < difference.mean() < 0.1 * volumes["float32"].std()


def test_int8_without_its_engine_is_refused_before_anything_is_written(
    cli, monkeypatch, tmp_path, scan_file, tiny
):
    monkeypatch.setattr("diffusionblend.priors.integer_engine.missing", lambda: ["openvino"])
    output = tmp_path / "out.nii.gz"
    result = cli("reconstruct", scan_file, "-o", output, "--precision", "int8", *tiny)
    assert result.code != 0 and "openvino cannot be imported" in result.err
    assert "pip install 'diffusionblend[openvino]'" in result.err
    assert not list(tmp_path.glob("out*"))


def test_the_precision_changes_the_volume_a_little_and_is_recorded(cli, tmp_path, scan_file, tiny):
    volumes = {}
    for precision in ("float32", "bfloat16"):
        output = tmp_path / f"{precision}.nii.gz"
        assert_succeeded(
            cli("reconstruct", scan_file, "-o", output, "--precision", precision, *tiny)
        )
        volumes[precision] = read_volume(output).values
        record = json.loads((tmp_path / f"{precision}.nii.gz.run.json").read_text())
        assert record["settings"]["precision"] == precision
    change = np.abs(volumes["float32"] - volumes["bfloat16"]).max()
    assert 0 < change < 200


def test_a_margin_is_reconstructed_and_cut_off(cli, tmp_path, scan_file):
    with_margin, plain = tmp_path / "margin.nii.gz", tmp_path / "plain.nii.gz"
    command = ("reconstruct", scan_file, "--method", "cgls", "--iterations", 3)
    assert_succeeded(cli(*command, "-o", plain))
    assert_succeeded(cli(*command, "-o", with_margin, "--margin-mm", 20))
    one, other = read_volume(with_margin), read_volume(plain)
    check_same_grid(one.grid, other.grid)
    assert not np.array_equal(one.values, other.values)
    assert read_run_record(tmp_path / "margin.nii.gz.run.json").settings["margin_mm"] == 20
    refused = cli(*command, "-o", tmp_path / "a.nii.gz", "--margin-mm", -1)
    assert_refused(refused, "margin is -1")
    fbp = ("reconstruct", scan_file, "--method", "fbp", "--margin-mm", 20)
    assert_refused(cli(*fbp, "-o", tmp_path / "a.nii.gz"), "--margin-mm 20 was given with fbp")
