"""The priors of a benchmark, found by what a method needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from diffusionblend.benchmarking.tables import HALF_TURN_DEGREES
from diffusionblend.errors import InputError
from diffusionblend.priors.prior_types.registry import prior_type_of

if TYPE_CHECKING:
    from diffusionblend.benchmarking.tables import Setting
    from diffusionblend.methods.method import Method
    from diffusionblend.priors.prior import Prior
    from diffusionblend.priors.restorer import Restorer


BUDGET = ("batch_size", "learning_rate", "warmup_steps", "decay_steps")
"""Settings of a training that a table tells, beside its steps."""


class PriorShelf:
    """Loaded priors by prior type, restorers by the views of their scans as well.

    names: shipped names, folders or hub ids. starts_coarse: whether methods that can are given the
    shipped prior that goes with a shipped one. Raises InputError where two are of the same type, or
    of different slice sizes.
    """

    def __init__(self, names: Sequence[str], device: str, *, starts_coarse: bool) -> None:
        from diffusionblend.priors.prior import load_prior
        from diffusionblend.priors.store import shipped_half_of

        self._coarse: dict[str, Prior] = {}
        self._priors: dict[tuple[str, object], tuple[str, Prior | Restorer]] = {}
        for name in names:
            prior = load_prior(name, device)
            key = _key(prior)
            if key in self._priors:
                raise InputError(
                    f"{self._priors[key][0]} and {name} are both of prior type {key[0]!r}.",
                    "one prior of each type",
                )
            self._priors[key] = (name, prior)
            half = shipped_half_of(name) if starts_coarse else None
            if half is not None:
                self._coarse[prior.config.prior_type] = load_prior(half, device)
        sizes = {prior.config.image_size for _, prior in self._priors.values()}
        if len(sizes) > 1:
            raise InputError(f"The priors are for slices of {sorted(sizes)} pixels.", "one size")
        self.size = next(iter(sizes), None)

    def check_all(self, methods: Mapping[str, Method], settings: Sequence[Setting]) -> None:
        """Raise InputError where methods lack priors, naming all and the commands that train them.

        methods: by their names.
        """
        lacking: dict[str, list[str]] = {}
        for name, method in methods.items():
            for setting in settings:
                for layout in filter(None, (method.layout, method.perpendicular)):
                    key = _key_of(layout, setting)
                    if key not in self._priors:
                        users = lacking.setdefault(_training_command(*key), [])
                        users += [name] if name not in users else []
        if lacking:
            needed = [f"{', '.join(users)}: {command}" for command, users in lacking.items()]
            without = {name for users in lacking.values() for name in users}
            raise InputError(
                f"--priors does not have all that {', '.join(sorted(without))} need.",
                "--priors with one of each prior type that the methods need",
                "\n  ".join([f"--methods without {' '.join(sorted(without))}, or train", *needed]),
            )

    def options(self, method: Method, setting: Setting) -> dict[str, object]:
        """The priors that a method takes in a setting, as options of `reconstruct`.

        They are there after `check_all`.
        """
        found: dict[str, object] = {}
        if method.layout is not None:
            found["prior"] = self._priors[_key_of(method.layout, setting)][1]
        if method.perpendicular is not None:
            found["perpendicular_prior"] = self._priors[_key_of(method.perpendicular, setting)][1]
        if method.starts_coarse and method.layout in self._coarse:
            found["coarse_prior"] = self._coarse[method.layout]
        return found

    def trained_on(self, volume: str) -> list[str]:
        """The priors that were trained on a volume of this file name."""
        return [n for n, p in self._priors.values() if volume in (p.trained.get("volumes") or ())]

    def described(self) -> list[str]:
        """A line for each prior: how it was trained."""
        return [f"{name}: {_training(prior)}" for name, prior in self._priors.values()]


def _key(prior: Prior | Restorer) -> tuple[str, object]:
    name = prior.config.prior_type
    return name, None if prior.config.type.is_diffusion else prior.views


def _key_of(prior_type: str, setting: Setting) -> tuple[str, object]:
    is_diffusion = prior_type_of(prior_type).is_diffusion
    return prior_type, None if is_diffusion else (setting.views, setting.arc_degrees)


def _training_command(prior_type: str, of_views: tuple[int, float] | None) -> str:
    command = f"diffusionblend train VOLUMES -o priors/{prior_type}"
    if of_views is None:
        return f"{command} --prior-type {prior_type}"
    views, arc_degrees = of_views
    which = views if arc_degrees == HALF_TURN_DEGREES else arc_degrees
    of_views = f"--views {views} --arc-degrees {arc_degrees:g}"
    return f"{command}-{which:g} --prior-type {prior_type} {of_views}"


def _training(prior: Prior) -> str:
    """Prior type, size, budget, start, volumes and loss of a prior, as far as its facts tell."""
    facts, settings = prior.trained, prior.trained.get("settings")
    settings = settings if isinstance(settings, dict) else {}
    channels = " ".join(str(c) for c in prior.config.channels)
    parts = [f"prior type {prior.config.prior_type}", f"{prior.config.image_size} pixels"]
    parts += [f"channels {channels}"]
    parts += [f"{facts[name]} {name}" for name in ("steps", "blocks") if name in facts]
    parts += [f"{n.replace('_', ' ')} {settings[n]}" for n in BUDGET if n in settings]
    if "initial_prior_sha256" in facts:
        parts.append(f"from the weights {facts['initial_prior_sha256'][:16]}")
    if isinstance(facts.get("volumes"), list):
        parts.append(f"{len(facts['volumes'])} volumes")
    if isinstance(facts.get("validation_loss"), float):
        parts.append(f"validation loss {facts['validation_loss']:.4f}")
    return ", ".join([*parts, f"SHA-256 {prior.weights_sha256[:16]}"])
