from __future__ import annotations

import re
import shutil
from importlib import metadata
from pathlib import Path

import pytest
import torch

from command_line import assert_succeeded
from diffusionblend.cli.doctor import _rate
from diffusionblend.priors import integer_engine
from diffusionblend.priors.prior import WEIGHTS_FILE, load_prior, sha256_of_weights
from diffusionblend.priors.store import DEFAULT_PRIOR, shipped_priors


def ship(monkeypatch, priors):
    """Let the package hold these priors."""
    monkeypatch.setattr("diffusionblend.priors.store.shipped_priors", lambda: priors)


def test_it_reports_versions_devices_priors_and_speed(cli, monkeypatch, tiny_prior):
    ship(monkeypatch, {DEFAULT_PRIOR: tiny_prior})
    result = cli("doctor")
    assert_succeeded(result)
    assert metadata.version("torch") in result.out
    assert "cores" in result.out and "GB" in result.out
    assert f"whole, SHA-256 {sha256_of_weights(tiny_prior)[:16]}" in result.out
    assert "blocks of 3 x 16 x 16 a second" in result.out
    assert "pairs a second, of a slice of 16 x 16, 8 views" in result.out
    first, *facts, last = result.out.strip().splitlines()
    assert first == last == "```"  # one block to paste
    assert all(re.match(r"\S.{17} \S", fact) for fact in facts), facts
    assert str(Path.home()) not in result.out


def test_the_rate_is_that_of_the_clock(monkeypatch):
    """A part of 0.02 s, the first time of 5 s, by a clock of our own."""
    now = iter([5.0, *(5.0 + 0.02 * i for i in range(200))])
    monkeypatch.setattr("diffusionblend.cli.doctor.time.perf_counter", lambda: next(now))
    assert _rate(lambda: None, torch.device("cpu")) == pytest.approx(50, rel=0.06)


def test_a_damaged_or_missing_prior_is_reported(cli, monkeypatch, tiny_prior, tmp_path):
    damaged = shutil.copytree(tiny_prior, tmp_path / "damaged")
    (damaged / WEIGHTS_FILE).write_bytes((damaged / WEIGHTS_FILE).read_bytes()[:-8])
    ship(monkeypatch, {DEFAULT_PRIOR: tiny_prior, "other": damaged})
    result = cli("doctor", "--no-speed")
    assert result.code == 1
    assert "are corrupt" in result.out and "whole, SHA-256" in result.out
    assert "Not whole: other." in result.err and DEFAULT_PRIOR not in result.err
    ship(monkeypatch, {})
    result = cli("doctor")
    assert result.code == 1
    assert "No prior is in the package" in result.err
    assert "install diffusionblend again" in result.err


def test_every_shipped_prior_is_whole():
    if not shipped_priors():
        pytest.skip("no prior is in the package yet")
    for folder in shipped_priors().values():
        assert load_prior(folder).weights_sha256 == sha256_of_weights(folder)


@pytest.mark.parametrize(
    ("has_it", "told"),
    [(True, "bfloat16, which"), (False, "float32 (bfloat16 is not in its hardware")],
)
def test_the_precision_of_the_processor_is_reported(cli, monkeypatch, tiny_prior, has_it, told):
    ship(monkeypatch, {DEFAULT_PRIOR: tiny_prior})
    monkeypatch.setattr("diffusionblend.priors.precision.has_bfloat16", lambda device: has_it)
    line = next(x for x in cli("doctor").out.splitlines() if x.startswith("precision, cpu"))
    assert told in line


@pytest.mark.parametrize(
    ("missing", "told"),
    [(["nncf"], "OpenVINO is not installed (pip install 'diffusionblend[openvino]')"), ([], "3.1")],
)
def test_the_engine_of_int8_is_reported(cli, monkeypatch, tmp_path, tiny_prior, missing, told):
    ship(monkeypatch, {DEFAULT_PRIOR: tiny_prior})
    monkeypatch.setenv("DIFFUSIONBLEND_CACHE", str(tmp_path))
    monkeypatch.setattr(integer_engine, "missing", lambda: missing)
    monkeypatch.setattr(integer_engine, "versions", lambda: {"openvino": "3.1"})
    monkeypatch.setattr(integer_engine, "integer_graph", lambda *_: (b"a", b"b"))
    line = next(x for x in cli("doctor", "--no-speed").out.splitlines() if x.startswith("int8"))
    assert told in line and "none yet" in line
    if not missing:
        load_prior(tiny_prior, precision="int8")
        lines = cli("doctor", "--no-speed").out.splitlines()
        assert f"kept: {DEFAULT_PRIOR}" in next(x for x in lines if x.startswith("int8"))
