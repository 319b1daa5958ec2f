"""The search of a method's setting: the best of all, found by climbing, never at the end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from diffusionblend.benchmarking.tuning import searched_settings, tune
from diffusionblend.data.projections import Projections
from diffusionblend.errors import InputError
from diffusionblend.evaluation.metrics import evaluate
from diffusionblend.methods import METHODS, Cgls, Dds
from diffusionblend.methods.api import make_method, reconstruct
from small_scan import scan, small_volume


@pytest.fixture(scope="module")
def noisy() -> Projections:
    """Noise makes late iterations worse than earlier ones."""
    clean = scan(small_volume((2, 16, 16)), n_views=12)
    noise = np.random.default_rng(0).normal(0, 0.05, clean.values.shape)
    return replace(clean, values=clean.values + noise.astype(np.float32))


@pytest.mark.parametrize("values", [(1, 2, 3, 4, 6, 8, 30, 60), (1, 3, 30, 60, 120, 150)])
def test_the_best_of_all_values_is_climbed_to(noisy: Projections, values) -> None:
    truth = small_volume((2, 16, 16))
    tuned = tune("cgls", noisy, truth, values)
    by_hand = {}
    for n in values:
        result = reconstruct(noisy, "cgls", iterations=n, device="cpu")
        by_hand[n] = evaluate(result.volume, truth).volume_psnr_db
    best = max(by_hand, key=by_hand.__getitem__)
    assert by_hand[values[0]] < by_hand[best] > by_hand[values[-1]]
    assert tuned.method == Cgls(iterations=best)
    at = [values.index(n) for n in tuned.psnr_by_value]
    assert at == list(range(at[0], at[-1] + 1)), "no value between was left out"
    assert at[0] < values.index(best) < at[-1]
    assert tuned.psnr_by_value == pytest.approx({n: by_hand[n] for n in tuned.psnr_by_value})


def test_what_lies_beyond_worse_neighbours_is_not_tried(noisy: Projections) -> None:
    tuned = tune("cgls", noisy, small_volume((2, 16, 16)), (1, 2, 3, 4, 8, 30, 60, 100, 150))
    assert 150 not in tuned.psnr_by_value


def test_a_best_value_at_the_end_is_refused(noisy: Projections) -> None:
    with pytest.raises(InputError, match=r"at the end of those tried \(60: .* dB, 100: .* dB\)"):
        tune("cgls", noisy, small_volume((2, 16, 16)), (60, 100))


def test_the_most_iterations_are_a_best_number_too() -> None:
    clean, truth = scan(small_volume((2, 16, 16)), n_views=6), small_volume((2, 16, 16))
    tuned = tune("cgls", clean, truth, (1, 2))
    assert tuned.psnr_by_value[2] > tuned.psnr_by_value[1] + 0.1
    assert tuned.method.iterations == 2


def test_a_best_value_at_the_end_will_do_where_the_figure_has_levelled_off() -> None:
    clean, truth = scan(small_volume((2, 16, 16)), n_views=6), small_volume((2, 16, 16))
    tuned = tune("cgls", clean, truth, (2, 200, 300))
    assert tuned.method.iterations in (200, 300)
    assert abs(tuned.psnr_by_value[300] - tuned.psnr_by_value[200]) < 0.1


def test_only_what_has_a_setting_to_search_is_searched(noisy: Projections) -> None:
    with pytest.raises(InputError, match="sirt, cgls, admm-tv, dds"):
        tune("fbp", noisy, small_volume((2, 16, 16)))
    for name in METHODS:
        method = METHODS[name]()
        for setting, values in method.tuned.items():
            assert setting in method.settings()
            assert list(values) == sorted(values)


def test_settings_of_a_data_consistency_step_that_was_not_chosen_are_not_searched() -> None:
    assert list(searched_settings(Dds())) == ["tv_z_penalty", "tv_z_weight"]
    assert not searched_settings(make_method("dds", consistency="cg"))
