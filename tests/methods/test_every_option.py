"""Every option of every method changes the volume, or is refused, or is not there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import numpy as np
import pytest

from diffusionblend.data.projections import Projections
from diffusionblend.errors import InputError
from diffusionblend.methods import METHODS, DiffusionMethod, Fbp, Method
from diffusionblend.methods.api import make_method, reconstruct
from diffusionblend.methods.diffusion.consistency import CONSISTENCY_STEPS
from diffusionblend.methods.validation import choices_of
from diffusionblend.priors.prior import Prior
from diffusionblend.simulation import simulate
from small_scan import scan, small_volume
from tiny_network import TINY, random_prior

SIZE, VIEWS = 16, 6
SHAPE = (9, SIZE, SIZE)
"""Enough slices for blocks of three that jump."""
STEPS = 3
PHOTONS = 200.0
"""So few that a step which stops at the noise does."""
LEAST_CHANGE_HU = 0.05

OTHER_VALUES: dict[str, Any] = {
    "steps": 4,
    "fine_steps": 3,
    "time_power": 2.0,
    "init_timestep": 500,
    "noise_fraction": 0.3,
    "ddim_eta": 0.4,
    "nonnegative": False,
    "seed": 7,
    "dual_damping": 0.5,
    "tail_average_below": 900,
    "jump_every": 3,
    "jump_stride": 2,
    "plane_ratio": 1,
    "corrector_snr": 0.4,
    "cg_iterations": 2,
    "rho": 3.0,
    "weighted": True,
    "stop_at_noise": True,
    "tv_z_weight": 20.0,
    "tv_z_penalty": 50.0,
    "tv_z_keep": True,
    "hard_weight": 0.6,
    "dps_step": 5.0,
    "iterations": 4,
    "weight": 9.0,
    "penalty": 1.0,
    "inner_iterations": 1,
    "highest_hu": 100.0,
    "rounds": 4,
    "halvings": 1,
    "first_level": 1.6,
    "last_level": 0.2,
}
"""Another value of each option that is no choice; a tuple: more than one."""
OTHER_DEFAULTS = {"tv_z_keep": {"diffusion-mbir": False}}
"""By method, where its default is the other value already."""


OF_OTHER_SCANS = {"extrapolate"}
"""Options that change nothing of a scan whose detector sees all: tests/solvers/test_extrapolation.
"""
MAY_BE_REFUSED = {
    *("init_timestep", "init", "coarse_init", "fine_steps"),
    *("dual_damping", "tail_average_below"),
}
"""Options that are refused without an image to begin with, a coarse prior, or a step on the
estimate; elsewhere here each of them is taken."""


@dataclass(frozen=True)
class Context:
    """Where options are tried: a method, its small settings and its priors."""

    method: str
    settings: Mapping[str, Any]
    coarse: bool = False


def small(name: str, **settings: Any) -> dict[str, Any]:
    """Settings that make a method quick."""
    names = {f.name for f in fields(METHODS[name])}
    quick = (
        {"steps": STEPS, "rounds": STEPS, "iterations": 6} if name != "cgls" else {"iterations": 3}
    )
    return {n: v for n, v in quick.items() if n in names} | settings


DIFFUSION = [n for n in METHODS if issubclass(METHODS[n], DiffusionMethod)]
CONTEXTS = [Context(name, small(name)) for name in METHODS.names()]
CONTEXTS += [Context("diffusionblend++", small("diffusionblend++", fine_steps=2), coarse=True)]
CONTEXTS += [Context("dds-2d", small("dds-2d", init="fbp"))]
CONTEXTS += [
    Context(name, small(name, consistency=step)) for name in DIFFUSION for step in CONSISTENCY_STEPS
]


@cache
def noisy_scan() -> Projections:
    volume = small_volume(SHAPE)
    return simulate(volume, scan(volume, VIEWS).geometry, photons=PHOTONS, seed=1)


@cache
def prior_of(prior_type: str, size: int = SIZE) -> Prior:
    made = random_prior(3, replace(TINY, prior_type=prior_type, image_size=size))
    made.trained = {"settings": {"views": VIEWS, "arc_degrees": 180.0}}
    return made


def priors_of(kind: type[Method], coarse: bool) -> dict[str, Prior]:
    if kind.prior is None:
        return {}
    found = {"prior": prior_of(kind.prior.prior_type)}
    if kind.prior.coronal:
        found["coronal_prior"] = prior_of("coronal")
    if coarse:
        found["coarse_prior"] = prior_of(kind.prior.prior_type, SIZE // 2)
    return found


def volume(method: Method, coarse: bool) -> np.ndarray:
    priors = priors_of(type(method), coarse)
    return reconstruct(noisy_scan(), method, device="cpu", **priors).volume.values


def other_values(settings: object, name: str, method: str) -> list[Any]:
    """What is tried of an option of resolved settings in place of the value that it has."""
    hint = get_type_hints(type(settings), include_extras=True)[name]
    plain = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    value = getattr(settings, name)
    if choices := choices_of(plain):
        return [choice for choice in choices if choice != value]
    assert name in OTHER_VALUES, f"{name} is new: write another value into OTHER_VALUES"
    other = OTHER_DEFAULTS.get(name, {}).get(method, OTHER_VALUES[name])
    assert other != value, f"{name} is {value!r} already: write another value into OTHER_VALUES"
    return [other]


def options_of(given: Method, coarse: bool, step_alone: bool) -> list[tuple[str, Any]]:
    """Every option with every other value: of the method and, or only, of its nested step."""
    method = given.resolved(frozenset(priors_of(type(given), coarse)))
    step = getattr(method, "consistency", None)
    parts = [step] if step_alone else [method, *([step] if step is not None else [])]
    return [
        (one.name, value)
        for part in parts
        for one in fields(part)
        if not is_dataclass(getattr(part, one.name)) and one.name not in OF_OTHER_SCANS
        for value in other_values(part, one.name, method.name)
    ]


def tried(method: Method, coarse: bool, step_alone: bool = False) -> tuple[list[str], set[str]]:
    """The options that leave the volume as it is, with their values, and those refused."""
    base, idle, refused = volume(method, coarse), [], set()
    for name, value in options_of(method, coarse, step_alone):
        try:
            got = volume(make_method(method, **{name: value}), coarse)
        except InputError:
            refused.add(name)
            continue
        if np.abs(got - base).max() < LEAST_CHANGE_HU:
            idle.append(f"{name}={value!r}")
    return idle, refused


def label(context: Context) -> str:
    step = context.settings.get("consistency")
    parts = (context.method, step, context.settings.get("init"), "coarse" * context.coarse)
    return "-".join(part for part in parts if part)


@pytest.mark.parametrize("context", CONTEXTS, ids=label)
def test_every_option_changes_the_volume_or_is_refused(context: Context) -> None:
    try:
        method = make_method(context.method, **context.settings)
    except InputError:
        return  # the method refuses the data-consistency step
    idle, refused = tried(method, context.coarse, "consistency" in context.settings)
    assert idle == []
    assert refused <= MAY_BE_REFUSED


def test_every_consistency_step_changes_the_volume_or_is_refused() -> None:
    for name in DIFFUSION:
        found, refused = {}, set()
        for step in CONSISTENCY_STEPS:
            try:
                found[step] = volume(make_method(name, **small(name, consistency=step)), False)
            except InputError:
                refused.add(step)
        assert refused == ({"hard", "dps"} if name == "diffusion-mbir" else set())
        pairs = [(a, b) for a in found for b in found if a < b]
        alike = [p for p in pairs if np.abs(found[p[0]] - found[p[1]]).max() < LEAST_CHANGE_HU]
        assert alike == [], name


@dataclass(frozen=True, kw_only=True)
class Idle(Fbp):
    """A method with an option that does nothing."""

    idle: bool = False


def test_an_option_without_effect_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OTHER_VALUES, "idle", True)
    assert tried(Idle(), coarse=False) == (["idle=True"], set())
    monkeypatch.delitem(OTHER_VALUES, "idle")
    with pytest.raises(AssertionError, match="idle is new"):
        tried(Idle(), coarse=False)
