"""A benchmark's cells: what is run on what, told apart by all that a result depends on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from diffusionblend.benchmarking.tables import Setting
from diffusionblend.methods.settings import MethodSettings, SamplingSettings

if TYPE_CHECKING:
    from diffusionblend.data.projections import Projections
    from diffusionblend.data.volume import Volume
    from diffusionblend.priors.prior import Prior

KEY_DIGITS = 16


@dataclass(frozen=True)
class Subject:
    """A volume that is scanned, with the SHA-256 of its file."""

    path: Path
    sha256: str
    truth: Volume

    @classmethod
    def read(cls, path: Path, *, size: int | None, n_slices: int | None) -> Subject:
        """A volume in HU from a file, brought to a slice size and cut to its middle slices."""
        from diffusionblend.data.resample import to_square_slices
        from diffusionblend.io.atomic import sha256_of
        from diffusionblend.io.volumes import read_volume

        volume = read_volume(path)
        volume = volume if size is None else to_square_slices(volume, size)
        volume = volume if n_slices is None else middle_of(volume, n_slices)
        return cls(path, sha256_of(path), volume)


@dataclass(frozen=True)
class Cell:
    """One run: a method with its settings on a volume in a setting.

    key: of all that its result depends on.
    """

    volume: str
    setting: Setting
    method: str
    seed: int
    settings: MethodSettings
    options: dict[str, object]
    key: str


def scan(volume: Volume, setting: Setting) -> Projections:
    """Noiseless projections of a volume."""
    from diffusionblend.geometry import ParallelBeam, equally_spaced_angles
    from diffusionblend.simulation import simulate_projections

    angles = equally_spaced_angles(setting.views, setting.arc_degrees)
    return simulate_projections(volume, ParallelBeam.fitting(volume.grid, angles_rad=angles))


def middle_of(volume: Volume, n_slices: int) -> Volume:
    """The middle slices of a volume, or all where there are fewer."""
    first = max(0, (volume.grid.shape[0] - n_slices) // 2)
    values = volume.values[first : first + n_slices]
    return replace(volume, values=values, grid=volume.grid.with_slices(len(values)))


def key_of(
    facts: list[object], settings: MethodSettings, options: dict[str, Prior], *more: object
) -> str:
    """A short hash of facts, a method's settings and its priors' weights."""
    weights = [prior.weights_sha256 for prior in options.values()]
    text = json.dumps([*facts, _plain(settings), *more, weights])
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_DIGITS]


def _plain(settings: MethodSettings) -> dict[str, object]:
    """What decides a method's result."""
    resolves = isinstance(settings, SamplingSettings)
    plain = asdict(settings.resolved() if resolves else settings)
    for name in ("batch_blocks", "batch_slices"):
        plain.pop(name, None)
    return plain
