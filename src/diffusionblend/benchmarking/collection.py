"""The priors of a benchmark, found by what a method needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from diffusionblend.benchmarking.setups import HALF_SCAN_DEGREES
from diffusionblend.errors import InputError
from diffusionblend.priors.prior_types.registry import prior_type_of

if TYPE_CHECKING:
    from diffusionblend.benchmarking.grid import CellSpec
    from diffusionblend.benchmarking.setups import Setup
    from diffusionblend.geometry.grid import Grid
    from diffusionblend.methods.base import Method
    from diffusionblend.priors.precision import Precision
    from diffusionblend.priors.prior import Prior

BUDGET = ("batch_size", "learning_rate", "warmup_steps", "decay_steps")
"""Settings of a training that a table shows, beside its steps."""
PriorKey = tuple[str, tuple[int, float] | None]


class PriorCollection:
    """Loaded priors by prior type; those of FBP-UNet by the views of their scans as well.

    names: shipped names, folders or hub ids. precision: of their arithmetic, as of `load_prior`.
    size: of the slices that they serve, None for any. Raises InputError where two are of the same
    type, or of different slice sizes.
    """

    def __init__(self, names: Sequence[str], device: str, precision: Precision = "auto") -> None:
        self.device = device
        self._precision = precision
        self._loaded: dict[str, Prior] = {}
        self._names: dict[PriorKey, str] = {}
        for name in names:
            key = _key(self._load(name))
            if key in self._names:
                raise InputError(
                    f"{self._names[key]} and {name} are both of prior type {key[0]!r}.",
                    "one prior of each type",
                    "a [[cell]] of a grid with a prior of its own",
                )
            self._names[key] = name
        configs = (self._loaded[name].config for name in self._names.values())
        sizes = {config.image_size for config in configs if not config.length_codes}
        if len(sizes) > 1:
            raise InputError(f"The priors are for slices of {sorted(sizes)} pixels.", "one size")
        self.size: int | None = next(iter(sizes), None)

    @property
    def usual_size(self) -> int | None:
        """Slice size of a benchmark that names none: the priors', even if they serve others."""
        return next((self._loaded[name].config.image_size for name in self._names.values()), None)

    def check_all(self, cells: Iterable[CellSpec], setups: Sequence[Setup | None]) -> None:
        """Raise InputError where cells lack priors, naming all and the commands that train them."""
        lacking: dict[str, list[str]] = {}
        for cell in cells:
            for setup in setups:
                for role, key in _wanted(cell.method, setup).items():
                    if role not in cell.priors and self._name_of(key) is None:
                        users = lacking.setdefault(_training_command(*key), [])
                        users += [] if cell.label in users else [cell.label]
        if lacking:
            needed = [f"{', '.join(users)}: {command}" for command, users in lacking.items()]
            without = sorted({label for users in lacking.values() for label in users})
            raise InputError(
                f"--priors does not contain all that {', '.join(without)} need.",
                "--priors with one of each prior type that the methods need",
                "\n  ".join([f"--methods without {' '.join(without)}, or train", *needed]),
            )

    def priors_of(self, cell: CellSpec, setup: Setup | None, *, grid: Grid) -> dict[str, Prior]:
        """The loaded priors of a cell by their roles; after `check_all`. Raises InputError.

        grid: of the volume.
        """
        method = cell.method
        given: dict[str, Prior] = {role: self._load(name) for role, name in cell.priors.items()}
        for role, key in _wanted(method, setup).items():
            if role not in given:
                name = self._name_of(key)
                assert name is not None, "check_all was called"
                given[role] = self._load(name)
        found = method.load_priors(given, grid=grid, device=self.device)
        return dict(found)

    def _name_of(self, key: PriorKey) -> str | None:
        """The prior of a type, for certain views or else for any; None where there is none."""
        return self._names.get(key, self._names.get((key[0], None)))

    def _load(self, name: str) -> Prior:
        from diffusionblend.priors.prior import load_prior

        if name not in self._loaded:
            loaded = load_prior(name, self.device, precision=self._precision)
            self._loaded[name] = loaded  # type: ignore[assignment]
        return self._loaded[name]

    def trained_on(self, volume: str) -> list[str]:
        """The priors that were trained on a volume of this file name."""
        found = []
        for name, prior in self._loaded.items():
            volumes = prior.trained.get("volumes")
            found += [name] if isinstance(volumes, list) and volume in volumes else []
        return found

    def described(self, priors: Mapping[str, Prior]) -> dict[str, dict[str, str]]:
        """Name, hash, precision and training of a run's priors by their roles, for its row."""
        from diffusionblend.priors.precision import precision_used

        names = {id(prior): name for name, prior in self._loaded.items()}
        return {
            role: {
                "name": names.get(id(prior), str(prior.source)),
                "weights_sha256": prior.weights_sha256,
                "precision": precision_used(prior.precision, prior.device),
                "training": training_in_short(prior),
            }
            for role, prior in priors.items()
        }


def _key(prior: Prior) -> PriorKey:
    is_diffusion = prior.config.type.is_diffusion
    views = None if is_diffusion else prior.views  # type: ignore[attr-defined]
    return prior.config.prior_type, views


def _wanted(method: Method, setup: Setup | None) -> dict[str, PriorKey]:
    """What a method's collection has to contain, by roles; the views of a measured scan are 0."""
    spec = method.prior
    if spec is None:
        return {}
    of_views = (0, 0.0) if setup is None else (setup.views, float(setup.arc_degrees or 0.0))
    is_diffusion = prior_type_of(spec.prior_type).is_diffusion
    wanted: dict[str, PriorKey] = {"prior": (spec.prior_type, None if is_diffusion else of_views)}
    if spec.coronal:
        wanted["coronal_prior"] = ("coronal", None)
    return wanted


def _training_command(prior_type: str, of_views: tuple[int, float] | None) -> str:
    command = f"diffusionblend train VOLUMES -o priors/{prior_type}"
    if of_views is None:
        return f"{command} --prior-type {prior_type}"
    views, arc_degrees = of_views
    which = views if arc_degrees == HALF_SCAN_DEGREES else arc_degrees
    scan = f"--views {views} --arc-degrees {arc_degrees:g}"
    return f"{command}-{which:g} --prior-type {prior_type} {scan}"


def training_in_short(prior: Prior) -> str:
    """Prior type, size, budget, start, volumes and loss of a prior, as far as its facts say."""
    facts, settings = prior.trained, prior.trained.get("settings")
    settings = settings if isinstance(settings, dict) else {}
    channels = " ".join(str(c) for c in prior.config.channels)
    parts = [f"prior type {prior.config.prior_type}", f"{prior.config.image_size} pixels"]
    parts += [f"channels {channels}"]
    parts += [f"{facts[name]} {name}" for name in ("steps", "blocks") if name in facts]
    parts += [f"{n.replace('_', ' ')} {settings[n]}" for n in BUDGET if n in settings]
    if "initial_prior_sha256" in facts:
        parts.append(f"from the weights {str(facts['initial_prior_sha256'])[:16]}")
    volumes, loss = facts.get("volumes"), facts.get("validation_loss")
    parts += [f"{len(volumes)} volumes"] if isinstance(volumes, list) else []
    parts += [f"validation loss {loss:.4f}"] if isinstance(loss, float) else []
    return ", ".join([*parts, f"SHA-256 {prior.weights_sha256[:16]}"])
