"""The benchmark by a grid in a file: settings, measured scans, ensembles, rows that stay."""

from __future__ import annotations

import json

import numpy as np
import pytest

from diffusionblend import (
    evaluate,
    read_projections,
    read_volume,
    reconstruct,
    sample,
    write_projections,
    write_volume,
)
from diffusionblend.benchmarking.setups import Setup, simulated
from diffusionblend.evaluation.calibration import WHOLE, calibrate

GRID = """
views = 6
photons = ["none", 1e4]
seeds = 1
priors = ["{prior}"]

[[cell]]
method = "fbp"

[[cell]]
method = "diffusionblend++"
steps = [2, 3]
init = "noise"
label = "blend, {{steps}} steps"
"""


def rows_of(folder):
    return [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]


@pytest.fixture
def grid(tmp_path, tiny_prior):
    path = tmp_path / "grid.toml"
    path.write_text(GRID.format(prior=tiny_prior))
    return path


def test_a_grid_runs_any_method_with_any_settings_on_any_scan(
    cli, grid, tmp_path, chest_file, tiny_prior
):
    out = tmp_path / "out"
    result = cli("benchmark", chest_file, "--grid", grid, "-o", out, "--device", "cpu")
    assert result.code == 0, result.err
    rows = rows_of(out)
    labels = ["fbp", "blend, 2 steps", "blend, 3 steps"]
    setups = ["6 views", "6 views, 1e+04 photons"]
    assert [(r["setup"], r["label"]) for r in rows] == [(s, n) for s in setups for n in labels]
    truth = read_volume(chest_file)
    scan = simulated(truth, Setup(views=6, photons=1e4))
    by_hand = reconstruct(
        scan, "diffusionblend++", steps=3, init="noise", prior=tiny_prior, device="cpu"
    )
    expected = evaluate(by_hand.volume, truth).volume_psnr_db
    assert rows[5]["psnr_volume_db"] == pytest.approx(expected, abs=1e-6)
    assert rows[5]["settings"]["steps"] == 3 and rows[5]["network_evaluations"] == 3
    assert rows[5]["priors"]["prior"]["name"] == str(tiny_prior)
    record = json.loads((out.parent / "out.run.json").read_text())
    assert "grid.toml" in json.dumps(record["inputs"])


def test_a_second_run_adds_to_the_tables_and_figures(cli, grid, tmp_path, chest_file, tiny_prior):
    out, priors = tmp_path / "out", ("--priors", tiny_prior, "--device", "cpu")
    assert cli("benchmark", chest_file, "--grid", grid, "-o", out, "--device", "cpu").code == 0
    before = (out / "rows.jsonl").read_bytes()
    later = ("benchmark", chest_file, "-o", out, "--methods", "cgls", "--views", 9, *priors)
    assert cli(*later).code == 0
    assert (out / "rows.jsonl").read_bytes().startswith(before)
    table, csv = (out / "table.md").read_text(), (out / "table.csv").read_text()
    for label in ("fbp", "blend, 2 steps", "blend, 3 steps", "cgls"):
        assert f"| {label} |" in table and label in csv
    for setup in ("6 views", "6 views, 1e+04 photons", "9 views"):
        assert f"{setup}: PSNR" in table
    assert len(list(out.glob("coronal-*.png"))) == 3


def test_rows_are_reused_only_where_nothing_differs(cli, tmp_path, chest_file, tiny_prior):
    """Neither steps nor another setting of a cell is hidden by a label that stays."""
    out, path = tmp_path / "out", tmp_path / "grid.toml"
    text = 'views = 6\nseeds = 1\n[[cell]]\nmethod = "diffusionblend++"\nlabel = "blend"\n'
    command = ("benchmark", chest_file, "--grid", path, "--priors", tiny_prior, "-o", out)
    settings = ("steps = 2", "steps = 3", "steps = 3\njump_stride = 2", "steps = 2")
    for number, setting in enumerate(settings):
        path.write_text(f"{text}{setting}\n")
        assert cli(*command, "--device", "cpu").code == 0
        assert len(rows_of(out)) == min(number + 1, 3)
    table = (out / "table.md").read_text()
    assert "| blend (steps 2, jump_stride 3) |" in table
    assert "| blend (steps 3, jump_stride 2) |" in table
    same = text.replace('label = "blend"', 'label = "same"')
    path.write_text(f"{same}steps = 2\n")  # not run, but named again
    assert cli(*command, "--device", "cpu").code == 0
    first, *_, last = ({**row, "crc32": None} for row in rows_of(out))
    assert last == first | {"label": "same"}


