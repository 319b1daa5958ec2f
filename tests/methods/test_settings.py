"""Settings of methods of one loop, made alike for a comparison."""

from __future__ import annotations

import pytest

from diffusionblend.methods.settings import (
    Dds2dSettings,
    DdsSettings,
    DiffusionBlendPPSettings,
    DiffusionBlendSettings,
    DiffusionMbirSettings,
    TpdmSettings,
)

OF_ONE_LOOP = (
    Dds2dSettings(),
    DdsSettings(),
    DiffusionBlendSettings(),
    DiffusionBlendPPSettings(),
    DiffusionBlendPPSettings(consistency="prox"),
)
OF_OTHERS = (
    TpdmSettings(),
    DiffusionMbirSettings(),
    DiffusionBlendPPSettings(consistency="hard"),
    DiffusionBlendSettings(renewal="ddim"),
)


@pytest.mark.parametrize("settings", OF_ONE_LOOP)
def test_methods_of_one_loop_are_made_alike(settings):
    def loop(s):
        return s.dual_decay, s.average_below, s.eta, s.first_timestep

    paper, ours = DiffusionBlendSettings(), DiffusionBlendPPSettings(start="noise").resolved()
    published, equal = (settings.alike(name).resolved() for name in ("published", "equal"))
    assert loop(published) == loop(paper)
    assert loop(equal) == loop(ours)
    assert published.consistency == equal.consistency == settings.consistency
    assert settings.alike("own") == settings


@pytest.mark.parametrize("settings", OF_OTHERS)
def test_methods_of_other_loops_stay_as_they_are(settings):
    assert settings.alike("published") == settings.alike("equal") == settings
