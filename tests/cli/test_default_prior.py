"""Without --prior a scan is reconstructed with a shipped prior that serves its slices."""

from __future__ import annotations

import functools

import pytest

from command_line import assert_refused, assert_succeeded
from diffusionblend import reconstruct
from diffusionblend.geometry import ParallelBeam
from diffusionblend.io.projections import write_projections
from diffusionblend.phantom import synthetic_chest
from diffusionblend.priors.prior import sha256_of_weights
from diffusionblend.priors.store import find_prior
from diffusionblend.runs.record import read_run_record, run_record_path
from diffusionblend.simulation import simulate
from tiny_network import ship_for_one_size


@functools.cache
def scan_of(size):
    chest = synthetic_chest(1, shape=(3, size, size))
    return simulate(chest, ParallelBeam.fitting(chest.grid, 4))


@pytest.mark.parametrize("size", [128, 256])
def test_the_prior_fits_the_scan(cli, tmp_path, size):
    scan, output = tmp_path / "scan.h5", tmp_path / "a.nii.gz"
    write_projections(scan_of(size), scan)
    command = ("reconstruct", scan, "-o", output, "--steps", 1, "--device", "cpu")
    assert_succeeded(cli(*command))
    record = run_record_path(output)
    chest = {"name": "chest", "weights_sha256": sha256_of_weights(find_prior("chest"))}
    priors = read_run_record(record).priors
    assert priors["prior"] == chest
    assert priors.get("coarse_prior") == (chest if size == 256 else None)
    assert len(read_run_record(record).inputs) == 1  # a path of this machine is none of it
    assert_succeeded(cli("repeat", record, "-o", tmp_path / "again.nii.gz"))
    if size == 256:
        record.write_text(record.read_text().replace(chest["weights_sha256"], "0" * 64))
        again = cli("repeat", record, "-o", tmp_path / "third.nii.gz")
        assert_refused(again, "weights", "--changed")


def test_so_it_does_in_python():
    result = reconstruct(scan_of(256), steps=1)
    assert result.volume.grid.shape == (3, 256, 256)


def test_the_start_from_half_the_pixels_can_be_left_out(cli, tmp_path):
    scan, output = tmp_path / "scan.h5", tmp_path / "a.nii.gz"
    write_projections(scan_of(256), scan)
    command = ("reconstruct", scan, "-o", output, "--steps", 1, "--device", "cpu")
    refused = cli(*command, "--init", "noise", "--coarse-prior", "chest")
    assert_refused(refused, "init is 'noise'", "--init coarse")
    result = cli(*command, "--init", "noise")
    assert_succeeded(result)
    assert " 1 network evaluations" in result.out
    assert len(read_run_record(run_record_path(output)).inputs) == 1


def test_a_size_that_the_shipped_prior_does_not_serve_is_reported(cli, tmp_path, monkeypatch):
    ship_for_one_size(tmp_path, monkeypatch)
    write_projections(scan_of(64), tmp_path / "scan.h5")
    result = cli("reconstruct", tmp_path / "scan.h5", "-o", tmp_path / "a.nii.gz", "--steps", 1)
    assert_succeeded(result)
    assert "on the prior's grid, 16 x 16" in result.out and "interpolated to 64 x 64" in result.out
