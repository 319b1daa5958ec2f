"""A run that goes on from a kept state costs what the whole run did."""

from __future__ import annotations

from dataclasses import replace

import pytest

import diffusionblend as db
from small_scan import scan, small_volume
from tiny_network import random_prior


def test_evaluations_and_seconds_are_those_of_the_whole_run():
    projections, prior = scan(small_volume((8, 16, 16))), random_prior()
    method = db.DiffusionBlendPP(steps=4, consistency="cg")
    kept = []

    def keep(state):
        if state.done == 3:
            spent = {**state.spent, "network": 1000.0}
            kept.append(replace(state, x=state.x.clone(), spent=spent))

    whole = method(projections, prior=prior, device="cpu", execution=db.Execution(on_state=keep))
    assert whole.network_evaluations == 4 and kept[0].spent["network_evaluations"] == 3
    rest = method(projections, prior=prior, device="cpu", execution=db.Execution(resume=kept[0]))
    assert rest.network_evaluations == 4
    assert rest.seconds["network"] > 1000
    assert rest.seconds["total"] == pytest.approx(sum(rest.seconds.values()) / 2, abs=30)
