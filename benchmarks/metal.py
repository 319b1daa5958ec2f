"""Metal in a chest: three implants, rays left out against interpolated ones and against all.

    python benchmarks/metal.py VOLUMES/ -o results/ --slices 4 --views 20 120

The metal's part of the line integrals is that of a beam of two energies, the tissue's that of one,
with Poisson noise, so that rays through metal are too low and noisy, as by beam hardening and
photon starvation. PSNR (dB, 2000 HU) is of the voxels farther than three pixels from the metal.
FBP takes interpolated values for rays that are left out, so that it is listed with those alone.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from common import add_rows, machine, say
from diffusionblend import ParallelBeam, Projections, Volume, read_volume, reconstruct, simulate
from diffusionblend.data.resample import to_square_slices
from diffusionblend.evaluation.body import body_mask
from diffusionblend.evaluation.tables import Column, format_table
from diffusionblend.methods.metal import without_metal
from diffusionblend.simulation import add_noise

LINES_FILE = "metal.jsonl"
IMPLANTS = {
    "hip stems": tuple((side * 0.5, 0.05, 11.0, 11.0, 0.0, 15_000.0) for side in (-1, 1)),
    "teeth": tuple(
        (0.35 * math.sin(turn), 0.15 - 0.55 * math.cos(turn), 5.0, 4.0, turn, 25_000.0)
        for turn in np.radians((-75, -53, -32, -11, 11, 32, 53, 75)).tolist()
    ),
    "spine screws": tuple((side * 0.11, 0.5, 4.0, 20.0, -side * 0.4, 12_000.0) for side in (-1, 1)),
}
"""Of each elliptic part: centre from the body's middle (x, y), as shares of half the body's width
and height; semi-axes along x and y in mm; their turn in radians; HU."""
HARD, SOFT = 0.6, 1.4
"""Attenuation of metal for either half of the photons, relative to the mean."""
FAR_PIXELS = 3
RANGE_HU = 2000.0
PHOTONS = 1e6
METHODS: dict[str, dict[str, object]] = {
    "fbp": {},
    "admm-tv": {"weight": 0.25},
    "diffusionblend++": {},
}
KINDS = {
    "fbp": ("all", "interpolated"),
    "admm-tv": ("all", "interpolated", "left_out"),
    "diffusionblend++": ("left_out",),
}
"""What is done about the rays through metal, for each method."""
COLUMNS = (
    Column(key="patient", header="patient"),
    Column(key="views", header="views", digits=0),
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
    _, mm_y, mm_x = volume.grid.spacing_mm
    y, x = np.indices((n_y, n_x))
    rows, columns = np.nonzero(body_mask(volume)[n_z // 2])
    values, metal = volume.values.copy(), np.zeros(volume.grid.shape, bool)
    middle = slice(n_z // 4, max(n_z // 4 + 1, -(-3 * n_z // 4)))
    for right, down, half_x, half_y, turn, hu in IMPLANTS[name]:
        off_x = (x - columns.mean() - right * np.ptp(columns) / 2) * mm_x
        off_y = (y - rows.mean() - down * np.ptp(rows) / 2) * mm_y
        along = off_x * math.cos(turn) + off_y * math.sin(turn)
        across = off_y * math.cos(turn) - off_x * math.sin(turn)
        part = np.hypot(along / half_x, across / half_y) < 1
        metal[middle, part] = True
        values[middle, part] = hu
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


def rows_of(volume: Volume, views: int, methods: list[str]) -> Iterator[dict[str, object]]:
    """A row for each implant and method."""
    for name in IMPLANTS:
        implanted, metal = with_implant(volume, name)
        scan = scan_of(volume, implanted, views)
        found = without_metal(scan)
        scans = {
            "all": scan,
            "interpolated": replace(found.scan, measured=None),
            "left_out": found.scan,
        }
        for method in methods:
            row: dict[str, object] = {"implant": name, "method": method, "views": views}
            row |= {"percent": 100 * found.share, "shape": list(volume.grid.shape)}
            for kind in KINDS[method]:
                started = time.process_time()
                made = reconstruct(scans[kind], method, **METHODS[method]).volume
                row[kind] = psnr_outside(made, volume, metal)
                row[f"{kind}_cpu_s"] = round(time.process_time() - started, 1)
            say(str(row))
            yield row


def main() -> None:
    """Run it and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("volumes", type=Path, help="a volume, or a folder of .nii.gz")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--slices", type=int, default=4)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--views", type=int, nargs="+", default=[20, 120])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    given = parser.parse_args()
    rows = []
    for path in (
        sorted(given.volumes.glob("*.nii.gz")) if given.volumes.is_dir() else [given.volumes]
    ):
        volume = to_square_slices(read_volume(path), given.size)
        first = (volume.grid.shape[0] - given.slices) // 2
        volume = volume[first : first + given.slices]
        for views in given.views:
            for row in rows_of(volume, views, given.methods):
                rows.append({"patient": path.name.removesuffix(".nii.gz")} | row)
                add_rows(given.output / LINES_FILE, [machine() | rows[-1]])
    print(format_table(rows, COLUMNS, "markdown"))


if __name__ == "__main__":
    main()
