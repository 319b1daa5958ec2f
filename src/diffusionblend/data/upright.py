"""Volumes turned to LPS, that is x to the patient's left, y to the back and z to the head."""

from __future__ import annotations

import numpy as np

from diffusionblend.data.volume import Volume
from diffusionblend.geometry.grid import Grid


def upright(volume: Volume) -> Volume:
    """The volume (z, y, x) whose axes are as near to LPS as permuting and flipping brings them.

    No value changes; an oblique volume keeps its small rotation. Of oblique axes, the one with the
    largest direction cosine is placed first, as ITK's DICOMOrient does.
    """
    grid = volume.grid
    direction = np.array(grid.direction).reshape(3, 3)
    axes = _axes_along_lps(direction)
    signs = np.where(direction[range(3), axes] < 0, -1, 1)
    shape, steps_mm = np.array(grid.shape[::-1])[axes], np.array(grid.spacing_mm[::-1])[axes]
    cosines = direction[:, axes]
    ends_mm = np.where(signs < 0, steps_mm * (shape - 1), 0.0)
    order = [2 - axis for axis in reversed(axes)]
    x_mm, y_mm, z_mm = _plain(np.array(grid.origin_mm) + cosines @ ends_mm)
    flips = tuple(slice(None, None, int(sign)) for sign in signs[::-1])
    return Volume(
        volume.values.transpose(order)[flips],
        Grid(
            shape=tuple(shape[::-1]),
            spacing_mm=tuple(steps_mm[::-1]),
            origin_mm=(x_mm, y_mm, z_mm),
            direction=_plain((cosines * signs).ravel()),
        ),
    )


def _axes_along_lps(direction: np.ndarray) -> list[int]:
    """Of x, y and z of the array, which one runs along the patient's x, y and z: a permutation."""
    left = np.abs(direction)
    axes = [0, 0, 0]
    for _ in axes:
        world, axis = (int(i) for i in np.unravel_index(np.argmax(left), left.shape))
        axes[world] = axis
        left[world, :] = left[:, axis] = -1
    return axes


def _plain(numbers: np.ndarray) -> tuple[float, ...]:
    """The numbers with -0.0 as 0.0, so that equal grids also print alike."""
    return tuple(float(n) + 0.0 for n in numbers)
