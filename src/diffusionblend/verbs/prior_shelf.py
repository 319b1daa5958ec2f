"""The priors of a benchmark, found by what a method needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from diffusionblend.errors import InputError

if TYPE_CHECKING:
    from diffusionblend.evaluation.benchmark_tables import Setting
    from diffusionblend.methods.method import Method
    from diffusionblend.priors.prior import Prior


BUDGET = ("batch_size", "learning_rate", "warmup_steps", "decay_steps")
"""Settings of a training that a table tells, beside its steps."""


class PriorShelf:
    """Loaded priors by layout, those of layout fbp-unet by their views as well.

    names: shipped names, folders or hub ids. starts_coarse: whether methods that can are given the
    shipped prior that goes with a shipped one. Raises InputError where two have the same layout, or
    another slice size.
    """

    def __init__(self, names: Sequence[str], device: str, *, starts_coarse: bool) -> None:
        from diffusionblend.priors.prior import load_prior
        from diffusionblend.priors.shipped import shipped_half_of

        self._coarse: dict[str, Prior] = {}
        self._priors: dict[tuple[str, object], tuple[str, Prior]] = {}
        for name in names:
            prior = load_prior(name, device)
            key = _key(prior)
            if key in self._priors:
                raise InputError(
                    f"{self._priors[key][0]} and {name} are both of layout {key[0]!r}.",
                    "one prior of each layout",
                )
            self._priors[key] = (name, prior)
            half = shipped_half_of(name) if starts_coarse else None
            if half is not None:
                self._coarse[prior.config.layout] = load_prior(half, device)
        sizes = {prior.config.image_size for _, prior in self._priors.values()}
        if len(sizes) > 1:
            raise InputError(f"The priors are for slices of {sorted(sizes)} pixels.", "one size")
        self.size = next(iter(sizes), None)

    def options(self, name: str, method: Method, setting: Setting) -> dict[str, object]:
        """The priors that a method takes in a setting, as options of `reconstruct`.

        Raises InputError, naming the one that lacks and the command that trains it.
        """
        found: dict[str, object] = {}
        if method.layout is not None:
            found["prior"] = self._find(name, method.layout, setting)
        if method.perpendicular is not None:
            found["perpendicular_prior"] = self._find(name, method.perpendicular, setting)
        if method.starts_coarse and method.layout in self._coarse:
            found["coarse_prior"] = self._coarse[method.layout]
        return found

    def trained_on(self, volume: str) -> list[str]:
        """The priors that were trained on a volume of this file name."""
        return [n for n, p in self._priors.values() if volume in (p.trained.get("volumes") or ())]

    def described(self) -> list[str]:
        """A line for each prior: how it was trained."""
        return [f"{name}: {_training(prior)}" for name, prior in self._priors.values()]

    def _find(self, method: str, layout: str, setting: Setting) -> Prior:
        of_views = (setting.views, setting.arc_degrees) if layout == "fbp-unet" else None
        if (layout, of_views) in self._priors:
            return self._priors[layout, of_views][1]
        train = f"diffusionblend train VOLUMES -o priors/{layout} --layout {layout}"
        if of_views is not None:
            train += f" --views {setting.views} --arc-degrees {setting.arc_degrees:g}"
        what = f" for {setting.name}" if of_views is not None else ""
        raise InputError(
            f"{method} needs a prior of layout {layout!r}{what}, and --priors has none.",
            f"--priors with one of layout {layout!r} among them",
            f"'{train}', or --methods without {method}",
        )


def _key(prior: Prior) -> tuple[str, object]:
    layout = prior.config.layout
    return layout, prior.views if layout == "fbp-unet" else None


def _training(prior: Prior) -> str:
    """Layout, size, budget, start, volumes and loss of a prior, as far as its facts tell."""
    facts, settings = prior.trained, prior.trained.get("settings")
    settings = settings if isinstance(settings, dict) else {}
    channels = " ".join(str(c) for c in prior.config.channels)
    parts = [f"layout {prior.config.layout}", f"{prior.config.image_size} pixels"]
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
