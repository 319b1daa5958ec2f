"""`diffusionblend doctor`: what is installed, what it runs on, whether the priors are whole."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from diffusionblend.cli.common import say
from diffusionblend.errors import InputError
from diffusionblend.memory import available_memory_bytes
from diffusionblend.priors.store import DEFAULT_PRIOR
from diffusionblend.runs.record import versions

if TYPE_CHECKING:
    import torch

    from diffusionblend.priors.prior import Prior
    from diffusionblend.priors.restorer import Restorer

GIGABYTE = 1e9
NAME_WIDTH = 18
VIEWS = 8
TIMED_SECONDS = 0.7
"""How long each part is repeated, after one pass that is not timed."""
MIDDLE_TIMESTEP = 500


@dataclass(frozen=True, kw_only=True)
class Doctor:
    """Print versions, devices, speed, disk and the state of the priors, as one block to paste."""

    speed: bool = True
    """Time the projector and the network, for some seconds."""

    def run(self) -> None:
        """Print it; fails where a shipped prior is not whole."""
        say("```")
        for name, version in versions().items():
            _fact(name, version)
        self._print_devices()
        _fact("free disk here", f"{shutil.disk_usage(Path.cwd()).free / GIGABYTE:.0f} GB")
        whole, broken = self._print_priors()
        _fact("int8, cpu", _integer_of(whole))
        if self.speed and DEFAULT_PRIOR in whole:
            self._print_speed(cast("Prior", whole[DEFAULT_PRIOR]))
        _fact("made", datetime.now(UTC).isoformat(timespec="minutes"))
        say("```")
        if broken or not whole:
            raise InputError(
                f"Not whole: {', '.join(broken)}." if broken else "No prior is in the package.",
                "every shipped prior to load, with the SHA-256 that it names",
                "install diffusionblend again",
            )

    def _print_devices(self) -> None:
        import torch

        available = available_memory_bytes()
        room = "" if available is None else f", {available / GIGABYTE:.1f} GB of memory free"
        _fact("cpu", f"{os.cpu_count()} cores, {torch.get_num_threads()} threads{room}")
        count = torch.cuda.device_count()
        for i in range(count):
            free, total = torch.cuda.mem_get_info(i)
            name = torch.cuda.get_device_name(i)
            _fact(f"cuda:{i}", f"{name}, {free / GIGABYTE:.0f} of {total / GIGABYTE:.0f} GB free")
        for name in ("cpu", *(f"cuda:{i}" for i in range(count))):
            _fact(f"precision, {name}", _precision_of(name))
        built = torch.version.cuda or torch.version.hip
        if not count:
            _fact("cuda", f"no device; torch is built {f'for {built}' if built else 'without it'}")

    def _print_priors(self) -> tuple[dict[str, Prior | Restorer], list[str]]:
        """The shipped priors that load, by name, and the names of those that do not."""
        from diffusionblend.priors.prior import load_prior
        from diffusionblend.priors.store import shipped_priors

        whole, broken = {}, []
        for name, folder in shipped_priors().items():
            try:
                whole[name] = load_prior(folder)
                _fact(f"prior {name}", f"whole, SHA-256 {whole[name].weights_sha256[:16]}")
            except InputError as error:
                broken.append(name)
                _fact(f"prior {name}", f"NOT WHOLE: {error.got}")
        return whole, broken

    def _print_speed(self, prior: Prior) -> None:
        """Blocks a second through the network, pairs of A and A* a second, on every device."""
        import torch

        from diffusionblend.geometry import ParallelBeam
        from diffusionblend.geometry.grid import Grid
        from diffusionblend.methods.cost import batch_that_fits
        from diffusionblend.operators import XRayTransform

        size, k = prior.config.image_size, prior.block_slices
        prior = prior.for_grid(Grid(shape=(k, size, size), spacing_mm=(1.0, 1.0, 1.0)))
        for name in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
            device = torch.device(name)
            prior.to(device)
            n_blocks = batch_that_fits(prior, (k, size, size))
            blocks = torch.zeros(n_blocks, k, size, size, device=device)
            rate = _rate(partial(prior.denoise, blocks, MIDDLE_TIMESTEP, 1), device)
            what = f"{k} x {size} x {size}"
            _fact(f"network, {name}", f"{rate * n_blocks:.3g} blocks of {what} a second")
            grid = Grid(shape=(n_blocks * k, size, size), spacing_mm=(1.0, 1.0, 1.0))
            geometry = ParallelBeam.fitting(grid, VIEWS)
            operator = XRayTransform(geometry, grid, device=device)
            volume = torch.zeros(grid.shape, device=device)
            rate = _rate(partial(operator.normal, volume), device)
            what = f"of a slice of {size} x {size}, {VIEWS} views"
            _fact(f"A and A*, {name}", f"{rate * n_blocks * k:.3g} pairs a second, {what}")


def _precision_of(device: str) -> str:
    """The number format that networks run in by default on a device, and why."""
    from diffusionblend.priors.precision import has_bfloat16

    if has_bfloat16(device):
        return "bfloat16, which is faster on it"
    return "float32 (bfloat16 is not in its hardware, or slower)"


def _integer_of(priors: Mapping[str, Prior | Restorer]) -> str:
    """The engine of --precision int8, and of which priors it has a graph."""
    from diffusionblend.priors.integer import engine_in_words, has_graph

    made = [name for name, prior in priors.items() if has_graph(prior.unet, prior.config)]
    return f"{engine_in_words()}; made and kept: {', '.join(made) or 'none yet'}"


def _fact(name: str, text: object) -> None:
    """A fact as a line of the block."""
    say(f"{name:{NAME_WIDTH}} {text}")


def _rate(part: Callable[[], object], device: torch.device) -> float:
    """How often a second `part` can be done."""
    import torch

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    with torch.inference_mode():
        part()
        wait()
        started, count = time.perf_counter(), 0
        while (passed := time.perf_counter() - started) < TIMED_SECONDS or not count:
            part()
            wait()
            count += 1
    return count / passed
