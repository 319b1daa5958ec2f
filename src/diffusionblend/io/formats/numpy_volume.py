"""NumPy arrays as volumes: an .npy array (z, y, x), or an .npz with its spacing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from diffusionblend.errors import InputError
from diffusionblend.io.formats.placed import Placed
from diffusionblend.io.scans.numpy import read_array, read_arrays

SAVE_ANEW = "save it anew with numpy.savez"
NUMPY_SUFFIXES = (".npy", ".npz")
VALUES = ("values", "volume", "hu", "data", "image", "arr_0")
SPACING, ORIGIN = "spacing_mm", "origin_mm"
LIKE_A_SPACING = ("spacing", "voxel", "pixel", "zoom", "pixdim", "affine", "resolution", "size")
LAYOUT = (
    f"an array (z, y, x), in .npz named {VALUES[0]}, with {SPACING} (z, y, x) and, if it is known, "
    f"{ORIGIN} (x, y, z)"
)


def read_numpy_volume(path: Path) -> Placed:
    """An array of HU (z, y, x), z towards the head, y to the back, x to the patient's left.

    Without a spacing voxels are taken to be 1 mm, with a note. Raises InputError for other shapes,
    names and types.
    """
    arrays = {VALUES[0]: read_array(path)}
    if path.suffix.lower() == ".npz":
        arrays = read_arrays(path, (*VALUES, SPACING, ORIGIN))
    present = [name for name in VALUES if name in arrays]
    if len(present) != 1:
        raise InputError(
            f"{path} holds {', '.join(arrays) or 'nothing'}.",
            LAYOUT,
            SAVE_ANEW,
        )
    values = arrays[present[0]]
    if values.dtype.kind not in "fiu" or values.ndim != 3 or 0 in values.shape:
        raise InputError(
            f"{path} holds {values.dtype} of shape {values.shape}.",
            LAYOUT,
            "'projections import' for the views of a measured scan",
        )
    spacing = _triple(arrays, SPACING, path)
    origin = _triple(arrays, ORIGIN, path)
    matrix = np.eye(4)
    if spacing is not None:
        matrix[:3, :3] = np.diag(spacing[::-1])
    if origin is not None:
        matrix[:3, 3] = origin
    notes = ["An array has no orientation: (z, y, x) are taken to point to head, back and left."]
    if spacing is None:
        other = [n for n in arrays if any(word in n.lower() for word in LIKE_A_SPACING)]
        unread = f", and {other[0]}, of no known order and unit, was not read" if other else ""
        notes.append(
            f"{path} has no {SPACING}{unread}: its voxels are taken to be 1 mm (--voxel-mm)."
        )
    return Placed(np.array(values), matrix, tuple(notes))


def _triple(arrays: dict[str, np.ndarray], name: str, path: Path) -> Any:
    """Three finite numbers of an .npz; None where it has none such. Raises InputError."""
    if name not in arrays:
        return None
    found = arrays[name]
    if found.shape != (3,) or found.dtype.kind not in "fiu" or not np.isfinite(found).all():
        raise InputError(
            f"{path} has {name} {found.tolist()}.",
            "three numbers in mm",
            SAVE_ANEW,
        )
    return found.astype(float)