def test_a_measured_scan_is_compared_with_its_reference(cli, tmp_path, chest_file, tiny_prior):
    whole = simulated(read_volume(chest_file), Setup(views=40))
    reference = reconstruct(whole, "fbp", device="cpu").volume
    write_volume(reference, tmp_path / "all.nii.gz")
    write_projections(simulated(read_volume(chest_file), Setup(views=8)), tmp_path / "few.h5")
    path = tmp_path / "grid.toml"
    path.write_text(
        '[[scan]]\nfile = "few.h5"\nreference = "all.nii.gz"\n'
        '[[cell]]\nmethod = "admm-tv"\nweight = [0.3, 1.0]\niterations = 5\n'
    )
    out = tmp_path / "out"
    result = cli("benchmark", "--grid", path, "-o", out, "--device", "cpu")
    assert result.code == 0, result.err
    rows = rows_of(out)
    assert [r["setup"] for r in rows] == 2 * ["8 views, measured"]
    assert [r["settings"]["weight"] for r in rows] == [0.3, 1.0]
    assert "Published" not in (out / "table.md").read_text()  # of simulated scans
    scan = read_projections(tmp_path / "few.h5")
    by_hand = reconstruct(scan, "admm-tv", weight=1.0, iterations=5, device="cpu").volume
    expected = evaluate(by_hand, read_volume(tmp_path / "all.nii.gz")).volume_psnr_db
    assert rows[1]["psnr_volume_db"] == pytest.approx(expected, abs=1e-6)
    assert cli("benchmark", "--grid", path, "-o", out, "--device", "cpu").code == 0
    assert len(rows_of(out)) == 2
    refused = cli("benchmark", chest_file, "--grid", path, "-o", out, "--device", "cpu")
    assert refused.code == 1 and "no setup" in refused.err


def test_an_ensemble_is_scored_by_its_mean_and_calibrated(cli, tmp_path, chest_file, tiny_prior):
    path, out = tmp_path / "grid.toml", tmp_path / "out"
    path.write_text(
        f'views = 6\npriors = ["{tiny_prior}"]\n'
        '[[cell]]\nmethod = "diffusionblend++"\nsteps = 2\nsamples = 3\nseeds = [4]\n'
    )
    command = ("benchmark", chest_file, "--grid", path, "-o", out, "--device", "cpu")
    assert cli(*command).code == 0
    (row,) = rows_of(out)
    truth = read_volume(chest_file)
    by_hand = sample(
        simulated(truth, Setup(views=6)), n=3, steps=2, seed=4, prior=tiny_prior, device="cpu"
    )
    expected = evaluate(by_hand.mean, truth).volume_psnr_db
    assert row["psnr_volume_db"] == pytest.approx(expected, abs=1e-3)
    assert row["samples"] == 3 and row["network_evaluations"] == 3 * 2
    fit = calibrate(by_hand.mean, by_hand.standard_deviation, truth, n_samples=3).to_dict()
    kept = row["calibration"]["tissues"][WHOLE]
    assert kept["within"]["1"] == pytest.approx(fit["tissues"][WHOLE]["within"]["1"], abs=1e-2)
    assert np.isfinite(row["relative_residual"])
    table = (out / "table.md").read_text()
    within = 100 * kept["within"]["1"]
    assert f"| diffusionblend++ | 6 views | {WHOLE} | {within:.1f} |" in table
    assert "| expected of 3 samples |" in table
    assert not (out / "samples").exists() or not list((out / "samples").iterdir())


def test_options_that_name_cells_do_not_go_with_a_grid(cli, grid, tmp_path, chest_file):
    command = ("benchmark", chest_file, "--grid", grid, "-o", tmp_path / "out")
    refused = cli(*command, "--methods", "fbp", "--steps", 3)
    assert refused.code == 1 and "--methods and --steps came with --grid" in refused.err
    assert not (tmp_path / "out").exists()


def test_a_record_repeats_a_benchmark(cli, grid, tmp_path, chest_file):
    """Given by a grid or by options alone, into another folder."""
    by_grid = ("benchmark", chest_file, "--grid", grid, "--device", "cpu", "-o", tmp_path / "one")
    by_options = ("benchmark", chest_file, "--methods", "fbp", "cgls", "--views", 6)
    for command in (by_grid, (*by_options, "--device", "cpu", "-o", tmp_path / "two")):
        out, again = command[-1], tmp_path / f"{command[-1].name}-again"
        assert cli(*command).code == 0
        repeated = cli("repeat", f"{out}.run.json", "-o", again)
        assert repeated.code == 0, repeated.err
        first, second = rows_of(out), rows_of(again)
        assert [r["key"] for r in first] == [r["key"] for r in second]
        assert [r["psnr_volume_db"] for r in first] == [r["psnr_volume_db"] for r in second]
    grid.write_text(grid.read_text() + "\n# changed\n")
    refused = cli("repeat", f"{tmp_path / 'one'}.run.json", "-o", tmp_path / "other")
    assert refused.code == 1 and "grid.toml is not the file of the first run" in refused.err
