"""The benchmark runs every cell once, survives a kill, and writes its tables and figures."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from command_line import assert_refused
from diffusionblend import AdmmTv, Cgls, InputError, reconstruct
from diffusionblend.benchmarking.cells import Subject, middle_of
from diffusionblend.benchmarking.searches import SLICES
from diffusionblend.benchmarking.setups import Setup, simulated
from diffusionblend.benchmarking.tuning import tune
from diffusionblend.cli.plan import in_bytes
from diffusionblend.evaluation.metrics import evaluate
from diffusionblend.io.jsonl import read_json_lines
from diffusionblend.io.volumes import read_volume, write_volume
from diffusionblend.phantom import synthetic_chest
from easy_training import environment_of_a_script
from tiny_network import random_prior

KILLED = """
import os, signal, sys
from diffusionblend.benchmarking import folder

whole, written = folder.append_json_line, []

def killed_in_the_third(path, row):
    written.append(row)
    if len(written) == 3:
        with path.open("a") as file:
            file.write('{"key": "half of a')
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    whole(path, row)

folder.append_json_line = killed_in_the_third
from diffusionblend.cli.main import main
main(sys.argv[1:])
"""


@pytest.fixture
def command(chest_file, tiny_prior):
    return (
        *("benchmark", chest_file, "--views", 6, "--arc-degrees", 90),
        *("--methods", "fbp", "cgls", "diffusionblend++", "--priors", tiny_prior),
        *("--seeds", 2, "--steps", 2, "--device", "cpu"),
    )


def rows_of(folder):
    return [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]


def test_every_cell_is_run_once_and_reported(cli, command, tmp_path, chest_file):
    out = tmp_path / "out"
    assert cli(*command, "-o", out, "--keep-volumes").code == 0
    rows = rows_of(out)
    cells = [(r["setup"], r["method"], r["seed"]) for r in rows]
    per_setting = [("fbp", 0), ("cgls", 0), ("diffusionblend++", 0), ("diffusionblend++", 1)]
    assert cells == [(s, *c) for s in ("6 views", "90 degrees") for c in per_setting]
    truth = read_volume(chest_file)
    for row, setup in ((rows[0], Setup(views=6)), (rows[4], Setup.of_arc(90.0))):
        result = reconstruct(simulated(truth, setup), "fbp")
        scores = evaluate(result.volume, truth)
        assert row["psnr_coronal"] == pytest.approx(scores.planes["coronal"].psnr_db, abs=1e-6)
        kept = read_volume(next((out / "volumes").glob(f"*-{row['key']}.nii.gz")), check=False)
        np.testing.assert_allclose(kept.values, result.volume.values, atol=1e-3)
    assert rows[2]["network_evaluations"] == 2 and rows[2]["peak_memory_mb"] > 0
    assert rows[2]["psnr_axial"] != rows[3]["psnr_axial"]
    before = (out / "rows.jsonl").read_bytes()
    table = (out / "table.md").read_text()
    assert cli(*command, "-o", out).code == 0
    assert (out / "rows.jsonl").read_bytes() == before
    assert (out / "table.md").read_text() == table


@pytest.fixture
def other_volume(tmp_path):
    """To search weights on."""
    path = tmp_path / "other.nii.gz"
    write_volume(synthetic_chest(8, shape=(8, 16, 16)), path)
    return path


def test_samplers_of_one_loop_can_be_made_alike(cli, command, tmp_path):
    out = tmp_path / "out"
    asked = (*command[:4], *command[6:], "--seeds", 1)  # 6 views alone
    sampled = {}
    for sampling in ("own", "published", "equal"):
        assert cli(*asked, "--sampling", sampling, "-o", out).code == 0
        told = [r["settings"] for r in rows_of(out) if r["method"] == "diffusionblend++"]
        names = ("dual_damping", "tail_average_below", "noise_fraction", "init")
        sampled[sampling] = [tuple(s[name] for name in names) for s in told]
    own, published = (0.95, 100, 1.0, "fbp"), (0.0, 0, 0.85, "noise")
    assert sampled["own"] == [own]
    assert sampled["published"] == [own, published]
    assert sampled["equal"] == [own, published, (0.95, 100, 1.0, "noise")]


def test_a_plan_counts_the_runs_that_are_left_and_writes_nothing(cli, command, tmp_path):
    out = tmp_path / "out"
    planned = cli(*command, "-o", out, "--keep-volumes", "--dry-run")
    assert planned.code == 0
    assert "6 views, diffusionblend++: about" in planned.out and "(2 runs)" in planned.out
    assert "all 8 runs: about" in planned.out
    assert f"disk: up to {in_bytes(8 * 4 * 8 * 16 * 16)}," in planned.out
    assert "nothing was run or written" in planned.out and not out.exists()
    assert cli(*command, "-o", out).code == 0
    lines = (out / "rows.jsonl").read_text().splitlines(keepends=True)
    (out / "rows.jsonl").write_text("".join(lines[:-3]))
    planned = cli(*command, "-o", out, "--dry-run")
    assert "all 3 runs: about" in planned.out and "6 views" not in planned.out
    assert len(rows_of(out)) == 5


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_an_output_that_is_no_folder_is_refused_with_and_without_a_dry_run(
    cli, command, tmp_path, dry
):
    file = tmp_path / "notes"
    file.write_text("mine")
    assert_refused(cli(*command, "-o", file, *dry), "is a file", "-o results")
    assert_refused(cli(*command, "-o", file / "deeper", *dry), "is a file, not a folder")
    assert file.read_text() == "mine"
    table = tmp_path / "plan.csv"
    assert_refused(
        cli(*command, "-o", table, *dry), "named as a file is", f"-o {tmp_path / 'plan'}"
    )
    assert not table.exists()
    table.mkdir()
    assert cli(*command, "-o", table, "--dry-run").code == 0, (
        "a folder that is there may be so named"
    )


def test_settings_are_searched_one_after_another(
    cli, tmp_path, chest_file, other_volume, monkeypatch
):
    monkeypatch.setattr(AdmmTv, "tuned", {"weight": (1e-4, 1e-3, 1e3), "iterations": (2, 3, 4)})
    command = ("benchmark", chest_file, "--views", 6, "--methods", "admm-tv", "--device", "cpu")
    command = (*command, "-o", tmp_path / "out", "--tune-on", other_volume)
    assert "all 7 runs" in cli(*command, "--dry-run").out
    told = cli(*command)
    assert told.code == 0, told.err
    weight, iterations = read_json_lines(tmp_path / "out" / "tuned.jsonl")
    assert (weight["searched"], iterations["searched"]) == ("weight", "iterations")
    assert weight["value"] < 1.0 and set(iterations["psnr_volume_db"]) >= {"3", "4"}
    (row,) = rows_of(tmp_path / "out")
    assert row["settings"]["weight"] == weight["value"]
    assert row["settings"]["iterations"] == iterations["value"]
    other = Subject.read(other_volume, size=None, n_slices=None).truth
    by_hand = tune(
        AdmmTv(weight=weight["value"]),
        simulated(middle_of(other, SLICES), Setup(views=6)),
        middle_of(other, SLICES),
        name="iterations",
    )
    assert by_hand.method.iterations == iterations["value"]
    assert iterations["psnr_volume_db"]["3"] == round(by_hand.psnr_by_value[3], 2)
    assert "searching" not in cli(*command).out
    assert "iterations of admm-tv is" in (tmp_path / "out" / "table.md").read_text()
    lines = (tmp_path / "out" / "tuned.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "out" / "tuned.jsonl").write_text(lines[0])
    assert "all 4 runs" in cli(*command, "--dry-run").out
    again = cli(*command).out
    assert "searching iterations" in again and "searching weight" not in again


def test_a_plan_counts_searches(cli, chest_file, tmp_path, other_volume):
    out, methods = tmp_path / "out", ("--methods", "fbp", "cgls", "--device", "cpu")
    command = ("benchmark", chest_file, "--views", 6, *methods, "--tune-on", other_volume)
    planned = cli(*command, "-o", out, "--dry-run")
    tried = len(Cgls.tuned["iterations"])
    assert planned.code == 0 and f"all {tried + 2} runs: about" in planned.out
    assert f"({tried + 1} runs)" in planned.out
    assert not out.exists()
    assert cli(*command, "-o", out).code == 0
    assert "all 0 runs" in cli(*command, "-o", out, "--dry-run").out


def test_tables_and_figures_come_of_the_rows(cli, command, tmp_path):
    out = tmp_path / "out"
    assert cli(*command, "-o", out).code == 0
    text, rows = (out / "table.md").read_text(), rows_of(out)
    fbp = next(r for r in rows if (r["method"], r["setup"]) == ("fbp", "6 views"))
    assert f"| fbp | {fbp['psnr_axial']:.2f} ±" in text
    assert "Published figures" in text and "DiffusionMBIR" in text
    assert "prior type joint" in text
    with (out / "table.csv").open() as file:
        lines = list(csv.DictReader(file))
    mine = [x for x in lines if (x["label"], x["setup"]) == ("diffusionblend++", "90 degrees")]
    psnr = [r["psnr_coronal"] for r in rows if r["setup"] == "90 degrees" and "++" in r["method"]]
    assert float(mine[1]["psnr"]) == pytest.approx(np.mean(psnr))
    assert mine[1]["plane"] == "coronal" and mine[1]["runs"] == "2"
    assert len(list(out.glob("coronal-*.png"))) == 2


def test_a_benchmark_that_was_killed_goes_on_without_losing_or_repeating(cli, command, tmp_path):
    out, undisturbed = tmp_path / "out", tmp_path / "undisturbed"
    words = [str(word) for word in (*command, "-o", out)]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *words], env=environment_of_a_script(), capture_output=True
    )
    assert killed.returncode == -9, killed.stderr.decode()
    left = (out / "rows.jsonl").read_text().splitlines()
    assert len(left) == 3 and left[2] == '{"key": "half of a'
    assert cli(*command, "-o", out).code == 0
    assert cli(*command, "-o", undisturbed).code == 0
    assert (out / "rows.jsonl").read_text().splitlines()[:2] == left[:2]
    for row, other in zip(rows_of(out), rows_of(undisturbed), strict=True):
        for name in ("key", "psnr_axial", "ssim_coronal", "relative_residual"):
            assert row[name] == other[name]


def test_another_prior_or_another_volume_is_another_cell(cli, command, tmp_path):
    out, other = tmp_path / "out", tmp_path / "other"
    random_prior(seed=1).save(other)
    assert cli(*command, "-o", out).code == 0
    assert len(rows_of(out)) == 8
    assert cli(*command, "-o", out, "--priors", other).code == 0
    assert [r["method"] for r in rows_of(out)[8:]] == 4 * ["diffusionblend++"]
    assert cli(*command, "-o", out, "--slices", 5).code == 0
    assert len(rows_of(out)) == 12 + 8


def test_a_precision_is_a_cell_of_its_own_and_stands_in_the_row(cli, command, tmp_path):
    out = tmp_path / "out"
    for precision in ("float32", "bfloat16"):
        assert cli(*command, "-o", out, "--precision", precision, "--views", 4).code == 0
    networks = [row for row in rows_of(out) if row["method"] == "diffusionblend++"]
    found = [row["priors"]["prior"]["precision"] for row in networks]
    assert sorted(set(found)) == ["bfloat16", "float32"]
    assert found.count("float32") == found.count("bfloat16")
    classical = [row for row in rows_of(out) if row["method"] == "fbp"]
    assert len(classical) == len({row["key"] for row in classical})


def test_a_method_without_its_prior_is_refused_before_any_work(cli, command, tmp_path):
    arguments = ("--methods", "fbp", "tpdm", "dds", "fbp-unet", "--views", 8, "--arc-degrees", 60)
    result = cli(*command, "-o", tmp_path / "out", *arguments)
    assert result.code == 1
    for users, of_what in {
        "tpdm, dds": "slices --prior-type slices",
        "tpdm": "coronal --prior-type coronal",
        "fbp-unet": "fbp-unet-8 --prior-type fbp-unet --views 8 --arc-degrees 180",
        "fbp-unet ": "fbp-unet-60 --prior-type fbp-unet --views 60 --arc-degrees 60",
    }.items():
        train = f"  {users.strip()}: diffusionblend train VOLUMES -o priors/{of_what}\n"
        assert train in result.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--arc-degrees", "nan"), "arcs above 0"),
        (("--steps", 0), "steps is 0"),
        (("--size", 32), "--size is 32, and the priors are for slices of"),
    ],
)
def test_what_cannot_be_measured_is_refused(cli, command, tmp_path, options, said):
    result = cli(*command, "-o", tmp_path / "out", *options)
    assert result.code == 1 and said in result.err
    assert not (tmp_path / "out").exists()


@pytest.mark.filterwarnings("default")
def test_a_prior_that_knows_the_volume_is_reported_and_a_failure_stands_in_the_table(
    cli, command, tmp_path, chest_file, tiny_prior, monkeypatch
):
    known = tmp_path / "known"
    shutil.copytree(tiny_prior, known)
    facts = json.loads((known / "prior.json").read_text())
    facts["trained"]["volumes"] = [chest_file.name]
    (known / "prior.json").write_text(json.dumps(facts))

    def refuse(*a, **k):
        raise InputError("CGLS is ill.", "health")

    monkeypatch.setattr(Cgls, "run", refuse)
    out = tmp_path / "out"
    result = cli(*command, "-o", out, "--priors", known)
    assert f"was trained on {chest_file.name}" in result.err
    assert result.code == 1 and "CGLS is ill" in result.err
    assert "- failed: chest" in (out / "table.md").read_text()


def test_unknown_methods_list_the_known_ones(cli, command, tmp_path):
    result = cli(*command, "-o", tmp_path / "out", "--methods", "magic")
    assert result.code == 1
    assert "admm-tv" in result.err and "diffusionblend++" in result.err


def test_weights_are_searched_on_another_volume_and_printed(
    cli, tmp_path, chest_file, other_volume
):
    out = tmp_path / "out"
    command = ("benchmark", chest_file, "-o", out, "--views", 6, "--methods", "cgls")
    result = cli(*command, "--tune-on", other_volume, "--device", "cpu")
    tuned = [json.loads(line) for line in (out / "tuned.jsonl").read_text().splitlines()]
    assert result.code == 0, result.err
    (row,) = tuned
    scores = row["psnr_volume_db"]
    assert scores[f"{row['value']:g}"] == max(scores.values())
    assert row["value"] == rows_of(out)[0]["settings"]["iterations"]
    assert f"iterations of cgls is {row['value']:g}" in result.out
    assert f"iterations of cgls is {row['value']:g}" in (out / "table.md").read_text()
    others = [w if w != 6 else 5 for w in command]
    assert cli(*others, "--tune-on", other_volume, "--device", "cpu").code == 0
    told = (out / "table.md").read_text()
    assert "| 6 views: PSNR" in told and "| 5 views: PSNR" in told  # those of both commands
    x, y, z = read_volume(chest_file).grid.shape[::-1]
    assert f"{chest_file.name}, {x} x {y} x {z} voxels" in told and "Whole volume" in told
    copy = tmp_path / "copy.nii.gz"
    copy.write_bytes(chest_file.read_bytes())
    refused = cli(*command, "--tune-on", copy, "--device", "cpu")
    assert refused.code == 1 and "both compared on and searched on" in refused.err
    for other in (("--slices", 3), ("--size", 8)):
        again = cli(*others, *other, "--tune-on", other_volume, "--device", "cpu")
        assert "searching iterations" in again.out
    assert "- 5 views: iterations of cgls" in told and "- 6 views: iterations" in told
    refused = cli(*command, "--tune-on", chest_file, "--device", "cpu")
    assert refused.code == 1 and "both compared on and searched on" in refused.err
