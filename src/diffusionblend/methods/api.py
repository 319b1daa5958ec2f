"""Reconstruction in one call: a method by name with its settings, several samples, a generator."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from queue import Queue
from threading import Thread
from typing import TYPE_CHECKING, Any, cast

from diffusionblend.errors import InputError
from diffusionblend.methods import METHODS
from diffusionblend.methods.base import Execution, Method, check_is_scan, reconstruct_with
from diffusionblend.methods.plain import from_plain, plain_fields

if TYPE_CHECKING:
    from diffusionblend.data.projections import Projections
    from diffusionblend.data.result import Ensemble, Reconstruction
    from diffusionblend.data.volume import Volume
    from diffusionblend.methods.base import OnEstimate, OnStep
    from diffusionblend.priors.resolve import PriorLike

DEFAULT_METHOD = "diffusionblend++"
MOST_SAMPLES = 10_000
"""Each is a volume of its own on the disk."""


def make_method(method: str | Method = DEFAULT_METHOD, **settings: Any) -> Method:
    """A method by its name on the command line, with settings; or an instance, some replaced.

    Settings of the data-consistency step are given beside its name: `consistency="cg",
    cg_iterations=8`. Raises InputError for an unknown method or setting.
    """
    if isinstance(method, type):
        raise InputError(
            f"The method is the class {method.__name__}.",
            "the name of a method, or one made of the class",
            f"{method.__name__}()",
        )
    if not isinstance(method, str | Method):
        raise InputError(
            f"The method is of the class {type(method).__name__}.",
            f"its name, one of {', '.join(METHODS)}, or one made of its class",
        )
    if isinstance(method, Method):
        return from_plain(type(method), plain_fields(method) | settings) if settings else method
    return from_plain(METHODS[method], settings)


def reconstruct(
    scan: Projections,
    method: str | Method = DEFAULT_METHOD,
    *,
    prior: PriorLike = None,
    coronal_prior: PriorLike = None,
    coarse_prior: PriorLike = None,
    device: str = "auto",
    on_step: OnStep | None = None,
    on_estimate: OnEstimate | None = None,
    execution: Execution | None = None,
    **settings: Any,
) -> Reconstruction:
    """A volume in HU from projections, by a method with its settings.

    method: a name ("cgls") or an instance (`Cgls(iterations=9)`). prior: a loaded one, the name of
    a shipped one, a folder or a hub id; None the shipped one for the slices' size. coronal_prior:
    of coronal slices, for tpdm. coarse_prior: for half the pixels, for diffusionblend++. device:
    "auto", "cpu" or "cuda". on_step: called with the steps done and in all. on_estimate: the same
    with the present estimate, a Volume in HU (diffusion methods). Warns where the scan's photon
    count contradicts its noise. Raises InputError.
    """
    _check_scan(scan)
    execution = execution or Execution()
    if on_step is not None:
        execution = replace(execution, on_step=on_step)
    if on_estimate is not None:
        execution = replace(execution, on_estimate=on_estimate)
    return make_method(method, **settings)(
        scan,
        prior=prior,
        coronal_prior=coronal_prior,
        coarse_prior=coarse_prior,
        device=device,
        execution=execution,
    )


def sample(
    scan: Projections,
    method: str | Method = DEFAULT_METHOD,
    *,
    n: int = 4,
    keep_samples: bool = False,
    prior: PriorLike = None,
    coronal_prior: PriorLike = None,
    coarse_prior: PriorLike = None,
    device: str = "auto",
    on_sample: Callable[[int, int], None] | None = None,
    **settings: Any,
) -> Ensemble:
    """Mean and standard deviation in HU of n samples, with seeds from `seed` on.

    Samples begin with noise, unless an initialisation is given. on_sample: called with the samples
    done and in all. Raises InputError for a method that draws nothing.
    """
    from diffusionblend.data.ensemble import mean_and_deviation
    from diffusionblend.data.result import Ensemble
    from diffusionblend.devices import choose_device

    chosen = make_method(method, **settings)
    check_can_sample(chosen, n)
    if n < 2:
        raise InputError(
            f"An ensemble of {n} sample was asked for.",
            "two or more",
            "reconstruct, for a single one",
        )
    _check_scan(scan)
    where = choose_device(device)
    given = {"prior": prior, "coronal_prior": coronal_prior, "coarse_prior": coarse_prior}
    priors = chosen.load_priors(given, grid=scan.grid, device=where)
    kept: list[Volume] = []

    def drawn() -> Iterator[Volume]:
        for i in range(n):
            one = chosen.for_ensemble(chosen.first_seed + i, frozenset(priors))
            volume = reconstruct_with(one, scan, priors, where, Execution()).volume
            if keep_samples:
                kept.append(volume)
            if on_sample is not None:
                on_sample(i + 1, n)
            yield volume

    mean, deviation = mean_and_deviation(drawn())
    return Ensemble(mean, deviation, tuple(kept))


def _check_scan(scan: object) -> None:
    """Raise InputError for what is no scan; warn of a photon count that its noise contradicts."""
    from diffusionblend.methods.residual import photons_note

    check_is_scan(scan)
    if note := photons_note(cast("Projections", scan)):
        warnings.warn(note, stacklevel=3)


def check_can_sample(method: Method, n: int) -> None:
    """Raise InputError where n samples cannot be drawn by a method."""
    if not 1 <= n <= MOST_SAMPLES:
        raise InputError(f"{n} samples were asked for.", f"1 to {MOST_SAMPLES}", "--samples 4")
    if n > 1 and not method.is_random:
        raise InputError(
            f"{method.name}, which draws nothing at random, was asked for {n} samples.",
            "one, or a method that samples a prior",
            "--method diffusionblend++",
        )


@dataclass(frozen=True)
class Step:
    """A step of a running reconstruction: how far it is, and the present estimate in HU."""

    done: int
    total: int
    estimate: Volume


def steps(
    scan: Projections, method: str | Method = DEFAULT_METHOD, **arguments: Any
) -> Iterator[Step]:
    """The running estimate after every step of a diffusion method, as a generator.

    arguments: as of `reconstruct`. Left early, the run is stopped. Raises InputError.
    """
    found: Queue[Step | BaseException | None] = Queue(maxsize=1)
    stopped: list[bool] = []

    def on_estimate(done: int, total: int, estimate: Volume) -> None:
        if stopped:
            raise _Stopped
        found.put(Step(done, total, estimate))

    def work() -> None:
        try:
            reconstruct(scan, method, on_estimate=on_estimate, **arguments)
            found.put(None)
        except _Stopped:
            pass
        except BaseException as error:
            found.put(error)

    worker = Thread(target=work, daemon=True)
    worker.start()
    try:
        while (step := found.get()) is not None:
            if isinstance(step, BaseException):
                raise step
            yield step
    finally:
        stopped.append(True)
        while worker.is_alive():
            if not found.empty():
                found.get()
            worker.join(0.01)


class _Stopped(Exception):
    """The generator was left early."""
