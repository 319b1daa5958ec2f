"""Coverage against closed forms: draws of known standard deviation, by tissue, inside the body."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from diffusionblend.data.ensemble import mean_and_deviation
from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError
from diffusionblend.evaluation.body import body_mask
from diffusionblend.evaluation.calibration import (
    COLUMNS,
    WHOLE,
    calibrate,
    expected_share,
)
from diffusionblend.evaluation.tables import format_table
from diffusionblend.evaluation.tissues import TISSUES
from diffusionblend.geometry.grid import Grid
from diffusionblend.phantom import synthetic_chest

GRID = Grid(shape=(24, 60, 60), spacing_mm=(2.0, 1.0, 1.0))
MARGIN = 6
INSIDE = np.zeros(GRID.shape, bool)
INSIDE[:, MARGIN:-MARGIN, MARGIN:-MARGIN] = True
TISSUE_HU = {"air": -985.0, "lung": -800.0, "fat": -90.0, "soft tissue": 40.0, "bone": 800.0}
"""One value well inside each range; the innermost squares hold air and lung, so that they are
enclosed."""


def layered_body() -> Volume:
    """A square body in air whose rings are bone, soft tissue, fat, lung and air, outside in."""
    values = np.full(GRID.shape, -1000.0)
    for ring, name in enumerate(("soft tissue", "bone", "fat", "lung", "air")):
        edge = MARGIN + 4 * ring
        values[:, edge:-edge, edge:-edge] = TISSUE_HU[name]
    return Volume(values, GRID)


def test_draws_of_known_spread_are_covered_as_often_as_a_normal_distribution_says() -> None:
    """The truth drawn around the mean with the sd: 68.3 and 95.4 %, in every tissue."""
    rng = np.random.default_rng(0)
    truth = layered_body()
    spread = truth.with_values(rng.uniform(2.0, 10.0, GRID.shape))
    mean = truth.with_values(truth.values + spread.values * rng.normal(size=GRID.shape))
    found = calibrate(mean, spread, truth)
    assert found.expected == {1: pytest.approx(0.6827, abs=1e-4), 2: pytest.approx(0.9545, 1e-4)}
    assert list(found.tissues) == [WHOLE, *(t.label for t in TISSUES.values())]
    for coverage in found.tissues.values():
        for k, share in coverage.within.items():
            error = math.sqrt(share * (1 - share) / coverage.n_voxels)
            assert share == pytest.approx(math.erf(k / math.sqrt(2)), abs=4 * error)
        assert coverage.mean_deviation_hu == pytest.approx(6.0, rel=0.02)
        assert coverage.rms_error_hu == pytest.approx(math.sqrt(36 + 64 / 12), rel=0.03)
    assert found.tissues[WHOLE].n_voxels == pytest.approx(INSIDE.sum(), rel=0.005)  # corners


@pytest.mark.parametrize("too_small", [2.0, 4.0])
def test_a_spread_too_small_is_found_out_in_its_tissue_alone(too_small: float) -> None:
    rng = np.random.default_rng(1)
    truth = layered_body()
    is_lung = truth.values == TISSUE_HU["lung"]
    mean = truth.with_values(truth.values + 8.0 * rng.normal(size=GRID.shape))
    spread = truth.with_values(np.where(is_lung, 8.0 / too_small, 8.0))
    within = {name: c.within for name, c in calibrate(mean, spread, truth).tissues.items()}
    assert within["lung"][1] == pytest.approx(math.erf(1 / too_small / math.sqrt(2)), abs=0.02)
    assert within["lung"][2] == pytest.approx(math.erf(2 / too_small / math.sqrt(2)), abs=0.02)
    assert within["bone"][1] == pytest.approx(0.683, abs=0.02)


@pytest.mark.parametrize("n", [2, 4, 9])
def test_few_samples_cover_what_student_says(n: int) -> None:
    """Truth and samples drawn alike: mean and sd of n samples cover less than exact ones."""
    rng = np.random.default_rng(n)
    truth = layered_body()
    middle = truth.values + 5 * rng.normal(size=GRID.shape)
    samples = (truth.with_values(middle + 5 * rng.normal(size=GRID.shape)) for _ in range(n))
    found = calibrate(*mean_and_deviation(samples), truth, n_samples=n)
    whole = found.tissues[WHOLE]
    for k, share in whole.within.items():
        assert share == pytest.approx(found.expected[k], abs=0.01)
        assert share < math.erf(k / math.sqrt(2)) - 0.02


def test_the_expected_shares_are_those_of_tables() -> None:
    # of two samples t has one degree of freedom: the share is 2 / pi arctan(k / sqrt(3 / 2))
    for k in (1, 2):
        closed_form = 2 / math.pi * math.atan(k / math.sqrt(1.5))
        assert expected_share(k, 2) == pytest.approx(closed_form)
        assert expected_share(k, 10_000) == pytest.approx(expected_share(k), abs=1e-3)
    with pytest.raises(InputError, match="two or more"):
        expected_share(1, 1)


def test_the_body_is_found_without_table_and_with_its_lungs() -> None:
    truth = layered_body()
    values = truth.values.copy()
    values[:, -3:, 5:-5] = 100.0  # a table
    values[:, -MARGIN:, 30] = 50.0  # a strap from the body to it
    mask = body_mask(truth.with_values(values))
    assert (mask == INSIDE).mean() > 0.998  # corners are rounded
    chest = synthetic_chest(3, shape=(12, 64, 64))
    mask = body_mask(chest)
    assert 0.2 < mask.mean() < 0.9
    assert not mask[:, 0].any() and not mask[:, :, 0].any()
    lung = (chest.values < -600) & mask
    assert lung.sum() > 0.05 * mask.sum()
    with pytest.raises(InputError, match="no body"):
        body_mask(truth.with_values(np.full(GRID.shape, -1000.0)))


def test_air_around_the_body_does_not_count() -> None:
    truth = layered_body()
    far_off = truth.with_values(np.where(INSIDE, truth.values, truth.values + 500))
    spread = truth.with_values(np.ones(GRID.shape))
    found = calibrate(far_off, spread, truth)
    assert found.tissues[WHOLE].within == {1: 1.0, 2: 1.0}


def test_figures_are_strict_json_and_rows_of_a_table() -> None:
    truth = layered_body()
    no_bone = truth.with_values(np.minimum(truth.values, 100))
    found = calibrate(no_bone, truth.with_values(np.ones(GRID.shape)), no_bone, n_samples=4)
    facts = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert facts["n_samples"] == 4 and set(facts["expected_within"]) == {"1", "2"}
    assert facts["tissues"]["bone"] == {
        "low_hu": 300.0,
        "high_hu": None,
        "n_voxels": 0,
        "within": None,
        "mean_deviation_hu": None,
        "rms_error_hu": None,
    }
    text = format_table(found.rows(), COLUMNS, "markdown")
    bone = next(line for line in text.splitlines() if line.startswith("| bone"))
    assert "from 300" in bone and "–" in bone
    assert "to be expected (4 samples)" in text and "82.8" in text


def test_what_is_no_deviation_of_the_mean_is_refused() -> None:
    truth = layered_body()
    ones = truth.with_values(np.ones(GRID.shape))
    other = Volume(np.ones((24, 60, 59)), Grid(shape=(24, 60, 59), spacing_mm=GRID.spacing_mm))
    nan = ones.values.copy()
    nan[0, 0, 0] = np.nan
    for deviation, word in (
        (other, "do not belong together"),
        (truth, "from -1000 to 800 HU"),
        (truth.with_values(np.zeros(GRID.shape)), "from 0 to 0 HU"),
        (truth.with_values(nan), "NaN"),
    ):
        with pytest.raises(InputError, match=word):
            calibrate(truth, deviation, truth)
    with pytest.raises(InputError, match="voxels"):
        calibrate(truth, ones, other)
