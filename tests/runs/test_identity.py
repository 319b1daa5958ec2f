"""Two runs have one identity exactly where their results are the same."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from diffusionblend.errors import InputError
from diffusionblend.methods import Cg, Cgls, Dds, DiffusionBlendPP
from diffusionblend.runs.checkpoint import KeptState
from diffusionblend.runs.identity import key_of, run_identity
from tiny_network import random_prior

PRIORS = {"prior": random_prior()}
BASE = DiffusionBlendPP(steps=3)


def identity(method=BASE, priors=PRIORS, inputs=("a" * 64,), device="cpu"):
    return run_identity(method, priors, inputs, device)


def test_it_is_plain_and_comes_back_from_json():
    assert json.loads(json.dumps(identity())) == identity()


def test_what_is_written_out_is_what_is_meant():
    written_out = DiffusionBlendPP(steps=3, init="fbp", noise_fraction=1.0, dual_damping=0.95)
    assert identity(written_out) == identity()
    assert identity(BASE.resolved(frozenset({"prior"}))) == identity()
    assert identity(device="cuda:0", priors={}, method=Cgls()) == identity(
        device="cuda:3", priors={}, method=Cgls()
    )


@pytest.mark.parametrize(
    "other",
    [
        {"method": replace(BASE, seed=1)},
        {"method": replace(BASE, dual_damping=0.0)},
        {"method": replace(BASE, consistency=Cg())},
        {"method": Dds(steps=3)},
        {"inputs": ("b" * 64,)},
        {"inputs": ("a" * 64, "b" * 64)},
        {"priors": {"prior": replace(random_prior(seed=4), weights_sha256="4" * 64)}},
        {"priors": {"prior": replace(random_prior(), precision="bfloat16")}},
    ],
)
def test_whatever_decides_a_result_is_in_it(other):
    assert identity(**other) != identity()
    assert key_of(identity(**other)) != key_of(identity())
    assert key_of(identity()) == key_of(identity())


def test_the_device_is_in_it_by_its_kind():
    plain = {"method": Cgls(), "priors": {}}
    assert identity(**plain, device="cuda") != identity(**plain, device="cpu")


def test_arrays_are_kept_for_the_same_run_alone(tmp_path: Path):
    arrays = {"x": np.arange(6.0).reshape(2, 3), "variable.x": np.ones(2, np.float32)}
    kept = KeptState(tmp_path / "a.state", identity(), every_seconds=0.0)
    assert kept.resume() is None
    kept.keep_if_due(5, lambda: arrays)
    done, found = kept.resume()
    assert done == 5 and found.keys() == arrays.keys()
    for name, value in arrays.items():
        np.testing.assert_array_equal(found[name], value)
    with pytest.raises(InputError, match="another scan, prior or settings"):
        KeptState(kept.path, identity(replace(BASE, seed=1)), 0.0).resume()
    kept.forget()
    assert kept.resume() is None


def test_states_are_written_when_due_and_by_the_first_process_alone(tmp_path: Path):
    patient = KeptState(tmp_path / "a.state", identity(), every_seconds=1e6)
    patient.keep_if_due(1, lambda: pytest.fail("nothing is due"))
    second = KeptState(tmp_path / "a.state", identity(), every_seconds=0.0, writes=False)
    second.keep_if_due(1, lambda: pytest.fail("another process writes"))
    second.keep(1, {})
    assert not patient.path.exists()
