"""Settings given to another method than the chosen one are refused, and told how to be given."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from diffusionblend.cli.chosen_settings import check_settings_are_of, settings_field
from diffusionblend.cli.reconstruct import Reconstruct
from diffusionblend.errors import InputError
from diffusionblend.methods.registry import METHODS
from diffusionblend.methods.settings import (
    AdmmTvSettings,
    DdsSettings,
    DiffusionBlendPPSettings,
    DiffusionBlendSettings,
)

PLAIN = Reconstruct(projections=Path("scan.h5"), output=Path("a.nii.gz"))
BARE = replace(PLAIN, diffusionblend=DiffusionBlendPPSettings(consistency="prox", seed=3))


def test_every_method_has_settings_of_its_own_kind() -> None:
    for name, method in METHODS.items():
        assert type(getattr(PLAIN, settings_field(name))) is method.settings
        check_settings_are_of(name, PLAIN)


def test_the_chosen_methods_settings_may_be_anything() -> None:
    check_settings_are_of("diffusionblend++", BARE)
    check_settings_are_of("dds", replace(PLAIN, dds=DdsSettings(steps=2, seed=9)))


@pytest.mark.parametrize(
    ("method", "verb", "said"),
    [
        ("dds", BARE, "--consistency, --seed was given"),
        ("dds", BARE, "--dds.consistency"),
        ("diffusionblend", BARE, "--diffusionblend.consistency"),
        ("fbp", BARE, "without --consistency"),
        ("diffusionblend++", replace(PLAIN, neighbours=DiffusionBlendSettings(steps=3)), "--steps"),
        ("fbp", replace(PLAIN, tv=AdmmTvSettings(weight=3.0)), "--tv.weight was given"),
    ],
)
def test_those_of_another_are_refused(method: str, verb: Reconstruct, said: str) -> None:
    with pytest.raises(InputError, match=said):
        check_settings_are_of(method, verb)
