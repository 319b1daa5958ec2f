"""A state file contains what the data-consistency step keeps, beside volume and generator."""

from __future__ import annotations

from pathlib import Path

import torch

from diffusionblend.cli.scan_run import arrays_of, state_of
from diffusionblend.methods.diffusion.state import State
from diffusionblend.runs.checkpoint import KeptState


def test_variables_come_back_with_the_state(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(3).get_state()
    variables = {"dual": torch.randn(2, 3, 4), "slopes_dual": torch.randn(2, 3, 4)}
    dual = torch.randn(2, 3, 4)
    kept = KeptState(tmp_path / "a.state", {"settings": 1}, every_seconds=0.0)
    state = State(5, torch.randn(2, 3, 4), generator, dual, variables=variables)
    kept.keep_if_due(5, lambda: arrays_of(state))
    found = state_of(*kept.resume())
    assert found.done == 5 and torch.equal(found.generator, generator)
    assert torch.equal(found.dual, dual) and found.total is None
    assert set(found.variables) == {"dual", "slopes_dual"}
    for name, value in variables.items():
        assert torch.equal(found.variables[name], value)
    kept.keep_if_due(6, lambda: arrays_of(State(6, torch.randn(2, 3, 4), generator)))
    found = state_of(*kept.resume())
    assert found.dual is None and found.variables == {}
