"""The search of a method's setting: the best of all tried, and never at the end of the range."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from diffusionblend.errors import InputError
from diffusionblend.evaluation.metrics import evaluate_volume
from diffusionblend.evaluation.tuning import SEARCHED, tune
from diffusionblend.geometry import Projections
from diffusionblend.methods.registry import METHODS, reconstruct
from diffusionblend.methods.settings import CglsSettings
from small_scan import scan, small_volume


@pytest.fixture(scope="module")
def noisy() -> Projections:
    """Noise makes late iterations worse than earlier ones."""
    clean = scan(small_volume((2, 16, 16)), n_views=12)
    noise = np.random.default_rng(0).normal(0, 0.05, clean.values.shape)
    return replace(clean, values=clean.values + noise.astype(np.float32))


def test_the_best_of_all_values_is_chosen(noisy: Projections) -> None:
    truth = small_volume((2, 16, 16))
    values = (1, 2, 4, 8, 60)
    tuned = tune("cgls", noisy, truth, values)
    by_hand = {}
    for n in values:
        result = reconstruct(noisy, method="cgls", settings=CglsSettings(iterations=n))
        by_hand[n] = evaluate_volume(result.volume, truth).volume_psnr_db
    assert tuned.psnr_by_value == pytest.approx(by_hand)
    assert tuned.settings == CglsSettings(iterations=max(by_hand, key=by_hand.__getitem__))
    assert by_hand[1] < max(by_hand.values()) > by_hand[60]


def test_a_best_value_at_the_end_is_refused(noisy: Projections) -> None:
    with pytest.raises(InputError, match="at the end"):
        tune("cgls", noisy, small_volume((2, 16, 16)), (1, 2))


def test_a_best_value_at_the_end_will_do_where_the_figure_has_levelled_off() -> None:
    clean, truth = scan(small_volume((2, 16, 16)), n_views=6), small_volume((2, 16, 16))
    tuned = tune("cgls", clean, truth, (2, 200, 300))
    assert tuned.settings.iterations in (200, 300)
    assert abs(tuned.psnr_by_value[300] - tuned.psnr_by_value[200]) < 0.1


def test_only_what_has_a_setting_to_search_is_searched(noisy: Projections) -> None:
    with pytest.raises(InputError, match="sirt, cgls, admm-tv, dds"):
        tune("fbp", noisy, small_volume((2, 16, 16)))
    for method, (name, values) in SEARCHED.items():
        assert hasattr(METHODS[method].settings(), name)
        assert list(values) == sorted(values)
