"""A volume as a folder of TIFF slices, for programs that know no medical format, and back.

One float32 TIFF a slice, in HU or 1/mm, from the first slice of the array on, and `geometry.json`
with what TIFF cannot hold: unit, spacing, origin and direction.
"""

from __future__ import annotations

import errno
import json
import math
from pathlib import Path

import numpy as np

from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError
from diffusionblend.geometry.grid import Grid
from diffusionblend.io.atomic import atomic_folder, check_readable, silent_libraries
from diffusionblend.io.foreign.limits import check_claim
from diffusionblend.io.foreign.reader import reads_foreign
from diffusionblend.io.names import plain_path
from diffusionblend.units import unit_of

GEOMETRY_FILE = "geometry.json"
TIFF_FILES = (".tif", ".json")
LAYOUT_VERSION = 1
BYTES_A_VOXEL = 4


def write_tiff_stack(volume: Volume, folder: Path | str, *, force: bool = False) -> list[Path]:
    """Write a volume as TIFF slices (float32), whole or not at all; returns their files.

    Raises OutputExistsError, OutputWriteError.
    """
    import SimpleITK as sitk

    folder = Path(folder)
    names = _slice_names(len(volume.values))
    grid = volume.grid
    facts = {
        "layout_version": LAYOUT_VERSION,
        "units": unit_of(volume.values),
        "shape_zyx": grid.shape,
        "spacing_mm_zyx": grid.spacing_mm,
        "origin_mm_lps_xyz": grid.origin_mm,
        "direction_rows": grid.direction,
        "slices": names,
    }
    with atomic_folder(folder, force=force, kinds=TIFF_FILES) as temporary:
        for name, values in zip(names, volume.values, strict=True):
            image = sitk.GetImageFromArray(values)
            image.SetSpacing(grid.spacing_mm[:0:-1])
            try:
                with silent_libraries(), plain_path(temporary / name) as path:
                    sitk.WriteImage(image, path)
            except RuntimeError as error:
                raise OSError(errno.EIO, str(error)) from error
        (temporary / GEOMETRY_FILE).write_text(json.dumps(facts, indent=2) + "\n")
    return [folder / name for name in names]


def is_tiff_stack(folder: Path) -> bool:
    """Whether a folder was written by `write_tiff_stack`."""
    return (folder / GEOMETRY_FILE).is_file()


@reads_foreign
def read_tiff_stack(folder: Path | str) -> Volume:
    """Read what `write_tiff_stack` wrote, in its unit, with the axes as they were written.

    Raises InputError where the geometry or a slice is missing, foreign or of another size.
    """
    import SimpleITK as sitk

    folder = Path(folder)
    grid, names = _geometry(folder / GEOMETRY_FILE)
    held = sum((folder / name).stat().st_size for name in names if (folder / name).is_file())
    check_claim(folder, BYTES_A_VOXEL * math.prod(grid.shape), held_bytes=held)
    values = np.empty(grid.shape, np.float32)
    for k, name in enumerate(names):
        check_readable(folder / name)
        try:
            with plain_path(folder / name) as path:
                pixels = sitk.GetArrayFromImage(sitk.ReadImage(path))
        except RuntimeError as error:
            raise InputError(
                f"{folder / name} could not be read as TIFF.", "a whole TIFF file", "copy it again"
            ) from error
        if pixels.shape != grid.in_plane_shape:
            raise InputError(
                f"{folder / name} has the shape {pixels.shape}.",
                f"{grid.in_plane_shape}, as {GEOMETRY_FILE} says",
                "copy the folder again, or write it anew",
            )
        values[k] = pixels
    return Volume(values, grid)


def _geometry(path: Path) -> tuple[Grid, list[str]]:
    """The grid and the slices' names of a stack. Raises InputError."""
    check_readable(path)
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        if facts["layout_version"] != LAYOUT_VERSION:
            raise ValueError(f"its layout has version {facts['layout_version']}")
        grid = Grid(
            shape=facts["shape_zyx"],
            spacing_mm=facts["spacing_mm_zyx"],
            origin_mm=facts["origin_mm_lps_xyz"],
            direction=facts["direction_rows"],
        )
        names = list(facts["slices"])
        if names != _slice_names(grid.shape[0]):
            raise ValueError("its slices are not named as they are written here")
    except (KeyError, TypeError, ValueError, InputError) as error:
        raise InputError(
            f"{path} is not the geometry of a TIFF stack: {error}.",
            "the file that lies beside the slices that this program wrote",
            "copy it again, or write the stack anew with 'diffusionblend export'",
        ) from error
    return grid, names


def _slice_names(n_slices: int) -> list[str]:
    digits = max(4, len(str(n_slices)))
    return [f"slice-{k + 1:0{digits}d}.tif" for k in range(n_slices)]
