"""Metal in a chest: three implants, rays left out against interpolated ones and against all.

    python benchmarks/metal.py VOLUME -o results/ --slices 8 --size 128 --views 60

The metal's part of the line integrals is that of a beam of two energies, the tissue's that of one,
with Poisson noise, so that rays through metal are too low and noisy, as by beam hardening and
photon starvation. PSNR (dB, 2000 HU) is of the voxels farther than three pixels from the metal.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from common import add_rows, machine, say
from diffusionblend import ParallelBeam, Projections, Volume, read_volume, reconstruct, simulate
from diffusionblend.data.resample import to_square_slices
from diffusionblend.evaluation.tables import Column, format_table
from diffusionblend.methods.metal import without_metal
from diffusionblend.simulation import add_noise

LINES_FILE = "metal.jsonl"
IMPLANTS = {
    "pacemaker wire": (((0.12, 0.05), 0.012, 20_000.0),),
    "two screws": (((0.10, 0.12), 0.025, 9_000.0), ((-0.10, 0.12), 0.025, 9_000.0)),
    "rod": (((0.0, 0.15), 0.045, 15_000.0),),
}
"""Centre from the middle (x, y) and radius, shares of the slice's width, and HU, of each part."""
HARD, SOFT = 0.6, 1.4
"""Attenuation of metal for either half of the photons, relative to the mean."""
FAR_PIXELS = 3
RANGE_HU = 2000.0
PHOTONS = 1e6
METHODS: dict[str, dict[str, object]] = {
    "fbp": {},
    "admm-tv": {"weight": 0.25},
    "diffusionblend++": {"steps": 20},
}
COLUMNS = (
    Column(key="implant", header="implant"),
    Column(key="method", header="method"),
    Column(key="all", header="all rays"),
    Column(key="interpolated", header="interpolated"),
    Column(key="left_out", header="left out"),
    Column(key="percent", header="rays left out, %", digits=1),
)


def with_implant(volume: Volume, name: str) -> tuple[Volume, np.ndarray]:
    """The volume with an implant through the middle half of its slices, and where it is."""
    n_z, n_y, n_x = volume.grid.shape
    y, x = np.indices((n_y, n_x))
    values, metal = volume.values.copy(), np.zeros(volume.grid.shape, bool)
    middle = slice(n_z // 4, max(n_z // 4 + 1, -(-3 * n_z // 4)))
    for (right, down), radius, hu in IMPLANTS[name]:
        away = np.hypot(x / n_x - 0.5 - right, y / n_y - 0.5 - down)
        metal[middle, away < radius] = True
        values[metal] = hu
    return volume.with_values(values), metal


def scan_of(volume: Volume, implanted: Volume, views: int) -> Projections:
    """Projections whose part of metal is hardened, with noise."""
    geometry = ParallelBeam.fitting(volume.grid, views)
    tissue, whole = (simulate(one, geometry) for one in (volume, implanted))
    metal = np.clip(whole.values - tissue.values, 0, None).astype(np.float64)
    hardened = -np.log((np.exp(-HARD * metal) + np.exp(-SOFT * metal)) / 2)
    lines = add_noise(tissue.values + hardened, PHOTONS, 5.0, np.random.default_rng(0))
    notes = whole.notes | {"photons": PHOTONS, "electronic_counts": 5.0}
    return replace(whole, values=lines, notes=notes)


def psnr_outside(found: Volume, truth: Volume, metal: np.ndarray) -> float:
    """PSNR in dB of the voxels far from the metal, within their slices."""
    near = metal.copy()
    for _ in range(FAR_PIXELS):
        grown = near.copy()
        for axis in (1, 2):
            for step in (-1, 1):
                grown |= np.roll(near, step, axis)
        near = grown
    apart = np.clip(found.values, -1000, 1000) - np.clip(truth.values, -1000, 1000)
    return float(10 * np.log10(RANGE_HU**2 / np.mean(apart[~near] ** 2)))


def rows_of(volume: Volume, views: int, methods: list[str]) -> list[dict[str, object]]:
    """A row for each implant and method."""
    rows: list[dict[str, object]] = []
    for name in IMPLANTS:
        implanted, metal = with_implant(volume, name)
        scan = scan_of(volume, implanted, views)
        found = without_metal(scan)
        kinds = {
            "all": scan,
            "interpolated": replace(found.scan, measured=None),
            "left_out": found.scan,
        }
        for method in methods:
            started = time.perf_counter()
            scores = {
                kind: psnr_outside(
                    reconstruct(one, method, **METHODS[method]).volume, volume, metal
                )
                for kind, one in kinds.items()
            }
            rows.append(
                {"implant": name, "method": method, "views": views}
                | {"percent": 100 * found.share}
                | scores
                | {"seconds": round(time.perf_counter() - started, 1)}
            )
            say(str(rows[-1]))
    return rows


def main() -> None:
    """Run it and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("volume", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--slices", type=int, default=8)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--views", type=int, default=60)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    given = parser.parse_args()
    volume = to_square_slices(read_volume(given.volume), given.size)
    first = (volume.grid.shape[0] - given.slices) // 2
    volume = volume[first : first + given.slices]
    rows = rows_of(volume, given.views, given.methods)
    add_rows(given.output / LINES_FILE, [machine() | row for row in rows])
    print(format_table(rows, COLUMNS, "markdown"))


if __name__ == "__main__":
    main()
