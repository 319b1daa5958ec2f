"""The denoising error against denoisers whose error is known, and what is said of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diffusionblend.data.volume import Volume
from diffusionblend.geometry.grid import Grid
from diffusionblend.priors.familiarity import LIMIT, TIMESTEP, denoising_error, unfamiliar_note
from tiny_network import random_prior

GRID = Grid(shape=(30, 16, 16), spacing_mm=(2.0, 2.0, 2.0))


def prior_with(x0_of):
    """A prior whose estimate of x0 from x_t is a function of x_t and abar, and a list of calls."""
    prior, calls = random_prior(), []

    def denoise(x_t, t, code):
        calls.append((tuple(x_t.shape), t, code))
        return x0_of(x_t, float(prior.schedule.alpha_bar[t])), x_t

    prior.denoise = denoise
    return prior, calls


def body(hu: float) -> Volume:
    """A block of an HU in air."""
    values = np.full(GRID.shape, -1000.0)
    values[:, 4:-4, 4:-4] = hu
    return Volume(values, GRID)


def test_a_denoiser_that_leaves_the_noise_has_an_error_of_1() -> None:
    prior, calls = prior_with(lambda x_t, abar: x_t / abar**0.5)
    assert denoising_error(body(0.0), prior) == pytest.approx(1.0, abs=0.03)
    assert calls == [((1, 3, 16, 16), TIMESTEP, 1.0)] * 5  # half of the blocks of 30 slices
    perfect, _ = prior_with(lambda x_t, _: torch.full_like(x_t, 0.2))
    assert denoising_error(body(200.0), perfect) == pytest.approx(0, abs=1e-6)


def test_what_it_gets_wrong_counts_inside_the_object_and_over_the_noise() -> None:
    prior, _ = prior_with(lambda x_t, _: torch.full_like(x_t, 0.2))
    abar = float(prior.schedule.alpha_bar[TIMESTEP])
    noise = ((1 - abar) / abar) ** 0.5
    assert denoising_error(body(700.0), prior) == pytest.approx(0.5 / noise, rel=1e-5)


def test_it_is_the_same_again_and_none_where_there_is_nothing() -> None:
    prior = random_prior()
    assert denoising_error(body(300.0), prior) == denoising_error(body(300.0), prior)
    assert denoising_error(body(-1000.0), prior) is None
    few = Volume(np.zeros((2, 16, 16)), GRID.with_slices(2))
    assert denoising_error(few, prior) is None


def test_a_note_is_made_above_the_limit_alone() -> None:
    prior = random_prior()
    assert unfamiliar_note(0.1 * LIMIT, 0.1, prior) is None
    assert unfamiliar_note(5.0, None, prior) is None and unfamiliar_note(None, 0.1, prior) is None
    note = unfamiliar_note(0.4, 0.1, prior)
    assert note is not None and "4.0 times" in note and "--method admm-tv" in note
