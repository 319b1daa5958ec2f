"""A state file holds what the data step keeps, beside the volume and the generator."""

from __future__ import annotations

from pathlib import Path

import torch

from diffusionblend.methods.diffusion.sampler import SamplerState
from diffusionblend.runs.checkpoint import KeptState


def test_variables_come_back_with_the_state(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(3).get_state()
    variables = {"slopes": torch.randn(2, 3, 4), "slopes_dual": torch.randn(2, 3, 4)}
    dual = torch.randn(2, 3, 4)
    kept = KeptState(tmp_path / "a.state", {"settings": 1}, every_seconds=0.0)
    kept.keep_if_due(SamplerState(5, torch.randn(2, 3, 4), generator, dual, variables=variables))
    found = kept.resume()
    assert found.done == 5 and torch.equal(found.generator, generator)
    assert torch.equal(found.dual, dual) and found.total is None
    assert set(found.variables) == {"slopes", "slopes_dual"}
    for name, value in variables.items():
        assert torch.equal(found.variables[name], value)
    kept.keep_if_due(SamplerState(6, torch.randn(2, 3, 4), generator))
    found = kept.resume()
    assert found.dual is None and found.variables == {}
