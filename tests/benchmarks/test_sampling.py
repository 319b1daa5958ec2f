"""The speed benchmark measures what it says; no figure is held to a bar here."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.models.attention_processor import Attention

import sampling
from diffusionblend import DiffusionBlendPP, Grid, Volume, reconstruct, synthetic_chest
from network_speed import STACK_DEPTH, Level, network_levels, network_work, plain_work
from sampling import LINES_FILE, main, scan_of
from slice_scaling import off_line, scaling_rows
from timed_runs import ClockedPrior, our_run, tiled, tiny_prior


@pytest.fixture(scope="module")
def line(tmp_path_factory) -> dict:
    """What a tiny run records."""
    folder = tmp_path_factory.mktemp("sampling")
    threads = torch.get_num_threads()
    try:
        assert main(["--tiny", "-o", str(folder)]) == 0
    finally:
        torch.set_num_threads(threads)
    (text,) = (folder / LINES_FILE).read_text().splitlines()
    return json.loads(text)


def test_the_parts_add_up_to_the_step(line):
    parts = {row["part"]: row for row in line["parts"]}
    assert set(parts) == {"network", "consistency", "rest", "step"}
    for i, step in enumerate(parts["step"]["rounds"]):
        each = [parts[p]["rounds"][i] for p in ("network", "consistency", "rest")]
        assert min(each) > 0
        assert sum(each) == pytest.approx(step)


def test_rates_and_ratios_follow_from_the_rounds(line):
    network, weighted, *levels, _ = line["rates"]
    slowest, fastest = min(r["lowest"] for r in levels), max(r["highest"] for r in levels)
    for name in ("lowest", "gflop_per_s", "highest"):  # a mean of the levels' in every round
        assert slowest * (1 - 1e-9) <= weighted[name] <= fastest * (1 + 1e-9)
    assert network["gflop"] == pytest.approx(
        line["network"]["gflop_a_block"] * line["network"]["batch_blocks"]
    )
    ours, published = line["loops"]
    expected = np.array(published["rounds"]) / np.array(ours["rounds"])
    assert ours["times_faster_rounds"] == pytest.approx(list(expected))
    assert ours["blocks_a_step"] == published["blocks_a_step"]
    assert {row["method"] for row in line["quality"]} == {"DiffusionBlend++", "published loop"}
    assert {"torch", "python"} <= set(line["versions"]) and line["machine"]["processor"]


def test_flops_are_those_counted_by_hand():
    level = Level(pixels=10, channels=6, flops=0)
    work = plain_work(level, 2, torch.device("cpu"))
    assert work.flops == STACK_DEPTH * 2 * 9 * 6 * 6 * 2 * 10 * 10
    prior = tiny_prior("cpu")
    network = network_work(prior, 2)
    assert network.flops == flops_by_hand(prior, network)
    levels = network_levels(prior, network)
    assert [(v.pixels, v.channels) for v in levels] == [(32, 8), (16, 16)]
    assert 0.5 < sum(v.flops for v in levels) / network.flops < 1


def flops_by_hand(prior, network) -> int:
    """Convolutions, linear layers, and attention's two products of tokens with tokens."""
    found = []

    def count(module, inputs, output):
        if isinstance(module, torch.nn.Conv2d):
            found.append(2 * module.in_channels * math.prod(module.kernel_size) * output.numel())
        elif isinstance(module, torch.nn.Linear):
            found.append(2 * module.in_features * output.numel())
        else:
            batch, channels, *sides = output.shape
            found.append(4 * batch * channels * math.prod(sides) ** 2)

    counted = (torch.nn.Conv2d, torch.nn.Linear, Attention)
    hooks = [m.register_forward_hook(count) for m in prior.unet.modules() if isinstance(m, counted)]
    network.call()
    for hook in hooks:
        hook.remove()
    return sum(found)


def test_the_clock_changes_nothing():
    prior = tiny_prior("cpu")
    projections = scan_of(synthetic_chest(0, shape=(6, 32, 32), in_plane_mm=11.0), 4)
    method = DiffusionBlendPP(steps=3)
    run = our_run(prior, projections, method)
    plain = reconstruct(projections, method, prior=prior, device="cpu")
    assert np.array_equal(run.volume.values, plain.volume.values)
    assert run.step_seconds * method.steps <= run.total_seconds
    assert run.blocks >= method.steps * 2


def test_a_method_that_goes_past_the_clock_is_reported(monkeypatch):
    prior = tiny_prior("cpu")
    projections = scan_of(synthetic_chest(0, shape=(6, 32, 32), in_plane_mm=11.0), 4)
    monkeypatch.setattr(ClockedPrior, "denoise", lambda self, x, t, c: prior.denoise(x, t, c))
    with pytest.raises(RuntimeError, match="clock"):
        our_run(prior, projections, DiffusionBlendPP(steps=1))


def test_tiling_mirrors_every_second_copy():
    values = np.arange(3)[:, None, None] * np.ones((3, 2, 2))
    volume = Volume(values, Grid(shape=(3, 2, 2), spacing_mm=(1, 1, 1)))
    assert tiled(volume, 8).values[:, 0, 0].tolist() == [0, 1, 2, 2, 1, 0, 0, 1]
    assert tiled(volume, 2).values[:, 0, 0].tolist() == [0, 1]


def test_growth_with_slices_is_read_off_fresh_processes(tmp_path):
    truth = synthetic_chest(0, shape=(6, 32, 32), in_plane_mm=11.0)
    scans = {n: scan_of(tiled(truth, n), 8) for n in (6, 48)}
    command = [Path(sampling.__file__), "--tiny", "-o", tmp_path]
    found = scaling_rows(scans, command, rounds=1)
    few, many = found["rows"]
    assert many["blocks_a_step"] >= 6 * few["blocks_a_step"]
    voxels_mb = 42 * 32 * 32 * 4 / 1e6
    assert many["peak_mb"] - few["peak_mb"] > voxels_mb
    assert many["time_ratio"] == pytest.approx(many["step_seconds"] / few["step_seconds"] / 8)
    assert not list(tmp_path.iterdir())


def test_how_far_a_point_is_off_the_line():
    assert off_line([(1, 3.0), (2, 5.0), (4, 9.0)]) == pytest.approx(0)
    assert off_line([(1, 3.0), (2, 5.5), (4, 9.0)]) == pytest.approx(0.1)
