"""Settings of another type, or outside their limits, are refused by their names."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from types import NoneType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import numpy as np
import pytest

from diffusionblend.errors import InputError
from diffusionblend.methods import METHODS, Cg, Dds, DiffusionBlendPP
from diffusionblend.methods.diffusion.consistency import CONSISTENCY_STEPS

KINDS = [METHODS[n] for n in METHODS] + [CONSISTENCY_STEPS[n] for n in CONSISTENCY_STEPS]
OF_NO_TYPE = {int: (2.5, "3", True), float: ("0.1", True), bool: (1, "yes"), str: ("nonsense", 3)}
"""Values that are none of a type; of a choice those of a text."""


def type_and_none(kind: type, name: str) -> tuple[type, bool]:
    """The plain type of a field, `str` for choices, and whether None may stand there."""
    hint: Any = get_type_hints(kind, include_extras=True)[name]
    plain = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    parts = get_args(plain) or (plain,)
    rest = [part for part in parts if part is not NoneType]
    found = rest[0] if isinstance(rest[0], type) else str
    return found, NoneType in parts


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_field_refuses_values_of_another_type(kind: type) -> None:
    for one in fields(kind):
        plain, may_be_none = type_and_none(kind, one.name)
        wrong = OF_NO_TYPE.get(plain, (3, 2.5)) + (() if may_be_none else (None,))
        for value in wrong:
            with pytest.raises(InputError, match=f"{one.name} is "):
                kind(**{one.name: value})


def test_what_is_expected_is_said() -> None:
    for make, words in (
        (lambda: Dds(steps=2.5), "a whole number at least 1"),
        (lambda: Dds(nonnegative="no"), "True or False"),
        (lambda: Dds(init="water"), "one of noise, fbp, cg, tv"),
        (lambda: Dds(init_timestep="late"), "a whole number"),
        (lambda: Dds(consistency=3), "a Consistency"),
        (lambda: Cg(rho=-1), "a number at least 0"),
    ):
        with pytest.raises(InputError) as caught:
            make()
        assert caught.value.expected == words


def test_numbers_of_numpy_become_pythons() -> None:
    method = DiffusionBlendPP(steps=np.int64(7), noise_fraction=np.float32(0.5), seed=np.int32(3))
    assert method == DiffusionBlendPP(steps=7, noise_fraction=0.5, seed=3)
    assert json.loads(json.dumps(method.settings()))["steps"] == 7
    assert replace(method, seed=np.uint8(9)).seed == 9
    with pytest.raises(InputError, match=r"steps is 7\.0"):
        DiffusionBlendPP(steps=np.float64(7))
