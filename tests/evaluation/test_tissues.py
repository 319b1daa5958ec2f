"""One definition of tissues for bias and calibration."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from diffusionblend.data.volume import Volume
from diffusionblend.evaluation.calibration import calibrate
from diffusionblend.evaluation.metrics import evaluate
from diffusionblend.evaluation.tissues import BIAS_TISSUES, TISSUES
from diffusionblend.geometry.grid import Grid


@pytest.mark.parametrize("name", list(TISSUES))
def test_a_tissue_has_its_lower_end_and_not_its_upper_one(name):
    tissue = TISSUES[name]
    ends = np.array([tissue.low_hu, np.nextafter(tissue.high_hu, -np.inf), tissue.high_hu])
    inside = tissue.mask(np.nan_to_num(ends, neginf=-3000.0, posinf=4000.0))
    assert inside.tolist() == [True, True, np.isinf(tissue.high_hu)]


def test_tissues_do_not_overlap():
    ranges = sorted((t.low_hu, t.high_hu) for t in TISSUES.values())
    assert all(high <= low for (_, high), (low, _) in itertools.pairwise(ranges))


def test_bias_and_calibration_count_the_same_voxels():
    values = np.random.default_rng(0).uniform(-1100, 700, (8, 32, 32))
    values[:, 2:-2, 2:-2] = values[:, 2:-2, 2:-2].clip(min=-900)  # one piece of body
    values[:, 4, 2:-2] = 40.0
    reference = Volume(values, Grid(shape=(8, 32, 32), spacing_mm=(1, 1, 1)))
    biases = evaluate(reference, reference).bias_hu
    deviation = reference.with_values(np.ones_like(values))
    ranges = {
        n: (c.low_hu, c.high_hu)
        for n, c in calibrate(reference, deviation, reference).tissues.items()
    }
    for name in BIAS_TISSUES:
        assert (biases[name].low_hu, biases[name].high_hu) == ranges[TISSUES[name].label]
        expected = ((values >= biases[name].low_hu) & (values < biases[name].high_hu)).sum()
        assert biases[name].n_voxels == expected > 0
