"""Training volumes in one small file, for a machine that has no image library.

    python benchmarks/pack_volumes.py volumes/train -o train.npz --size 256 --step-hu 4

Slices are resampled to size x size, clipped to [-1024, 3071] HU and rounded to steps; from there
on nothing is lost. The file is a .npz with bzip2 inside: for each volume its steps above -1024 HU
as two planes of bytes (low, high), and its spacing; `read_pack` gives the volumes back.

The command line is argparse's: the module is imported on machines with a GPU that lack tyro.
"""

from __future__ import annotations

import argparse
import io
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from diffusionblend import Grid, InputError, Volume
from diffusionblend.errors import on_the_command_line
from diffusionblend.io.atomic import atomic_output, check_outputs_absent

LOWEST_HU, HIGHEST_HU = -1024.0, 3071.0
SMALLEST_STEP_HU = 0.1
"""Steps are counted in two bytes."""
PACK_SUFFIX = ".npz"
STEP_KEY = "step_hu"
SPACING_SUFFIX = "/spacing_mm"
BYTES_PER_MB = 1e6
FIXED_DATE = (1980, 1, 1, 0, 0, 0)
"""Of the entries, so that the same volumes give the same file."""


def write_pack(
    volumes: Mapping[str, Volume],
    path: Path,
    *,
    step_hu: float,
    limit_mb: float,
    force: bool = False,
) -> int:
    """Write volumes by name into a pack and return its bytes; clipped and rounded to `step_hu`.

    Raises InputError where the pack would pass `limit_mb` (10^6 bytes), and then leaves no file.
    """
    if not SMALLEST_STEP_HU <= step_hu < np.inf:
        raise InputError(f"The step is {step_hu} HU.", f"a number from {SMALLEST_STEP_HU}")
    if Path(path).suffix != PACK_SUFFIX:
        raise InputError(f"The output is {path}.", f"a name that ends in {PACK_SUFFIX}")
    with atomic_output(path, force=force) as temporary:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_BZIP2) as pack:
            _add(pack, STEP_KEY, np.float64(step_hu))
            for name, volume in volumes.items():
                _add(pack, name, _planes(volume.values, step_hu))
                _add(pack, name + SPACING_SUFFIX, np.array(volume.grid.spacing_mm))
        n_bytes = temporary.stat().st_size
        if n_bytes > limit_mb * BYTES_PER_MB:
            raise InputError(
                f"The pack takes {n_bytes / BYTES_PER_MB:.1f} MB at steps of {step_hu:g} HU.",
                f"at most {limit_mb:g} MB",
                "a larger --step-hu, fewer volumes, or a higher --limit-mb",
            )
    return n_bytes


def read_pack(path: Path) -> dict[str, Volume]:
    """The volumes of a pack by name, in HU. Raises InputError for another kind of file."""
    try:
        with np.load(path) as pack:
            step_hu = float(pack[STEP_KEY])
            names = [n for n in pack.files if n != STEP_KEY and not n.endswith(SPACING_SUFFIX)]
            return {
                name: _volume(pack[name], step_hu, pack[name + SPACING_SUFFIX]) for name in names
            }
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path} cannot be read as a pack: {error}.", "a file written by pack_volumes.py"
        ) from error


def _planes(values_hu: np.ndarray, step_hu: float) -> np.ndarray:
    """Steps above the lowest HU as bytes, (2, z, y, x): all low bytes, then all high ones."""
    steps = np.round((values_hu.clip(LOWEST_HU, HIGHEST_HU) - LOWEST_HU) / step_hu)
    steps = steps.astype(np.uint16)
    return np.stack([(steps & 0xFF).astype(np.uint8), (steps >> 8).astype(np.uint8)])


def _volume(planes: np.ndarray, step_hu: float, spacing_mm: np.ndarray) -> Volume:
    steps = planes[0] + planes[1].astype(np.uint16) * 256
    values = (steps * np.float64(step_hu) + LOWEST_HU).clip(max=HIGHEST_HU)
    return Volume(values, Grid(shape=values.shape, spacing_mm=tuple(spacing_mm)))


def _add(pack: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
    """One array as an entry of the pack."""
    content = io.BytesIO()
    np.lib.format.write_array(content, np.asarray(array), allow_pickle=False)
    entry = zipfile.ZipInfo(name + ".npy", FIXED_DATE)
    pack.writestr(entry, content.getvalue(), zipfile.ZIP_BZIP2)


@on_the_command_line()
def main(arguments: list[str] | None = None) -> int:
    """Pack a folder of volumes; 1 where that is refused."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="volumes, or folders of DICOM series")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the pack, a .npz")
    parser.add_argument("--size", type=int, default=256, help="pixels a side of a slice")
    parser.add_argument("--step-hu", type=float, default=4.0, help="HU between two values")
    parser.add_argument("--limit-mb", type=float, default=60.0, help="refuse a larger pack")
    parser.add_argument("--force", action="store_true", help="overwrite the output")
    chosen = parser.parse_args(arguments)
    try:
        check_outputs_absent([chosen.output], chosen.force)
        from diffusionblend.data.resample import to_square_slices
        from diffusionblend.io.volumes import find_volumes, read_volume

        paths = find_volumes(chosen.folder)
        volumes = {p.name: to_square_slices(read_volume(p), chosen.size) for p in paths}
        n_bytes = write_pack(
            volumes,
            chosen.output,
            step_hu=chosen.step_hu,
            limit_mb=chosen.limit_mb,
            force=chosen.force,
        )
    except InputError as error:
        print(f"pack_volumes: {error}", file=sys.stderr)
        return 1
    n_slices = sum(v.grid.shape[0] for v in volumes.values())
    print(f"{chosen.output}: {len(volumes)} volumes, {n_slices} slices of {chosen.size} x", end=" ")
    print(f"{chosen.size}, steps of {chosen.step_hu:g} HU, {n_bytes / BYTES_PER_MB:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
