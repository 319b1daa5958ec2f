"""Settings of methods of one loop, made alike for a comparison."""

from __future__ import annotations

import pytest

from diffusionblend.benchmarking.short_form import settings_alike
from diffusionblend.methods import (
    Cg,
    Dds,
    Dds2d,
    DiffusionBlend,
    DiffusionBlendPP,
    DiffusionMbir,
    Fbp,
    Hard,
    Method,
    Prox,
    Tpdm,
)
from diffusionblend.methods.api import make_method

OF_ONE_LOOP = (
    Dds2d(),
    Dds(),
    DiffusionBlend(),
    DiffusionBlendPP(),
    DiffusionBlendPP(consistency=Cg()),
)
OF_OTHERS = (
    Fbp(),
    Tpdm(),
    DiffusionMbir(),
    DiffusionBlendPP(consistency=Hard()),
    DiffusionBlend(ddim_eta=1.0),
)


@pytest.mark.parametrize("method", OF_ONE_LOOP, ids=lambda m: f"{m.name}-{m.consistency.name}")
def test_methods_of_one_loop_are_made_alike(method: Method) -> None:
    def loop(m):
        return m.dual_damping, m.tail_average_below, m.noise_fraction, m.init, m.init_timestep

    paper, ours = DiffusionBlend().resolved(), DiffusionBlendPP(init="noise").resolved()
    published, equal = (
        make_method(method, **settings_alike(method, name)).resolved()
        for name in ("published", "equal")
    )
    assert loop(published) == loop(paper)
    assert loop(equal) == loop(ours)
    own = method.consistency
    assert published.consistency == (Cg() if isinstance(own, Prox) else own)  # five steps of CG
    assert equal.consistency == (Prox() if isinstance(own, Cg) else own)
    assert settings_alike(method, "own") == {}


@pytest.mark.parametrize("method", OF_OTHERS, ids=lambda m: m.name)
def test_methods_of_other_loops_stay_as_they_are(method: Method) -> None:
    assert settings_alike(method, "published") == settings_alike(method, "equal") == {}
