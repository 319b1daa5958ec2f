"""Every script of examples/, run in a small setting."""

from __future__ import annotations

import importlib.util
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from easy_training import environment_of_a_script
from test_documentation import REPOSITORY

EXAMPLES = REPOSITORY / "examples"
LONGEST_EXAMPLE_LINES = 60


@pytest.fixture
def main_of(monkeypatch) -> Callable[[str], Callable]:
    """The main function of an example, by its name."""

    def load(name: str) -> Callable:
        spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)  # where dataclasses look for it
        spec.loader.exec_module(module)
        return module.main

    return load


def test_examples_are_short_and_all_are_run():
    paths = sorted(EXAMPLES.glob("*.py"))
    long = [p.name for p in paths if len(p.read_text().splitlines()) >= LONGEST_EXAMPLE_LINES]
    assert not long
    tests = Path(__file__).read_text()
    assert not [p.stem for p in paths if f'"{p.stem}"' not in tests]


@pytest.mark.slow
def test_synthetic_chest(main_of, tiny_prior):
    psnr_db = main_of("synthetic_chest")(
        size=16, slices=6, views=12, steps=2, prior=str(tiny_prior)
    )
    assert list(psnr_db) == ["fbp", "admm-tv", "diffusionblend++"]
    assert psnr_db["admm-tv"] > psnr_db["fbp"] > 10


def test_fan_beam(main_of):
    psnr_db = main_of("fan_beam")(size=24, slices=3, views=40)
    whole, _, short, _ = psnr_db.values()
    assert all(db > 15 for db in psnr_db.values())
    assert abs(whole - short) < 4  # Parker's weights make a short scan as good
    assert psnr_db["360 degrees, admm-tv"] > whole + 3


@pytest.mark.slow
def test_own_geometry(main_of):
    few = main_of("own_geometry")(size=16, slices=8, views=3, iterations=10)
    many = main_of("own_geometry")(size=16, slices=8, views=15, iterations=10)
    assert many > few + 0.3


def test_own_method(main_of, tiny_prior):
    assert math.isfinite(
        main_of("own_method")(size=16, slices=11, views=12, steps=4, prior=str(tiny_prior))
    )


def test_uncertainty(main_of, tiny_prior):
    figures = main_of("uncertainty")(size=16, slices=6, samples=3, steps=2, prior=str(tiny_prior))
    assert figures["mean_psnr_db"] > figures["first_psnr_db"]
    assert 0 < figures["within_2_sd"] <= 1 and figures["mean_deviation_hu"] > 0


def test_measured_counts(main_of):
    assert main_of("measured_counts")(columns=64, views=90) == pytest.approx(0.04, rel=0.02)


@pytest.mark.slow
def test_train_prior(main_of):
    slightly, longer = (
        main_of("train_prior")(size=16, slices=6, steps=n, chests=2) for n in (1, 24)
    )
    assert longer > slightly


def test_lost_nodule(main_of, tiny_prior):
    # 60 views determine the slices, whatever the prior
    share = main_of("lost_nodule")(
        size=16, slices=8, views=60, diameter_mm=60, steps=3, prior=str(tiny_prior)
    )
    assert share == pytest.approx(1, abs=0.3)


@pytest.mark.slow
def test_an_example_runs_as_a_script():
    done = subprocess.run(
        [sys.executable, EXAMPLES / "measured_counts.py", "--columns", "48", "--views", "40"],
        capture_output=True,
        text=True,
        env=environment_of_a_script(),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("the rod has 0.0")
