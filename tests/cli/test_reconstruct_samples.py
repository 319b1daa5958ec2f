"""`reconstruct --samples`: mean and standard deviation of runs with seeds of their own."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from command_line import assert_nothing_in, assert_refused, assert_succeeded
from diffusionblend.io.volumes import read_volume
from diffusionblend.methods import Dds, DiffusionBlendPP
from diffusionblend.runs.record import run_record_path
from diffusionblend.runs.samples import deviation_path, sample_paths, samples_folder


@pytest.fixture
def options(tiny_prior) -> tuple[object, ...]:
    return ("--prior", tiny_prior, "--device", "cpu", "--steps", 4, "--seed", 7)


def test_mean_and_deviation_are_those_of_single_runs(cli, tmp_path, scan_file, options):
    output = tmp_path / "a.nii.gz"
    result = cli("reconstruct", scan_file, "-o", output, *options, "--samples", 3)
    assert_succeeded(result)
    assert "sample 2 of 3, seed 8: residual" in result.out
    assert result.out.count("wrote") == 1
    assert "without --samples was 2 dB nearer the truth than their mean" in result.out
    single = []
    for seed in (7, 8, 9):
        path = tmp_path / f"{seed}.nii.gz"
        command = ("reconstruct", scan_file, "-o", path, *options[:-1], seed, "--init", "noise")
        assert_succeeded(cli(*command))
        single.append(read_volume(path).values.astype(np.float64))
    assert np.abs(single[0] - single[1]).max() > 1
    mean, spread = (read_volume(p, check=False).values for p in (output, deviation_path(output)))
    np.testing.assert_allclose(mean, np.mean(single, 0), atol=0.01)
    np.testing.assert_allclose(spread, np.std(single, 0, ddof=1), atol=0.01)
    results = json.loads(run_record_path(output).read_text())["results"]
    assert results["seeds"] == [7, 8, 9]
    assert results["network_evaluations"] == 12
    of_one = json.loads(run_record_path(tmp_path / "7.nii.gz").read_text())["results"]
    assert results["data_consistency"] == of_one["data_consistency"] != {}
    assert not samples_folder(output).exists()


def test_samples_start_from_noise_where_nothing_else_was_set():
    plain, set_to = DiffusionBlendPP(), DiffusionBlendPP(init="tv")
    with_coarse = frozenset({"prior", "coarse_prior"})
    assert plain.for_ensemble(3) == replace(plain, init="noise", seed=3)
    assert plain.for_ensemble(3, with_coarse) == replace(plain, coarse_init="noise", seed=3)
    assert set_to.for_ensemble(3) == replace(set_to, seed=3)
    coarse = replace(plain, init="coarse", coarse_init="cg")
    assert coarse.for_ensemble(3, with_coarse) == replace(coarse, seed=3)
    assert Dds().for_ensemble(3) == Dds(seed=3)


def test_nothing_is_said_of_the_start_where_a_single_run_has_the_same(
    cli, tmp_path, scan_file, options
):
    command = ("reconstruct", scan_file, "-o", tmp_path / "a.nii.gz", *options, "--init", "noise")
    result = cli(*command, "--samples", 2)
    assert_succeeded(result)
    assert "nearer the truth" not in result.out


def test_finished_samples_are_kept_and_not_repeated(cli, tmp_path, scan_file, options):
    output = tmp_path / "a.nii.gz"
    command = ("reconstruct", scan_file, "-o", output, *options)
    assert_succeeded(cli(*command, "--samples", 2, "--keep-samples"))
    paths = sample_paths(output, 7, 2)
    before = {seed: p.stat().st_mtime_ns for seed, p in paths.items()}
    for path in (output, deviation_path(output), run_record_path(output)):
        path.unlink()
    run_record_path(paths[8]).unlink()  # as if killed before it was written
    result = cli(*command, "--samples", 3, "--keep-samples")
    assert_succeeded(result)
    assert paths[7].stat().st_mtime_ns == before[7]
    assert paths[8].stat().st_mtime_ns > before[8]
    for path in (output, deviation_path(output), run_record_path(output)):
        path.unlink()
    result = cli(*command, "--samples", 3, "--noise-fraction", 0.3)
    assert_refused(result, "another scan, prior or settings")


def test_samples_that_a_kill_left_behind_the_record_go(cli, tmp_path, scan_file, options):
    output, behind = tmp_path / "a.nii.gz", tmp_path / "a.nii.gz.samples" / "seed-7.nii.gz"
    command = ("reconstruct", scan_file, "-o", output, *options, "--samples", 2)
    for keep in ((), ("--keep-samples",)):
        assert_succeeded(cli(*command, *keep, "--force"))
        behind.parent.mkdir(exist_ok=True)
        behind.write_bytes(b"of the run that was killed")
        assert cli(*command, *keep).code == 1  # it is finished
        assert behind.exists() == bool(keep)


def test_samples_are_of_diffusion_methods_alone(cli, tmp_path, scan_file, tiny_prior):
    out = tmp_path / "out"
    command = ("reconstruct", scan_file, "-o", out / "a.nii.gz", "--device", "cpu")
    refused = cli(*command, "--method", "fbp", "--samples", 2)
    assert refused.code == 2 and "fbp has no option --samples" in refused.err
    assert "--method diffusionblend++" in refused.err
    scan_prior = ("--prior", tiny_prior)
    for option, word in (("--samples", "0 samples"), ("--checkpoint-minutes", "-1")):
        value = -1 if word == "-1" else 0
        result = cli(*command, *scan_prior, option, value)
        assert result.code == 1 and word in result.err and "Expected: " in result.err
    assert cli(*command, "--samples", 0).code == 1
    assert_nothing_in(out)


def test_a_deviation_is_not_overwritten(cli, tmp_path, scan_file, options):
    output = tmp_path / "a.nii.gz"
    deviation_path(output).write_bytes(b"mine")
    result = cli("reconstruct", scan_file, "-o", output, *options, "--samples", 2)
    assert_refused(result, "exists already")
    assert deviation_path(output).read_bytes() == b"mine"
