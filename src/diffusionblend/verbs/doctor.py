"""`diffusionblend doctor`: what is installed, what it runs on, whether the priors are whole."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from diffusionblend.errors import InputError
from diffusionblend.priors.shipped import DEFAULT_PRIOR
from diffusionblend.provenance import versions
from diffusionblend.verbs.options import say

GIGABYTE = 1e9
TIMING_SLICES = 12


@dataclass(frozen=True, kw_only=True)
class Doctor:
    """Print versions, devices, speed, disk and the state of the priors, to paste in a report."""

    speed: bool = True
    """Time the projector and the network."""

    def run(self) -> None:
        """Print it; fails where a shipped prior is not whole."""
        for name, version in versions().items():
            say(f"{name:16} {version}")
        self._tell_devices()
        say(f"{'free disk here':16} {shutil.disk_usage(Path.cwd()).free / GIGABYTE:.0f} GB")
        whole, broken = self._tell_priors()
        if self.speed and DEFAULT_PRIOR in whole:
            self._tell_speed()
        if broken or not whole:
            raise InputError(
                f"Not whole: {', '.join(broken)}." if broken else "No prior is in the package.",
                "every shipped prior to load, with the SHA-256 that it names",
                "install diffusionblend again",
            )

    def _tell_devices(self) -> None:
        import torch

        say(f"{'cpu':16} {os.cpu_count()} cores, {torch.get_num_threads()} threads")
        for i in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(i)
            name = torch.cuda.get_device_name(i)
            say(f"cuda:{i:<11} {name}, {free / GIGABYTE:.0f} of {total / GIGABYTE:.0f} GB free")

    def _tell_priors(self) -> tuple[list[str], list[str]]:
        """The names of the shipped priors that load, and of those that do not."""
        from diffusionblend.priors.prior import load_prior
        from diffusionblend.priors.shipped import shipped_priors

        whole, broken = [], []
        for name, folder in shipped_priors().items():
            try:
                prior = load_prior(folder)
                whole.append(name)
                say(f"prior {name:10} whole, SHA-256 {prior.weights_sha256[:16]}")
            except InputError as error:
                broken.append(name)
                say(f"prior {name:10} {error}")
        return whole, broken

    def _tell_speed(self) -> None:
        import torch

        from diffusionblend.geometry import equally_spaced_angles, parallel_beam_for
        from diffusionblend.operators import ParallelBeamTransform
        from diffusionblend.priors.prior import load_prior
        from diffusionblend.volume import Grid

        prior = load_prior(DEFAULT_PRIOR)
        size, k = prior.config.image_size, prior.block_slices
        blocks = torch.zeros(TIMING_SLICES // k, k, size, size)
        grid = Grid(shape=(TIMING_SLICES, size, size), spacing_mm=(1.0, 1.0, 1.0))
        operator = ParallelBeamTransform(parallel_beam_for(grid, equally_spaced_angles(8)), grid)
        volume = torch.zeros(grid.shape)
        parts = {
            "network": lambda: prior.denoise(blocks, 500, 1),
            "A and A*, 8 views": lambda: operator.normal(volume),
        }
        for name, part in parts.items():
            with torch.inference_mode():
                part()
                started = time.perf_counter()
                part()
            ms = 1000 * (time.perf_counter() - started) / TIMING_SLICES
            say(f"{name}: {ms:.2f} ms a slice of {size} x {size}, on the CPU")
